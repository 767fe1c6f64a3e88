"""The coded concepts of saliscope's structured reports, and content items made of them (PS3.3 C.17.3, PS3.16)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from saliscope.write.dicom.stamp import clipped

if TYPE_CHECKING:
    from highdicom.sr import (
        CodedConcept,
        ContainerContentItem,
        ContentItem,
        Measurement,
        NumContentItem,
        TextContentItem,
    )
    from pydicom import Dataset
    from pydicom.sr.coding import Code

#: The scheme of concepts that no standard has; PS3.16 chapter 8 keeps names that begin with 99 for private ones.
SCHEME = "99SALISCOPE"
#: Code values of the private scheme and what they mean. A value never changes its meaning.
PRIVATE = {
    "state": "State of the explanation card",
    "headline": "What this state means",
    "reason": "Reason",
    "coverage": "Checks that were run",
    "reliability": "How often such maps misled",
    "caution": "Always to be kept in mind",
    "use": "Intended use",
    "answer": "Answer that is explained",
    "answers": "Answers of the network",
    "predicted": "What the network said",
    "calibration": "Calibration of the network's numbers",
    "method": "How the map was made",
    "map": "Said of the map",
    "axes": "Axes of centres in these sentences",
    "value": "Value that the network gave",
    "predicted-share": "Share of what was seen in which predicted",
    "threshold": "Operating threshold",
    "own-scale": "On the network's own scale (threshold 0.5)",
    "share": "Share of the map's positive attribution",
    "elements": "Number of elements",
    "place": "Place in words",
    "centre": "Centre",
    "outlines": "Lines that are not in this report",
    "results": "Other objects of this result",
    "not-listed": "What is not listed",
    # Other objects of a result, by the place of their series.
    "object-0": "Picture of the map",
    "object-1": "The map's values",
    "object-2": "The map's values in 16 bits",
    "object-3": "The regions as a segmentation",
    "object-4": "Outlines on the original",
    "object-5": "Palette of the map",
    "object-6": "Image and map blended",
    "object-7": "The page",
}
_STANDARD = {
    "summary": ("121111", "DCM", "Summary"),
    "probability": ("122157", "DCM", "Probability"),
    "visual-explanation": ("130401", "DCM", "Visual explanation"),
    "report": ("126000", "DCM", "Imaging Measurement Report"),
    "procedure": ("363679005", "SCT", "Imaging procedure"),
    "qualitative": ("C0034375", "UMLS", "Qualitative Evaluations"),
    "device": ("121007", "DCM", "Device"),
    "english": ("en", "RFC5646", "English"),
    "area": ("42798000", "SCT", "Area"),
    "volume": ("118565006", "SCT", "Volume"),
    "maximum": ("56851009", "SCT", "Maximum"),
    "library": ("111028", "DCM", "Image Library"),
    "library-group": ("126200", "DCM", "Image Library Group"),
    "source": ("260753009", "SCT", "Source"),
    "frame-of-reference": ("112227", "DCM", "Frame of Reference UID"),
    "modality": ("121139", "DCM", "Modality"),
    "rows": ("110910", "DCM", "Pixel Data Rows"),
    "columns": ("110911", "DCM", "Pixel Data Columns"),
    "one": ("1", "UCUM", "no units"),
    "percent": ("%", "UCUM", "Percent"),
    "mm2": ("mm2", "UCUM", "square millimeter"),
    "cm3": ("cm3", "UCUM", "cubic centimeter"),
    "pixels": ("{pixels}", "UCUM", "Pixels"),
    "voxels": ("{voxels}", "UCUM", "Voxels"),
}


def code(name: str) -> CodedConcept:
    """Return a concept by saliscope's name for it; raises KeyError for one that is not there."""
    from highdicom.sr import CodedConcept

    if name in _STANDARD:
        value, scheme, meaning = _STANDARD[name]
        return CodedConcept(value, scheme, meaning)
    return CodedConcept(name, SCHEME, PRIVATE[name])


def scheme() -> Dataset:
    """Return the item that says whose the private scheme is (PS3.3 C.12.1.1.6)."""
    from pydicom import Dataset

    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "Concepts of saliscope's structured reports"
    item.CodingSchemeResponsibleOrganization = "saliscope"
    return item


def text(name: str, value: str, relationship: str = "CONTAINS") -> TextContentItem:
    """Return a sentence as a content item."""
    from highdicom.sr import TextContentItem

    return TextContentItem(code(name), printable(value), relationship)


def printable(value: str) -> str:
    """Return text with a space for whatever cannot be printed, and a dash for nothing: no text may be empty."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in value).strip() or "-"


def number(name: str, value: float, unit: str, relationship: str = "CONTAINS") -> NumContentItem:
    """Return a finite number as a content item."""
    from highdicom.sr import NumContentItem

    item = NumContentItem(code(name), value, code(unit), relationship_type=relationship)
    _written(item, value)
    return item


def measured(
    name: str | Code, value: float, unit: str, derivation: str = "", properties: Sequence[ContentItem] = ()
) -> Measurement:
    """Return a finite number as a measurement (TID 300), with how it was derived and what it is to be read against."""
    from highdicom.sr import ContentSequence, Measurement

    concept = code(name) if isinstance(name, str) else name
    found = Measurement(concept, value, code(unit), derivation=code(derivation) if derivation else None)
    _written(found[0], value)
    if properties:
        found[0].ContentSequence = ContentSequence([*found[0].get("ContentSequence", ()), *properties])
    return found


def _written(item: Any, value: float) -> Any:
    """Write a number to six digits, so that 224 elements are no 224.0 and a share has no sixteen digits."""
    item.MeasuredValueSequence[0].NumericValue = f"{value:.6g}" if value != int(value) else str(int(value))
    if "FloatingPointValue" in item.MeasuredValueSequence[0]:
        item.MeasuredValueSequence[0].FloatingPointValue = float(value)
    return item


def container(name: str, items: list[Any]) -> ContainerContentItem:
    """Return a container of content items."""
    from highdicom.sr import ContainerContentItem, ContentSequence

    found = ContainerContentItem(code(name), relationship_type="CONTAINS")
    found.ContentSequence = ContentSequence(items)
    return found


def tracked(words: str) -> str:
    """Return a readable name to follow something by, short enough for every viewer."""
    plain = clipped(words, 64)
    return plain if plain == words else f"{clipped(words, 50)} {hashlib.sha256(words.encode()).hexdigest()[:8]}"
