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
#: With fewer groups than this BCa and percentiles promise more than they hold: benchmarks/interval_coverage.md.
LEAST = 100
#: Where more than `COMMON` of the draws have less than `NARROW` of the standard error, as with few groups or with
#: one that is unlike all others, quotients by it have no bound, and Student's t is taken.
NARROW, COMMON = 0.01, 0.025
#: With fewer groups there are too few draws that differ to take quantiles of.
FEW = 5


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

    BCa (efron1987) from 100 groups on. Below, the mean has the bootstrap-t (hall1988), which divides every draw by its
    own standard error, or Student's t with fewer than five groups and where errors next to nothing are common;
    any other statistic has BCa whose tails are widened to those of Student's t (hesterberg2015). `kind` says which.
    None with fewer than two groups. A draw whose statistic is not finite is left out. Raises MetricError unless each
    value has a group.
    """
    import numpy as np

    rows = np.asarray(values, np.float64)
    if len(rows) != len(groups):
        raise MetricError(f"{len(rows)} values and {len(groups)} groups", expected="one each", do="Give both.")
    numbers = {g: i for i, g in enumerate(dict.fromkeys(groups))}
    member = np.array([numbers[g] for g in groups], np.int64)
    count = len(numbers)
    if count < 2:
        return None
    chosen = np.random.default_rng(seed).integers(count, size=(draws, count))
    if statistic is None and count < LEAST:
        sums, sizes = _totals(rows, member)
        low, high, kind = _studentised(sums, sizes, chosen, level)
        # The mean of what is 0 or 1 is no less and no more.
        if np.isin(rows, (0.0, 1.0)).all():
            low, high = max(low, 0.0), min(high, 1.0)
        return Interval(low, high, f"{kind} over {count} groups", level)
    drawn = _of_mean if statistic is None else partial(_of_any, statistic=statistic)
    whole, found, left = drawn(rows, member, chosen)
    found, left = found[np.isfinite(found)], left[np.isfinite(left)]
    if not len(found):
        return None
    tails, kind = _tails(whole, found, left, (level, count))
    low, high = np.quantile(found, tails)
    return Interval(float(low), float(high), f"{kind} over {count} groups", level)


def _tails(whole: float, found: Floats, left: Floats, level_and_count: tuple[float, int]) -> tuple[Floats, str]:
    """Return which quantiles of the draws are the ends, and by what name."""
    import numpy as np
    from scipy.stats import norm, t

    level, count = level_and_count
    at = norm.ppf(np.array([(1 - level) / 2, (1 + level) / 2]))
    name = "bootstrap"
    if count < LEAST:
        at = t.ppf(norm.cdf(at), count - 1) * (count / (count - 1)) ** 0.5
        name = "widened bootstrap"
    below = ((found < whole).sum() + 0.5 * (found == whole).sum()) / len(found)
    gap = left.mean() - left
    spread = float((gap**2).sum())
    if not (0 < below < 1 and spread > 0):
        return norm.cdf(at), f"percentile {name}"
    bias, skew = norm.ppf(below), float((gap**3).sum()) / (6 * spread**1.5)
    at = bias + at
    return norm.cdf(bias + at / (1 - skew * at)), f"BCa {name}"


def _studentised(sums: Floats, sizes: Floats, chosen: Numbers, level: float) -> tuple[float, float, str]:
    """Return the ends of the interval of a mean over groups with these sums and sizes, and its name."""
    import numpy as np
    from scipy.stats import t

    mean, error = (float(v) for v in _mean_and_error(sums, sizes))
    means, errors = _mean_and_error(sums[chosen], sizes[chosen])
    if len(sums) < FEW or error == 0 or (errors <= NARROW * error).mean() > COMMON:
        half = float(t.ppf(0.5 + level / 2, len(sums) - 1)) * error
        return mean - half, mean + half, "Student's t"
    # Draws of one group again and again have no error but rounding.
    some = errors > 1e-9 * error
    low, high = np.quantile((means[some] - mean) / errors[some], [(1 - level) / 2, (1 + level) / 2])
    return mean - float(high) * error, mean - float(low) * error, "bootstrap-t"


def _mean_and_error(sums: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Return the mean over all rows, and its standard error from how groups (..., n) differ from it."""
    count = sums.shape[-1]
    mean = sums.sum(-1) / sizes.sum(-1)
    off = sums - mean[..., None] * sizes
    return mean, (count / (count - 1) * (off**2).sum(-1)) ** 0.5 / sizes.sum(-1)


def _totals(rows: Floats, member: Numbers) -> tuple[Floats, Floats]:
    """Return the sum of the values of each group, and how many they are."""
    import numpy as np

    sums = np.bincount(member, weights=rows.reshape(len(rows), -1).sum(1)).astype(np.float64)
    return sums, np.bincount(member).astype(np.float64) * (rows.size // len(rows))


def _of_mean(rows: Floats, member: Numbers, chosen: Numbers) -> tuple[float, Floats, Floats]:
    """Return the mean of all rows, of those of each draw of groups, and of those without each group."""
    sums, sizes = _totals(rows, member)
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
