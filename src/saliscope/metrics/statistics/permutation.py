"""How often chance does as well: the permutation p, exact for the draws that were made."""

from __future__ import annotations

from collections.abc import Sequence

from saliscope.core.errors import MetricError


def permutation_p(found: float, draws: Sequence[float]) -> float:
    """Return the share of draws, the found value being one of them, that are as large or larger (phipson2010).

    Never 0: the least that it can be is 1 / (draws + 1). Raises MetricError without draws.
    """
    if not draws:
        raise MetricError("a permutation test without draws", expected="one or more", do="Draw some.")
    return (1 + sum(draw >= found for draw in draws)) / (len(draws) + 1)


def stopped(found: float, draws: Sequence[float], enough: int) -> tuple[float, int]:
    """Return (p, draws used) when drawing stops at the `enough`-th draw as large as the found value (besag1991).

    The p is then enough / used; where it never comes so far it is that of all draws. Raises MetricError without draws.
    """
    larger = 0
    for used, draw in enumerate(draws, start=1):
        larger += draw >= found
        if larger == enough:
            return enough / used, used
    return permutation_p(found, draws), len(draws)
