"""Where one DICOM plane lies: from header to patient RAS+ millimetres, or to a grid that says what is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry, Vector

if TYPE_CHECKING:
    from pydicom import Dataset

#: No position, spacing or direction is larger (mm), and no spacing smaller than one by it.
FARTHEST = 1e6
Floats = npt.NDArray[np.float64]
#: DICOM is LPS+, saliscope RAS+.
_TO_RAS = np.array([-1.0, -1.0, 1.0])
_LETTERS: dict[str, Vector] = {
    "L": (-1, 0, 0), "R": (1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1),
}  # fmt: skip
#: Modalities that project: their PixelSpacing may be measured at the detector.
_PROJECTION = frozenset(("CR", "DX", "MG", "RF", "XA", "PX", "IO", "RG"))
_CENTIMETRES = 3  # PS3.3 C.8.5.5.1.1.1, physical units of an ultrasound region


@dataclass(frozen=True, eq=False)
class Plane:
    """Position of the first pixel (RAS+ mm) and unit vectors along increasing row index and column index."""

    position: Floats
    row: Floats
    column: Floats

    @property
    def normal(self) -> Floats:
        """Return the unit normal, right-handed with (column, row) as in DICOM."""
        n = np.cross(self.column, self.row)
        unit: Floats = n / np.linalg.norm(n)
        return unit


def numbers(header: Dataset, keyword: str, count: int) -> Floats | None:
    """Return that many numbers of an element, or None when they are not there, not numbers, or beyond any body."""
    try:
        got = np.asarray([float(v) for v in header.get(keyword)], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return got if got.shape == (count,) and (np.abs(got) <= FARTHEST).all() else None


def plane_of(header: Dataset) -> Plane | None:
    """Return the plane of ImagePositionPatient and ImageOrientationPatient, or None if they cannot be believed."""
    position, axes = numbers(header, "ImagePositionPatient", 3), orientation(header)
    if position is None or axes is None:
        return None
    return Plane(position * _TO_RAS, axes[0], axes[1])


def orientation(header: Dataset) -> tuple[Floats, Floats] | None:
    """Return unit vectors (RAS+) along increasing row index and column index, or None."""
    six = numbers(header, "ImageOrientationPatient", 6)
    if six is None:
        return None
    along_columns, along_rows = six[:3] * _TO_RAS, six[3:] * _TO_RAS  # the first three run along a row of pixels
    lengths = np.linalg.norm(along_columns), np.linalg.norm(along_rows)
    if abs(lengths[0] - 1) > 0.05 or abs(lengths[1] - 1) > 0.05 or abs(along_columns @ along_rows) > 0.02:
        return None
    return along_rows / lengths[1], along_columns / lengths[0]


def spacing_of(header: Dataset, modality: str) -> tuple[tuple[float, float] | None, list[str]]:
    """Return the spacing (row, column) in mm, or None where unknown, and what is to be said about it."""
    notes: list[str] = []
    for keyword, what in (
        ("PixelSpacing", ""),
        ("ImagerPixelSpacing", "spacing is at the detector, not corrected for magnification"),
        ("NominalScannedPixelSpacing", "spacing is that of the film scanner, not corrected for magnification"),
    ):
        if keyword not in header or header.get(keyword) is None:
            continue
        got = numbers(header, keyword, 2)
        if got is None or min(got) < 1 / FARTHEST:
            notes.append(f"{keyword} is not two positive numbers and was not believed")
            continue
        at_detector = modality in _PROJECTION and keyword == "PixelSpacing" and not _calibrated(header, got)
        said = "spacing may be at the detector, not corrected for magnification" if at_detector else what
        return (float(got[0]), float(got[1])), [*notes, *([said] if said else [])]
    found, said_too = _region_spacing(header)
    return found, notes + said_too


def picture_grid(shape: tuple[int, int], header: Dataset, modality: str) -> tuple[Geometry, list[str]]:
    """Return the 2D grid of one frame and what was assumed or is unknown about it."""
    spacing, notes = spacing_of(header, modality)
    plane, axes = plane_of(header), orientation(header)
    if plane is not None:
        grid = Geometry(shape, spacing or (1.0, 1.0), _tuple(plane.position), (_tuple(plane.row), _tuple(plane.column)))
    else:
        if axes is None and header.get("ImageOrientationPatient") is not None:
            notes.append("ImageOrientationPatient is not two unit vectors at right angles and was not believed")
        letters = axes or _patient_orientation(header)
        grid = Geometry.of_picture(shape, spacing or (1.0, 1.0))
        if letters is None:
            notes.append("orientation and position in the patient are unknown")
        else:
            grid = replace(grid, direction=(_tuple(letters[0]), _tuple(letters[1])), frame="patient")
            notes.append("position in the patient unknown; only the orientation is given")
    if spacing is None:
        ratio = numbers(header, "PixelAspectRatio", 2)
        shape_of_pixel = (1.0, 1.0)
        if ratio is not None and min(ratio) > 0 and ratio[0] != ratio[1]:
            shape_of_pixel = (float(ratio[0] / ratio[1]), 1.0)
            notes.append(f"pixels are not square: {ratio[0] / ratio[1]:.3g} times as high as wide")
        grid = replace(grid, spacing=shape_of_pixel, unit="px")
        notes.append("pixel spacing unknown; lengths are in pixels")
    return grid, notes


def _calibrated(header: Dataset, spacing: Floats) -> bool:
    """Return whether PixelSpacing differs from the detector's, as it does once corrected (PS3.3 10.7.1.3)."""
    detector = numbers(header, "ImagerPixelSpacing", 2)
    if detector is not None:
        return not np.allclose(detector, spacing)
    return str(header.get("PixelSpacingCalibrationType", "")) in ("GEOMETRY", "FIDUCIAL")


def _region_spacing(header: Dataset) -> tuple[tuple[float, float] | None, list[str]]:
    """Return the spacing of an ultrasound image that has one region, calibrated in centimetres."""
    regions: Sequence[Dataset] = header.get("SequenceOfUltrasoundRegions") or ()
    if not regions:
        return None, []
    units = {int(r.get(f"PhysicalUnits{axis}Direction", 0) or 0) for r in regions for axis in "XY"}
    if len(regions) > 1 or units != {_CENTIMETRES}:
        return None, [f"{len(regions)} ultrasound region(s), not one in centimetres: their spacing was not used"]
    try:
        down, across = (10 * abs(float(regions[0].get(f"PhysicalDelta{axis}"))) for axis in "YX")
    except (TypeError, ValueError):
        return None, ["the ultrasound region's spacing is not a number and was not believed"]
    if not (min(down, across) >= 1 / FARTHEST and max(down, across) <= FARTHEST):
        return None, ["the ultrasound region's spacing is not positive and was not believed"]
    return (down, across), ["spacing is that of the ultrasound region, and holds inside it only"]


def _patient_orientation(header: Dataset) -> tuple[Floats, Floats] | None:
    """Return the directions of PatientOrientation by its principal letters: (down the rows, along a row)."""
    letters = header.get("PatientOrientation")
    if letters is None or isinstance(letters, str) or len(letters) != 2:
        return None
    if any(not str(v) or set(str(v)) - set(_LETTERS) for v in letters):
        return None
    along, down = (np.array(_LETTERS[str(v)[0]], dtype=np.float64) for v in letters)
    return (down, along) if abs(along @ down) < 0.5 else None


def _tuple(v: Floats) -> Vector:
    x, y, z = (float(a) + 0.0 for a in v)
    return x, y, z
