"""Intervals of a proportion."""

from __future__ import annotations

from saliscope.core.errors import MetricError
from saliscope.core.score import Interval


def wilson(hits: int, n: int, level: float = 0.95) -> Interval | None:
    """Return the score interval of a proportion (wilson1927); None without trials."""
    from scipy.stats import norm

    _check(hits, n, level)
    if n == 0:
        return None
    z = float(norm.ppf(0.5 + level / 2))
    share, squared = hits / n, z * z / n
    middle = (share + squared / 2) / (1 + squared)
    half = z * ((share * (1 - share) + squared / 4) / n) ** 0.5 / (1 + squared)
    # At the ends rounding may leave the last digit on the wrong side.
    return Interval(0.0 if hits == 0 else middle - half, 1.0 if hits == n else middle + half, "Wilson", level)


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> Interval | None:
    """Return the exact interval of a proportion (clopper1934); None without trials."""
    from scipy.stats import beta

    _check(hits, n, level)
    if n == 0:
        return None
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return Interval(low, high, "Clopper-Pearson", level)


def upper_bound(hits: int, n: int, level: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a proportion (clopper1934); 1 without trials."""
    from scipy.stats import beta

    _check(hits, n, level)
    return 1.0 if hits == n else float(beta.ppf(level, hits + 1, n - hits))


def _check(hits: int, n: int, level: float) -> None:
    if not (0 <= hits <= n and 0 < level < 1):
        raise MetricError(
            f"{hits} of {n} at level {level}", expected="hits among n trials, a level between", do="Correct it."
        )
