"""What both pages of first results share: statistics with intervals by bootstrap over groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DRAWS = 2000
#: A rank correlation has to be taken anew for every draw.
DRAWS_OF_RANKS = 300


class Estimate(NamedTuple):
    """A statistic with its 95 % interval and the number of values behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "–"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]".replace("-0.00", "0.00").replace("-", "−")

    @property
    def sure(self) -> int:
        """Return the sign where the interval leaves zero out, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def mean(values: Sequence[float], groups: Sequence[int]) -> Estimate:
    """Return the mean of what is known among values, whole groups drawn for the interval."""
    known, group = np.array(values, np.float64), np.array(groups)
    known, group = known[np.isfinite(known)], group[np.isfinite(known)]
    if not len(known):
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, member = np.unique(group, return_inverse=True)
    total, count = np.bincount(member, known), np.bincount(member)
    drawn = np.random.default_rng(0).integers(len(total), size=(DRAWS, len(total)))
    low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return Estimate(float(known.mean()), float(low), float(high), len(known))


def rank_correlation(a: Sequence[float], b: Sequence[float], groups: Sequence[int]) -> Estimate:
    """Return the rank correlation of two columns, 0 where one is constant, whole groups drawn for the interval."""
    pairs = np.array([a, b], np.float64)
    if pairs.shape[1] < 3:
        return Estimate(np.nan, np.nan, np.nan, 0)
    members = [np.flatnonzero(np.array(groups) == g) for g in np.unique(groups)]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS_OF_RANKS):
        chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        drawn.append(_spearman(pairs[:, chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(_spearman(pairs), float(low), float(high), pairs.shape[1])


def _spearman(pairs: Floats) -> float:
    from scipy.stats import rankdata

    first, second = rankdata(pairs, axis=1)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
