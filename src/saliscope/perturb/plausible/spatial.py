"""The same patient lying a little otherwise: turned, moved, nearer; in the plane of the last two axes.

Nothing is ever mirrored: left and right are anatomy. A map of the moved image is put back by the exact inverse and
compared only where both exist. Turning is by elements: where they are not square the true angle differs a little,
which the inverse undoes all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError

if TYPE_CHECKING:
    from torch import Tensor

#: A matrix (rows of two) and a move in elements: p goes to matrix (p - middle) + middle + move.
Motion = tuple[tuple[tuple[float, float], tuple[float, float]], tuple[float, float]]
#: Shares of an element by which a place may seem to lie outside because of rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Affine:
    """A rotation in degrees about the middle, a scale, then a move by shares of each axis (`rows`, `columns`).

    What comes into view holds the value of the nearest edge. The magnitudes are conventions, no source was found.
    Raises MetricError unless the scale is positive and all are finite.
    """

    degrees: float = 0.0
    scale: float = 1.0
    rows: float = 0.0
    columns: float = 0.0

    control: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (0 < self.scale < float("inf") and all(abs(v) < 360 for v in (self.degrees, self.rows, self.columns))):
            raise MetricError(f"{self}", expected="a positive scale and finite moves", do="Correct the fields.")

    @property
    def name(self) -> str:
        """Return the magnitudes that are not nothing."""
        words = [f"rotation by {self.degrees:+g} degrees"] if self.degrees else []
        words += [f"scale {self.scale:g}"] if self.scale != 1 else []
        words += [f"shift by {100 * self.rows:+g} % of the rows"] if self.rows else []
        words += [f"shift by {100 * self.columns:+g} % of the columns"] if self.columns else []
        return ", ".join(words) or "no move"

    def apply(self, x: Tensor, seed: int) -> Tensor:  # noqa: ARG002 - the contract of a perturbation
        """Return the moved image (1, C, *S), linear between elements."""
        return _sampled(x, *_places(x.shape[-2:], _inverse(self._motion(x.shape[-2:]))))[0]

    def restore(self, attribution: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map (*S) where it was before the move, and where (*S) that lay inside the moved image."""
        return _sampled(attribution, *_places(attribution.shape[-2:], self._motion(attribution.shape[-2:])))

    def _motion(self, plane: tuple[int, ...]) -> Motion:
        turn = radians(self.degrees)
        c, s = self.scale * cos(turn), self.scale * sin(turn)
        return ((c, -s), (s, c)), (self.rows * plane[0], self.columns * plane[1])


@dataclass(frozen=True)
class Resampled:
    """The control: an image turned and turned back, so that only what interpolation does to it is left."""

    degrees: float = 3.0

    control: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return how far it was turned and back."""
        return f"turned by {self.degrees:g} degrees and back"

    def apply(self, x: Tensor, seed: int) -> Tensor:
        """Return the image (1, C, *S) where it was, interpolated twice."""
        moved = Affine(self.degrees).apply(x, seed)
        return Affine(-self.degrees).apply(moved, seed)

    def restore(self, attribution: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map (*S) as it is, and where (*S) the image was never out of view."""
        return attribution, Affine(self.degrees).restore(attribution)[1]


def _inverse(motion: Motion) -> Motion:
    ((a, b), (c, d)), (r, q) = motion
    size = a * d - b * c
    matrix = ((d / size, -b / size), (-c / size, a / size))
    back = tuple(-(row[0] * r + row[1] * q) for row in matrix)
    return matrix, (back[0], back[1])


def _places(plane: tuple[int, ...], motion: Motion) -> tuple[Tensor, Tensor]:
    """Return the row and the column (H, W), in float64, to which each element of a plane goes."""
    import torch

    middle = [(n - 1) / 2 for n in plane]
    rows = torch.arange(plane[0], dtype=torch.float64)[:, None] - middle[0]
    columns = torch.arange(plane[1], dtype=torch.float64)[None] - middle[1]
    found = [
        row[0] * rows + row[1] * columns + centre + move
        for row, centre, move in zip(motion[0], middle, motion[1], strict=True)
    ]
    return found[0], found[1]


def _sampled(values: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return values (..., H, W) at places, linear between elements, and where (..., H, W) these lie inside."""
    import torch

    height, width = values.shape[-2:]
    inside = torch.ones_like(rows, dtype=torch.bool)
    ends: list[tuple[Tensor, Tensor, Tensor]] = []
    for at, size in ((rows, height), (columns, width)):
        inside &= (at >= -ROUNDING) & (at <= size - 1 + ROUNDING)
        kept = at.clamp(0, size - 1)
        low = kept.floor()
        share = (kept - low).to(values)
        first = low.long().to(values.device)
        ends.append((first, (first + 1).clamp(max=size - 1), share))
    (top, bottom, down), (left, right, across) = ends
    # In this form a constant stays one to the last bit.
    upper = values[..., top, left] + (values[..., top, right] - values[..., top, left]) * across
    lower = values[..., bottom, left] + (values[..., bottom, right] - values[..., bottom, left]) * across
    return upper + (lower - upper) * down, inside.to(values.device).expand(values.shape)
