"""In which colours and window viewers are to show a map: what presentation states say of it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import CannotSay
from saliscope.write.dicom.instance import say_part
from saliscope.write.dicom.parametric_map import explained, steps, window_of
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp

if TYPE_CHECKING:
    from highdicom import PaletteColorLUTTransformation
    from highdicom.pr import SoftcopyVOILUTTransformation
    from pydicom import Dataset

#: The well-known palette of maps without a sign (PS3.6 annex B.1): its lightness rises evenly, and every PACS has it.
HOT_IRON = "1.2.840.10008.1.5.1"
#: Anchors of the palette of signed maps, low to high: berlin by Crameri, dark where a map says nothing.
DIVERGING = (
    (158, 176, 255), (81, 159, 211), (40, 104, 134), (20, 48, 62), (25, 12, 9), (65, 18, 1), (125, 52, 30),
    (190, 111, 99), (255, 173, 173),
)  # fmt: skip
ENTRIES = 256


def chosen_map(made: Mapping[str, Dataset]) -> Dataset:
    """Return the map among the objects made before: that in steps, which more viewers colour, else that of floats.

    Raises CannotSay where there is none.
    """
    for kind in ("parametric-map-16", "parametric-map"):
        if kind in made:
            return made[kind]
    raise CannotSay(
        "a presentation without a map that it could show: no Parametric Map is among the objects",
        do="Choose parametric-map or parametric-map-16 with it",
    )


def map_window(result: Result, shown: Dataset) -> SoftcopyVOILUTTransformation:
    """Return the window of the reading's scale in the stored values of a map (PS3.3 C.11.8)."""
    from highdicom.pr import SoftcopyVOILUTTransformation

    slope, intercept = stored_as(result, shown)
    centre, width = window_of(result, slope, intercept)
    window = SoftcopyVOILUTTransformation(centre, width, voi_lut_function="LINEAR_EXACT")
    explained(window, result)
    return window


def stored_as(result: Result, shown: Dataset) -> tuple[float, float]:
    """Return slope and intercept from the stored values of a map to its own."""
    if int(shown.BitsAllocated) == 32:
        return 1.0, 0.0
    intercept, slope = steps(result)
    return slope, intercept


def map_palette(result: Result) -> PaletteColorLUTTransformation:
    """Return the palette of a map on its own: Hot Iron; of a signed one, dark in the middle and alike at both ends."""
    if result.reading["scale"]["palette"] == "diverging":
        return _palette(_stretched(np.array(DIVERGING)))
    return _palette(hot_iron(), HOT_IRON)


def overlay_palette(result: Result) -> PaletteColorLUTTransformation:
    """Return the palette of a map over its image: without the white of Hot Iron, no colour on bright tissue."""
    if result.reading["scale"]["palette"] == "diverging":
        return map_palette(result)
    return _palette(_stretched(hot_iron()[: ENTRIES * 3 // 4]))


def grey_palette() -> PaletteColorLUTTransformation:
    """Return the palette that leaves a grey image as it is: blending knows colours only (PS3.4 N.2.6)."""
    return _palette(np.repeat(np.linspace(0, 255, ENTRIES)[:, None], 3, axis=1))


def hot_iron() -> npt.NDArray[np.float64]:
    """Return the 256 colours of Hot Iron (PS3.6 table B.1-1): red rises first, then green, then blue, to white."""
    i = np.arange(ENTRIES)
    colours = np.clip(np.stack([2 * i, 2 * (i - 128), 4 * (i - 191)], axis=1), 0, 255).astype(np.float64)
    colours[-1] = 255
    return colours


def header_of(ds: Dataset) -> Dataset:
    """Return a copy of what highdicom's constructors read of an image: no pixels, and nothing that two objects share.

    What they copy they share: without a copy, a pseudonym that is written into one object changes the other.
    """
    from pydicom import Dataset

    header = Dataset()
    for element in ds:
        if element.keyword not in ("PixelData", "FloatPixelData"):
            header[element.tag] = deepcopy(element)
    return header


def completed(ds: Dataset, source: DicomSource, stamp: Stamp) -> None:
    """Overwrite what highdicom takes from the clock, and add which part of the body is shown (PS3.3 C.11.10)."""
    at = stamp.at(source)
    ds.PresentationCreationDate, ds.PresentationCreationTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")
    ds.ContributingEquipmentSequence = []  # highdicom names itself there, with the time; `finished` adds ours
    say_part(ds, source)


def _stretched(colours: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return colours (n, 3) as 256, linear between them."""
    at, places = np.linspace(0, 1, ENTRIES), np.linspace(0, 1, len(colours))
    return np.stack([np.interp(at, places, channel) for channel in colours.T], axis=1)


def _palette(colours: npt.NDArray[np.float64], uid: str | None = None) -> PaletteColorLUTTransformation:
    """Return colours (256, 3) of 0 to 255 as a palette of 16 bits, which presentation states want (PS3.3 C.7.9)."""
    from highdicom import PaletteColorLUTTransformation

    return PaletteColorLUTTransformation.from_combined_lut(
        np.rint(colours * 257).astype(np.uint16), palette_color_lut_uid=uid
    )
