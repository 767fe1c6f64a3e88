"""What the values of a map are, in codes and few words: CID 217, no units, and the labels that viewers print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.write.dicom.result import Result
from saliscope.write.dicom.stamp import clipped

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.sr.coding import Code

#: CID 217 (PS3.16): kinds of visual explanation. The first names what is none of the others.
VISUAL_EXPLANATION = ("130401", "Visual explanation")
CLASS_ACTIVATION = ("130402", "Class activation")
GRADIENT_WEIGHTED = ("130403", "Gradient-weighted class activation")
SALIENCY = ("130404", "Saliency")
#: Methods of the family "cam" that weigh the channels of a layer without a gradient.
WITHOUT_GRADIENT = ("cam", "eigen-cam", "ablation-cam", "score-cam", "recipro-cam")
_BY_FAMILY = {"gradient": SALIENCY, "path": SALIENCY, "cam": GRADIENT_WEIGHTED}


def explanation_code(result: Result) -> Code:
    """Return the code of CID 217 for the method that made a map (PS3.16)."""
    from pydicom.sr.coding import Code

    family, method = result.explanation.traits.family, result.explanation.provenance.method
    value, meaning = _BY_FAMILY.get(family, VISUAL_EXPLANATION)
    if family == "cam" and method in WITHOUT_GRADIENT:
        value, meaning = CLASS_ACTIVATION
    return Code(value, "DCM", meaning)


def content_label(result: Result) -> str:
    """Return a label of at most 16 capitals, digits and underscores, as VR CS wants it."""
    letters = "".join(c for c in result.explanation.provenance.method.upper() if c.isascii() and c.isalnum())
    return f"XAI_{letters}"[:16]


def content_description(result: Result) -> str:
    """Return in at most 64 characters which map this is, without identifiers."""
    return clipped(f"{result.title}, raw (research)", 64)


def value_mapping(result: Result, stored: tuple[float, float], slope: float, intercept: float) -> Dataset:
    """Return how stored values become values of the map (PS3.3 C.7.6.16.2.11).

    `stored` are the lowest and highest stored value: floats for a map stored as it is, integers for one in steps.
    """
    from highdicom.pm import RealWorldValueMapping
    from pydicom.sr.coding import Code

    e = result.explanation
    sign = "signed" if e.traits.signed else "unsigned"
    words = ("raw, not normalised", sign, e.target, e.provenance.layer)
    return RealWorldValueMapping(
        lut_label=clipped(e.provenance.method, 16),
        lut_explanation=clipped("; ".join(w for w in words if w), 64),
        unit=Code("1", "UCUM", "no units"),
        value_range=stored,
        slope=slope,
        intercept=intercept,
        quantity_definition=explanation_code(result),
    )


def coded(code: Code) -> Dataset:
    """Return a code as the item of a sequence (PS3.3 8.8)."""
    from highdicom.sr import CodedConcept

    return CodedConcept.from_code(code)
