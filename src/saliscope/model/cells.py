"""Where the cells of a layer lie on the input, axis by axis.

The centre of cell j is at input index offset + stride * j (receptive field arithmetic, araujo2019, eq. 5 to 8).
A map that is merely stretched edge to edge over the input assumes offset (stride - 1) / 2, which a padded strided
convolution does not have: in a ResNet the last layer's cell 0 is centred on pixel 0, not on pixel 15.5.
"""

from __future__ import annotations

from dataclasses import dataclass

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Cells:
    """Per axis, in input elements: step between cells, centre of cell 0, width of the receptive field."""

    stride: Numbers
    offset: Numbers
    field: Numbers


def untouched(axes: int) -> Cells:
    """Return the cells of the input itself."""
    return Cells((1.0,) * axes, (0.0,) * axes, (1.0,) * axes)
