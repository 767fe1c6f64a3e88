"""A map must land where it belongs, in millimetres, on any grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliscope.core.errors import GeometryError
from saliscope.core.geometry import Geometry
from saliscope.figures.place import placed, within


def rotation(angles):
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


@st.composite
def grids(draw, smallest=3, largest=9, ndim=3):
    shape = tuple(draw(st.integers(smallest, largest)) for _ in range(ndim))
    spacing = np.array([draw(st.floats(0.4, 4.0)) for _ in range(ndim)])
    angles = [draw(st.floats(-3.1, 3.1)) for _ in range(3)]
    origin = [draw(st.floats(-200, 200)) for _ in range(3)]
    affine = np.c_[rotation(angles)[:, :ndim] * spacing, origin]
    return Geometry.of_affine(shape, affine)


def test_a_map_on_its_own_grid_stays_what_it_is():
    g = Geometry.of_affine((4, 5, 6), np.c_[rotation((0.3, 0.2, 0.1)) * [1, 2, 3], [5, 6, 7]])
    values = np.random.default_rng(1).normal(size=g.shape).astype(np.float32)
    np.testing.assert_allclose(placed(values, g, g, g), values, atol=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_ramp_in_millimetres_survives_any_grid(ndim, data):
    """A linear function of the position is what linear interpolation must return, whatever lies between."""
    onto = data.draw(grids(ndim=ndim, smallest=6, largest=14))
    axis = data.draw(st.integers(0, ndim - 1))
    moved = onto.flipped(axis) if data.draw(st.booleans()) else onto
    order = data.draw(st.permutations(range(ndim)))
    cells = data.draw(st.lists(st.floats(1.0, 2.2), min_size=ndim, max_size=ndim))
    offset = data.draw(st.lists(st.floats(-1.0, 1.0), min_size=ndim, max_size=ndim))
    moved = moved.permuted(order)
    grid = moved.cells(cells, offset, [max(2, int(n / c)) for n, c in zip(moved.shape, cells, strict=True)])
    slope = np.array([0.7, -1.1, 0.4])
    values = np.moveaxis(np.indices(grid.shape), 0, -1)
    ramp = (grid.to_world(values) @ slope).astype(np.float32)
    got = placed(ramp, grid, onto, onto)
    where = np.moveaxis(np.indices(onto.shape), 0, -1)
    world = onto.to_world(where)
    index = grid.to_index(world)
    inside = ((index >= 0) & (index <= np.array(grid.shape) - 1)).all(-1)
    # Half an element of error would move the ramp by half its slope; this is a thousand times less.
    tolerance = 1e-3 * min(onto.spacing) + 2e-6 * np.abs(ramp).max()
    np.testing.assert_allclose(got[inside], (world @ slope)[inside], atol=tolerance)


@settings(max_examples=40, deadline=None)
@given(onto=grids(smallest=8, largest=14), at=st.tuples(*[st.integers(1, 4)] * 3), flip=st.booleans())
def test_an_impulse_lands_within_half_an_element(onto, at, flip):
    grid = onto.on_grid([max(6, n // 2) for n in onto.shape])
    grid = grid.flipped(1) if flip else grid
    values = np.zeros(grid.shape, np.float32)
    values[at] = 1
    got = placed(values, grid, onto, onto)
    middle = (np.argwhere(got > 0) * got[got > 0][:, None]).sum(0) / got.sum()
    error = np.abs(middle - onto.to_index(grid.to_world(at)))
    assert (error < 0.5).all()


def test_agrees_with_simpleitk_on_an_oblique_anisotropic_grid():
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(3)
    grid = Geometry.of_affine((7, 8, 9), np.c_[rotation((0.2, -0.4, 0.5)) * [5, 4, 3], [-10, 4, 2]])
    onto = Geometry.of_affine((15, 16, 17), np.c_[rotation((0.1, -0.3, 0.9)) * [1.7, 1.3, 1.1], [-4, 8, 6]])
    values = rng.normal(size=grid.shape).astype(np.float32)

    def itk(array, g):
        picture = sitk.GetImageFromArray(array)
        lps = np.diag([-1.0, -1.0, 1.0])
        picture.SetSpacing(g.spacing[::-1])
        picture.SetDirection((lps @ np.array(g.direction).T[:, ::-1]).ravel().tolist())
        picture.SetOrigin((lps @ np.array(g.origin)).tolist())
        return picture

    reference = itk(np.zeros(onto.shape, np.float32), onto)
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(itk(values, grid), reference, sitk.Transform(), sitk.sitkLinear, np.nan)
    )
    ours = placed(values, grid, onto, onto)
    both = np.isfinite(theirs)
    index = grid.to_index(onto.to_world(np.moveaxis(np.indices(onto.shape), 0, -1)))
    both &= ((index >= 0) & (index <= np.array(grid.shape) - 1)).all(-1)  # outside the centres, policies differ
    assert both.sum() > 500
    np.testing.assert_allclose(ours[both], theirs[both], atol=2e-5)


def test_what_the_network_never_saw_has_no_influence():
    image = Geometry.of_picture((100, 80))
    seen = image.cropped((10, 20), (60, 40))
    got = placed(np.ones((3, 2), np.float32), seen.on_grid((3, 2)), image, seen)
    assert (got[10:70, 20:60] == 1).all()
    got[10:70, 20:60] = 0
    assert not got.any()


def test_beyond_the_outermost_centres_the_nearest_cell_counts():
    image = Geometry.of_picture((8, 8))
    got = placed(np.array([[1.0, 2.0], [3.0, 4.0]]), image.on_grid((2, 2)), image, image)
    assert got[0, 0] == 1
    assert got[-1, -1] == 4


def test_a_finer_map_loses_no_cell():
    image = Geometry.of_picture((8, 8))
    for at in ((9, 9), (11, 13), (16, 20)):
        values = np.zeros((32, 32), np.float32)
        values[at] = 16
        assert placed(values, image.on_grid((32, 32)), image, image).sum() == pytest.approx(1, rel=0.25)


def test_padding_around_the_image_does_not_shift_the_map():
    image = Geometry.of_picture((60, 100))
    seen = image.cropped((-20, 0), (100, 100))
    values = np.zeros((10, 10), np.float32)
    values[5, 3] = 1  # rows 50..59 of the padded square: rows 30..39 of the image
    got = placed(values, seen.on_grid((10, 10)), image, seen)
    row, column = np.argwhere(got > 0.8).mean(0)
    assert (row, column) == pytest.approx((34.5, 34.5))


def test_a_map_of_another_image_is_refused():
    with pytest.raises(GeometryError, match="grids of"):
        placed(
            np.ones((2, 2)),
            Geometry.of_picture((2, 2)),
            Geometry.of_picture((4, 4), (1, 1)),
            Geometry.of_picture((2, 2)),
        )


def test_within_leaves_a_margin_on_every_side():
    g = Geometry.of_picture((20, 40))
    inside = within(g, g, 0.05)
    assert inside.sum() == 18 * 36
    assert inside[1:19, 2:38].all()
