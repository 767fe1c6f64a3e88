"""Everything hidden but an organ, and the organ hidden: whether the decision lives where it should."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.metric import Fill, Plan
from saliscope.core.score import Score
from saliscope.trust.interventions.fills import usual_fills

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saliscope.trust.subject import Subject

    Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class OrganTest:
    """The score of an image, with an organ hidden, and with everything else hidden, by each fill.

    `hidden` and `alone` are what is left of the score. `loss` and `outside` are Scores: by how much it falls when the
    organ is hidden, and when everything else is, mean over the fills, those of each fill as parts.
    """

    organ: str
    unchanged: float
    hidden: Mapping[str, float]
    alone: Mapping[str, float]
    loss: Score
    outside: Score
    samples: int

    def persists(self, threshold: float = 0.0) -> bool | None:
        """Return whether the decision stands with the organ hidden; None where the fills disagree.

        `threshold` is in units of the score: 0 for a logit.
        """
        return _same({(value >= threshold) == (self.unchanged >= threshold) for value in self.hidden.values()})

    def suffices(self, threshold: float = 0.0) -> bool | None:
        """Return whether the decision stands on the organ alone; None where the fills disagree."""
        return _same({(value >= threshold) == (self.unchanged >= threshold) for value in self.alone.values()})


def _same(said: set[bool]) -> bool | None:
    return said.pop() if len(said) == 1 else None


def ask_organ_tests(
    plan: Plan, mask: Mask, name: str, fills: Sequence[Fill] | None = None, *, k: int = 0
) -> Callable[[], OrganTest]:
    """Put an organ (*S) hidden and alone to a plan: 1 + 2 * fills forward samples; return what gives the test.

    Raises MetricError for an organ that is nothing or everything.
    """
    import torch

    if not mask.any() or mask.all():
        raise MetricError(f"organ {name!r} of {mask.mean():.0%}", expected="a part of the image", do="Outline it.")
    chosen = tuple(usual_fills() if fills is None else fills)
    both = torch.from_numpy(mask.copy())
    tickets = {fill.name: plan.removed(torch.stack([both, ~both]), fill) for fill in chosen}
    unchanged = plan.removed(torch.zeros_like(both)[None], chosen[0])[0]

    def answer() -> OrganTest:
        whole = float(plan.score(unchanged)[k])
        hidden = {fill: float(plan.score(two[0])[k]) for fill, two in tickets.items()}
        alone = {fill: float(plan.score(two[1])[k]) for fill, two in tickets.items()}
        loss = _lost("organ-hidden", whole, hidden, f"the score less the score with {name} hidden")
        outside = _lost("organ-alone", whole, alone, f"the score less the score with nothing but {name}")
        return OrganTest(name, whole, hidden, alone, loss, outside, 1 + 2 * len(tickets))

    return answer


def organ_tests(subject: Subject, organ: str, fills: Sequence[Fill] | None = None) -> OrganTest:
    """Return the tests of an organ among a subject's regions, run at once; raises MetricError where it has none."""
    from saliscope.perturb.plan import run

    if organ not in subject.regions:
        raise MetricError(
            f"region {organ!r}", expected=", ".join(subject.regions) or "a region", do="Outline it, or find regions."
        )
    asked = ask_organ_tests(subject.plan, subject.regions[organ].mask, organ, fills)
    run([subject.plan], subject.model, [subject.target])
    return asked()


def _lost(metric: str, whole: float, left: Mapping[str, float], how: str) -> Score:
    """Return the mean fall of the score over the fills."""
    falls = {fill: whole - value for fill, value in left.items()}
    parts = {f"by {fill}": value for fill, value in falls.items()}
    words = (how, f"mean over {len(falls)} fills, from {min(falls.values()):.3g} to {max(falls.values()):.3g}")
    return Score(metric, sum(falls.values()) / len(falls), "neither", None, n=len(falls), parts=parts, how=words)
