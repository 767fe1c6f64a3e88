"""A volume's map is read without sorting or copying it; what comes out is what sorting it gives."""

import numpy as np
import pytest
from made import a_volume, an_explanation, an_image, bump
from scipy import ndimage

from saliscope.core.geometry import Geometry
from saliscope.figures import interpret, place, totals
from saliscope.figures.body import body_mask
from saliscope.figures.place import box_within, placed, within


def maps():
    rng = np.random.default_rng(1)
    shape = (20, 60, 60)
    block, levels = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    block[3:6, 5:9, 5:9] = 1
    levels[3:20, 5:50, 5:50], levels[:2] = 1, 2
    return {
        "normal": rng.normal(size=shape).astype(np.float32),
        "coarse": ndimage.zoom(rng.normal(size=(3, 4, 4)).astype(np.float32), (7, 15, 15), order=1),
        "block": block,
        "two levels": levels,
        "whole numbers": rng.integers(-3, 4, shape).astype(np.float32),
        "heavy tail": rng.pareto(1.1, shape).astype(np.float32),
        "negative": -np.abs(rng.normal(size=shape)).astype(np.float32),
        "picture": rng.normal(size=(300, 240)).astype(np.float32),
        "one": np.float32(np.arange(72000).reshape(shape) == 7),
    }


@pytest.fixture
def large(monkeypatch):
    """Treat every map as a large one."""
    monkeypatch.setattr(totals, "LARGE", 1)


@pytest.mark.parametrize("name", maps())
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_level_of_a_large_map_is_that_of_all_its_values_sorted(name, share, large):
    values = maps()[name]
    falling = np.sort(values[values > 0])[::-1].astype(np.float64)
    level, held = totals.level_holding(values, share)
    if not falling.size:
        assert (level, held) == (0, 0)
        return
    running = np.cumsum(falling)
    at = min(int(np.searchsorted(running, share * running[-1] * (1 - 1e-12))), falling.size - 1)
    assert level == falling[at]
    assert held == pytest.approx(falling[falling >= level].sum() / running[-1], rel=1e-9)


@pytest.mark.parametrize("name", maps())
def test_the_percentile_and_the_sums_of_a_large_map_are_exact(name, large):
    values = maps()[name]
    size = np.abs(values[values != 0]).astype(np.float64)
    assert totals.percentile_of_magnitude(values, 99.5) == pytest.approx(np.percentile(size, 99.5), rel=1e-6)
    sums = totals.totals(values)
    for axis in range(values.ndim):
        others = tuple(a for a in range(values.ndim) if a != axis)
        np.testing.assert_allclose(sums.positive[axis], np.maximum(values, 0).sum(others, dtype=np.float64), atol=1e-6)
        np.testing.assert_allclose(sums.negative[axis], -np.minimum(values, 0).sum(others, dtype=np.float64), atol=1e-6)


def test_a_large_map_is_never_sorted_whole(large, monkeypatch):
    values = maps()["normal"]
    sizes = []
    real = np.sort
    monkeypatch.setattr(np, "sort", lambda a, *more, **named: sizes.append(a.size) or real(a, *more, **named))
    totals.level_holding(values, 0.5)
    totals.percentile_of_magnitude(values, 99.5)
    assert max(sizes) < values.size / 10


def test_a_map_is_placed_axis_by_axis_as_by_the_general_way(monkeypatch):
    rng = np.random.default_rng(0)
    for trial in range(60):
        ndim = 2 + trial % 2
        shape = tuple(int(n) for n in rng.integers(3, 20, ndim))
        grid = Geometry.of_affine(shape, np.c_[np.eye(3)[:, :ndim] * rng.uniform(0.5, 3, ndim), rng.uniform(-9, 9, 3)])
        view = grid.permuted(rng.permutation(ndim)).flipped(int(rng.integers(ndim)))
        if trial % 3:
            start = [int(n) for n in rng.integers(-3, 2, ndim)]
            view = view.cropped(start, [max(2, int(n + rng.integers(-3, 4))) for n in view.shape])
        cells = view.on_grid([int(n) for n in rng.integers(1, 24, ndim)])
        values = rng.normal(size=cells.shape).astype(np.float32)
        fast = placed(values, cells, grid, view)
        inside = np.zeros(shape, bool)
        inside[box_within(grid, view)] = True
        np.testing.assert_array_equal(inside, within(grid, view))
        with monkeypatch.context() as general:
            general.setattr(place, "_aligned", lambda _matrix: None)
            slow = placed(values, cells, grid, view)
        np.testing.assert_allclose(fast, slow, atol=1e-6)


def test_an_aligned_map_needs_no_transform_of_the_volume(monkeypatch):
    monkeypatch.setattr(ndimage, "affine_transform", lambda *_given, **_named: pytest.fail("the general way"))
    grid = a_volume()
    placed(np.ones((3, 3, 3), np.float32), grid.on_grid((3, 3, 3)), grid, grid)


def test_a_plateau_stays_one():
    grid = a_volume((30, 40, 48))
    coarse = np.full((3, 4, 4), 0.1, np.float32)
    assert np.unique(placed(coarse, grid.on_grid(coarse.shape), grid, grid)).size == 1


def test_the_body_of_an_image_is_looked_for_once(monkeypatch):
    from saliscope.figures import body

    image = an_image(a_volume(), modality="MR")
    calls = []
    real = body._from_edge
    monkeypatch.setattr(body, "_from_edge", lambda dark: calls.append(1) or real(dark))
    for centre in ((6, 20, 24), (3, 10, 12)):
        interpret(an_explanation(image, bump(image.geometry.shape, centre, 3)), image)
    assert len(calls) == image.geometry.shape[0]
    assert body_mask(image) is body_mask(image)


def test_the_bright_end_of_bytes_is_their_percentile():
    from saliscope.figures.body import _bright_end

    rng = np.random.default_rng(0)
    for shape in ((5, 7, 9), (3, 4, 4), (40, 50)):
        grey = rng.integers(0, 256, shape).astype(np.uint8)
        assert _bright_end(grey) == pytest.approx(np.percentile(grey, 99))
