"""What a check says of a map or of a network, and the state that follows from many of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from saliscope.core.score import Score

#: The four criteria of lago2025; integrity stands before them, because nothing can be said of a map that is broken.
Heading = Literal["Integrity", "Consistency", "Plausibility", "Fidelity", "Usefulness"]
#: "supports": the map passed; "unclear": it neither passed nor failed; "against": it failed. "not-run": it applies and
#: was not run; "not-applicable": it has nothing to look at here. Neither of the last two ever counts as passed.
Outcome = Literal["supports", "unclear", "against", "not-run", "not-applicable"]
#: From best to worst; "not-assessed" is no better than any of them, it says that nobody looked.
State = Literal["read-with-care", "doubtful", "do-not-read", "not-assessed"]

HEADINGS: tuple[Heading, ...] = get_args(Heading)
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class CheckResult:
    """What one check found: `sentence` for a clinician, `threshold` with its source in words, the scores behind it.

    A `decisive` check alone can forbid reading; one that is not can make the map doubtful, no more. `samples` counts
    the forward samples that it cost, shared ones at the check that asked for them first.
    """

    check: str
    heading: Heading
    question: str
    outcome: Outcome
    sentence: str
    threshold: str = ""
    scores: tuple[Score, ...] = ()
    samples: int = 0
    decisive: bool = True

    def described(self) -> dict[str, Any]:
        """Return the result as plain data for JSON."""
        return {
            "check": self.check,
            "heading": self.heading,
            "question": self.question,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "decisive": self.decisive,
            "threshold": self.threshold,
            "scores": [score.described() for score in self.scores],
            "samples": self.samples,
        }


@dataclass(frozen=True)
class Verdict:
    """A state, the results that brought it about, and how many of the checks that apply were run."""

    state: State
    reasons: tuple[CheckResult, ...]
    run: int
    applicable: int


def verdict(results: Sequence[CheckResult], *, audited: bool, needed: Iterable[str] = ()) -> Verdict:
    """Return the state of a map: that of its worst decisive check, never an average.

    A decisive check against it forbids reading; any other check against it, or a decisive one that is unclear, makes
    it doubtful. Without a model card of explanations (`audited`), or where one of the `needed` checks was not run, the
    best that can be said is that it was not assessed: what is not known is never turned into a pass.
    """
    applicable = [r for r in results if r.outcome != "not-applicable"]
    ran = [r for r in applicable if r.outcome != "not-run"]
    against = [r for r in ran if r.outcome == "against"]
    forbidding = tuple(r for r in against if r.decisive)
    doubtful = tuple(r for r in ran if r in against or (r.decisive and r.outcome == "unclear"))
    missing = set(needed) - {r.check for r in ran}
    if forbidding:
        return Verdict("do-not-read", forbidding, len(ran), len(applicable))
    if not audited or missing:
        left = tuple(r for r in results if r.check in missing)
        return Verdict("not-assessed", (*left, *doubtful), len(ran), len(applicable))
    if doubtful:
        return Verdict("doubtful", doubtful, len(ran), len(applicable))
    return Verdict("read-with-care", (), len(ran), len(applicable))
