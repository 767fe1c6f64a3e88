"""Agreement across methods, in which methods of one family do not count as independent: they agree by construction."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.metric import OfPair
from saliscope.core.score import Score, Undefined

if TYPE_CHECKING:
    from saliscope.core.metric import Map


def weights(families: Mapping[str, str]) -> dict[tuple[str, str], float]:
    """Return the weight of each pair of methods of two families, from method to family; they add up to 1.

    Every pair of families weighs the same, however many methods either has; pairs within a family weigh nothing. Empty
    where all are of one family.
    """
    sizes = {f: sum(g == f for g in families.values()) for f in families.values()}
    between = len(sizes) * (len(sizes) - 1) / 2
    return {
        (a, b): 1 / (sizes[families[a]] * sizes[families[b]] * between)
        for a, b in combinations(families, 2)
        if families[a] != families[b]
    }


def across(pair: OfPair, maps: Mapping[str, Map], families: Mapping[str, str]) -> Score:
    """Return how far maps (*S) of one image by several methods agree, each pair of families weighing the same.

    A pair of maps that cannot be compared is left out and counted, and the others weigh more. Raises MetricError for a
    method without a family.
    """
    how = ("the mean over pairs of families; methods of one family are not compared",)
    if missing := [name for name in maps if name not in families]:
        raise MetricError(f"maps of {missing} without a family", expected="a family for each", do="Name them.")
    every = weights({name: families[name] for name in maps})
    scores = {(a, b): pair.of_pair(maps[a], maps[b]) for a, b in every}
    excluded: dict[str, int] = {}
    for score in scores.values():
        if isinstance(score.value, Undefined):
            excluded[score.value.reason] = excluded.get(score.value.reason, 0) + 1
    known = {key: score for key, score in scores.items() if score.defined}
    name = next(iter(scores.values())).metric if scores else "agreement"
    if not known:
        why = Undefined("no two maps of two families can be compared" if every else "all methods are of one family")
        return Score(name, why, pair.traits.direction, n=0, excluded=excluded, how=how)
    total = sum(every[key] for key in known)
    value = sum(every[key] * score.number for key, score in known.items()) / total
    nulls = [score.null for score in known.values() if isinstance(score.null, float | int)]
    null = sum(nulls) / len(nulls) if nulls else None
    parts = {f"{a} and {b}": score.number for (a, b), score in known.items()}
    return Score(name, value, pair.traits.direction, null, n=len(known), excluded=excluded, parts=parts, how=how)
