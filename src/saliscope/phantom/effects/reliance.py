"""What a network relies on over many phantoms: mean share of the effect by element and by role, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saliscope.phantom.effects.effect import Cost, Doubles, Effects
from saliscope.phantom.element import Role

#: Draws of the bootstrap over cases.
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over `cases` cases with its 95 % interval by the bootstrap; the ends are None below two cases."""

    mean: float
    low: float | None
    high: float | None
    cases: int


@dataclass(frozen=True)
class Reliance:
    """How far a score rests on an element, or on all of a role: its share of the effect (0 to 1), its Shapley value.

    Over the cases in which it stands and in which the score moved at all.
    """

    name: str
    label: str
    share: Estimate
    effect: Estimate


@dataclass(frozen=True, eq=False)
class CohortEffects:
    """The effects of each case, and of elements and roles over all of them, each by its own name and the score's.

    `still` counts, for each score, the cases with elements of which none moved it: they have no shares, and are left
    out of the means. What stands in no case, or moved no score, is not there.
    """

    labels: tuple[str, ...]
    each: tuple[Effects, ...]
    elements: tuple[Reliance, ...]
    roles: tuple[Reliance, ...]
    still: Mapping[str, int]
    cost: Cost

    def element(self, name: str, label: str) -> Reliance | None:
        """Return how far a score rests on an element; None where that is not known."""
        return next((r for r in self.elements if (r.name, r.label) == (name, label)), None)

    def role(self, name: Role, label: str) -> Reliance | None:
        """Return how far a score rests on all elements of a role together; None where that is not known."""
        return next((r for r in self.roles if (r.name, r.label) == (name, label)), None)


def summed(each: Iterable[Effects], *, seed: int = 0) -> CohortEffects:
    """Return what the effects of many cases come to; the bootstrap draws whole cases, from `seed`."""
    found = tuple(each)
    labels = found[0].labels if found else ()
    elements: list[Reliance] = []
    roles: list[Reliance] = []
    still: dict[str, int] = {}
    for k, label in enumerate(labels):
        moved = [e for e in found if e.moved[k]]
        still[label] = sum(1 for e in found if e.elements and not e.moved[k])
        for name in dict.fromkeys(name for e in moved for name in e.elements):
            there = [(e, e.elements.index(name)) for e in moved if name in e.elements]
            pairs = [(e.share[i, k], e.shapley[i, k]) for e, i in there]
            elements.append(Reliance(name, label, *_estimates(pairs, seed)))
        for role in dict.fromkeys(role for e in moved for role in e.roles):
            pairs = [(e.share_by_role[role][k], e.shapley_by_role[role][k]) for e in moved if role in e.roles]
            roles.append(Reliance(role, label, *_estimates(pairs, seed)))
    cost = sum((e.cost for e in found), Cost(0, 0))
    return CohortEffects(labels, found, tuple(elements), tuple(roles), still, cost)


def _estimates(pairs: Sequence[tuple[float, float]], seed: int) -> list[Estimate]:
    """Return the estimates of a share and of an effect, given case by case."""
    values: Doubles = np.array(pairs)
    count = len(values)
    if count < 2:
        return [Estimate(float(column.mean()), None, None, count) for column in values.T]
    draws = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    ends = np.percentile(values[draws].mean(axis=1), [2.5, 97.5], axis=0)
    return [Estimate(float(c.mean()), float(lo), float(hi), count) for c, lo, hi in zip(values.T, *ends, strict=True)]
