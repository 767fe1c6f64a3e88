"""A stored map must lie where it lay: read back by nibabel and by SimpleITK."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliscope.core.errors import WriteError
from saliscope.core.geometry import Geometry
from saliscope.write import map_nifti

OBLIQUE = np.array([[0.2, -0.5, -1.9, 60], [0.1, -1.0, 0.9, 50], [2.9, 0.2, 0.3, -20], [0, 0, 0, 1.0]])


def read(data):
    return nib.Nifti1Image.from_bytes(gzip.decompress(data))


def orthogonal(angles, steps, origin):
    from scipy.spatial.transform import Rotation

    return np.c_[Rotation.from_euler("xyz", angles).as_matrix() * steps, origin]


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(0.3, 5)] * 3), st.tuples(*[st.floats(-300, 300)] * 3))
def test_a_volume_comes_back_with_its_values_and_place(angles, steps, origin):
    g = Geometry.of_affine((3, 4, 5), orthogonal(angles, steps, origin))
    values = np.random.default_rng(0).normal(size=g.shape).astype(np.float32)
    back = read(map_nifti(values, g))
    assert back.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(back.dataobj).T, values)
    for index in [(0, 0, 0), (2, 3, 4), (1, 0, 3)]:
        world = back.affine @ [*index[::-1], 1]
        np.testing.assert_allclose(world[:3], g.to_world(index), atol=1e-4)
    np.testing.assert_allclose(back.get_sform(), back.get_qform(), atol=1e-3)


def test_simpleitk_finds_every_corner_where_we_do(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    g = Geometry.of_affine((4, 5, 6), orthogonal((0.3, -0.4, 0.5), (3, 1, 0.7), (10, 20, 30)))
    values = np.random.default_rng(0).normal(size=g.shape).astype(np.float32)
    (tmp_path / "map.nii.gz").write_bytes(map_nifti(values, g))
    theirs = sitk.ReadImage(str(tmp_path / "map.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(theirs), values)
    for index in [(0, 0, 0), (3, 4, 5), (3, 0, 5)]:
        lps = np.array(theirs.TransformIndexToPhysicalPoint(index[::-1]))
        np.testing.assert_allclose(lps * [-1, -1, 1], g.to_world(index), atol=1e-4)


def test_a_map_on_a_niftis_grid_has_that_files_shape_and_affine(data):
    path = sorted((data / "hippocampus-mr" / "images").glob("*.nii*"))[0]
    source = nib.load(path)
    g = Geometry.of_affine(source.shape[::-1], source.affine[:, [2, 1, 0, 3]])
    back = read(map_nifti(np.zeros(g.shape, np.float32), g))
    assert back.shape == source.shape
    np.testing.assert_allclose(back.affine, source.affine, atol=1e-5)


def test_a_picture_becomes_one_slice_in_its_plane():
    g = Geometry((20, 30), (2.0, 0.5), (5, 6, 7), ((0, 0, -1), (-1, 0, 0)))
    values = np.arange(600, dtype=np.float32).reshape(20, 30)
    back = read(map_nifti(values, g))
    assert back.shape == (30, 20, 1)
    assert back.dataobj[7, 3, 0] == values[3, 7]
    np.testing.assert_allclose((back.affine @ [7, 3, 0, 1])[:3], g.to_world((3, 7)), atol=1e-5)
    assert np.linalg.det(back.affine[:3, :3]) > 0


@pytest.mark.parametrize(
    ("geometry", "sform", "unit"),
    [
        (Geometry.of_affine((2, 3, 4), np.c_[np.eye(3), [0, 0, 0]]), 1, "mm"),
        (Geometry.of_picture((3, 4)), 2, "unknown"),
        (Geometry.of_picture((3, 4), (0.1, 0.1)), 2, "mm"),
    ],
)
def test_the_header_claims_no_more_than_is_known(geometry, sform, unit):
    header = read(map_nifti(np.zeros(geometry.shape, np.float32), geometry)).header
    assert int(header["sform_code"]) == sform
    assert header.get_xyzt_units()[0] == unit


def test_a_sheared_grid_keeps_its_affine_and_has_no_qform():
    g = Geometry.of_affine((2, 3, 4), OBLIQUE)
    back = read(map_nifti(np.zeros(g.shape, np.float32), g))
    assert int(back.header["qform_code"]) == 0
    np.testing.assert_allclose(back.affine[:, [2, 1, 0, 3]], OBLIQUE, atol=1e-5)


def test_signs_and_scale_are_kept_raw():
    values = np.array([[-3e-12, 5e8], [0, -1]], np.float32)
    header = read(map_nifti(values, Geometry.of_picture((2, 2))))
    np.testing.assert_array_equal(np.asarray(header.dataobj)[..., 0].T, values)


def test_the_same_map_gives_the_same_bytes():
    g = Geometry.of_picture((2, 2))
    data = map_nifti(np.ones((2, 2), np.float32), g)
    assert data == map_nifti(np.ones((2, 2), np.float32), g)
    assert data[:4] == b"\x1f\x8b\x08\x00"  # no file name in the header
    assert data[4:8] == b"\0\0\0\0"  # no time


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(WriteError, match="shape"):
        map_nifti(np.zeros((3, 2), np.float32), Geometry.of_picture((2, 2)))
