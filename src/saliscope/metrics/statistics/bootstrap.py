"""The bootstrap over whole groups: images of one patient are drawn together, because they are not independent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.score import Interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

DRAWS = 2000
#: With fewer groups than this the correction of BCa is itself noise: percentiles are taken, and it is said.
LEAST = 30


def clustered(
    values: Sequence[float] | Floats,
    groups: Sequence[Hashable],
    statistic: Callable[[Floats], float] | None = None,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval | None:
    """Return the interval of a statistic, the mean by default, of rows of values (n, ...), groups drawn as a whole.

    BCa (efron1987) from 30 groups on, percentiles below; None with fewer than two groups. A draw whose statistic is
    not finite is left out. Raises MetricError unless each value has a group.
    """
    import numpy as np
    from scipy.stats import norm

    rows = np.asarray(values, np.float64)
    if len(rows) != len(groups):
        raise MetricError(f"{len(rows)} values and {len(groups)} groups", expected="one each", do="Give both.")
    numbers = {g: i for i, g in enumerate(dict.fromkeys(groups))}
    member = np.array([numbers[g] for g in groups], np.int64)
    count = len(numbers)
    if count < 2:
        return None
    chosen = np.random.default_rng(seed).integers(count, size=(draws, count))
    drawn = _of_mean if statistic is None else partial(_of_any, statistic=statistic)
    whole, found, left = drawn(rows, member, chosen)
    found, left = found[np.isfinite(found)], left[np.isfinite(left)]
    if not len(found):
        return None
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    kind = f"percentile bootstrap over {count} groups"
    if count >= LEAST:
        below = ((found < whole).sum() + 0.5 * (found == whole).sum()) / len(found)
        gap = left.mean() - left
        spread = float((gap**2).sum())
        if 0 < below < 1 and spread > 0:
            bias, skew = norm.ppf(below), float((gap**3).sum()) / (6 * spread**1.5)
            at = bias + norm.ppf(tails)
            tails = norm.cdf(bias + at / (1 - skew * at))
            kind = f"BCa bootstrap over {count} groups"
    low, high = np.quantile(found, tails)
    return Interval(float(low), float(high), kind, level)


def _of_mean(rows: Floats, member: Numbers, chosen: Numbers) -> tuple[float, Floats, Floats]:
    """Return the mean of all rows, of those of each draw of groups, and of those without each group."""
    import numpy as np

    sums = np.bincount(member, weights=rows.reshape(len(rows), -1).sum(1))
    sizes = np.bincount(member) * (rows.size // len(rows))
    left = (sums.sum() - sums) / (sizes.sum() - sizes)
    return float(sums.sum() / sizes.sum()), sums[chosen].sum(1) / sizes[chosen].sum(1), left


def _of_any(
    rows: Floats, member: Numbers, chosen: Numbers, statistic: Callable[[Floats], float]
) -> tuple[float, Floats, Floats]:
    """Return the same of any statistic, one draw after another."""
    import numpy as np

    parts = [np.flatnonzero(member == i) for i in range(chosen.shape[1])]
    found = np.array([statistic(rows[np.concatenate([parts[i] for i in one])]) for one in chosen])
    return statistic(rows), found, np.array([statistic(rows[member != i]) for i in range(len(parts))])
