"""Every sentence that a check, a card or an audit may say, in one catalogue; what is not in it is not said.

They are written for a clinician: one sentence each, about the model's score and never about disease, and no
percentage without the number of cases behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from saliscope.figures.wording import ALWAYS, RESEARCH_USE, UNMOVED
from saliscope.trust.check import State
from saliscope.trust.sentences_of_image import OF_IMAGE
from saliscope.trust.sentences_of_model import OF_MODEL

__all__ = ["ALWAYS", "HEADLINES", "RESEARCH_USE", "SENTENCES", "STATE_NAMES", "UNMOVED", "fields", "numbered", "say"]

#: What each state is called.
STATE_NAMES: Mapping[State, str] = {
    "read-with-care": "READ WITH CARE",
    "doubtful": "DOUBTFUL",
    "do-not-read": "DO NOT READ",
    "not-assessed": "NOT ASSESSED",
}
#: What each state means; there is none better than the first.
HEADLINES: Mapping[State, str] = {
    "read-with-care": "No decisive check speaks against this map; it can still mislead.",
    "doubtful": "At least one check speaks against this map or could not decide.",
    "do-not-read": "A decisive check speaks against this map: it is hidden, and should not be used.",
    "not-assessed": "What is needed to judge this map is missing, so nothing follows from it.",
}
#: All sentences by name; the part before the dot is what they speak of.
SENTENCES: Mapping[str, str] = {**OF_IMAGE, **OF_MODEL}


def say(name: str, **told: Any) -> str:
    """Return a sentence of the catalogue with its fields filled in; what the sentence does not need is not told.

    Raises KeyError for a name that is not there, ValueError for a field that is missing.
    """
    missing = fields(name) - set(told)
    if missing:
        raise ValueError(f"sentence {name!r} without {sorted(missing)}")
    said = SENTENCES[name].format(**told)
    # Some begin with what a check names, such as "the burnt-in text at the upper right".
    return said[:1].upper() + said[1:]


def fields(name: str) -> set[str]:
    """Return the names of the fields that a sentence has; raises KeyError for a sentence that is not there."""
    return {field for _, field, _, _ in Formatter().parse(SENTENCES[name]) if field}


def outlined(some: Sequence[int], n: int) -> str:
    """Return which of n areas with numbers on the card are meant, in words; `some` counts from 1."""
    if n == 1:
        return "the area outlined on the card"
    if len(some) == n:
        return f"{'both' if n == 2 else f'all {n}'} areas outlined on the card"
    return f"{numbered(some)} of the {n} areas outlined on the card"


def numbered(numbers: Sequence[int]) -> str:
    """Return numbers of regions as words: "number 2", "numbers 1, 2 and 4"."""
    if len(numbers) == 1:
        return f"number {numbers[0]}"
    return f"numbers {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
