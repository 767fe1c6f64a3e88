"""Networks drawn at random from many kinds of block, and what is known of each by construction."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from model import random_blocks
from model.random_kinds import KINDS, Draw, Facts, Kind, Moved
from model.random_outputs import HANDED, Net, logits_of
from model.random_stages import (
    ConvNeXtBlock,
    Folded,
    Merging,
    MixerBlock,
    TokenBlock,
    Tokens,
    WindowBlock,
    readout,
)

assert random_blocks.__doc__  # its kinds are among KINDS

#: How often a layout is drawn.
LAYOUTS = {"grid": 60, "tokens": 15, "channels last": 15, "folded": 10}
CLASSES = 3
#: Below this a grid is not halved, and above it not doubled.
SMALLEST, LARGEST = 4, 24
#: Sizes of images, most of them longer along one axis, so that axes which change places show.
SIZES = {2: [(16, 16), (16, 24), (24, 16)], 3: [(8, 8, 8), (8, 8, 12), (8, 12, 8), (12, 8, 8)]}
DOUBLING = ("conv transposed", "upsample nearest", "upsample linear", "pixel shuffle")
SHRINKING = ("cropped", "conv even", "activation on inner cells, in place")


@dataclass
class Growing:
    """A chain of stages as it grows, with what is known of it so far."""

    rng: random.Random
    axes: int
    h: Tensor
    stages: list[nn.Module]
    kinds: list[str]
    stride: list[float]
    offset: list[float]
    coarsest: float = 1.0
    uneven: float = 0.0
    local: bool = True
    straight: bool = True
    mixing: bool = False
    stateful: bool = False

    def draw(self) -> Draw:
        return Draw(self.rng, self.axes, self.h.shape[1], tuple(self.h.shape[2:]))

    def add(self, name: str, module: nn.Module, *, local: bool = True, straight: bool = True) -> None:
        """Run a stage and keep it."""
        with torch.no_grad():
            self.h = module.double().eval()(self.h.clone())
        self.stages.append(module)
        self.kinds.append(name)
        self.local &= local
        self.straight &= straight

    def add_kind(self, kind: Kind) -> None:
        made = kind.make(self.draw())
        if isinstance(made, Moved):
            self.move(made.stride, made.shift)
            if made.uneven or kind.name == "conv transposed":
                self.uneven = max(self.uneven, self.coarsest)
            made = made.module
        self.mixing |= kind.mixing
        self.stateful |= kind.stateful
        if kind.name == "U-shape":
            self.uneven = max(self.uneven, 2 * max(self.stride))
        self.add(kind.name, made, local=kind.local, straight=kind.straight)

    def move(self, stride: tuple[float, ...], shift: tuple[float, ...]) -> None:
        self.offset = [o + s * d for o, s, d in zip(self.offset, self.stride, shift, strict=True)]
        self.stride = [s * t for s, t in zip(self.stride, stride, strict=True)]
        self.coarsest = max(self.coarsest, *self.stride)

    def fits(self, kind: Kind) -> bool:
        grid = self.h.shape[2:]
        doubled = kind.name in DOUBLING
        halved = not kind.halves or (min(grid) >= 2 * SMALLEST and all(n % 2 == 0 for n in grid))
        small = min(grid) >= SMALLEST or kind.name not in (
            "cropped",
            "conv even",
            "activation on inner cells, in place",
        )
        return self.axes in kind.axes and halved and small and (not doubled or max(grid) * 2 <= LARGEST)

    def add_random(self, count: int, allowed: Callable[[Kind], bool]) -> None:
        for _ in range(count):
            choice = self.rng.choice([k for k in KINDS.values() if self.fits(k) and allowed(k)])
            self.add_kind(choice)

    def facts(self, seed: int, layout: str, handed: str, zero: bool) -> dict[str, Any]:
        return {
            "seed": seed, "axes": self.axes, "layout": layout, "kinds": (*self.kinds, f"output: {handed}"),
            "stride": tuple(self.stride), "offset": tuple(self.offset),
            "slack": 0.5 if not self.uneven else 0.5 + self.uneven / 2, "local": self.local,
            "straight": self.straight, "zero_biases": zero, "mixing": self.mixing, "stateful": self.stateful,
            "may_refuse": "its logits stand in an object" if handed == "dataclass" else "",
        }  # fmt: skip


def random_net(seed: int) -> tuple[nn.Module, Tensor, Facts]:
    """Return a network at rest in float64, an image (1, C, *S) for it, and what is known of it."""
    return _tried(seed, _attempt(seed))


@cache
def _attempt(seed: int) -> int:
    """Return the first draw of a seed that torch itself can run and differentiate."""
    for attempt in range(100):
        try:
            net, x, _ = _tried(seed, attempt)
            if _sound(net, x):
                return attempt
        except (RuntimeError, ValueError):
            continue
    raise AssertionError(f"no network of seed {seed} is one that torch can run")


def _tried(seed: int, attempt: int) -> tuple[nn.Module, Tensor, Facts]:
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed * 1000 + attempt)
        return _drawn(seed, random.Random(seed * 1000 + attempt))


def _drawn(seed: int, rng: random.Random) -> tuple[nn.Module, Tensor, Facts]:
    layout = rng.choices(list(LAYOUTS), list(LAYOUTS.values()))[0]
    axes = 2 if layout == "channels last" else 3 if layout == "folded" else rng.choice([2, 2, 3])
    x = torch.randn(1, rng.choice([1, 1, 3]), *rng.choice(SIZES[axes]), dtype=torch.float64) + 0.3
    grown = 2 if layout == "folded" else axes
    start = x.transpose(1, 2).flatten(0, 1) if layout == "folded" else x
    growing = Growing(rng, grown, start, [], [], [1.0] * grown, [0.0] * grown)
    handed = rng.choices(list(HANDED), [24, 4, 4, 2, 1])[0]
    zero = rng.random() < 0.5
    stem = growing.draw().conv(8, rng.choice([3, 5]), stride=1)
    growing.add("stem", stem)
    made = {"grid": _grid, "tokens": _tokens, "channels last": _channels_last, "folded": _folded}[layout]
    body, pooled, known = made(growing, len(x))
    width = known.pop("width")
    net = Net(body, pooled, width, CLASSES, HANDED[handed]).double().eval()
    _settle_weights(net, rng, zero)
    facts = growing.facts(seed, layout, handed, zero)
    if layout == "folded":
        facts |= {"axes": 3, "stride": (1.0, *facts["stride"]), "offset": (0.0, *facts["offset"])}
    return net, x, Facts(**{**facts, **known, "accept": (known["last"], *known.get("accept", ()))})


def _grid(growing: Growing, n: int) -> tuple[nn.Module, nn.Module, dict[str, Any]]:
    rng = growing.rng
    way = rng.choices(["any", "mixing", "straight"], [45, 25, 30])[0]
    growing.add_random(rng.randint(2, 6), lambda k: not k.mixing and (k.straight or way != "straight"))
    if way == "mixing":
        growing.add_random(1, lambda k: k.mixing)
        growing.add_random(1, lambda k: not k.mixing)
    h = growing.h
    body = nn.Sequential(*growing.stages)
    straight = ["mean", "mean", "largest", "mean and largest"]
    name = rng.choice(straight if way == "straight" else [*straight, "logsumexp", "squared"])
    growing.straight &= name in straight
    known = {"last": f"body.{len(body) - 1}", "arrange": lambda t: t, "grid": tuple(h.shape[2:]), "width": h.shape[1]}
    return body, readout(name), known


def _tokens(growing: Growing, n: int) -> tuple[nn.Module, nn.Module, dict[str, Any]]:
    rng = growing.rng
    growing.add_random(rng.randint(0, 2), lambda k: not k.mixing and not k.halves and growing.fits(k))
    patch = rng.choice([2, 4])
    growing.move((patch,) * growing.axes, ((patch - 1) / 2,) * growing.axes)
    grid = growing.h.shape[2:]
    growing.add("patch embedding", growing.draw().of("Conv")(growing.h.shape[1], 8, patch, stride=patch))
    grid = tuple(growing.h.shape[2:])
    extra = rng.choice([0, 0, 1, 3])
    growing.add(f"tokens and {extra} more", Tokens(growing.draw(), extra))
    mixer = extra == 0 and rng.random() < 0.3
    for _ in range(rng.randint(1, 2)):
        tokens = growing.h.shape[1]
        block = MixerBlock(8, tokens) if mixer else TokenBlock(8, fused=rng.random() < 0.5)
        growing.add("mixer" if mixer else "transformer", block, local=False, straight=False)
    by_class = extra > 0 and rng.random() < 0.5
    end = len(growing.stages) - 1
    if rng.random() < 0.5 or by_class:
        growing.add("norm of tokens", nn.LayerNorm(8), straight=False)
    body = nn.Sequential(*growing.stages)
    last = f"body.{len(body) - 1}"
    accept: tuple[str, ...] = ()
    if by_class:
        # Of what comes after the last attention only the class token is used: no cell of it reaches the output.
        last, accept = f"body.{end}.norm1", (f"body.{end}.attn.qkv", f"body.{end - 1}")

    def arrange(t: Tensor) -> Tensor:
        return t[:, extra:].transpose(1, 2).unflatten(2, grid)

    name = "class token" if by_class else "tokens"
    return body, readout(name), {"last": last, "accept": accept, "arrange": arrange, "grid": grid, "width": 8}


class ToLast(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return h.movedim(1, -1)


def _channels_last(growing: Growing, n: int) -> tuple[nn.Module, nn.Module, dict[str, Any]]:
    rng = growing.rng
    growing.add("patch embedding", growing.draw().of("Conv")(growing.h.shape[1], 8, 2, stride=2))
    growing.move((2.0, 2.0), (0.5, 0.5))
    draw = growing.draw()
    growing.add("to channels last", ToLast())
    swin = rng.random() < 0.5

    def blocks(count: int) -> None:
        for i in range(count):
            block = WindowBlock(8, shift=i % 2 == 1, fused=rng.random() < 0.5) if swin else ConvNeXtBlock(draw)
            growing.add("windows" if swin else "ConvNeXt", block, local=not swin, straight=False)

    blocks(2)
    if rng.random() < 0.6:
        growing.move((2.0, 2.0), (0.5, 0.5))
        growing.add("patches merged", Merging(8), straight=False)
        blocks(1)
    if rng.random() < 0.7:
        growing.add("norm", nn.LayerNorm(8), straight=False)
    body = nn.Sequential(*growing.stages)
    grid = tuple(growing.h.shape[1:3])
    known = {"last": f"body.{len(body) - 1}", "arrange": lambda t: t.movedim(-1, 1), "grid": grid, "width": 8}
    return body, readout("channels last"), known


def _folded(growing: Growing, n: int) -> tuple[nn.Module, nn.Module, dict[str, Any]]:
    growing.add_random(growing.rng.randint(2, 3), lambda k: not k.mixing)
    planes, grid, width = growing.h.shape[0] // n, tuple(growing.h.shape[2:]), growing.h.shape[1]
    inner = nn.Sequential(*growing.stages)
    how = growing.rng.choice(["mean", "max", "lstm", "gru", "attention"])
    growing.kinds.append(f"slices by {how}")
    growing.straight &= how in ("mean", "max")

    def arrange(t: Tensor) -> Tensor:
        return t.unflatten(0, (-1, planes)).transpose(1, 2)

    known = {"last": f"body.body.{len(inner) - 1}", "arrange": arrange, "grid": (planes, *grid), "width": width}
    return Folded(inner, width, how), nn.Identity(), known


def _settle_weights(net: nn.Module, rng: random.Random, zero: bool) -> None:
    """Draw statistics far from those at birth, and take every bias away where asked."""
    with torch.no_grad():
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                value.zero_() if zero else value.normal_(0, 0.2)
            elif zero and (name.endswith("bias") or "bias_" in name):
                value.zero_()
    for module in net.modules():
        if isinstance(module, random_blocks.Keeping):
            module.forget()


def _sound(net: nn.Module, x: Tensor) -> bool:
    """Return whether plain torch can differentiate the network, and the score depends on the image, twice the same."""
    image = x.clone().requires_grad_()
    with torch.enable_grad():
        logits = logits_of(net(image))
        logits[0, 1].backward()  # a re-entrant checkpoint takes no other way
    gradient = image.grad
    assert gradient is not None
    again = logits_of(net(x))
    other = logits_of(net(0.5 * x.flip(-1)))
    effect = (gradient * x).abs().sum() / logits[0, 1].abs()
    apart = (other - again).abs()[0, 1] / again.abs()[0, 1]
    alike = torch.allclose(logits, again, rtol=1e-12) and bool(gradient.isfinite().all())
    return alike and 1e-4 < effect.item() < 1e6 and apart.item() > 1e-6
