"""fda2024, imdrf2025, aiact2024: which parts of the two documents hold what texts on transparency ask for.

They are pointers, for whoever looks for the place where something stands. They are no claim that a device, or these
documents, conform to anything.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

FDA = "FDA, Health Canada, MHRA: Transparency for Machine Learning-Enabled Medical Devices (2024)"
IMDRF = "IMDRF/AIML WG/N88 FINAL:2025, Good machine learning practice: guiding principles"
AI_ACT = "Regulation (EU) 2024/1689 (AI Act)"
NO_CLAIM = "Pointers to where such information stands; no claim of conformity with any of these texts."


@dataclass(frozen=True)
class Pointer:
    """A clause of a document, what it asks for in our words, and the fields of a card where such information stands."""

    document: str
    clause: str
    asks: str
    fields: tuple[str, ...]

    def described(self) -> dict[str, Any]:
        """Return the pointer as plain data."""
        return {**asdict(self), "fields": list(self.fields)}


#: Of the explanation card, one image.
OF_IMAGE = (
    Pointer(FDA, "What", "how a result was reached, and the limits of that", ("checks", "reasons", "always")),
    Pointer(FDA, "Where and when", "information where it is needed: beside the map", ("state", "map_hidden")),
    Pointer(IMDRF, "Principle 7", "the person and the software as one team", ("state", "headings_not_assessed")),
    Pointer(IMDRF, "Principle 9", "clear, essential information for the user", ("state", "reasons", "coverage")),
    Pointer(AI_ACT, "Art. 13(1)", "a deployer can interpret the output", ("prediction", "reasons", "always")),
    Pointer(AI_ACT, "Art. 13(3)(d)", "measures that help to interpret outputs", ("state", "checks", "map_hidden")),
)
#: Of the model card of explanations, one model with one method.
OF_MODEL = (
    Pointer(FDA, "What", "performance, known bias and limits, and the logic", ("checks", "shortcuts", "findings")),
    Pointer(IMDRF, "Principle 9", "performance and known limits, also in subgroups", ("checks", "findings", "cohort")),
    Pointer(AI_ACT, "Art. 13(3)(b)(ii)", "accuracy and robustness as tested", ("checks", "thresholds")),
    Pointer(
        AI_ACT, "Art. 13(3)(b)(iii)", "circumstances that may lead to risks", ("shortcuts", "insertions", "barred")
    ),
    Pointer(AI_ACT, "Art. 13(3)(b)(iv)", "what there is to explain an output with", ("method", "checks", "barred")),
    Pointer(AI_ACT, "Art. 13(3)(b)(v)", "performance for groups of persons", ("findings",)),
)
