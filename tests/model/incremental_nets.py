"""Networks of many kinds of operations, and the slow truth about their windows."""

from __future__ import annotations

from itertools import product

import torch
from torch import nn
from torch.nn import functional

from saliscope.testing.networks import seeded

KINDS = (
    "plain", "unpadded", "strided", "dilated", "grouped", "pools", "preactivated", "squeeze", "growing", "nested",
    "same", "flattened", "segmenting", "activations", "overwriting", "shaped", "opaque", "shifted", "replicated",
)  # fmt: skip


class Kinds(nn.Module):
    """A small classifier (N, 2, *S) to (N, 3), or to (N, 3, *S), with the operations that `kind` names."""

    def __init__(self, axes: int, kind: str) -> None:
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        norm = nn.BatchNorm2d if axes == 2 else nn.BatchNorm3d
        self.axes, self.kind = axes, kind
        self.pool = functional.max_pool2d if axes == 2 else functional.max_pool3d
        self.mean_pool = (nn.AvgPool2d if axes == 2 else nn.AvgPool3d)(2)
        self.global_pool = (nn.AdaptiveAvgPool2d if axes == 2 else nn.AdaptiveAvgPool3d)(1)
        self.max_pool = (nn.MaxPool2d if axes == 2 else nn.MaxPool3d)(3, 2, 1, ceil_mode=True)
        self.rim_pool = (nn.AvgPool2d if axes == 2 else nn.AvgPool3d)(3, 1, 1)
        self.drop = nn.Dropout(0.5)
        options = {
            "unpadded": {"kernel_size": 3},
            "strided": {"kernel_size": 2, "stride": 3},
            "dilated": {"kernel_size": 3, "padding": 2, "dilation": 2},
            "same": {"kernel_size": 4, "padding": "same"},
            "replicated": {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
        }.get(kind, {"kernel_size": 3, "padding": 1})
        self.first = conv(2, 4, **options)
        self.norm = norm(4)
        self.act = nn.ReLU(inplace=True)
        self.second = conv(4, 4, 3, padding=1, groups=2 if kind == "grouped" else 1)
        self.one = conv(4, 4, 1)
        self.wide = conv(8, 4, 1)
        self.wider = conv(12, 4, 3, padding=1)
        self.norm12 = norm(12)
        self.gate = nn.Linear(4, 4)
        self.prelu = nn.PReLU(4)
        self.acts = nn.Sequential(nn.GELU(), nn.SiLU(True), nn.ELU(), nn.Hardswish(), nn.Tanh(), nn.LeakyReLU(0.1))
        self.branch = Branching()
        self.end = conv(4, 4, 3, padding=1)
        self.map = conv(4, 3, 1)
        self.head = nn.Linear(4 * 2**axes if kind == "flattened" else 4, 3)
        seeded(self)
        self.double().eval()

    def forward(self, x):
        y = getattr(self, f"_{self.kind}", self._plain)(x)
        if self.kind == "segmenting":
            return {"aux": y, "out": self.map(y)}
        y = torch.tanh(self.end(y))
        if self.kind == "flattened":
            y = (nn.functional.adaptive_avg_pool2d if self.axes == 2 else nn.functional.adaptive_avg_pool3d)(y, 2)
            return self.head(y.view(y.size(0), -1))
        if self.kind == "shaped":
            return self.head(y.reshape(y.shape[0], y.shape[1], -1).mean(-1))
        if self.kind == "pools":
            return self.head(y.mean((2, 3)) if self.axes == 2 else y.mean((-3, -2, -1)))
        return self.head(self.drop(torch.flatten(self.global_pool(y), 1)))

    def _plain(self, x):
        return self.second(self.act(self.norm(self.first(x))))

    def _pools(self, x):
        y = self.max_pool(self.act(self.first(x)))
        return self.rim_pool(self.pool(self.second(y), 2, 1, 1))

    def _preactivated(self, x):
        y = self.first(x)
        y = y + self.second(torch.relu(self.norm(y)))
        return self.mean_pool(self.one(functional.relu(self.norm(y), inplace=True)))

    def _squeeze(self, x):
        y = self.norm(self.first(x))
        gate = torch.sigmoid(self.gate(self.global_pool(y).flatten(1)))
        return self.second(y * gate.reshape(gate.shape[0], gate.shape[1], *[1] * self.axes))

    def _growing(self, x):
        parts = [self.first(x)]
        parts.append(self.second(torch.relu(parts[0])))
        parts.append(self.wide(torch.cat(parts, 1)))
        return self.wider(torch.relu(self.norm12(torch.cat(parts, 1))))

    def _nested(self, x):
        y = self.first(x)
        y = torch.cat([y, self.second(y)], 1)
        y = torch.cat([y, self.wide(y)], 1)
        return self.wider(self.act(y))

    def _activations(self, x):
        y = self.prelu(self.acts(self.first(x)))
        y = (2 * y - y.clamp(-1, 1) / 3).sigmoid_()
        return -self.second(torch.exp(y).mul_(0.5))

    def _overwriting(self, x):
        y = self.norm(self.first(x))
        z = self.act(y)
        w = self.second(z)
        w += y
        return functional.leaky_relu_(w, 0.2) + z

    def _opaque(self, x):
        return self.second(self.branch(self.act(self.first(x))))

    def _shifted(self, x):
        y = self.first(x)
        return self.second(torch.roll(y, 1, -1)) + y


class Branching(nn.Module):
    """Control flow on values, which no symbolic tracer can follow."""

    def forward(self, x):
        return x.sqrt() if x.min() >= 0 else x


def truth(net, x, without, begins, size, asked, pick):
    """Return outputs (n, ...) of full runs of the windows asked for, and of the image itself, one by one."""
    with torch.no_grad():
        outputs = []
        corners = list(product(*begins))
        for corner in [corners[i] for i in asked]:
            box = (slice(None), slice(None), *[slice(b, b + n) for b, n in zip(corner, size, strict=True)])
            copy = x.clone()
            copy[box] = without[box]
            outputs.append(pick(net(copy)))
        return torch.cat(outputs), pick(net(x))
