"""A map with its card, as Python and a notebook see them: may it be read, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saliscope.core.explanation import Explanation
from saliscope.core.explanations import Explanations
from saliscope.core.listing import Listing
from saliscope.trust.check import State
from saliscope.trust.explanation_card import ExplanationCard
from saliscope.trust.wording import HEADLINES, STATE_NAMES

#: The small picture beside a card has at most so many pixels along a side.
MOST = 320


@dataclass(frozen=True, eq=False, repr=False)
class CheckedExplanation:
    """A map and the card that says whether it may be read; a map that its card hides is not drawn in a notebook.

    >>> checked = saliscope.check(x, net, "grad-cam")
    >>> checked.state
    'not-assessed'
    """

    explanation: Explanation
    card: ExplanationCard

    @property
    def state(self) -> State:
        """Return the state: "read-with-care", "doubtful", "do-not-read" or "not-assessed"."""
        return self.card.state

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what brought the state about, in sentences."""
        return self.card.reasons

    def save(self, folder: str | Path) -> Path:
        """Write map, page and card into a new folder, whole or not at all; return its path.

        Raises WriteError for a folder that is there already or cannot be written.
        """
        return save_checked([self], folder)

    def __repr__(self) -> str:
        e, verdict = self.explanation, self.card.verdict
        lines = [
            f"{STATE_NAMES[self.state]}: {e.target!r} by {e.provenance.method} on {e.image_name}",
            *(self.reasons or (HEADLINES[self.state],)),
            f"{verdict.run} of {verdict.applicable} checks run, {self.card.samples:,} forward samples",
        ]
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        from saliscope.figures.gallery import card_note
        from saliscope.study.notebook import tile_of

        e, card = self.explanation, self.card
        told = {
            "name": f"{e.target} by {e.provenance.method} on {e.image_name}",
            "state": STATE_NAMES[self.state],
            "sentences": [e.prediction.sentence(e.target), HEADLINES[self.state], *self.reasons],
            "summary": f"{card.verdict.run} of {card.verdict.applicable} checks run",
            "rows": [(r.question, r.outcome, r.sentence) for r in card.results if r.outcome != "not-applicable"],
            "always": card.always,
            "hidden": card.map_hidden,
        }
        return card_note(told, [tile_of(e, MOST)])


class CheckedExplanations(Listing[CheckedExplanation]):
    """A list of maps with their cards: a table in a terminal, a grid of pictures with their states in a notebook."""

    @property
    def explanations(self) -> Explanations:
        """Return the maps without their cards."""
        return Explanations(one.explanation for one in self)

    def save(self, folder: str | Path) -> Path:
        """Write all maps with their cards into a new folder, whole or not at all; return its path.

        Raises WriteError for a folder that is there already or cannot be written.
        """
        return save_checked(self, folder)

    def row(self, one: CheckedExplanation) -> dict[str, str]:
        """Return what the table says of one map, by column."""
        return {**self.explanations.row(one.explanation), "state": STATE_NAMES[one.state]}

    def _repr_html_(self) -> str:
        from saliscope.study.notebook import gallery_of

        return gallery_of(self.explanations, [STATE_NAMES[one.state] for one in self])


def save_checked(checked: Sequence[CheckedExplanation], folder: str | Path) -> Path:
    """Write maps with their cards into a new folder, and return its path."""
    from saliscope.study.saving import save_all

    return save_all([one.explanation for one in checked], Path(folder), [one.card.described() for one in checked])
