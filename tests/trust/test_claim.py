"""What a map points at: half of what is positive or a tenth of the map, ties by lot, spots that are one thing each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from saliscope.core.errors import MetricError
from saliscope.trust.claim import HALF, LARGE, MOST, NEAR, SPOT, claim

SHAPES = [(60, 80), (14, 20, 24)]


def blob(shape: tuple[int, ...], at: tuple[float, ...], width: float = 2.0, height: float = 1.0) -> np.ndarray:
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return height * np.exp(-sum((g - a) ** 2 for g, a in zip(grid, at, strict=True)) / (2 * width**2))


def at(shape: tuple[int, ...], *parts: float) -> tuple[float, ...]:
    """Return a place by its part of every axis, the last for the last axis."""
    return tuple(p * n for p, n in zip((0.5,) * (len(shape) - len(parts)) + parts, shape, strict=True))


maps = st.one_of(
    arrays.arrays(np.float32, st.sampled_from([(1, 9), (7, 8), (3, 4, 5)]), elements=st.floats(-9, 9, width=32)),
    arrays.arrays(np.float64, (6, 7), elements=st.sampled_from([-1.0, 0.0, 1.0, 2.0])),
)


@given(maps, st.integers(0, 5))
@settings(max_examples=150)
def test_the_region_is_the_smallest_with_half_of_what_is_positive_within_a_tenth(values, seed) -> None:
    found = claim(values, seed)
    positive = np.clip(values.astype(np.float64), 0, None)
    if positive.sum() <= 0 or values.min() == values.max():
        assert found is None
        return
    assert found is not None
    most = max(1, int(MOST * values.size + 0.5))
    own = positive[found.mask]
    assert 1 <= found.mask.sum() <= most
    assert own.min() > 0, "nothing that is not positive is pointed at"
    assert own.min() >= positive[~found.mask].max(initial=0)
    assert found.held == pytest.approx(own.sum() / positive.sum())
    assert found.held >= HALF - 1e-9 or found.mask.sum() == most
    assert (own.sum() - own.min()) / positive.sum() < HALF + 1e-9, "one less would not do"
    assert found.weight.sum() == pytest.approx(1)
    assert not found.weight[~found.mask].any()


@given(maps)
@settings(max_examples=150)
def test_spots_lie_apart_and_share_the_region(values) -> None:
    found = claim(values)
    if found is None:
        return
    together = np.sum([spot.mask for spot in found.spots], axis=0)
    assert np.max(together, initial=0) <= 1
    shares = [spot.share for spot in found.spots]
    assert shares == sorted(shares, reverse=True)
    assert all(share >= SPOT for share in shares)
    for spot in found.spots:
        assert spot.share == pytest.approx(found.weight[spot.mask].sum())
    assert sum(shares) + found.speckle == pytest.approx(1)
    assert not any(a.flags.writeable for a in (found.mask, found.weight, *(s.mask for s in found.spots)))


@pytest.mark.parametrize(
    "values",
    [np.zeros((8, 8)), -np.random.default_rng(0).random((8, 8)), np.full((8, 8), 3.0), np.full((4, 4, 4), -2.0)],
    ids=["zero", "negative", "one value", "one negative value"],
)
def test_a_map_that_points_nowhere_claims_nothing(values) -> None:
    assert claim(values) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_refused(bad: float) -> None:
    values = np.ones((4, 4))
    values[1, 1] = bad
    with pytest.raises(MetricError, match="not finite"):
        claim(values)


def test_of_equal_values_those_that_count_are_drawn_by_lot() -> None:
    values = np.zeros((40, 40))
    values[:, 5:35] = 1.0
    found = [claim(values, seed) for seed in range(20)]
    assert all(c is not None and c.mask.sum() == MOST * 1600 for c in found)
    where = np.mean([c.mask for c in found if c is not None], axis=0)
    assert where[:20].sum() / where.sum() == pytest.approx(0.5, abs=0.05), "above as often as below"
    assert where[:, :20].sum() / where.sum() == pytest.approx(0.5, abs=0.05)
    first, again, other = claim(values, 3), claim(values, 3), claim(values, 4)
    assert (first.mask == again.mask).all()
    assert (first.mask != other.mask).any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scale_and_what_speaks_against_change_nothing(shape) -> None:
    values = blob(shape, at(shape, 0.3, 0.3)) + blob(shape, at(shape, 0.7, 0.7), height=0.7)
    one, scaled = claim(values), claim(7 * values.astype(np.float32))
    against = claim(values - blob(shape, at(shape, 0.3, 0.8), height=3.0) * (values < 1e-3))
    for other in (scaled, against):
        assert (one.mask == other.mask).mean() > 0.999
        assert len(one.spots) == len(other.spots) == 2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pieces_far_apart_are_spots_and_pieces_side_by_side_are_one(shape) -> None:
    apart = claim(blob(shape, at(shape, 0.25), 1.5) + blob(shape, at(shape, 0.75), 1.5, height=0.8))
    near = max(1, round(NEAR * min(shape)))
    boxes = np.full(shape, 1e-9)
    middle = shape[-1] // 2
    for columns in (slice(middle - near - 4, middle - near), slice(middle, middle + 4)):
        boxes[(*(slice(5, 9) for _ in shape[1:]), columns)] = 1 + np.random.default_rng(0).random(4) / 10
    boxes += boxes.sum() / boxes.size  # so that all of both boxes is half of what is positive
    beside = claim(boxes)
    assert len(apart.spots) == 2
    assert apart.spots[0].mask[tuple(map(int, at(shape, 0.25)))], "the stronger first"
    assert apart.spots[0].share > apart.spots[1].share
    assert len(beside.spots) == 1
    assert beside.spots[0].share == pytest.approx(1)


def test_a_small_gap_is_closed_within_a_spot() -> None:
    values = np.zeros((100, 100))
    values[40:50, 40:50] = 1.0
    values[44:47, 44:47] = 0
    values += values.sum() / values.size * (values == 0)  # all of the ring is half of what is positive
    found = claim(values)
    (spot,) = found.spots
    assert not found.mask[45, 45]
    assert spot.mask[44:47, 44:47].all()


def test_a_region_too_large_for_one_thing_is_cut_in_its_valley() -> None:
    shape = (100, 100)
    ridge = np.zeros(shape)
    ridge[45:56, 25:75] = 0.7
    values = ndimage.gaussian_filter(ridge, 2) + blob(shape, (50, 25), 9.0) + blob(shape, (50, 75), 9.0, 1.1)
    found = claim(values)
    _, count = ndimage.label(ndimage.binary_closing(found.mask, iterations=3))
    one = claim(np.where(np.arange(100) < 50, values, 0))
    assert found.mask.mean() > LARGE
    assert count == 1, "it hangs together"
    assert len(found.spots) == 2
    left, right = sorted(found.spots, key=lambda s: np.argwhere(s.mask)[:, 1].mean())
    assert np.argwhere(left.mask)[:, 1].max() <= 52
    assert np.argwhere(right.mask)[:, 1].min() >= 47
    assert one is not None
    assert len(one.spots) == 1, "one peak is one spot, however large"


def test_speckle_is_no_spot() -> None:
    values = np.zeros((100, 100))
    values[::9, ::9] = 1 + np.random.default_rng(0).random((12, 12)) / 10
    found = claim(values)
    assert found.spots == ()
    assert found.speckle == 1


def test_the_edge_of_the_image_is_no_wall() -> None:
    corner = claim(blob((60, 60), (0, 0), 3.0))
    (spot,) = corner.spots
    assert spot.mask[0, 0]
    assert spot.share == pytest.approx(1)
