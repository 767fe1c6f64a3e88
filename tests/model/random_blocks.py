"""More kinds of block: norms, activations as people write them, branches, gates, and forwards that keep something."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from model.random_kinds import STRAIGHT, Draw, Fn, across, first, kind, last

# -- norms -------------------------------------------------------------------------------------------------------------

kind("norm batch")(lambda d: d.of("BatchNorm")(d.channels))
kind("norm instance", local=False, straight=False)(lambda d: d.of("InstanceNorm")(d.channels, affine=True))
kind("norm group", local=False, straight=False)(lambda d: nn.GroupNorm(2, d.channels))
kind("norm layer, all axes", local=False, straight=False)(lambda d: nn.LayerNorm((d.channels, *d.grid)))
kind("norm layer, channels moved last", straight=False)(
    lambda d: Fn(lambda h, m: first(m(across(h))), nn.LayerNorm(d.channels))
)
kind("norm layer, by hand", straight=False)(
    lambda d: Fn(lambda h: (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, unbiased=False) + 1e-3).sqrt())
)
kind("norm RMS", straight=False)(lambda d: Fn(lambda h, m: first(m(across(h))), nn.RMSNorm(d.channels, eps=1e-3)))
kind("norm local response", straight=False)(lambda d: nn.LocalResponseNorm(3))
kind("norm global response", local=False, straight=False)(lambda d: Fn(global_response))


def global_response(h: Tensor) -> Tensor:
    """Return h weighed by how large each channel is beside the others, as ConvNeXt V2 has it."""
    size = (h.square().sum(last(h), keepdim=True) + 1e-6).sqrt()
    return h + h * size / (size.mean(1, keepdim=True) + 1e-3)


kind("norm L2 over channels", straight=False)(lambda d: Fn(lambda h: functional.normalize(h, dim=1, eps=0.1)))
kind("norm of the image", local=False, straight=False)(
    lambda d: Fn(lambda h: h / (h.flatten(1).std(1).reshape(-1, *[1] * (h.ndim - 1)) + 0.1))
)

# -- statistics of the whole tensor, with its batch --------------------------------------------------------------------

kind("batch mean taken off", local=False, mixing=True, straight=False)(lambda d: Fn(lambda h: h - h.mean()))
kind("batch standardised", local=False, mixing=True, straight=False)(
    lambda d: Fn(lambda h: (h - h.mean()) / (h.std() + 0.1))
)
kind("batch from least to most", local=False, mixing=True, straight=False)(
    lambda d: Fn(lambda h: (h - h.min()) / (h.max() - h.min() + 0.1))
)
kind("batch largest divides", local=False, mixing=True, straight=False)(lambda d: Fn(lambda h: h / (h.abs().max() + 1)))
kind("batch statistics norm", local=False, mixing=True, straight=False)(
    lambda d: Fn(lambda h: functional.batch_norm(h, None, None, training=True, eps=1e-2))
)

# -- activations as people write them ----------------------------------------------------------------------------------

kind("activation", straight=False)(lambda d: d.act())
kind("activation straight")(lambda d: d.rng.choice(STRAIGHT)())
kind("conv, activation in place")(lambda d: nn.Sequential(d.conv(), nn.ReLU(inplace=True)))
kind("activation functional", straight=False)(
    lambda d: Fn(d.rng.choice([functional.silu, functional.gelu, torch.tanh, functional.softplus, torch.atan]))
)
kind("activation on a slice, in place", straight=False)(
    lambda d: Fn(
        lambda h, m, a: torch.cat([a(m(h)[:, :2]), h[:, 2:]], 1),
        d.conv(),
        d.rng.choice([nn.ReLU, nn.SiLU, nn.LeakyReLU, nn.Hardswish, nn.ELU])(inplace=True),
    )
)


@kind("activation on inner cells, in place", straight=False)
def inner(d: Draw) -> nn.Module:
    def run(h: Tensor, m: nn.Module, a: nn.Module) -> Tensor:
        made = m(h)
        a(made[..., 1:-1, 1:])
        return made

    return Fn(run, d.conv(), d.rng.choice([nn.ReLU, nn.LeakyReLU])(inplace=True))


kind("activation by where")(lambda d: Fn(lambda h: torch.where(h > 0, h, 0.1 * h)))
kind("activation by a mask")(lambda d: Fn(lambda h: h * (h > 0)))
kind("activation by masked_fill")(lambda d: Fn(lambda h: h.masked_fill(h < 0, 0.0)))
kind("activation by clamp", straight=False)(lambda d: Fn(lambda h: h.clamp(-0.5, 1.5)))
kind("activation by maximum")(lambda d: Fn(lambda h: torch.maximum(h, 0.2 * h)))
kind("activation by product", straight=False)(lambda d: Fn(lambda h: h * torch.sigmoid(1.7 * h)))
kind("activation, power", straight=False)(lambda d: Fn(lambda h: h + 0.2 * h.pow(2)))
kind("added in place, then rectified", straight=False)(
    lambda d: Fn(lambda h, m: m(h).add_(1).relu_(), d.conv(bias=False))
)
kind("scaled in place, some channels")(lambda d: Fn(scaled_some, d.conv()))


def scaled_some(h: Tensor, m: nn.Module) -> Tensor:
    made = m(h)
    made[:, :2] *= 2
    return made


# -- branches and gates ------------------------------------------------------------------------------------------------

kind("residual")(lambda d: Fn(lambda h, m: functional.relu(h + m(h)), d.conv()))
kind("residual, in place")(lambda d: Fn(lambda h, m, a: a(m(h).add_(h)), d.conv(), nn.ReLU(inplace=True)))
kind("residual, normed")(
    lambda d: Fn(lambda h, m: h + m(h), nn.Sequential(d.of("BatchNorm")(d.channels), nn.ReLU(), d.conv()))
)
kind("residual, scaled by a parameter")(lambda d: LayerScale(d.conv(), d.channels, d.axes))
kind("dense")(lambda d: Fn(lambda h, m: torch.cat([h, functional.relu(m(h))], 1), d.conv(4)))
kind("inception")(
    lambda d: Fn(
        lambda h, a, b, c: torch.cat([a(h), functional.relu(b(h)), c(functional.relu(b(h)))], 1),
        d.conv(2, 1), d.conv(d.channels), d.conv(4, 5, padding=2),
    )
)  # fmt: skip
kind("inception with a pool")(
    lambda d: Fn(lambda h, m, p: torch.cat([m(h), p(h)], 1), d.conv(4), d.of("MaxPool")(3, 1, 1))
)
kind("squeeze and excitation", local=False, straight=False)(
    lambda d: Fn(
        lambda h, a, b: h * torch.sigmoid(b(functional.relu(a(h.mean(last(h), keepdim=True))))),
        d.conv(4, 1), d.of("Conv")(4, d.channels, 1),
    )
)  # fmt: skip
kind("squeeze and excitation, linear", local=False, straight=False)(
    lambda d: Fn(
        lambda h, m: h * torch.sigmoid(m(h.mean(last(h)))).reshape(len(h), -1, *[1] * d.axes),
        nn.Linear(d.channels, d.channels),
    )
)
kind("gate of space", straight=False)(lambda d: Fn(lambda h, m: h * torch.sigmoid(m(h)), d.conv(1)))
kind("gate of space by mean and most", straight=False)(
    lambda d: Fn(
        lambda h, m: h * torch.sigmoid(m(torch.cat([h.mean(1, keepdim=True), h.amax(1, keepdim=True)], 1))),
        d.of("Conv")(2, 1, 3, padding=1),
    )
)
kind("gate GLU", straight=False)(lambda d: Fn(lambda h, m: functional.glu(m(h), 1), d.conv(8)))
kind("gate of two convs", straight=False)(
    lambda d: Fn(lambda h, a, b: a(h) * functional.silu(b(h)), d.conv(), d.conv())
)
kind("channels shuffled")(lambda d: Fn(lambda h: h.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)))
kind("channels parted, one half run")(
    lambda d: Fn(
        lambda h, m: torch.cat([h.chunk(2, 1)[0], m(h.chunk(2, 1)[1])], 1),
        d.of("Conv")(d.channels // 2, d.channels // 2, 3, padding=1),
    )
)
kind("U-shape", halves=True)(
    lambda d: Fn(
        lambda h, a, b, p: b(torch.cat([h, functional.interpolate(a(p(h)), size=h.shape[2:])], 1)),
        d.conv(), d.of("Conv")(2 * d.channels, 8, 1), d.of("MaxPool")(2),
    )
)  # fmt: skip
kind("attention over space", local=False, straight=False)(lambda d: SpaceAttention(d))
kind("checkpoint")(lambda d: Fn(lambda h, m: checkpoint(m, h, use_reentrant=False), d.conv()))
kind("checkpoint, re-entrant")(lambda d: Fn(lambda h, m: checkpoint(m, h, use_reentrant=True), d.conv()))
kind("dropout at rest")(lambda d: nn.Sequential(d.of("Dropout")(0.5), d.conv()))
kind("identity")(lambda d: nn.Identity())
kind("weight norm")(lambda d: parametrizations.weight_norm(d.conv()))
kind("spectral norm")(lambda d: parametrizations.spectral_norm(d.conv()))
kind("weight norm of the old kind")(lambda d: nn.utils.weight_norm(d.conv()))


class LayerScale(nn.Module):
    def __init__(self, inner: nn.Module, channels: int, axes: int) -> None:
        super().__init__()
        self.inner, self.gamma = inner, nn.Parameter(torch.rand(channels, *[1] * axes))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.gamma * self.inner(h)


class SpaceAttention(nn.Module):
    """Every cell looks at every cell, and what it saw is added (wang2018's non-local block)."""

    def __init__(self, d: Draw) -> None:
        super().__init__()
        self.key, self.value, self.fused = d.conv(4, 1), d.conv(d.channels, 1), d.rng.random() < 0.5

    def forward(self, h: Tensor) -> Tensor:
        key, value = self.key(h).flatten(2).mT, self.value(h).flatten(2).mT
        if self.fused:
            seen = functional.scaled_dot_product_attention(key, key, value)
        else:
            seen = torch.softmax(torch.bmm(key, key.mT) / 2, -1) @ value
        return h + seen.mT.reshape(h.shape)


# -- forwards that keep something --------------------------------------------------------------------------------------


class Keeping(nn.Module):
    """A forward that keeps what its `how` says, and gives the image back, scaled by a table."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("steps", torch.zeros(()))
        self.forget()

    def forget(self) -> None:
        """Be as before the first run."""
        self.calls, self.table, self.kept = 0, None, {}
        self._buffers.pop("ramp", None)
        self._non_persistent_buffers_set.discard("ramp")
        self.steps.zero_()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, h: Tensor) -> Tensor:
        if self.how == "table":
            if self.table is None or self.table.shape[0] != h.shape[-1]:
                self.table = torch.linspace(0.5, 1.5, h.shape[-1], dtype=h.dtype)
            return h * self.table
        if self.how == "buffer":
            if "ramp" not in self._buffers:
                self.register_buffer("ramp", torch.linspace(0.5, 1.5, h.shape[-1], dtype=h.dtype), persistent=False)
            return h * self.ramp
        if self.how == "feature":
            self.kept[len(self.kept) % 3] = h
        elif self.how == "counter":
            self.calls += 1
            self.steps += 1
        else:
            h = h + 0 * torch.rand((), generator=self.generator) + 0 * torch.rand(()) + 0 * random.random()
        return h


for how in ("table", "buffer", "feature", "counter", "generator"):
    kind(f"keeps a {how}", stateful=True)(lambda d, how=how: Keeping(how))
