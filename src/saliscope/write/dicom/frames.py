"""What parametric maps and segmentations share: whose they are, where their frames lie, and which source each is of.

highdicom's own constructors take no plain radiograph for a map, and no slice without its thickness; its parts do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import WriteError
from saliscope.write.dicom.instance import begun
from saliscope.write.dicom.kinds import KINDS, Kind
from saliscope.write.dicom.quantity import coded, content_description, content_label
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.sr.coding import Code

#: SNOMED codes of common parts of the body that are no pairs, by their term (PS3.16 annex L, CID 4031).
PARTS = {
    "ABDOMEN": ("818981001", "Abdomen"),
    "ABDOMENPELVIS": ("818982008", "Abdomen and Pelvis"),
    "BRAIN": ("12738006", "Brain"),
    "CHEST": ("816094009", "Chest"),
    "CHESTABDOMEN": ("416550000", "Chest and Abdomen"),
    "CHESTABDPELVIS": ("416775004", "Chest, Abdomen and Pelvis"),
    "CSPINE": ("122494005", "Cervical spine"),
    "HEAD": ("69536005", "Head"),
    "HEADNECK": ("774007", "Head and Neck"),
    "HEART": ("80891009", "Heart"),
    "LIVER": ("10200004", "Liver"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "NECK": ("45048000", "Neck"),
    "PELVIS": ("816092008", "Pelvis"),
    "PROSTATE": ("41216001", "Prostate"),
    "SKULL": ("89546000", "Skull"),
    "SPINE": ("421060004", "Spine"),
    "TSPINE": ("122495006", "Thoracic spine"),
}


@dataclass(frozen=True)
class Placement:
    """Where the planes of a result lie, as their source says it; nothing that it does not say.

    `positions` (one for each plane) and `orientation` are None where the source has no place in the patient: no frame
    of reference, no position or no orientation. `spacing` is (between rows, between columns) in mm, None where unknown.
    """

    positions: tuple[Sequence[float], ...] | None
    orientation: Sequence[float] | None
    spacing: tuple[Any, Any] | None
    thickness: Any
    between: float | None


def placement(result: Result, source: DicomSource) -> Placement:
    """Return where the planes of a result lie; raises WriteError for a map that is not on its source's grid."""
    shape, planes = result.values.shape, len(source.planes)
    of_source = (int(source.first.Rows), int(source.first.Columns))
    if shape[-2:] != of_source or planes != (shape[0] if result.volume else 1):
        raise WriteError(
            f"a map of {shape} for a source of {planes} planes of {of_source}",
            expected="one value for each pixel",
            do="Pair the map with the image that it was made from",
        )
    positions = [_said(source, i, "PlanePositionSequence", "ImagePositionPatient") for i in range(planes)]
    orientation = _said(source, 0, "PlaneOrientationSequence", "ImageOrientationPatient")
    placed = bool(source.frame_of_reference and orientation and all(positions))
    return Placement(
        tuple(positions) if placed else None,
        orientation if placed else None,
        _spacing(result, source),
        _said(source, 0, "PixelMeasuresSequence", "SliceThickness"),
        _between(positions, orientation) if placed and planes > 1 else None,
    )


def started(kind: Kind, result: Result, source: DicomSource, stamp: Stamp, modality: str) -> Dataset:
    """Return an object of a kind with patient, study, series and equipment, on the grid of its source.

    (PS3.3 C.7.1 to C.7.5, C.12.1)
    """
    ds = begun(result, source, stamp, kind, KINDS[kind].sop_classes[0], modality)
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.Rows, ds.Columns = int(source.first.Rows), int(source.first.Columns)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PresentationLUTShape = 1, "MONOCHROME2", "IDENTITY"
    ds.LossyImageCompression = str(source.first.get("LossyImageCompression", "") or "00")
    ds.ContentLabel, ds.ContentDescription = content_label(result), content_description(result)
    ds.ContentCreatorName = None
    return ds


def place(ds: Dataset, source: DicomSource, where: Placement) -> None:
    """Add the frame of reference of a source with a place; without one, how the picture lies (PS3.3 C.7.4, C.7.6.1)."""
    if where.positions is None:
        said = source.first.get("PatientOrientation")
        ds.PatientOrientation = list(said) if said else None
    else:
        ds.FrameOfReferenceUID = source.frame_of_reference
        ds.PositionReferenceIndicator = source.first.get("PositionReferenceIndicator")


def anatomy(source: DicomSource) -> Dataset | None:
    """Return the anatomic region of all frames, None where the source names none that has a code (C.7.6.16.2.8)."""
    from pydicom import Dataset
    from pydicom.sr.coding import Code

    item = Dataset()
    for groups in source.first.get("SharedFunctionalGroupsSequence") or ():
        if groups.get("FrameAnatomySequence"):
            item.update(deepcopy(groups.FrameAnatomySequence[0]))
            return item
    regions = source.first.get("AnatomicRegionSequence")
    side = str(source.first.get("ImageLaterality", "") or "")
    if regions and side in ("R", "L", "U", "B"):
        item.AnatomicRegionSequence, item.FrameLaterality = [deepcopy(regions[0])], side
        return item
    part = PARTS.get(str(source.first.get("BodyPartExamined", "") or ""))
    if part is None:
        return None
    item.AnatomicRegionSequence, item.FrameLaterality = [coded(Code(part[0], "SCT", part[1]))], "U"
    return item


