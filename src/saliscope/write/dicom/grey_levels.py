"""The grey levels of a source in its presentation state: as the source itself says that it is to be shown.

A presentation state replaces what the image says of rescaling, window and polarity (PS3.4 N.2); what it leaves out
would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CannotSay
from saliscope.write.dicom.source import DicomSource

if TYPE_CHECKING:
    from pydicom import Dataset


def keep_levels(state: Dataset, source: DicomSource) -> None:
    """Put the source's Modality LUT, VOI LUT and polarity into a state (PS3.3 C.11.1, C.11.8, C.11.6).

    Raises CannotSay where the slices differ in what a state can say only once.
    """
    state.update(_of_all(source, _rescaled, "rescaling"))
    state.update(_of_all(source, _polarity, "polarity"))
    by_look: dict[str, tuple[Dataset, list[int]]] = {}
    for plane in range(len(source.planes)):
        look = _look(source, plane)
        by_look.setdefault(look.to_json(), (look, []))[1].append(plane)
    shown = [(look, planes) for look, planes in by_look.values() if len(look)]
    for look, planes in shown:
        if len(by_look) > 1:
            look.ReferencedImageSequence = [source.reference(plane) for plane in planes]
    if shown:
        state.SoftcopyVOILUTSequence = [look for look, _ in shown]


def _of_all(source: DicomSource, asked: Callable[[DicomSource, int], Dataset], what: str) -> Dataset:
    found = [asked(source, plane) for plane in range(len(source.planes))]
    if any(one != found[0] for one in found[1:]):
        raise CannotSay(
            f"slices that differ in their {what}, of which a presentation state can hold one",
            do="Look at the secondary capture",
        )
    return found[0]


def _rescaled(source: DicomSource, plane: int) -> Dataset:
    from pydicom import Dataset

    said, kept = _group(source, plane, "PixelValueTransformationSequence"), Dataset()
    if said.get("ModalityLUTSequence"):
        kept.ModalityLUTSequence = deepcopy(said.ModalityLUTSequence)
    elif "RescaleSlope" in said and "RescaleIntercept" in said:
        kept.RescaleIntercept, kept.RescaleSlope = said.RescaleIntercept, said.RescaleSlope
        # Type 1 here and optional there; CT is in Hounsfield units where it does not say otherwise (PS3.3 C.8.2.1).
        default = "HU" if str(source.first.get("Modality", "")) == "CT" else "US"
        kept.RescaleType = str(said.get("RescaleType", "") or "") or default
    return kept


def _polarity(source: DicomSource, plane: int) -> Dataset:
    from pydicom import Dataset

    header, kept = source.of_plane(plane), Dataset()
    inverse = "MONOCHROME1" in str(header.PhotometricInterpretation) or header.get("PresentationLUTShape") == "INVERSE"
    kept.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    return kept


def _look(source: DicomSource, plane: int) -> Dataset:
    """Return the table or window that a plane is first shown in, empty where the source has none that makes sense.

    One only: viewers refuse a state with several (DCMTK does).
    """
    from pydicom import Dataset

    said, kept = _group(source, plane, "FrameVOILUTSequence"), Dataset()
    if said.get("VOILUTSequence"):
        kept.VOILUTSequence = [deepcopy(said.VOILUTSequence[0])]
        return kept
    centres, widths = (_numbers(said.get(word)) for word in ("WindowCenter", "WindowWidth"))
    function = str(said.get("VOILUTFunction", "") or "")
    least = 1.0 if function in ("", "LINEAR") else 1e-6
    if not centres or not widths or widths[0] < least:
        return kept
    kept.WindowCenter, kept.WindowWidth = f"{centres[0]:.10g}", f"{widths[0]:.10g}"
    if function:
        kept.VOILUTFunction = function
    return kept


def _numbers(value: Any) -> list[float]:
    if value is None or value == "":
        return []
    return [float(v) for v in ([value] if isinstance(value, (int, float)) else value)]


def spacing_of(source: DicomSource, plane: int) -> list[float] | None:
    """Return the distance of rows and of columns in mm as the source says it, None where it does not."""
    said = _group(source, plane, "PixelMeasuresSequence")
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        steps = _numbers(said.get(keyword))
        if len(steps) == 2 and min(steps) > 0:
            return steps
    return None


def _group(source: DicomSource, plane: int, macro: str) -> Dataset:
    """Return where a plane's attributes of a macro stand: with its frame, with all frames, or in the header."""
    header, frame = source.of_plane(plane), source.planes[plane][1]
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [frames[frame]] if frame < len(frames) else []
    for group in (*groups, *(header.get("SharedFunctionalGroupsSequence") or [])):
        if group.get(macro):
            found: Dataset = group[macro][0]
            return found
    return header
