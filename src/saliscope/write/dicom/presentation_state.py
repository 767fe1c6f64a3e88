"""The outlines of the regions on the original pixels: Grayscale Softcopy Presentation State (PS3.3 A.33.1).

Nothing is burnt in: a viewer that applies it draws the lines, and takes them away again. highdicom's own class takes
pixels for square, refuses sources with both window and table, and needs functional groups of every multi-frame image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.errors import CannotSay
from saliscope.write.dicom.grey_levels import keep_levels, spacing_of
from saliscope.write.dicom.instance import begun, say_part
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.result import Outline, Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp, clipped, finished

if TYPE_CHECKING:
    from pydicom import Dataset

#: The one layer of all lines and texts, and the label of the state (CS, at most 16 characters).
LAYER = "SALISCOPE"
#: The colour of the layer in L*, a*, b*: a light yellow, seen on black and on white.
YELLOW = (90.0, -5.0, 80.0)
_SHUTTER = (
    "ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter",
    "VerticesOfThePolygonalShutter",
)  # fmt: skip
_INSTEAD = "Look at the secondary capture"
#: Where it is written what the lines are, in shares of what is shown: left, top, right, bottom.
CAPTION = (0.01, 0.9, 0.8, 0.99)


def presentation_state(result: Result, source: DicomSource, stamp: Stamp, made: Mapping[str, Dataset]) -> Dataset:
    """Return lines and numbers around the listed regions, each on its own slice or frame, in the source's grey levels.

    Raises CannotSay for a map without regions, and for a source that a grey presentation state cannot show.
    """
    del made
    for header in source.headers:
        if not str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
            raise CannotSay("a source in colour, which a grey presentation state cannot show", do=_INSTEAD)
    lines = result.outlines()
    if not lines:
        raise CannotSay("a map without regions to outline", do=_INSTEAD)
    (sop_class,) = KINDS["presentation-state"].sop_classes
    ds = begun(result, source, stamp, "presentation-state", sop_class, "PR")
    say_part(ds, source)
    at = stamp.at(source)
    ds.PresentationCreationDate, ds.PresentationCreationTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")
    ds.ContentLabel, ds.ContentDescription = LAYER, clipped(result.title, 64)
    ds.ContentCreatorName = "saliscope^"
    ds.ReferencedSeriesSequence = _series(source)
    ds.DisplayedAreaSelectionSequence = [_area(source)]
    ds.GraphicAnnotationSequence = _annotations(result, source, lines)
    ds.GraphicLayerSequence = [_layer()]
    keep_levels(ds, source)
    _keep_shutter(ds, source)
    return finished(ds, result, source, stamp, burnt=None)


def _keep_shutter(ds: Dataset, source: DicomSource) -> None:
    """Keep the collimation of a single image dark: without a shutter of the state there is none (PS3.3 C.11.12)."""
    first = source.first
    if len(source.headers) > 1 or not first.get("ShutterShape") or "BITMAP" in first.ShutterShape:
        return
    for keyword in _SHUTTER:
        if keyword in first:
            ds[keyword] = deepcopy(first[keyword])
    ds.ShutterPresentationValue = first.get("ShutterPresentationValue") or 0


def _series(source: DicomSource) -> list[Dataset]:
    """Return the images that the state is for, by series (PS3.3 C.11.11); of one with frames, those of the map."""
    from pydicom import Dataset

    found: dict[str, Dataset] = {}
    for index, header in enumerate(source.headers):
        item = found.setdefault(str(header.SeriesInstanceUID), Dataset())
        item.SeriesInstanceUID = header.SeriesInstanceUID
        image = source.reference(next(plane for plane, (i, _) in enumerate(source.planes) if i == index))
        if source.multiframe:
            image.ReferencedFrameNumber = [frame + 1 for i, frame in source.planes if i == index]
        item.ReferencedImageSequence = [*(item.get("ReferencedImageSequence") or ()), image]
    return list(found.values())


def _area(source: DicomSource) -> Dataset:
    """Return the whole image as what is shown, its pixels as wide as high as they are (PS3.3 C.10.4, from 1)."""
    from pydicom import Dataset

    item, first = Dataset(), source.of_plane(0)
    item.DisplayedAreaTopLeftHandCorner = [1, 1]
    item.DisplayedAreaBottomRightHandCorner = [first.Columns, first.Rows]
    item.PresentationSizeMode = "SCALE TO FIT"
    steps = spacing_of(source, 0)
    if steps is not None:
        item.PresentationPixelSpacing = [f"{step:.10g}" for step in steps]
    else:
        item.PresentationPixelAspectRatio = list(first.get("PixelAspectRatio") or [1, 1])
    return item


def _annotations(result: Result, source: DicomSource, lines: Sequence[Outline]) -> list[Dataset]:
    """Return lines and numbers plane by plane, and what they are on every image (PS3.3 C.10.5)."""
    from highdicom.pr import TextObject
    from pydicom import Dataset

    said = {int(region["number"]): float(region["share"]) for region in result.reading["regions"]}
    items = []
    for plane in sorted({line.plane for line in lines}):
        here = [line for line in lines if line.plane == plane]
        item = Dataset()
        item.ReferencedImageSequence = [source.reference(plane)]
        item.GraphicLayer = LAYER
        item.TextObjectSequence = [_number(n, said.get(n), here) for n in sorted({line.region for line in here})]
        item.GraphicObjectSequence = [_drawn(line) for line in here]
        items.append(item)
    item = Dataset()  # without reference: it is for all images
    item.GraphicLayer = LAYER
    item.TextObjectSequence = [TextObject(_caption(result), "DISPLAY", CAPTION, text_justification="LEFT")]
    return [*items, item]


def _drawn(line: Outline) -> Dataset:
    from highdicom.pr import GraphicObject

    return GraphicObject("POLYLINE", _points(line), "PIXEL", is_filled=False)


def _number(number: int, share: float | None, lines: Sequence[Outline]) -> Dataset:
    """Return the number of a region, and how much of the map it holds, at the right end of its lines."""
    from highdicom.pr import TextObject

    points = np.concatenate([_points(line) for line in lines if line.region == number])
    column, row = points[points[:, 0].argmax()]
    text = f"{number}" if share is None else f"{number}: {100 * share:.0f} % of positive attribution"
    return TextObject(text, "PIXEL", anchor_point=(float(column), float(row)), anchor_point_visible=False)


def _points(line: Outline) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return columns and rows (n, 2) as DICOM counts them: 0 is the upper left corner of the image (PS3.3 C.10.5.1.2).

    The centre of element 0 lies at 0.5.
    """
    return np.asarray(line.points, dtype=np.float64)[:, ::-1] + 0.5


def _caption(result: Result) -> str:
    state = "" if result.card is None else f"{result.card['state_name']}. "
    return clipped(f"{result.title}. {state}Outlined: where the map is strong. Research use, not for diagnosis.", 1024)


def _layer() -> Dataset:
    from highdicom.color import CIELabColor
    from highdicom.pr import GraphicLayer

    layer = GraphicLayer(LAYER, 1, "Outlined regions of a map", CIELabColor(*YELLOW))
    layer.GraphicLayerRecommendedDisplayGrayscaleValue = 65535
    return layer
