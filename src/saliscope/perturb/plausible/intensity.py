"""The same patient shown or received otherwise: window, gamma, gain, depth compensation, uneven coils.

All magnitudes are conventions, no source was found; scales are those of `scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.perturb.plausible.scale import on_own_scale

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A display window whose centre is moved by a share of the range and whose width is `width` times as large."""

    centre: float = 0.0
    width: float = 1.0

    control: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive(self.width, self)

    @property
    def name(self) -> str:
        """Return the magnitudes."""
        return f"window centre {100 * self.centre:+g} % of the range, width x {self.width:g}"

    def apply(self, x: Tensor, seed: int) -> Tensor:  # noqa: ARG002 - the contract of a perturbation
        """Return the image (1, C, *S) through the other window."""
        return on_own_scale(x, lambda u, bulk: (u - 0.5 - self.centre * bulk) / self.width + 0.5)


@dataclass(frozen=True)
class Gamma:
    """Another curve of the display: the image between its least and greatest value to a power."""

    exponent: float = 1.1

    control: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive(self.exponent, self)

    @property
    def name(self) -> str:
        """Return the exponent."""
        return f"gamma {self.exponent:g}"

    def apply(self, x: Tensor, seed: int) -> Tensor:  # noqa: ARG002 - the contract of a perturbation
        """Return the image (1, C, *S) along the other curve."""
        return on_own_scale(x, lambda u, _: u**self.exponent)


@dataclass(frozen=True)
class Intensity:
    """All values above the least one times a factor: MR has no unit."""

    factor: float = 1.1

    control: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive(self.factor, self)

    @property
    def name(self) -> str:
        """Return the factor."""
        return f"intensity x {self.factor:g}"

    def apply(self, x: Tensor, seed: int) -> Tensor:  # noqa: ARG002 - the contract of a perturbation
        """Return the scaled image (1, C, *S)."""
        return on_own_scale(x, lambda u, _: u * self.factor)


@dataclass(frozen=True)
class Gain:
    """Ultrasound received louder by `decibels`, on a display that shows `dynamic_range` decibels by their logarithm.

    With `tilt` the gain rises along the rows (the depth) from minus to plus `decibels`, as a depth compensation set
    otherwise does. What has the least value of all has no echo, and stays.
    """

    decibels: float = 2.0
    tilt: bool = False
    dynamic_range: float = 60.0

    control: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive(self.dynamic_range, self)

    @property
    def name(self) -> str:
        """Return the decibels."""
        return f"{'depth gain tilted by' if self.tilt else 'gain'} {self.decibels:+g} dB"

    def apply(self, x: Tensor, seed: int) -> Tensor:  # noqa: ARG002 - the contract of a perturbation
        """Return the image (1, C, *S) at the other gain."""
        import torch

        rows = x.shape[-2]
        slope = torch.linspace(-1, 1, rows, dtype=x.dtype, device=x.device)[:, None] if self.tilt else x.new_ones(())
        louder = slope * self.decibels / self.dynamic_range
        return on_own_scale(x, lambda u, _: (u + louder).where(u > 0, u))


@dataclass(frozen=True)
class BiasField:
    """A smooth factor over an MR image, from 1 - strength to 1 + strength: half a wave along each axis, drawn."""

    strength: float = 0.1

    control: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength < 1:
            raise MetricError(f"{self}", expected="a strength from 0 to below 1", do="Correct the field.")

    @property
    def name(self) -> str:
        """Return the strength."""
        return f"bias field of {100 * self.strength:g} %"

    def apply(self, x: Tensor, seed: int) -> Tensor:
        """Return the image (1, C, *S) times the field; where it is brighter is drawn from the seed."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        weights = torch.rand(x.ndim - 2, generator=generator, dtype=torch.float64) * 2 - 1
        field = torch.zeros((), dtype=torch.float64)
        for size, weight in zip(x.shape[2:], weights, strict=True):
            wave = torch.cos(pi * (torch.arange(size, dtype=torch.float64) + 0.5) / size)
            field = field[..., None] + weight * wave
        field = (field / field.abs().max().clamp(min=1e-12)).to(x)
        return on_own_scale(x, lambda u, _: u * (1 + self.strength * field))


def _positive(value: float, whole: object) -> None:
    if not 0 < value < float("inf"):
        raise MetricError(f"{whole}", expected="a positive, finite magnitude", do="Correct the fields.")
