"""NIfTI: values and grid equal nibabel's; what the header leaves open is said."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from saliscope.core.errors import TooLarge, UnreadableFile
from saliscope.read import Limits, read

OBLIQUE = np.array([[0.9, 0.3, 0.1, -5], [-0.3, 1.1, 0.2, 7], [0.05, -0.2, 2.5, 11], [0, 0, 0, 1]])
VALUES = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def saved(tmp_path: Path, values: np.ndarray = VALUES, affine: np.ndarray | None = OBLIQUE, **header: object) -> Path:
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units(str(header.pop("unit", "mm")))
    for key, value in header.items():
        image.header[key] = value
    path = tmp_path / "image.nii.gz"
    nib.save(image, path)
    return path


def same_place(path: Path) -> None:
    theirs, ours = nib.load(path), read(path)
    spatial = theirs.shape[:3]
    data = np.asarray(theirs.dataobj, dtype=np.float32)
    ends = np.stack(np.meshgrid(*[[0, n - 1] for n in spatial], indexing="ij"), -1).reshape(-1, len(spatial))
    for index in ends:
        full = np.append(np.pad(index, (0, 3 - len(index))), 1)
        assert np.allclose(ours.geometry.to_world(index[::-1]), (theirs.affine @ full)[:3], atol=1e-4)
        assert ours.values[(0, *index[::-1])] == data[tuple(index)]
    assert np.array_equal(ours.values[0], data.T)


def test_an_oblique_volume_lies_where_nibabel_says(tmp_path: Path) -> None:
    same_place(saved(tmp_path))


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_flips_lie_where_nibabel_says(tmp_path: Path, flips: tuple[int, int, int]) -> None:
    same_place(saved(tmp_path, affine=OBLIQUE @ np.diag([*flips, 1])))


def test_a_two_dimensional_file(tmp_path: Path) -> None:
    path = saved(tmp_path, VALUES[:, :, 0])
    same_place(path)
    assert read(path).geometry.ndim == 2


def test_real_files_lie_where_nibabel_says(data: Path) -> None:
    for path in sorted((data / "hippocampus-mr" / "images").iterdir())[:5]:
        same_place(path)
    for path in (data / "abdominal-ct" / "example_ct.nii.gz", data / "brain-mr" / "t1_crop.nii.gz"):
        same_place(path)


def test_a_ct_is_shown_as_soft_tissue(data: Path) -> None:
    image = read(data / "abdominal-ct" / "example_ct.nii.gz")
    assert any("-160 to 240 HU" in n for n in image.notes)
    assert image.display[image.values <= -160].max() == 0


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    path = tmp_path / "scaled.nii"
    image = nib.Nifti1Image(VALUES, OBLIQUE)
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, path)
    stored = nib.load(path)
    assert np.allclose(read(path).values[0], np.asarray(stored.dataobj).T)


def test_a_conflict_of_sform_and_qform_is_said_in_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, np.diag([1, 1, 1, 1]))
    moved = np.diag([1.0, 1, 1, 1])
    moved[0, 3] = 4
    image.set_sform(moved, 1)
    image.set_qform(np.eye(4), 1)
    nib.save(image, tmp_path / "two.nii")
    ours = read(tmp_path / "two.nii")
    assert any("4.00 mm apart; the sform is used" in n for n in ours.notes)
    assert np.allclose(ours.geometry.origin, [4, 0, 0])


def test_the_qform_serves_when_there_is_no_sform(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    turned = np.array([[0, -2.0, 0, 1], [2.0, 0, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]])
    image.set_sform(None, 0)
    image.set_qform(turned, 1)
    nib.save(image, tmp_path / "q.nii")
    same_place(tmp_path / "q.nii")


def test_no_orientation_is_unknown_and_said(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    image.header.set_zooms((2, 3, 4))
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "none.nii")
    ours = read(tmp_path / "none.nii")
    assert (ours.geometry.frame, ours.geometry.unit, ours.geometry.spacing) == ("image", "mm", (4, 3, 2))
    assert any("sform and qform are both unset" in n for n in ours.notes)
    image.header.set_zooms((1, 1, 1))
    image.header.set_xyzt_units("unknown")
    nib.save(image, tmp_path / "none.nii")
    assert read(tmp_path / "none.nii").geometry.unit == "px"


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001)])
def test_other_units_of_length_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    ours = read(saved(tmp_path, unit=unit))
    assert np.allclose(ours.geometry.spacing, np.linalg.norm(OBLIQUE[:3, :3], axis=0)[::-1] * factor)
    assert any(f"{unit}s" in n for n in ours.notes)


def test_several_volumes_give_the_first_and_say_so(tmp_path: Path) -> None:
    four = np.stack([VALUES, VALUES + 1000], axis=-1)
    ours = read(saved(tmp_path, four))
    assert np.array_equal(ours.values[0], VALUES.T)
    assert any("2 volumes" in n for n in ours.notes)
    assert not any("volumes" in n for n in read(saved(tmp_path, VALUES[..., None])).notes)


def test_rgb_has_three_channels(tmp_path: Path) -> None:
    rgb = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = VALUES
    ours = read(saved(tmp_path, rgb))
    assert ours.values.shape == (3, 6, 5, 4)
    assert np.array_equal(ours.display[1], VALUES.T)


def test_nan_and_infinity_count_as_padding_and_are_said(tmp_path: Path) -> None:
    holes = VALUES.astype(np.float32) + 5
    holes[0, 0, 0], holes[1, 2, 3] = np.nan, np.inf
    ours = read(saved(tmp_path, holes))
    assert ours.padding is not None
    assert ours.padding.sum() == 2
    assert ours.values[0][ours.padding].tolist() == [6, 6]
    assert any("2 elements are NaN" in n for n in ours.notes)
    with pytest.raises(UnreadableFile, match="every pixel is padding"):
        read(saved(tmp_path, np.full((3, 3, 3), np.nan, np.float32)))


def test_complex_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="complex"):
        read(saved(tmp_path, VALUES.astype(np.complex64)))


@pytest.mark.parametrize("keep", [0, 10, 347, 352, 400, -1])
def test_truncated_files_are_refused(tmp_path: Path, keep: int) -> None:
    raw = gzip.decompress(saved(tmp_path).read_bytes())
    for name, data in (("cut.nii", raw[:keep]), ("cut.nii.gz", gzip.compress(raw[:keep]))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadableFile):
            read(tmp_path / name)


def test_a_gzip_cut_short_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, np.random.default_rng(0).integers(0, 999, (30, 30, 30), dtype=np.int16))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableFile, match="promises"):
        read(path)


def test_a_header_of_impossible_size_is_refused_from_the_header(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((32767, 32767, 32767))
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", 352
    (tmp_path / "huge.nii").write_bytes(header.binaryblock + bytes(4))
    with pytest.raises(TooLarge, match="32767 x 32767 x 32767"):
        read(tmp_path / "huge.nii")


def test_a_gzip_bomb_is_not_inflated(tmp_path: Path) -> None:
    import tracemalloc

    raw = gzip.decompress(saved(tmp_path).read_bytes())
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(raw + bytes(300_000_000), 1))
    tracemalloc.start()
    assert np.array_equal(read(tmp_path / "bomb.nii.gz").values[0], VALUES.T)
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
    with pytest.raises(TooLarge, match="inflates"):
        read(saved(tmp_path), Limits(max_inflated_bytes=400))


@pytest.mark.parametrize("offset", [float("nan"), -1e9, 3e38])
def test_a_senseless_offset_is_refused(tmp_path: Path, offset: float) -> None:
    raw = bytearray(gzip.decompress(saved(tmp_path).read_bytes()))
    raw[108:112] = np.float32(offset).tobytes()
    (tmp_path / "off.nii").write_bytes(bytes(raw))
    with pytest.raises(UnreadableFile):
        read(tmp_path / "off.nii")
