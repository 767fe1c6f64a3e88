"""Images as files: what is read back is what was written, and the files are what their format asks for."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from saliscope.core.errors import WriteError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.region import Region
from saliscope.phantom.case import Case
from saliscope.phantom.catalogue import SCENES, make_scene
from saliscope.read import discover, read
from saliscope.write import image_files, region_files, write_files

SIZES = {"chest": 96, "ultrasound": 96, "brain": 48, "body-ct": 48, "field": 48}
ACROSS = Geometry.of_affine((5, 6, 7), [[0, 0, -0.7, 30], [0, -0.9, 0, 20], [2.5, 0, 0, -100]])
FRONTAL = Geometry((4, 5), (0.3, 0.2), (10.0, 3.0, 20.0), ((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0)))


def picture(scene: str) -> MedicalImage:
    return Case(make_scene(scene, SIZES[scene]), 4).render()


def drawn(modality: str, low: int, high: int, geometry: Geometry, window: tuple[float, float] = (0, 0)) -> MedicalImage:
    """An image that uses the whole range of its values."""
    values = np.random.default_rng(1).integers(low, high + 1, geometry.shape)
    values.flat[:2] = low, high
    bottom, top = window if window[0] < window[1] else (low, high)
    shown = np.rint(255 * np.clip((values - bottom) / (top - bottom), 0, 1)).astype(np.uint8)
    units = "HU" if modality == "CT" else ""
    return MedicalImage(
        values[None].astype(np.float32), shown[None], geometry, modality, units, f"{modality}{low}", "p-1"
    )


def stored(folder: Path, image: MedicalImage, kind: str) -> MedicalImage:
    files = image_files(image, kind)
    write_files(folder, files)
    assert image_files(image, kind) == files, "not the same bytes twice"
    return read(folder)


def same_place(one: Geometry, other: Geometry) -> bool:
    near = np.allclose(one.affine, other.affine, rtol=1e-6, atol=1e-6)
    return near and (one.shape, one.unit, one.frame) == (other.shape, other.unit, other.frame)


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_comes_back_from_dicom_as_it_was(scene: str, tmp_path: Path) -> None:
    image = picture(scene)
    back = stored(tmp_path, image, "dicom")
    assert np.array_equal(back.values, image.values)
    assert same_place(back.geometry, image.geometry)
    assert np.abs(back.display.astype(int) - image.display).max() <= 1
    assert (back.modality, back.units) == (image.modality, image.units)
    assert back.padding is None


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_comes_back_from_nifti_as_it_was(scene: str, tmp_path: Path) -> None:
    image = picture(scene)
    back = stored(tmp_path, image, "nifti")
    assert np.array_equal(back.values, image.values)
    assert same_place(back.geometry, image.geometry)
    held = nib.load(next(tmp_path.glob("*.nii.gz")))
    assert np.issubdtype(held.get_data_dtype(), np.integer)


@pytest.mark.parametrize("scene", [s for s in SCENES if s not in ("brain", "body-ct")])
def test_a_png_is_what_the_clinician_sees(scene: str, tmp_path: Path) -> None:
    image = picture(scene)
    assert np.array_equal(stored(tmp_path, image, "png").display, image.display)


@pytest.mark.parametrize(
    "image",
    [
        drawn("CT", -1024, 3071, ACROSS, (-160, 240)),
        drawn("CT", -1024, 64511, ACROSS),
        drawn("CT", -2048, 3071, ACROSS),
        drawn("MR", 0, 65535, ACROSS),
        drawn("MR", -500, 900, ACROSS),
        drawn("US", 0, 255, Geometry.of_picture((9, 11), (0.2, 0.1))),
        drawn("US", 0, 4095, Geometry.of_picture((9, 11), (0.2, 0.1))),
        drawn("DX", 0, 16383, FRONTAL),
        drawn("OT", -7, 300, Geometry.of_picture((9, 11))),
    ],
    ids=lambda i: f"{i.modality}{i.values.min():g}..{i.values.max():g}",
)
def test_values_at_the_ends_of_every_type(image: MedicalImage, tmp_path: Path) -> None:
    back = stored(tmp_path, image, "dicom")
    assert np.array_equal(back.values, image.values)
    assert same_place(back.geometry, image.geometry)
    assert np.abs(back.display.astype(int) - image.display).max() <= 1
    assert back.units == image.units


def test_an_oblique_volume_keeps_its_place(tmp_path: Path) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    column, row = turn[:, 0], turn[:, 1]
    affine = np.column_stack([2.25 * np.cross(column, row), 0.8 * row, 0.6 * column, [12.3, -45.6, 78.9]])
    image = drawn("MR", 0, 1000, Geometry.of_affine((4, 5, 6), affine))
    for kind in ("dicom", "nifti"):
        (tmp_path / kind).mkdir()
        back = stored(tmp_path / kind, image, kind)
        assert same_place(back.geometry, image.geometry), kind
        assert np.array_equal(back.values, image.values)


def test_another_reader_finds_it_in_the_same_place(tmp_path: Path) -> None:
    image = drawn("CT", -1024, 3071, ACROSS)
    write_files(tmp_path, image_files(image, "dicom"))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "p-1")))
    read_by_itk = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(read_by_itk), image.values[0])
    for index in ((0, 0, 0), (4, 0, 0), (0, 5, 0), (2, 3, 6)):
        left_posterior = read_by_itk.TransformIndexToPhysicalPoint(index[::-1])
        assert np.allclose(np.array(left_posterior) * [-1, -1, 1], ACROSS.to_world(index), atol=1e-6)


def test_who_the_patient_is_and_that_identifiers_hang_on_the_digest() -> None:
    image = drawn("CT", -1000, 1000, ACROSS)
    files = image_files(image, "dicom")
    assert list(files) == [f"p-1/{n:04}.dcm" for n in range(1, 6)]
    sets = [pydicom.dcmread(BytesIO(data)) for data in files.values()]
    assert len({ds.SOPInstanceUID for ds in sets}) == 5
    assert len({ds.SeriesInstanceUID for ds in sets}) == len({ds.FrameOfReferenceUID for ds in sets}) == 1
    for ds in sets:
        assert str(ds.PatientName).startswith("PHANTOM^")
        assert "esearch phantom" in ds.SeriesDescription
        assert ds.SOPInstanceUID.startswith("2.25.")
        assert ds.SOPInstanceUID.is_valid
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    other = pydicom.dcmread(BytesIO(next(iter(image_files(replace(image, digest="another"), "dicom").values()))))
    assert other.SOPInstanceUID != sets[0].SOPInstanceUID


def test_two_phantoms_in_one_folder_are_two_cases(tmp_path: Path) -> None:
    image = drawn("CT", -1000, 1000, ACROSS)
    for name in ("one", "two"):
        write_files(tmp_path, image_files(replace(image, digest=name, name=name), "dicom"))
    sources, failures = discover([tmp_path])
    assert (len(sources), failures) == (2, [])


def test_a_region_as_a_file(tmp_path: Path) -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[1:3, 2, 3:] = True
    files = region_files(Region(mask, ACROSS, "a nodule", "phantom"), "dicom")
    assert list(files) == ["a-nodule.nii.gz"]
    write_files(tmp_path, files)
    back = read(tmp_path)
    assert np.array_equal(back.values[0] == 1, mask)
    assert same_place(back.geometry, ACROSS)
    flat = Region(mask[1], Geometry.of_picture((6, 7)), "n", "phantom")
    write_files(tmp_path, region_files(flat, "png"))
    assert np.array_equal(read(tmp_path / "n.png").values[0], 255.0 * mask[1])


@pytest.mark.parametrize(
    ("image", "kind", "says"),
    [
        (drawn("CT", -1000, 70000, ACROSS), "dicom", "16 bits"),
        (replace(drawn("CT", 0, 9, ACROSS), values=np.full((1, 5, 6, 7), 0.5, np.float32)), "dicom", "whole numbers"),
        (drawn("DX", 0, 9, ACROSS), "dicom", "CT or MR"),
        (drawn("DX", -1, 9, FRONTAL), "dicom", "0 to 65535"),
        (drawn("CT", 0, 9, Geometry.of_picture((3, 4, 5))), "dicom", "placed in the patient"),
        (drawn("CT", 0, 9, ACROSS), "png", "2D"),
        (drawn("CT", 0, 9, ACROSS), "jpeg", "png, nifti, dicom"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(image: MedicalImage, kind: str, says: str) -> None:
    with pytest.raises(WriteError, match=says):
        image_files(image, kind)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize(
    "image",
    [
        drawn("CT", -1024, 3071, ACROSS),
        drawn("MR", 0, 900, ACROSS),
        drawn("US", 0, 255, Geometry.of_picture((9, 11), (0.2, 0.1))),
        drawn("DX", 0, 4095, FRONTAL),
        drawn("OT", 0, 300, Geometry.of_picture((9, 11))),
    ],
    ids=lambda i: i.modality,
)
def test_a_verifier_of_dicom_finds_no_error(image: MedicalImage, tmp_path: Path) -> None:
    write_files(tmp_path, image_files(image, "dicom"))
    first = min(tmp_path.rglob("*.dcm"))
    said = subprocess.run(["dciodvfy", str(first)], capture_output=True, text=True, check=False)
    assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []
