"""Sums and order statistics of a map, plane by plane: a volume has no copy of itself made for any of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]

#: From so many elements on, what a rank lies near is learnt from one in so many, then counted exactly.
LARGE, ONE_IN = 2**20, 61
#: So far from where the sample puts it, as a share of all, a rank is looked for.
MARGIN = 0.02


@dataclass(frozen=True, eq=False)
class Totals:
    """What the planes of a map add up to: how much is positive and negative on each slice across each axis."""

    positive: tuple[npt.NDArray[np.float64], ...]
    negative: tuple[npt.NDArray[np.float64], ...]

    @property
    def above(self) -> float:
        """Return the sum of all that is positive."""
        return float(self.positive[0].sum())

    @property
    def magnitude(self) -> float:
        """Return the sum of all magnitudes."""
        return self.above + float(self.negative[0].sum())


def totals(values: Map) -> Totals:
    """Return what a map (*S) adds up to, in one pass."""
    sums = [[np.zeros(n) for n in values.shape] for _ in range(2)]
    if values.ndim == 2:
        for sign, into in zip((1, -1), sums, strict=True):
            part = np.maximum(sign * values, 0)
            into[:] = [part.sum(axis, dtype=np.float64) for axis in (1, 0)]
    for i, plane in enumerate(values) if values.ndim == 3 else ():
        for sign, into in zip((1, -1), sums, strict=True):
            part = np.maximum(sign * plane, 0)
            rows = part.sum(1, dtype=np.float64)
            into[0][i] = rows.sum()
            into[1] += rows
            into[2] += part.sum(0, dtype=np.float64)
    return Totals(tuple(sums[0]), tuple(sums[1]))


def planes(*arrays: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Give the planes of volumes of one shape together, one after another; of pictures the whole."""
    yield from zip(*(a if a.ndim == 3 else a[None] for a in arrays), strict=True)


def percentile_of_magnitude(values: Map, percent: float) -> float:
    """Return a high percentile of the magnitudes that are not zero, linear between ranks; some must be."""
    if values.size >= LARGE:
        sample = np.abs(_sample(values))
        sample = np.sort(sample[sample != 0])
        least = sample[int(max(0.0, percent / 100 - MARGIN) * (len(sample) - 1))] if len(sample) else 0
        top = np.concatenate([a[(a >= least) & (a > 0)] for a in (np.abs(plane) for (plane,) in planes(values))])
        count = int(np.count_nonzero(values))
        at = percent / 100 * (count - 1)
        lower = int(at) - (count - len(top))  # of the rank below, among the top ones
        if lower >= 0:
            upper = min(lower + 1, len(top) - 1)
            top.partition((lower, upper))
            return float(top[lower]) + (at - int(at)) * (float(top[upper]) - float(top[lower]))
    return float(np.percentile(np.abs(values[values != 0]), percent))


def level_holding(values: Map, share: float) -> tuple[float, float]:
    """Return (level, held): the highest level whose set {value >= level} holds `share` of the positive sum.

    `held` is what the set really holds, ties included. Without a positive value both are 0.
    """
    bracket = _bracket(values, share) if values.size >= LARGE else None
    if bracket is not None:
        low, high = bracket
        total, above, between = 0.0, 0.0, []
        for (plane,) in planes(values):
            total += float(np.maximum(plane, 0).sum(dtype=np.float64))
            above += float(plane[plane >= high].sum(dtype=np.float64))
            between.append(plane[(plane >= low) & (plane < high)])
        falling = np.sort(np.concatenate(between))[::-1]
        if above < share * total * (1 - 1e-12) <= above + float(falling.sum(dtype=np.float64)):
            return _level(falling, share, above, total)
    falling = np.sort(values[values > 0])[::-1]
    return _level(falling, share, 0.0, float(falling.sum(dtype=np.float64)))


def _level(falling: Map, share: float, above: float, total: float) -> tuple[float, float]:
    """Return (level, held) among falling values, with a sum of what is `above` them all and the `total` sum."""
    if not falling.size:
        return 0.0, 0.0
    running = above + np.cumsum(falling, dtype=np.float64)
    at = min(int(np.searchsorted(running, share * total * (1 - 1e-12))), falling.size - 1)
    level = falling[at]
    last = falling.size - int(np.searchsorted(falling[::-1], level)) - 1
    return float(level), min(1.0, float(running[last] / total))


def _bracket(values: Map, share: float) -> tuple[float, float] | None:
    """Return two levels between which a sample says that the one sought lies; None where it says nothing."""
    sample = _sample(values)
    falling = np.sort(sample[sample > 0])[::-1]
    if len(falling) < 100:
        return None
    running = np.cumsum(falling, dtype=np.float64)
    at = np.searchsorted(running, np.array([share - MARGIN, share + MARGIN]).clip(0, 1) * running[-1])
    high, low = falling[at.clip(0, len(falling) - 1)]
    high = np.nextafter(high, np.float32(np.inf), dtype=np.float32)
    return float(low), float(high)


def _sample(values: Map) -> Map:
    found: Map = values.reshape(-1)[::ONE_IN]
    return found
