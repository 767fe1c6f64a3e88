"""How often chance does as well: the permutation p, exact for the draws that were made."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from saliscope.core.errors import MetricError


def permutation_p(found: float, draws: Sequence[float]) -> float:
    """Return the share of draws, the found value being one of them, that are as large or larger (phipson2010).

    Never 0: the least that it can be is 1 / (draws + 1). Raises MetricError without draws, or with one that is NaN.
    """
    _check(found, draws)
    return (1 + sum(draw >= found for draw in draws)) / (len(draws) + 1)


def stopped(found: float, draws: Sequence[float], enough: int) -> tuple[float, int]:
    """Return (p, draws used) when drawing stops at the `enough`-th draw as large as the found value (besag1991).

    The p is then enough / used; where it never comes so far it is that of all draws. Raises MetricError without draws,
    with one that is NaN, or for `enough` below 1.
    """
    _check(found, draws)
    if enough < 1:
        raise MetricError(f"stopping at the {enough}-th draw", expected="1 or more", do="Give a larger number.")
    larger = 0
    for used, draw in enumerate(draws, start=1):
        larger += draw >= found
        if larger == enough:
            return enough / used, used
    return permutation_p(found, draws), len(draws)


def _check(found: float, draws: Sequence[float]) -> None:
    if not len(draws):
        raise MetricError("a permutation test without draws", expected="one or more", do="Draw some.")
    if isnan(found) or any(isnan(draw) for draw in draws):
        # NaN is larger than nothing, so that it would count as evidence.
        raise MetricError("a permutation test of NaN", expected="numbers", do="Leave out what is undefined.")