def refer(ds: Dataset, source: DicomSource, planes: Iterable[int], purpose: Code) -> None:
    """Add the images that an object was made from, each once (PS3.3 C.7.6.1, C.12.2)."""
    from pydicom import Dataset

    whole: dict[str, Dataset] = {}
    for plane in planes:
        item = source.reference(plane)
        if source.multiframe and len(source.planes) > 1:
            del item.ReferencedFrameNumber  # each frame names its own
        whole[item.ReferencedSOPInstanceUID] = item
    series = Dataset()
    series.SeriesInstanceUID = source.first.SeriesInstanceUID
    series.ReferencedInstanceSequence = [_instance(item) for item in whole.values()]
    ds.ReferencedSeriesSequence = [series]
    for item in whole.values():
        item.PurposeOfReferenceCodeSequence = [coded(purpose)]
    ds.SourceImageSequence = list(whole.values())


def shared_groups(where: Placement) -> Dataset:
    """Return what holds for all frames: spacing and orientation, as far as they are known (PS3.3 C.7.6.16.2)."""
    from highdicom import CoordinateSystemNames, PixelMeasuresSequence, PlaneOrientationSequence
    from pydicom import Dataset

    groups = Dataset()
    if where.spacing is not None:
        groups.PixelMeasuresSequence = PixelMeasuresSequence(where.spacing, where.thickness, where.between)
    if where.orientation is not None:
        groups.PlaneOrientationSequence = PlaneOrientationSequence(CoordinateSystemNames.PATIENT, where.orientation)
    return groups


def frame_groups(
    source: DicomSource, where: Placement, plane: int, index: Sequence[int], purpose: Code, derivation: Code
) -> Dataset:
    """Return what holds for one frame: its indices, its position and the image it is of (PS3.3 C.7.6.16.2)."""
    from highdicom import CoordinateSystemNames, PlanePositionSequence
    from pydicom import Dataset

    groups, content, derived = Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = list(index)
    content.FrameLabel = f"Plane {plane + 1}"
    groups.FrameContentSequence = [content]
    if where.positions is not None:
        groups.PlanePositionSequence = PlanePositionSequence(CoordinateSystemNames.PATIENT, where.positions[plane])
    image = source.reference(plane)
    image.PurposeOfReferenceCodeSequence = [coded(purpose)]
    image.SpatialLocationsPreserved = "YES"
    derived.SourceImageSequence, derived.DerivationCodeSequence = [image], [coded(derivation)]
    groups.DerivationImageSequence = [derived]
    return groups


def framed(
    ds: Dataset, where: Placement, shared: Dataset, frames: Sequence[Dataset], uid: str, *, segments: bool = False
) -> None:
    """Add the frames and what they are ordered by: segment, then position (PS3.3 C.7.6.16, C.7.6.17)."""
    from pydicom import Dataset
    from pydicom.datadict import tag_for_keyword

    pointers = [("ReferencedSegmentNumber", "SegmentIdentificationSequence", "Segment Number")] if segments else []
    if where.positions is not None:
        pointers.append(("ImagePositionPatient", "PlanePositionSequence", "Image Position Patient"))
    elif not segments:  # a single frame without a place: something must be named
        pointers.append(("FrameLabel", "FrameContentSequence", "Frame Label"))
    ds.NumberOfFrames = len(frames)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], frames
    organisation = Dataset()
    organisation.DimensionOrganizationUID = uid
    ds.DimensionOrganizationSequence = [organisation]
    ds.DimensionIndexSequence = []
    for keyword, group, label in pointers:
        item = Dataset()
        item.DimensionOrganizationUID, item.DimensionDescriptionLabel = uid, label
        item.DimensionIndexPointer, item.FunctionalGroupPointer = tag_for_keyword(keyword), tag_for_keyword(group)
        ds.DimensionIndexSequence.append(item)


def _instance(reference: Dataset) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = reference.ReferencedSOPClassUID
    item.ReferencedSOPInstanceUID = reference.ReferencedSOPInstanceUID
    return item


def _said(source: DicomSource, plane: int, group: str, keyword: str) -> Any:
    """Return what the source says of a plane: in the groups of its frame, in those of all frames, or at the root."""
    header, frame = source.of_plane(plane), source.planes[plane][1]
    own = list(header.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
    for groups in (*own, *(header.get("SharedFunctionalGroupsSequence") or ())):
        items = groups.get(group)
        if items and items[0].get(keyword):
            return items[0].get(keyword)
    return header.get(keyword) or None


def _spacing(result: Result, source: DicomSource) -> tuple[Any, Any] | None:
    """Return the steps between rows and columns: the patient's own, else those by which the image was read."""
    said = _said(source, 0, "PixelMeasuresSequence", "PixelSpacing")
    grid = result.image.geometry
    if grid.unit != "mm":
        return None
    return (said[0], said[1]) if said else (grid.spacing[-2], grid.spacing[-1])


def _between(positions: Sequence[Sequence[float]], orientation: Sequence[float]) -> float | None:
    """Return the step between planes that are stacked evenly along their normal; None for a gantry tilt."""
    from highdicom.spatial import get_volume_positions

    step = get_volume_positions(positions, orientation)[0]
    return None if step is None else round(float(step), 6)  # the rounding of 16 characters is no step
