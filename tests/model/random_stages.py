"""Stages whose axes are not (N, C, *S): tokens, channels last, windows, and slices folded into the batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.random_kinds import Draw, Fn


class Attention(nn.Module):
    """Attention over tokens (N, T, C), fused or by parts."""

    def __init__(self, width: int, *, fused: bool) -> None:
        super().__init__()
        self.qkv, self.out, self.fused = nn.Linear(width, 3 * width), nn.Linear(width, width), fused

    def forward(self, t: Tensor) -> Tensor:
        q, k, v = (p.unflatten(-1, (2, -1)).transpose(-2, -3) for p in self.qkv(t).chunk(3, -1))
        if self.fused:
            seen = functional.scaled_dot_product_attention(q, k, v)
        else:
            seen = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
        return self.out(seen.transpose(-2, -3).flatten(-2))


class TokenBlock(nn.Module):
    """A block of a vision transformer."""

    def __init__(self, width: int, *, fused: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, fused=fused)
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, t: Tensor) -> Tensor:
        t = t + self.attn(self.norm1(t))
        return t + self.mlp(self.norm2(t))


class MixerBlock(nn.Module):
    """A block of MLP-Mixer: one MLP over the tokens, one over the channels."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 12), nn.GELU(), nn.Linear(12, tokens))
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, t: Tensor) -> Tensor:
        t = t + self.tokens(self.norm1(t).mT).mT
        return t + self.mlp(self.norm2(t))


class Tokens(nn.Module):
    """(N, C, *S) -> tokens (N, extra + cells, C), with a class token and register tokens where `extra` says so."""

    def __init__(self, d: Draw, extra: int) -> None:
        super().__init__()
        self.extra = nn.Parameter(torch.randn(1, extra, d.channels)) if extra else None
        self.position = nn.Parameter(0.3 * torch.randn(1, extra + math.prod(d.grid), d.channels))

    def forward(self, h: Tensor) -> Tensor:
        t = h.flatten(2).transpose(1, 2)
        if self.extra is not None:
            t = torch.cat([self.extra.expand(len(t), -1, -1), t], 1)
        return t + self.position


class ConvNeXtBlock(nn.Module):
    """A block of ConvNeXt on (N, *S, C): a depthwise convolution, and a norm and an MLP over the last axis."""

    def __init__(self, d: Draw) -> None:
        super().__init__()
        self.dwconv = d.conv(None, 3, groups=d.channels)
        self.norm, self.up, self.down = nn.LayerNorm(d.channels), nn.Linear(d.channels, 16), nn.Linear(16, d.channels)
        self.gamma = nn.Parameter(torch.rand(d.channels))

    def forward(self, h: Tensor) -> Tensor:
        mixed = self.dwconv(h.movedim(-1, 1)).movedim(1, -1)
        return h + self.gamma * self.down(functional.gelu(self.up(self.norm(mixed))))


class WindowBlock(nn.Module):
    """A block of Swin on (N, row, column, C): attention inside of windows of two by two, which may be shifted."""

    def __init__(self, width: int, *, shift: bool, fused: bool) -> None:
        super().__init__()
        self.norm1, self.norm2, self.shift = nn.LayerNorm(width), nn.LayerNorm(width), int(shift)
        self.attn = Attention(width, fused=fused)
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, h: Tensor) -> Tensor:
        n, rows, columns, width = h.shape
        t = self.norm1(h)
        if self.shift:
            t = torch.roll(t, (-1, -1), (1, 2))
        t = t.view(n, rows // 2, 2, columns // 2, 2, width).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, width)
        t = self.attn(t)
        t = t.view(n, rows // 2, columns // 2, 2, 2, width).permute(0, 1, 3, 2, 4, 5).reshape(h.shape)
        if self.shift:
            t = torch.roll(t, (1, 1), (1, 2))
        h = h + t
        return h + self.mlp(self.norm2(h))


class Merging(nn.Module):
    """Swin's patch merging on (N, row, column, C): four neighbours become one cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * width), nn.Linear(4 * width, 8, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        corners = [h[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, -1)))


class Folded(nn.Module):
    """A 2D network on each plane of (N, C, plane, row, column), and what puts the planes together."""

    def __init__(self, body: nn.Module, width: int, how: str) -> None:
        super().__init__()
        self.body, self.how = body, how
        self.over: nn.Module = {
            "lstm": lambda: nn.LSTM(width, width, batch_first=True),
            "gru": lambda: nn.GRU(width, width, batch_first=True),
            "attention": lambda: nn.Linear(width, 1),
        }.get(how, nn.Identity)()

    def forward(self, x: Tensor) -> Tensor:
        n, _, planes = x.shape[:3]
        h = self.body(x.transpose(1, 2).flatten(0, 1))
        each = h.mean((2, 3)).unflatten(0, (n, planes))
        if self.how in ("lstm", "gru"):
            return self.over(each)[0][:, -1]
        if self.how == "attention":
            return (self.over(torch.tanh(each)).softmax(1) * each).sum(1)
        return each.amax(1) if self.how == "max" else each.mean(1)


def readout(name: str, *, folded: bool = False) -> nn.Module:
    """Return what makes (N, C) of the last stage's output, in code and not in a layer that has a grid."""
    functions = {
        "mean": lambda h: h.flatten(2).mean(2),
        "largest": lambda h: h.flatten(2).amax(2),
        "mean and largest": lambda h: h.flatten(2).mean(2) + h.flatten(2).amax(2),
        "logsumexp": lambda h: h.flatten(2).logsumexp(2),
        "squared": lambda h: h.flatten(2).square().mean(2).add(0.1).sqrt(),
        "tokens": lambda t: t.mean(1),
        "class token": lambda t: t[:, 0],
        "channels last": lambda h: h.flatten(1, -2).mean(1),
    }
    return Fn(functions[name])
