"""Many tests at once: Holm where one wrong rejection is too many, Benjamini and Hochberg where a share may be wrong."""

from __future__ import annotations

from collections.abc import Sequence

from saliscope.core.errors import MetricError


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values, in their order, adjusted so that no wrong one is rejected at their level (holm1979)."""
    _check(p)
    ranked = sorted(range(len(p)), key=p.__getitem__)
    found, least = [0.0] * len(p), 0.0
    for place, i in enumerate(ranked):
        least = max(least, min(1.0, (len(p) - place) * p[i]))
        found[i] = least
    return found


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Return p-values, in their order, adjusted to the expected share of wrong rejections (benjamini1995)."""
    _check(p)
    ranked = sorted(range(len(p)), key=p.__getitem__, reverse=True)
    found, most = [0.0] * len(p), 1.0
    for place, i in enumerate(ranked):
        most = min(most, len(p) / (len(p) - place) * p[i])
        found[i] = most
    return found


def _check(p: Sequence[float]) -> None:
    if any(not 0 <= value <= 1 for value in p):
        raise MetricError(f"p-values {list(p)}", expected="numbers from 0 to 1", do="Leave out what is undefined.")
