"""Kinds of block from which random networks are drawn: what each does to (N, C, *S), and what is known of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Draw:
    """What a block is drawn for: a generator, the number of axes, the channels, and the grid that comes in."""

    rng: random.Random
    axes: int
    channels: int
    grid: tuple[int, ...]

    def of(self, name: str) -> Any:
        """Return the class of torch's layers that has this name in two or three dimensions."""
        return getattr(nn, f"{name}{self.axes}d")

    def conv(self, out: int | None = None, size: int = 3, **fields: Any) -> nn.Module:
        """Return a convolution that keeps the grid unless told otherwise."""
        fields.setdefault("padding", size // 2)
        return self.of("Conv")(self.channels, out or self.channels, size, **fields)

    def act(self) -> nn.Module:
        """Return an activation of torch's, in place where it can be and the draw says so."""
        make = self.rng.choice(ACTIVATIONS)
        try:
            return make(inplace=self.rng.random() < 0.5)
        except TypeError:
            return make()


#: Every activation of torch.nn that works element by element and is continuous.
ACTIVATIONS: tuple[Callable[..., nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh,
    nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.LogSigmoid,
    nn.PReLU, nn.RReLU,
)  # fmt: skip
#: Those of pieces of straight lines through zero.
STRAIGHT: tuple[Callable[..., nn.Module], ...] = (nn.ReLU, nn.LeakyReLU, nn.PReLU)


@dataclass(frozen=True)
class Kind:
    """A kind of block, and what is known of it by construction.

    `local`: a cell of the output sees only cells near it; `straight`: pieces of straight lines through zero, whatever
    its biases; `mixing`: an image's output depends on its batch; `stateful`: forward keeps something.
    """

    name: str
    make: Callable[[Draw], Any]
    local: bool = True
    straight: bool = True
    mixing: bool = False
    stateful: bool = False
    axes: tuple[int, ...] = (2, 3)
    #: Whether the grid is halved: not drawn where it is small.
    halves: bool = False


@dataclass(frozen=True)
class Moved:
    """A block whose output cell j is centred on its input's element shift + stride * j."""

    module: nn.Module
    stride: Numbers
    shift: Numbers
    #: Whether the centres of single cells lie off that line, as those of an upsampled grid do.
    uneven: bool = False


KINDS: dict[str, Kind] = {}


def kind(name: str, **known: Any) -> Callable[[Callable[[Draw], Any]], Callable[[Draw], Any]]:
    """Return a decorator that keeps a kind of block under its name."""

    def keep(make: Callable[[Draw], Any]) -> Callable[[Draw], Any]:
        KINDS[name] = Kind(name, make, **known)
        return make

    return keep


class Fn(nn.Module):
    """A function of what comes in and of the layers inside, for blocks that are written as code."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, h: Tensor) -> Tensor:
        return self.function(h, *self.parts)


def moved(module: nn.Module, axes: int, stride: float, shift: float, *, uneven: bool = False) -> Moved:
    return Moved(module, (stride,) * axes, (shift,) * axes, uneven)


def last(h: Tensor) -> tuple[int, ...]:
    """Return the axes of space."""
    return tuple(range(2, h.ndim))


def across(h: Tensor) -> Tensor:
    """Return h with its channels last."""
    return h.movedim(1, -1)


def first(h: Tensor) -> Tensor:
    """Return h, whose channels are last, with channels first."""
    return h.movedim(-1, 1)


# -- convolutions and pools -------------------------------------------------------------------------------------------

kind("conv")(lambda d: d.conv(d.rng.choice([4, 6, 8])))
kind("conv of one")(lambda d: d.conv(d.rng.choice([4, 8]), 1, bias=False))
kind("conv dilated")(lambda d: d.conv(None, 3, dilation=2, padding=2))
kind("conv grouped")(lambda d: d.conv(None, 3, groups=2))
kind("conv depthwise")(lambda d: d.conv(None, 3, groups=d.channels))
kind("conv separable")(lambda d: nn.Sequential(d.conv(None, 3, groups=d.channels), d.conv(8, 1)))
kind("conv same")(lambda d: d.conv(None, 3, padding="same"))
kind("conv reflect")(lambda d: d.conv(None, 3, padding_mode=d.rng.choice(["reflect", "replicate"])))
kind("conv of einsum")(
    lambda d: Fn(lambda h, m: torch.einsum("nc...,oc->no...", h, m.weight), nn.Linear(d.channels, d.channels))
)
kind("conv by matmul")(lambda d: Fn(lambda h, m: first(m(across(h))), nn.Linear(d.channels, 8)))
kind("conv twice the same")(lambda d: Fn(lambda h, m: m(functional.leaky_relu(m(h))), d.conv()))
kind("max of two convs")(lambda d: Fn(lambda h, a, b: torch.maximum(a(h), b(h)), d.conv(), d.conv()))


@kind("conv strided", halves=True)
def strided(d: Draw) -> Moved:
    size = d.rng.choice([1, 2, 3, 5])
    padding = d.rng.choice([0, size // 2])
    return moved(d.conv(8, size, stride=2, padding=padding), d.axes, 2, (size - 1) / 2 - padding)


@kind("conv even")
def even(d: Draw) -> Moved:
    return moved(d.conv(None, 2, padding=0), d.axes, 1, 0.5)


@kind("conv padded to one side", halves=True)
def one_sided(d: Draw) -> Moved:
    convolution = d.conv(None, 3, stride=2, padding=0)
    return moved(Fn(lambda h, m: m(functional.pad(h, (0, 1) * d.axes)), convolution), d.axes, 2, 1)


@kind("conv padded unevenly")
def uneven_pad(d: Draw) -> Moved:
    low, high = d.rng.choice([(2, 0), (0, 2), (2, 1)])
    return moved(
        Fn(lambda h, m: m(functional.pad(h, (low, high) * d.axes)), d.conv(None, 3, padding=0)), d.axes, 1, 1 - low
    )


@kind("conv transposed")
def transposed(d: Draw) -> Moved:
    return moved(d.of("ConvTranspose")(d.channels, 4, 2, stride=2), d.axes, 0.5, -0.25, uneven=True)


@kind("conv down and transposed", halves=True)
def down_and_up(d: Draw) -> Moved:
    up = d.of("ConvTranspose")(d.channels, d.channels, 2, stride=2)
    both = nn.Sequential(d.conv(None, 2, stride=2, padding=0), up)
    return moved(both, d.axes, 1, 0, uneven=True)


@kind("patches", halves=True)
def patches(d: Draw) -> Moved:
    return moved(d.conv(8, 2, stride=2, padding=0), d.axes, 2, 0.5)


kind("pool max", halves=True)(lambda d: moved(d.of("MaxPool")(2), d.axes, 2, 0.5))
kind("pool max padded", halves=True)(lambda d: moved(d.of("MaxPool")(3, 2, 1), d.axes, 2, 0))
kind("pool max ceil", halves=True)(lambda d: moved(d.of("MaxPool")(2, ceil_mode=True), d.axes, 2, 0.5))
kind("pool max in place")(lambda d: d.of("MaxPool")(3, 1, 1))
kind("pool average", halves=True)(lambda d: moved(d.of("AvgPool")(3, 2, 1), d.axes, 2, 0))
kind("pool functional", halves=True)(
    lambda d: moved(Fn(lambda h: getattr(functional, f"avg_pool{d.axes}d")(h, 2)), d.axes, 2, 0.5)
)
kind("pool by reshaping", halves=True, axes=(2,))(
    lambda d: moved(Fn(lambda h: h.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))), 2, 2, 0.5)
)
kind("pool Lp", halves=True, straight=False, axes=(2,))(lambda d: moved(nn.LPPool2d(2, 2), 2, 2, 0.5))


@kind("pool adaptive", halves=True)
def adaptive(d: Draw) -> Moved:
    return moved(d.of("AdaptiveAvgPool")(tuple(n // 2 for n in d.grid)), d.axes, 2, 0.5)


@kind("blurred down", halves=True, axes=(2,))
def blurred(d: Draw) -> Moved:
    kernel = torch.tensor([1.0, 2, 1])
    weight = (kernel[:, None] * kernel / 16).expand(d.channels, 1, 3, 3).clone()
    module = Fn(lambda h: functional.conv2d(h, module.kernel, stride=2, padding=1, groups=h.shape[1]))
    module.register_buffer("kernel", weight, persistent=False)
    return moved(module, 2, 2, 0)


kind("upsample nearest")(lambda d: moved(nn.Upsample(scale_factor=2), d.axes, 0.5, -0.25, uneven=True))


@kind("upsample linear")
def upsampled(d: Draw) -> Moved:
    mode = "bilinear" if d.axes == 2 else "trilinear"
    return moved(nn.Upsample(scale_factor=2, mode=mode), d.axes, 0.5, -0.25, uneven=True)


@kind("pixel shuffle", axes=(2,))
def shuffled(d: Draw) -> Moved:
    return moved(nn.Sequential(d.conv(16), nn.PixelShuffle(2)), 2, 0.5, -0.25, uneven=True)


@kind("pixel unshuffle", axes=(2,), halves=True)
def unshuffled(d: Draw) -> Moved:
    return moved(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * d.channels, 8, 1)), 2, 2, 0.5)


@kind("space to depth by slices", axes=(2,), halves=True)
def sliced_focus(d: Draw) -> Moved:
    def focus(h: Tensor, m: nn.Module) -> Tensor:
        return m(torch.cat([h[..., ::2, ::2], h[..., 1::2, ::2], h[..., ::2, 1::2], h[..., 1::2, 1::2]], 1))

    return moved(Fn(focus, nn.Conv2d(4 * d.channels, 8, 1)), 2, 2, 0.5)


@kind("cropped")
def cropped(d: Draw) -> Moved:
    return moved(Fn(lambda h: h[(..., *[slice(1, -1)] * d.axes)]), d.axes, 1, 1)


# -- what a network's facts say --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What is known of a random network by construction.

    `last` names the last stage with a grid and `accept` the layers as good as it; `arrange` puts its output into
    (N, C, *S). Cell j of it is centred on element offset + stride * j, within `slack` where branches or upsampling
    make single centres lie off that line.
    """

    seed: int
    axes: int
    layout: str
    kinds: tuple[str, ...]
    last: str
    accept: tuple[str, ...]
    arrange: Callable[[Tensor], Tensor] = field(repr=False)
    grid: tuple[int, ...] = ()
    stride: Numbers = ()
    offset: Numbers = ()
    slack: float = 0.5
    local: bool = True
    straight: bool = False
    zero_biases: bool = False
    mixing: bool = False
    stateful: bool = False
    #: Why a method may refuse this network although torch can run it; empty where it may not.
    may_refuse: str = ""
