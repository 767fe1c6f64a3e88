"""Where a single DICOM image lies: from LPS to RAS+, or what is unknown and said."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from saliscope.read import read

NOWHERE = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
FLAT = {**NOWHERE, "PixelSpacing": None, "RescaleSlope": None, "RescaleIntercept": None}


def test_an_axial_slice(make) -> None:
    grid = read(make(ImagePositionPatient=[-10, -20, 30], PixelSpacing=[0.5, 0.25])).geometry
    # Rows run to the back (LPS +y is RAS -y), columns to the patient's left (LPS +x is RAS -x).
    assert np.allclose(grid.to_world([0, 0]), [10, 20, 30])
    assert np.allclose(grid.to_world([4, 8]), [10 - 8 * 0.25, 20 - 4 * 0.5, 30])
    assert grid.letters == (("A", "P"), ("R", "L"))
    assert (grid.unit, grid.frame, grid.spacing) == ("mm", "patient", (0.5, 0.25))


def test_an_oblique_slice(make) -> None:
    along, down = np.array([0.8, 0.6, 0]), np.array([0, 0, -1.0])
    grid = read(make(ImageOrientationPatient=[*along, *down], PixelSpacing=[2, 3])).geometry
    expected = np.array([-1, -1, 1]) * (5 * 3 * along + 4 * 2 * down)
    assert np.allclose(grid.to_world([4, 5]), expected)


def test_a_radiograph_knows_directions_only(make) -> None:
    tags = {**FLAT, "Modality": "DX", "ImagerPixelSpacing": [0.14, 0.14], "PatientOrientation": ["L", "F"]}
    image = read(make(**tags))
    assert image.geometry.letters == (("S", "I"), ("R", "L"))
    assert image.geometry.origin == (0, 0, 0)
    assert (image.geometry.unit, image.geometry.spacing) == ("mm", (0.14, 0.14))
    assert any("at the detector" in n for n in image.notes)
    assert any("position in the patient unknown" in n for n in image.notes)


@pytest.mark.parametrize("letters", [["L"], ["L", "R"], ["X", "F"], ["", ""], ["LE", "RT"], None])
def test_a_senseless_patient_orientation_is_unknown(make, letters: list[str] | None) -> None:
    image = read(make(**FLAT, Modality="DX", PatientOrientation=letters))
    assert image.geometry.frame == "image"
    assert image.geometry.letters is None
    assert any("orientation and position in the patient are unknown" in n for n in image.notes)


@pytest.mark.parametrize("spacing", [["0", "1"], ["-1", "1"], ["nan", "1"], ["inf", "1"], ["1", "1", "1"]])
def test_a_spacing_that_cannot_be_is_not_believed(make, spacing: list[str]) -> None:
    image = read(make(PixelSpacing=spacing))
    assert (image.geometry.unit, image.geometry.spacing) == ("px", (1.0, 1.0))
    assert any("PixelSpacing is not two positive numbers" in n for n in image.notes)
    assert any("spacing unknown" in n for n in image.notes)


@pytest.mark.parametrize("six", [[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 2, 0], ["nan", 0, 0, 0, 1, 0]])
def test_an_orientation_that_cannot_be_is_not_believed(make, six: list) -> None:
    image = read(make(ImageOrientationPatient=six))
    assert image.geometry.frame == "image"
    assert any("not believed" in n for n in image.notes)


@pytest.mark.parametrize("position", [["nan", 0, 0], [0, 0], ["inf", 0, 0]])
def test_a_position_that_cannot_be_leaves_the_orientation(make, position: list) -> None:
    image = read(make(ImagePositionPatient=position))
    assert image.geometry.frame == "patient"
    assert any("position in the patient unknown" in n for n in image.notes)


def test_calibrated_spacing_of_a_radiograph_is_told_from_the_detectors(make) -> None:
    flat = {**FLAT, "Modality": "DX", "ImagerPixelSpacing": [0.2, 0.2]}
    assert any("may be at the detector" in n for n in read(make("a", **flat | {"PixelSpacing": [0.2, 0.2]})).notes)
    calibrated = read(make("b", **flat | {"PixelSpacing": [0.15, 0.15]}))
    assert calibrated.geometry.spacing == (0.15, 0.15)
    assert not any("detector" in n for n in calibrated.notes)


def _region(unit: int = 3, down: float = 0.02, across: float = 0.01) -> Dataset:
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = unit
    region.PhysicalDeltaX, region.PhysicalDeltaY = across, down
    return region


def test_one_ultrasound_region_in_centimetres_gives_millimetres(make) -> None:
    image = read(make(**FLAT, Modality="US", SequenceOfUltrasoundRegions=[_region()]))
    assert np.allclose(image.geometry.spacing, (0.2, 0.1))
    assert any("ultrasound region" in n for n in image.notes)


@pytest.mark.parametrize("regions", [[_region(), _region()], [_region(unit=4)], [_region(down=0)]])
def test_other_ultrasound_regions_are_not_used_and_said(make, regions: list[Dataset]) -> None:
    image = read(make(**FLAT, Modality="US", SequenceOfUltrasoundRegions=regions))
    assert image.geometry.unit == "px"
    assert any("ultrasound region" in n for n in image.notes)


def test_an_aspect_ratio_keeps_the_shape_without_millimetres(make) -> None:
    image = read(make(**FLAT, Modality="US", PixelAspectRatio=[2, 1]))
    assert (image.geometry.unit, image.geometry.spacing) == ("px", (2.0, 1.0))
    assert any("2 times as high as wide" in n for n in image.notes)
