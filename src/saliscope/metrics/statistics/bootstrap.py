"""The bootstrap over whole groups: images of one patient are drawn together, because they are not independent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.score import Interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

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
    measure = statistic if statistic is not None else (lambda some: float(some.mean()))
    parts = [np.flatnonzero(member == i) for i in range(count)]
    chosen = np.random.default_rng(seed).integers(count, size=(draws, count))
    found = np.array([measure(rows[np.concatenate([parts[i] for i in one])]) for one in chosen])
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    kind = f"percentile bootstrap over {count} groups"
    if count >= LEAST:
        whole = measure(rows)
        below = ((found < whole).sum() + 0.5 * (found == whole).sum()) / len(found)
        left = np.array([measure(rows[member != i]) for i in range(count)])
        gap = left[np.isfinite(left)].mean() - left[np.isfinite(left)]
        spread = float((gap**2).sum())
        if 0 < below < 1 and spread > 0:
            bias, skew = norm.ppf(below), float((gap**3).sum()) / (6 * spread**1.5)
            at = bias + norm.ppf(tails)
            tails = norm.cdf(bias + at / (1 - skew * at))
            kind = f"BCa bootstrap over {count} groups"
    low, high = np.quantile(found, tails)
    return Interval(float(low), float(high), kind, level)
