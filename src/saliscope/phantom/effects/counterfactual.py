"""What a network really uses of a phantom: the picture is rendered again without each element, all else the same.

Truth about the network and not about the data (hesse2023): a map is faithful where it agrees with this. Elements that
act together share what they do by their Shapley values (shapley1953).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Self

import numpy as np

from saliscope.core.errors import InputError, ModelError
from saliscope.core.target import Holding, Indexed, Target
from saliscope.phantom.case import Case
from saliscope.phantom.effects.effect import Cost, Doubles, Effects
from saliscope.phantom.effects.reliance import CohortEffects, summed
from saliscope.phantom.effects.shapley import exact, sampled, steps

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.network import Network
    from saliscope.model.opened import OpenNetwork

__all__ = ["CohortEffects", "Effects", "case_effects", "cohort_effects", "effects"]
#: Elements of which all 2**m pictures are rendered; beyond it orders of them are drawn.
LIMIT = 8
#: Pairs of an order and its reverse that are drawn beyond the limit.
PAIRS = 32
#: Elements of the views that go through the network at a time, at most: volumes go in smaller batches.
ELEMENTS = 2**22


def effects(
    case: Case,
    network: Network,
    target: Target,
    *,
    limit: int = LIMIT,
    pairs: int = PAIRS,
    seed: int = 0,
    batch: int = 32,
) -> Effects:
    """Return what each element of a case does to the scores of a target, by exact rendering.

    Up to `limit` elements all 2**m pictures are rendered and the Shapley values are exact; beyond it `pairs` orders
    are drawn from `seed`, each with its reverse. What a target holds of the unchanged picture, such as the region of
    a segmentation, is held as it is with all elements. Raises ModelError for scores that are not finite.
    """
    (found,) = case_effects([case], network, target, limit=limit, pairs=pairs, seed=seed, batch=batch)
    return found


def case_effects(
    cases: Iterable[Case],
    network: Network,
    target: Target,
    *,
    limit: int = LIMIT,
    pairs: int = PAIRS,
    seed: int = 0,
    batch: int = 32,
) -> tuple[Effects, ...]:
    """Return the effects of many cases, in order, their pictures batched together; see `effects`.

    Cases are taken one by one as they are needed, and none is kept.
    """
    if min(limit, pairs - 2, batch - 1) < 0:
        raise InputError(
            f"limit {limit}, {pairs} pairs, batch {batch}",
            expected="a limit of 0 or more, 2 pairs or more, a batch of 1 or more",
            do="Correct it.",
        )
    jobs = (_Job.of(case, n, limit, pairs, seed) for n, case in enumerate(cases))
    with network.opened() as model:
        return tuple(job.settled(rows, labels) for job, rows, labels in _scored(jobs, network, model, target, batch))


def cohort_effects(
    cases: Iterable[Case],
    network: Network,
    target: Target,
    *,
    limit: int = LIMIT,
    pairs: int = PAIRS,
    seed: int = 0,
    batch: int = 32,
) -> CohortEffects:
    """Return the effects of many cases with the mean share of each element and role and its interval over cases.

    To ask what a network does where its shortcut stands, give the cases in which it stands; see `effects`.
    """
    found = case_effects(cases, network, target, limit=limit, pairs=pairs, seed=seed, batch=batch)
    return summed(found, seed=seed)


@dataclass(frozen=True, eq=False)
class _Job:
    """A case with the sets of elements to be rendered, as bits, the full set first; and the orders drawn, if any."""

    case: Case
    number: int
    sets: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...] = ()
    seed: int | None = None

    @classmethod
    def of(cls, case: Case, number: int, limit: int, pairs: int, seed: int) -> Self:
        count = len(case.elements)
        full = (1 << count) - 1
        if count <= limit:
            return cls(case, number, tuple(range(full, -1, -1)))
        rng = np.random.default_rng([seed, case.seed])
        drawn = [tuple(int(i) for i in rng.permutation(count)) for _ in range(pairs)]
        orders = tuple(order for one in drawn for order in (one, one[::-1]))
        ends = [full, 0, *(full ^ 1 << i for i in range(count)), *(1 << i for i in range(count))]
        inner = [s for order in orders for s in steps(order)]
        return cls(case, number, tuple(dict.fromkeys([*ends, *inner])), orders, seed)

    def views(self, network: Network) -> Iterator[tuple[Self, Tensor]]:
        """Give each picture as the network sees it (1, C, *S)."""
        names = [e.name for e in self.case.elements]
        for chosen in self.sets:
            image = self.case.render([name for i, name in enumerate(names) if chosen >> i & 1])
            yield self, network.viewing(image).tensor

    def settled(self, rows: Doubles, labels: tuple[str, ...]) -> Effects:
        """Return the effects of scores (sets, K)."""
        table = dict(zip(self.sets, rows, strict=True))
        elements = self.case.elements
        bits, full = range(len(elements)), (1 << len(elements)) - 1
        shapley, error = sampled(table, self.orders) if self.orders else (exact(rows[::-1], len(elements)), None)
        columns = (len(elements), rows.shape[1])
        return Effects(
            case=self.case.name,
            labels=labels,
            elements=tuple(e.name for e in elements),
            roles=tuple(e.role for e in elements),
            shapley=shapley,
            removal=np.array([table[full] - table[full ^ 1 << i] for i in bits]).reshape(columns),
            alone=np.array([table[1 << i] - table[0] for i in bits]).reshape(columns),
            everything=table[full],
            nothing=table[0],
            cost=Cost(len(rows), len(rows)),
            error=error,
            seed=self.seed,
        )


def _scored(
    jobs: Iterable[_Job], network: Network, model: OpenNetwork, target: Target, batch: int
) -> Iterator[tuple[_Job, Doubles, tuple[str, ...]]]:
    """Give each job with the scores (sets, K) of its pictures, and what the columns are called."""
    import torch

    asked, rows = target, [np.zeros((0, 0))][:0]
    for pieces in _batches((view for job in jobs for view in job.views(network)), batch):
        x = torch.cat([tensor for _, tensor in pieces]).to(network.device, network.dtype)
        output, done = model(x), 0
        for job, group in groupby((job for job, _ in pieces), key=lambda one: one):
            part = output[done : done + len(list(group))]
            done += len(part)
            if not rows:
                asked = _settled(target, job.number, part[:1])
            scores = asked.scores(part).detach().double().cpu().numpy()
            if not np.isfinite(scores).all():
                raise ModelError(f"scores of {job.case.name!r} that are not finite", do="Check the network's view.")
            rows += list(scores)
            if len(rows) == len(job.sets):
                yield job, np.stack(rows), asked.labels
                rows = []


def _settled(target: Target, number: int, whole: Tensor) -> Target:
    """Return the target of one case, with what it holds as it is in the output of the whole picture."""
    own = target.of(number) if isinstance(target, Indexed) else target
    return own.held(lambda: whole) if isinstance(own, Holding) else own


def _batches(views: Iterable[tuple[_Job, Tensor]], batch: int) -> Iterator[list[tuple[_Job, Tensor]]]:
    """Give views of one shape together, no more than `batch` and no more than so many elements."""
    held: list[tuple[_Job, Tensor]] = []
    for job, view in views:
        if held and (view.shape != held[0][1].shape or (len(held) + 1) * view.numel() > ELEMENTS or len(held) == batch):
            yield held
            held = []
        held.append((job, view))
    if held:
        yield held
