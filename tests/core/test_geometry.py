"""One class for the grid of an image, a volume and a coarse map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from saliscope.core.errors import GeometryError
from saliscope.core.geometry import Geometry


@st.composite
def geometries(draw: st.DrawFn, axes: int | None = None) -> Geometry:
    n = axes or draw(st.sampled_from([2, 3]))
    turn = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-3, 3)] * 3))).as_matrix()
    signs = np.array(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    columns = (turn * signs)[:, :n]
    spacing = tuple(draw(st.floats(0.1, 8)) for _ in range(n))
    origin = tuple(draw(st.floats(-300, 300)) for _ in range(3))
    shape = tuple(draw(st.integers(1, 40)) for _ in range(n))
    return Geometry(shape, spacing, origin, tuple(tuple(map(float, c)) for c in columns.T))


@given(geometries(), st.integers(0, 2**31))
def test_there_and_back(g: Geometry, seed: int) -> None:
    index = np.random.default_rng(seed).uniform(-5, 50, (7, g.ndim))
    np.testing.assert_allclose(g.to_index(g.to_world(index)), index, atol=1e-6)
    np.testing.assert_allclose(g.to_world(index), (np.c_[index, np.ones(7)] @ g.affine.T)[:, :3], atol=1e-9)


@given(geometries(), st.data())
def test_another_number_of_elements_covers_the_same_extent(g: Geometry, data: st.DataObject) -> None:
    other = g.on_grid(tuple(data.draw(st.integers(1, 60)) for _ in g.shape))
    np.testing.assert_allclose(other.extent, g.extent, rtol=1e-9)
    np.testing.assert_allclose(other.centre, g.centre, atol=1e-6)
    corner = other.to_world([-0.5] * g.ndim)
    np.testing.assert_allclose(corner, g.to_world([-0.5] * g.ndim), atol=1e-6)


@given(geometries(), st.data())
def test_crop_flip_and_permute_keep_every_element_where_it_was(g: Geometry, data: st.DataObject) -> None:
    start = [data.draw(st.integers(-5, 5)) for _ in g.shape]
    shape = [data.draw(st.integers(1, 30)) for _ in g.shape]
    np.testing.assert_allclose(g.cropped(start, shape).to_world([0] * g.ndim), g.to_world(start), atol=1e-6)
    axis = data.draw(st.integers(0, g.ndim - 1))
    index = np.array([data.draw(st.integers(0, n - 1)) for n in g.shape])
    mirrored = index.copy()
    mirrored[axis] = g.shape[axis] - 1 - index[axis]
    np.testing.assert_allclose(g.flipped(axis).to_world(mirrored), g.to_world(index), atol=1e-6)
    assert g.flipped(axis).flipped(axis).direction == g.direction
    order = data.draw(st.permutations(range(g.ndim)))
    np.testing.assert_allclose(g.permuted(order).to_world(index[list(order)]), g.to_world(index), atol=1e-6)


@settings(max_examples=50)
@given(geometries(), st.data())
def test_the_map_between_grids_is_the_way_through_space(g: Geometry, data: st.DataObject) -> None:
    other = g.cells(
        [data.draw(st.floats(0.3, 30)) for _ in g.shape], [data.draw(st.floats(-10, 10)) for _ in g.shape], g.shape
    )
    matrix, offset = g.index_map(other)
    index = np.array([data.draw(st.floats(-5, 50)) for _ in g.shape])
    np.testing.assert_allclose(matrix @ index + offset, other.to_index(g.to_world(index)), atol=1e-6)


@given(geometries(axes=3))
def test_an_affine_comes_back(g: Geometry) -> None:
    again = Geometry.of_affine(g.shape, g.affine)
    np.testing.assert_allclose(again.affine, g.affine, atol=1e-9)


def test_cells_of_a_stride_and_an_offset() -> None:
    g = Geometry.of_picture((224, 224), (0.5, 0.5)).cells((32, 32), (0, 0), (7, 7))
    assert g.spacing == (16, 16)
    np.testing.assert_allclose(g.to_world([0, 0]), [0, 0, 0])


def test_letters_of_an_axial_a_coronal_and_an_oblique_grid() -> None:
    def of(*axes: tuple[float, float, float]) -> tuple[tuple[str, str], ...] | None:
        return Geometry((4, 4), (1, 1), (0, 0, 0), axes).letters

    assert of((0, -1, 0), (-1, 0, 0)) == (("A", "P"), ("R", "L"))
    assert of((0, 0, -1), (-1, 0, 0)) == (("S", "I"), ("R", "L"))
    slant = float(np.sqrt(0.5))
    assert of((0, -slant, -slant), (-1, 0, 0))[0] in (("AS", "PI"), ("SA", "IP"))  # type: ignore[index]
    assert Geometry.of_picture((4, 4)).letters is None


def test_areas_and_volumes() -> None:
    assert Geometry.of_picture((4, 4), (0.5, 0.25)).element == pytest.approx(0.125)
    assert Geometry.of_affine((2, 2, 2), np.diag([1.0, 2, 3, 1])).element == pytest.approx(6)


@pytest.mark.parametrize(
    ("shape", "spacing", "direction", "says"),
    [
        ((4,), (1.0,), ((1.0, 0, 0),), "2 or 3 axes"),
        ((0, 4), (1.0, 1.0), ((0, 1.0, 0), (1.0, 0, 0)), "at least one"),
        ((4, 4), (1.0, 0.0), ((0, 1.0, 0), (1.0, 0, 0)), "positive"),
        ((4, 4), (1.0, float("nan")), ((0, 1.0, 0), (1.0, 0, 0)), "finite"),
        ((4, 4), (1.0, 1.0), ((1.0, 0, 0), (1.0, 0, 0)), "line or plane"),
    ],
)
def test_what_is_no_grid_is_refused(
    shape: tuple[int, ...], spacing: tuple[float, ...], direction: tuple[tuple[float, float, float], ...], says: str
) -> None:
    with pytest.raises(GeometryError, match=says):
        Geometry(shape, spacing, (0, 0, 0), direction)


def test_grids_that_do_not_belong_together_do_not_meet() -> None:
    flat, known = Geometry.of_picture((4, 4)), Geometry.of_picture((4, 4), (1, 1))
    with pytest.raises(GeometryError, match="two grids of one image"):
        flat.index_map(known)
    raised = Geometry((4, 4), (1, 1), (0, 0, 9), known.direction, frame="image")
    with pytest.raises(GeometryError, match="different planes"):
        known.index_map(raised)
