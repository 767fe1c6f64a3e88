"""The order of a map: exact by rank, ties declared and never decided by position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from saliscope.core.errors import MetricError
from saliscope.metrics.ranking import counts_of, descending, finite, no_order, top

#: Maps with many ties: a few values only.
MAPS = arrays.arrays(float, arrays.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.integers(-2, 3))


def zero_heavy(share=0.98, size=50):
    """Return a map of which `share` is zero, the rest positive and without ties, and where that is."""
    rng = np.random.default_rng(0)
    flat = np.zeros(size * size)
    alive = rng.permutation(flat.size)[: round((1 - share) * flat.size)]
    flat[alive] = rng.random(len(alive)) + 0.1
    return flat.reshape(size, size), np.isin(np.arange(flat.size), alive).reshape(size, size)


@given(MAPS, st.data())
def test_chances_add_to_the_count_and_follow_the_values(values, data):
    count = data.draw(st.integers(0, values.size))
    chance = top(values, count)
    assert chance.shape == values.shape
    assert chance.sum() == pytest.approx(count, abs=1e-9)
    assert ((chance >= 0) & (chance <= 1)).all()
    order = np.argsort(values, axis=None)
    assert (np.diff(chance.ravel()[order]) >= 0).all()
    for value in np.unique(values):
        assert np.ptp(chance[values == value]) == 0
    assert ((chance > 0) & (chance < 1)).sum() in (0, *((values == v).sum() for v in np.unique(values)))


@given(MAPS, st.integers(0, 3))
def test_the_order_descends_and_holds_every_element_once(values, seed):
    order = descending(values, seed)
    assert (np.sort(order) == np.arange(values.size)).all()
    assert (np.diff(values.ravel()[order]) <= 0).all()
    assert (order == descending(values, seed)).all()


@given(MAPS, st.data())
def test_what_is_surely_in_is_first_in_every_order(values, data):
    count = data.draw(st.integers(0, values.size))
    chance = top(values, count).ravel()
    first = np.zeros(values.size)
    first[descending(values, 1)[:count]] = 1
    assert (first[chance == 1] == 1).all()
    assert (first[chance == 0] == 0).all()


def test_chances_are_what_draws_of_the_order_come_to():
    values, count = np.round(np.random.default_rng(0).normal(size=(5, 4))), 7
    drawn = np.zeros(20)
    for seed in range(3000):
        drawn[descending(values, seed)[:count]] += 1
    # Four standard errors of a share of 3000 are 0.037.
    assert np.abs(drawn / 3000 - top(values, count).ravel()).max() < 0.04


def test_the_top_decile_of_a_map_that_is_98_percent_zeros_is_a_tenth():
    values, alive = zero_heavy()
    chance = top(values, 250)
    assert (values >= np.quantile(values, 0.9)).all(), "a threshold takes the whole image"
    assert chance.sum() == pytest.approx(250)
    assert (chance[alive] == 1).all()
    assert chance[~alive] == pytest.approx(200 / 2450)


def test_tied_zeros_come_in_no_order_of_place():
    values, alive = zero_heavy()
    order = descending(values, 3)
    assert alive.ravel()[order[:50]].all()
    zeros = order[50:]
    assert abs(np.corrcoef(zeros, np.arange(len(zeros)))[0, 1]) < 0.06
    other = descending(values, 4)
    assert (other[:50] == order[:50]).all()
    assert (other != order).any()


def test_minus_zero_is_tied_with_zero():
    values = np.array([[0.0, -0.0, 1.0, -1.0]])
    assert top(values, 2).tolist() == [[0.5, 0.5, 1, 0]]


def test_shares_become_counts_by_rounding_half_up():
    assert counts_of((0.0, 0.05, 0.1, 0.5, 1.0), 50) == (0, 3, 5, 25, 50)
    assert counts_of((), 50) == ()
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(MetricError):
            counts_of((bad,), 50)


def test_what_is_refused():
    for count in (-1, 5):
        with pytest.raises(MetricError, match="top"):
            top(np.zeros((2, 2)), count)
    for bad in (np.array([[np.nan, 1]]), np.array([[np.inf, 1]])):
        for ask in (descending, finite, no_order, lambda m: top(m, 1)):
            with pytest.raises(MetricError, match="finite"):
                ask(bad)
    with pytest.raises(MetricError, match="without elements"):
        finite(np.zeros((0, 3)))


def test_why_there_is_no_order():
    assert no_order(np.zeros((2, 2))) == "the map is zero everywhere"
    assert no_order(np.full((2, 2), -3.0)) == "the map has one value everywhere"
    assert no_order(np.eye(2)) == ""


def test_nothing_is_written_to_and_no_shared_generator_moves():
    values, before = zero_heavy()[0], repr(np.random.get_state())  # noqa: NPY002
    values.setflags(write=False)
    descending(values)
    top(values, 10)
    finite(values)
    assert repr(np.random.get_state()) == before  # noqa: NPY002
