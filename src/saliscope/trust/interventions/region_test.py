"""What a region does to the score: the score with it and without it, beside the same shape erased elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from saliscope.core.errors import MetricError
from saliscope.core.metric import Fill, Plan
from saliscope.core.score import Score, Undefined
from saliscope.metrics.statistics.permutation import permutation_p, stopped
from saliscope.trust.interventions.fills import usual_fills
from saliscope.trust.interventions.places import Places, same_shape_nulls

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saliscope.trust.subject import Subject

    Mask = npt.NDArray[np.bool_]

#: "lowers": does the region hold the score up more than other places do; "changes": does it move it either way.
Side = Literal["lowers", "changes"]

#: Other places, as many as leave a p of 0.02; drawing stops at the `ENOUGH`-th as large as the region (besag1991).
NULLS, ENOUGH = 50, 10
#: Other places that are run at a time when drawing may stop.
STEP = 10


@dataclass(frozen=True, eq=False)
class RegionTest:
    """The effect of a region on a score: f(x) - f(x without it), by each fill, and of `places` of the same shape.

    `score` holds that of the first fill, with the mean of the other places as its null and p among its parts; its
    `p` is Undefined where there was no other place. `samples` counts the forward samples asked for, the image itself
    among them.
    """

    name: str
    score: Score
    p: float | Undefined
    unchanged: float
    effects: Mapping[str, float]
    nulls: tuple[float, ...]
    places: Places = field(repr=False)
    share: float
    samples: int

    @property
    def agree(self) -> bool:
        """Return whether all fills say the same of the sign: without that the effect is one of the fill."""
        signs = {(e > 0) - (e < 0) for e in self.effects.values()}
        return len(signs) == 1

    @property
    def spread(self) -> tuple[float, float]:
        """Return the least and the largest effect over the fills: a range, no interval."""
        return min(self.effects.values()), max(self.effects.values())

    def words(self) -> dict[str, str]:
        """Return the parts of a sentence about it: region, share, before, after, effect, elsewhere, p, fills."""
        low, high = self.spread
        effect = next(iter(self.effects.values()))
        mean = sum(self.nulls) / len(self.nulls) if self.nulls else None
        return {
            "region": self.name,
            "share": f"{self.share:.1%}",
            "before": f"{self.unchanged:.2f}",
            "after": f"{self.unchanged - effect:.2f}",
            "effect": f"{effect:+.2f}",
            "elsewhere": "not known" if mean is None else f"{mean:+.2f} on average in {len(self.nulls)} other places",
            "p": "not known" if isinstance(self.p, Undefined) else f"{self.p:.3f}",
            "fills": f"{low:+.2f} to {high:+.2f} over {len(self.effects)} fills"
            + ("" if self.agree else ", which disagree about the direction"),
        }


@dataclass(frozen=True, eq=False)
class RegionQuestion:
    """A region test that was put to a plan: its tickets, and how to read them once the plan was run."""

    plan: Plan
    name: str
    mask: Mask = field(repr=False)
    fills: Sequence[Fill]
    places: Places = field(repr=False)
    unchanged: int
    without: Sequence[int]
    elsewhere: list[int]
    side: Side = "lowers"
    k: int = 0

    def more(self, count: int) -> bool:
        """Put up to `count` further places to the plan; return whether there were any left."""
        import torch

        start = len(self.elsewhere)
        some = self.places.masks[start : start + count]
        if len(some):
            self.elsewhere.extend(self.plan.removed(torch.from_numpy(some.copy()), self.fills[0]))
        return len(some) > 0

    @property
    def larger(self) -> int:
        """Return how many of the places that were run moved the score as much as the region, or more."""
        found, draws = self._compared()
        return sum(d >= found for d in draws)

    def answer(self, enough: int | None = None) -> RegionTest:
        """Return the test of a plan that was run; with `enough`, drawing stopped there (besag1991)."""
        whole = self._score(self.unchanged)
        effects = {f.name: whole - self._score(t) for f, t in zip(self.fills, self.without, strict=True)}
        found, draws = self._compared()
        p: float | Undefined
        if not draws:
            p = Undefined("the shape has no other place in its compartment")
        else:
            p = permutation_p(found, draws) if enough is None else stopped(found, draws, enough)[0]
        nulls = tuple(whole - self._score(t) for t in self.elsewhere)
        effect = effects[self.fills[0].name]
        parts = {f"effect by {name}": value for name, value in effects.items()}
        if not isinstance(p, Undefined):
            parts["p"] = p
        how = (
            f"the score with {self.name} less the score without it, filled by {self.fills[0].name}",
            self.places.how,
            "p: how often another place moves the score as much, "
            + ("either way" if self.side == "changes" else "downwards"),
        )
        null = Undefined("no other place") if not nulls else sum(nulls) / len(nulls)
        score = Score("region-effect", effect, "neither", null, n=len(nulls), parts=parts, how=how)
        samples = 1 + len(self.without) + len(self.elsewhere)
        share = float(self.mask.mean())
        return RegionTest(self.name, score, p, whole, effects, nulls, self.places, share, samples)

    def _score(self, ticket: int) -> float:
        return float(self.plan.score(ticket)[self.k])

    def _compared(self) -> tuple[float, list[float]]:
        """Return the effect of the region and of the places that were run, as the side of the test compares them."""
        whole = self._score(self.unchanged)
        sized = abs if self.side == "changes" else float
        return sized(whole - self._score(self.without[0])), [sized(whole - self._score(t)) for t in self.elsewhere]


def question(
    plan: Plan,
    mask: Mask,
    name: str,
    within: Mask,
    fills: Sequence[Fill],
    *,
    nulls: int = NULLS,
    seed: int = 0,
    side: Side = "lowers",
    spacing: Sequence[float] | None = None,
    k: int = 0,
) -> RegionQuestion:
    """Return a region test put to a plan, none of its other places asked for yet.

    The other places are filled by the first of the fills. Raises MetricError for a region that is empty or everything,
    or without a fill.
    """
    import torch

    if not fills or mask.all() or len({f.name for f in fills}) != len(fills):
        raise MetricError(
            f"region {name!r} that covers {mask.mean():.0%} with {len(fills)} fills",
            expected="a part of the image, and one or more different fills",
            do="Leave something of the image, and name a fill.",
        )
    places = same_shape_nulls(mask, within, nulls, seed, spacing)
    gone = torch.from_numpy(mask.copy())[None]
    without = [plan.removed(gone, fill)[0] for fill in fills]
    unchanged = plan.removed(torch.zeros_like(gone), fills[0])[0]  # nothing gone: the image itself
    return RegionQuestion(plan, name, mask, tuple(fills), places, unchanged, without, [], side, k)


def ask_region_test(
    plan: Plan,
    mask: Mask,
    name: str,
    within: Mask,
    fills: Sequence[Fill],
    *,
    nulls: int = NULLS,
    seed: int = 0,
    side: Side = "lowers",
    spacing: Sequence[float] | None = None,
    k: int = 0,
) -> Callable[[], RegionTest]:
    """Put a region (*S) and the same shape elsewhere within a compartment (*S) to a plan; return what gives the test.

    It costs at most 1 + fills + nulls forward samples, fewer where the shape has fewer places or shares copies.
    """
    asked = question(plan, mask, name, within, fills, nulls=nulls, seed=seed, side=side, spacing=spacing, k=k)
    asked.more(nulls)
    return asked.answer


def region_test(
    subject: Subject,
    mask: Mask,
    name: str,
    within: Mask,
    fills: Sequence[Fill] | None = None,
    *,
    nulls: int = NULLS,
    seed: int = 0,
    side: Side = "lowers",
    enough: int | None = ENOUGH,
) -> RegionTest:
    """Return the test of one region of a subject, run at once; drawing stops at the `enough`-th place as large.

    The plan is run in steps of `STEP` places; with `enough` None, all of them are run.
    """
    from saliscope.perturb.plan import run

    chosen = usual_fills() if fills is None else fills
    spacing = subject.view.geometry.spacing
    asked = question(subject.plan, mask, name, within, chosen, nulls=nulls, seed=seed, side=side, spacing=spacing)
    while asked.more(STEP if enough is not None else nulls):
        run([subject.plan], subject.model, [subject.target])
        if enough is not None and asked.larger >= enough:
            break
    run([subject.plan], subject.model, [subject.target])
    return asked.answer(enough)
