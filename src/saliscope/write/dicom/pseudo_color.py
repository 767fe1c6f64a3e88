"""The palette and the window in which a Parametric Map is to be shown (PS3.3 A.33.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.map_colours import chosen_map, completed, header_of, map_palette, map_window
from saliscope.write.dicom.quantity import content_description, content_label
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp, finished

if TYPE_CHECKING:
    from pydicom import Dataset


def pseudo_color(result: Result, source: DicomSource, stamp: Stamp, made: Mapping[str, Dataset]) -> Dataset:
    """Return a Pseudo-Color Softcopy Presentation State of the map made before it (PS3.3 A.33.3).

    Raises CannotSay where no Parametric Map was made.
    """
    from highdicom.pr import PseudoColorSoftcopyPresentationState

    shown, kind = chosen_map(made), KINDS["pseudo-color"]
    ds = PseudoColorSoftcopyPresentationState(
        referenced_images=[header_of(shown)],
        palette_color_lut_transformation=map_palette(result),
        content_label=content_label(result),
        content_description=content_description(result),
        **stamp.words(result, kind.name),
    )
    # Its argument voi_lut_transformations raises in highdicom 0.28 whatever it is given.
    ds.SoftcopyVOILUTSequence = [map_window(result, shown)]
    completed(ds, source, stamp)
    return finished(ds, result, source, stamp, burnt=None)
