"""The header of one frame, whether it stands at the top of the file or in functional groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.errors import MixedSeries
from saliscope.read.placement import Plane, plane_of
from saliscope.read.stack import ordered

if TYPE_CHECKING:
    from pydicom import Dataset

_IMAGE_GROUP = 0x0028
#: What is read from the top of the file beside the image group; none of it names a patient.
_KEPT = (
    "ImagePositionPatient", "ImageOrientationPatient", "PatientOrientation", "ImagerPixelSpacing",
    "NominalScannedPixelSpacing", "SequenceOfUltrasoundRegions", "PresentationLUTShape", "ImageType",
)  # fmt: skip
#: Functional groups that say how one frame lies and looks (PS3.3 C.7.6.16.2).
_MACROS = (
    "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "PixelValueTransformationSequence",
    "FrameVOILUTSequence", "FrameContentSequence",
)  # fmt: skip


def frame_header(ds: Dataset, index: int = 0) -> Dataset:
    """Return what is said of one frame: the image group, position and looks, shared and its own, without pixels."""
    from pydicom import Dataset

    header = Dataset()
    header.file_meta = ds.file_meta
    for tag in ds.keys():  # noqa: SIM118  (iterating a Dataset parses every element, pixels too)
        if tag >> 16 == _IMAGE_GROUP:
            header.add(ds[tag])
    for keyword in _KEPT:
        if keyword in ds:
            header.add(ds[keyword])
    for groups, at in ((ds.get("SharedFunctionalGroupsSequence"), 0), (_per_frame(ds), index)):
        if not groups or at >= len(groups):
            continue
        for macro in _MACROS:
            for item in groups[at].get(macro) or ():
                header.update(item)
    _widen_table(header)
    return header


def stacked_frames(headers: list[Dataset], label: str) -> tuple[list[int], list[str]] | None:
    """Return the frames of one volume in order and what was left out, or None when they are no volume.

    Raises MixedSeries when frames share positions and nothing tells them apart.
    """
    planes = [plane_of(h) for h in headers]
    if any(p is None for p in planes):
        return None
    stacks: dict[tuple[str, int], list[int]] = {}
    for i, header in enumerate(headers):
        key = str(header.get("StackID", "") or ""), int(header.get("TemporalPositionIndex", 0) or 0)
        stacks.setdefault(key, []).append(i)
    chosen = stacks[sorted(stacks)[0]]
    known: list[Plane] = [p for p in planes if p is not None]
    groups = ordered([known[i] for i in chosen], label)
    if len(groups) == 1:
        return None
    if len(groups) < len(chosen):
        raise MixedSeries(
            f"{label}: {len(chosen)} frames at {len(groups)} positions (several echoes, phases or time points)",
            expected="one frame for each position",
            do="Export one of them as a series of its own",
        )
    notes = [f"holds {len(stacks)} stacks or time points; the first is read"] if len(stacks) > 1 else []
    return [chosen[g[0]] for g in groups], notes


def _per_frame(ds: Dataset) -> list[Dataset]:
    return ds.get("PerFrameFunctionalGroupsSequence") or []


def _widen_table(header: Dataset) -> None:
    """Let a modality table of odd depth be held in 16 bits, the only other type that numpy has."""
    if not header.get("ModalityLUTSequence"):
        return
    from copy import deepcopy

    tables = deepcopy(header.ModalityLUTSequence)
    entries, first, depth = (int(v) for v in np.asarray(tables[0].LUTDescriptor))
    if depth not in (8, 16):
        tables[0].LUTDescriptor = [entries, first, 16]
        header.ModalityLUTSequence = tables
