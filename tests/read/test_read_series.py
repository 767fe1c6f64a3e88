"""A folder or zip of slices makes one volume, or says why not."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from saliscope.core.errors import InputError, MixedSeries, TooLarge
from saliscope.read import Limits, discover, read


def test_the_real_series_equals_simpleitk(data: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    folder = data / "abdominal-ct" / "example_ct_dicom"
    reader = sitk.ImageSeriesReader()
    files = reader.GetGDCMSeriesFileNames(str(folder)) or sorted(str(p) for p in folder.iterdir())
    # The files name no series, so GDCM sorts by position only when asked for the files one by one.
    files = sorted(files, key=lambda f: sitk.ReadImage(f).GetOrigin()[2])
    reader.SetFileNames(files)
    theirs = reader.Execute()
    ours = read(folder)
    assert np.array_equal(ours.values[0], sitk.GetArrayFromImage(theirs).astype(np.float32))
    direction = np.array(theirs.GetDirection()).reshape(3, 3) * np.array(theirs.GetSpacing())
    lps_to_ras = np.diag([-1, -1, 1])
    expected = np.column_stack([lps_to_ras @ direction[:, ::-1], lps_to_ras @ np.array(theirs.GetOrigin())])
    assert np.allclose(ours.geometry.affine[:3], expected, atol=1e-6)
    assert (ours.modality, ours.units, ours.geometry.frame) == ("CT", "HU", "patient")


def test_a_zip_of_the_series_is_the_same_image(data: Path, tmp_path: Path) -> None:
    folder = data / "abdominal-ct" / "example_ct_dicom"
    packed = tmp_path / "case.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir(), reverse=True):
            archive.write(file, f"inner/{file.name}")
        archive.writestr("__MACOSX/._x", b"junk")
        archive.writestr("inner/README", b"not an image")
    one, other = read(folder), read(packed)
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.display, other.display)
    assert (one.geometry, one.digest, one.name) == (other.geometry, other.digest, other.name)


def test_spacing_comes_from_positions_and_not_from_slice_thickness(stack) -> None:
    image = read(stack([(0, 0, 2.5 * i) for i in range(5)]))
    assert image.geometry.spacing == (2.5, 1.0, 1.0)
    assert image.values[0, :, 1, 1].tolist() == [0, 1, 2, 3, 4]


def test_slices_are_sorted_along_the_normal_and_not_by_name(stack) -> None:
    oblique = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]  # sagittal: normal is -x in LPS
    image = read(stack([(3.0 * i, 0, 0) for i in range(4)], ImageOrientationPatient=oblique))
    assert image.values[0, :, 1, 1].tolist() == [3, 2, 1, 0]
    assert np.allclose(image.geometry.to_world([0, 0, 0]), [-9, 0, 0])


def test_a_gap_is_refused_and_named(stack) -> None:
    with pytest.raises(MixedSeries, match=r"a gap of 6\.00 mm after slice 3 of 6, 6\.00 mm into the stack.*3\.00 mm"):
        read(stack([(0, 0, 3.0 * i) for i in (0, 1, 2, 4, 5, 6)]))


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_slice_is_refused_wherever_it_is(stack, missing: int) -> None:
    with pytest.raises(MixedSeries):
        read(stack([(0, 0, 3.0 * i) for i in range(5) if i != missing]))


def test_slightly_uneven_steps_are_accepted_and_said(stack) -> None:
    image = read(stack([(0, 0, round(0.7 * i, 1) + 0.03 * (i == 2)) for i in range(5)], PixelSpacing=[0.7, 0.7]))
    assert any("vary by up to 0.0" in n for n in image.notes)
    with pytest.raises(MixedSeries, match="from an even stack"):
        read(stack([(0, 0, 1.0 * i + 0.2 * (i == 2)) for i in range(5)], folder="more"))


def test_the_same_slice_twice_is_dropped_and_said(stack) -> None:
    folder = stack([(0, 0, 2.0 * i) for i in range(4)])
    shutil.copy(next(iter(folder.iterdir())), folder / "copy.dcm")
    image = read(folder)
    assert image.values.shape[1] == 4
    assert any("there twice" in n for n in image.notes)


def test_two_different_slices_at_one_position_are_refused(stack) -> None:
    with pytest.raises(MixedSeries, match="2 different slices at position 2 of 3"):
        read(stack([(0, 0, 0), (0, 0, 2), (0, 0, 2), (0, 0, 4)]))


def test_a_tilted_gantry_keeps_its_sheared_grid_and_is_said(stack) -> None:
    image = read(stack([(0, 0.5 * i, 2.0 * i) for i in range(6)]))
    assert any("sheared by 14.0 degrees" in n for n in image.notes)
    assert np.allclose(image.geometry.to_world([5, 0, 0]), [0, -2.5, 10])
    assert np.allclose(image.geometry.to_world([5, 2, 3]), [-3, -4.5, 10])


def test_slices_that_drift_sideways_are_refused(stack) -> None:
    with pytest.raises(MixedSeries, match="from an even stack"):
        read(stack([(0, 0, 0), (0.5, 0, 2), (0, 0, 4), (0.5, 0, 6)]))


def test_localisers_and_other_orientations_are_split_off_and_said(stack, make) -> None:
    folder = stack([(0, 0, 2.0 * i) for i in range(4)])
    make(
        "series/scout.dcm", ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    sources, failures = discover([folder])
    assert not failures
    assert sorted(s.kind for s in sources) == ["dicom", "dicom-series"]
    assert len({s.name for s in sources}) == 2
    assert all(any("2 stacks" in n for n in s.load().notes) for s in sources)


def test_rescale_of_each_slice_is_its_own(stack) -> None:
    slopes = {0: 1.0, 1: 0.5, 2: 2.0}
    image = read(stack([(0, 0, 2.0 * i) for i in range(3)], Modality="PT", RescaleSlope=slopes, RescaleIntercept=0))
    assert image.values[0, :, 1, 1].tolist() == [1024.0, 512.5, 2052.0]
    assert image.units == ""


@pytest.mark.parametrize(
    ("tag", "values", "said"),
    [
        ("PixelSpacing", {0: [1, 1], 1: [1, 1], 2: [2, 1]}, "pixel spacings"),
        ("RescaleType", {0: "HU", 1: "HU", 2: "US"}, "units of value"),
        ("Modality", {0: "CT", 1: "CT", 2: "MR"}, "modalities"),
    ],
)
def test_mixed_slices_are_refused(stack, tag: str, values: dict, said: str) -> None:
    with pytest.raises(MixedSeries, match=said):
        read(stack([(0, 0, 2.0 * i) for i in range(3)], **{tag: values}))


def test_two_series_in_a_folder_are_two_cases(stack) -> None:
    folder = stack([(0, 0, 2.0 * i) for i in range(3)])
    stack([(0, 0, 2.0 * i) for i in range(3)], folder="series/more", SeriesInstanceUID="1.2.3")
    sources, failures = discover([folder])
    assert [s.kind for s in sources] == ["dicom-series"] * 2
    assert not failures
    with pytest.raises(InputError, match="2 images; expected one"):
        read(folder)


def test_limits_of_slices_and_elements_hold_for_a_series(stack) -> None:
    folder = stack([(0, 0, 2.0 * i) for i in range(4)])
    with pytest.raises(TooLarge, match="4 slices"):
        read(folder, Limits(max_slices=3))
    with pytest.raises(TooLarge, match="4 x 6 x 5 x 1"):
        read(folder, Limits(max_elements=100))


def test_one_broken_slice_is_a_failure_and_the_gap_is_seen(stack) -> None:
    folder = stack([(0, 0, 2.0 * i) for i in range(5)])
    victim = sorted(folder.iterdir())[2]
    victim.write_bytes(victim.read_bytes()[:300])
    sources, failures = discover([folder])
    assert [f.path for f in failures] == [victim]
    assert len(sources) == 1
