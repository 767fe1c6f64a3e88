"""Random fields over millimetres: a field is its waves, so one patient is the same on every grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.floating]
Complexes = npt.NDArray[np.complexfloating]

#: A field repeats itself after so many millimetres; wider than any picture made from it.
PERIOD_MM = 64.0
#: Waves beyond this many per grain are not drawn: all of them together would hold less than 0.001 of the variance.
CUT = 0.4


@dataclass(frozen=True, eq=False)
class Waves:
    """A complex Gaussian field whose real and imaginary parts have variance 1 everywhere.

    `grain_mm` is the standard deviation of the Gaussian smoothing along depth and along width;
    `strengths` (depth waves, width waves) are the amplitudes of the waves, before smoothing.
    """

    grain_mm: tuple[float, float]
    strengths: Complexes = field(repr=False)

    @classmethod
    def drawn(cls, rng: np.random.Generator, depth_mm: float, width_mm: float) -> Self:
        """Return a field of this grain."""
        shape = (2 * _highest(depth_mm) + 1, 2 * _highest(width_mm) + 1)
        real, imaginary = rng.standard_normal((2, *shape), dtype=np.float32)
        return cls((depth_mm, width_mm), real + np.complex64(1j) * imaginary)

    def along(self, z: Reals, x: Reals, drop: Reals) -> Complexes:
        """Return the field (*S) at depths z and widths x (mm), each column moved down by `drop` (mm)."""
        deep, wide = (_highest(g) for g in self.grain_mm)
        slow, fast = _gain(deep, self.grain_mm[0]), _gain(wide, self.grain_mm[1])
        columns = (self.strengths * slow[:, None] * fast) @ _turns(wide, tuple(x)).T
        columns *= _turned(-2 * np.pi / PERIOD_MM * np.outer(np.arange(-deep, deep + 1), drop))
        found: Complexes = _turns(deep, tuple(z)) @ columns
        return found

    def spread(self, z: Reals, x: Reals, width_mm: Reals) -> Complexes:
        """Return the field (*S) with a grain along width of its own in every row, `width_mm` (rows), none finer."""
        deep, wide = (_highest(g) for g in self.grain_mm)
        rows = _turns(deep, tuple(z)) @ (self.strengths * _gain(deep, self.grain_mm[0])[:, None])
        rows *= np.stack([_gain(wide, float(w)) for w in width_mm])
        found: Complexes = rows @ _turns(wide, tuple(x)).T
        return found


def _highest(grain_mm: float) -> int:
    return int(np.ceil(CUT / grain_mm * PERIOD_MM))


def _gain(highest: int, grain_mm: float) -> Reals:
    waves = np.arange(-highest, highest + 1) / PERIOD_MM
    gain = np.exp(-2 * (np.pi * waves * grain_mm) ** 2)
    found: Reals = (gain / np.sqrt((gain**2).sum())).astype(np.float32)
    return found


def _turned(angle: Reals) -> Complexes:
    small = angle.astype(np.float32)
    found: Complexes = np.empty(angle.shape, np.complex64)
    found.real, found.imag = np.cos(small), np.sin(small)
    return found


@lru_cache(maxsize=32)
def _turns(highest: int, places: tuple[float, ...]) -> Complexes:
    """Return every wave (places, waves) at these places."""
    turns = _turned(2 * np.pi / PERIOD_MM * np.outer(places, np.arange(-highest, highest + 1)))
    turns.setflags(write=False)
    return turns
