"""What complexity metrics say of maps whose answer is known."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from saliscope.core.score import Undefined
from saliscope.metrics import METRICS

NAMES = [n for n in METRICS.table if METRICS.get(n).traits.category == "complexity"]


def one(size=100, count=1):
    flat = np.zeros(size)
    flat[:count] = 3.0
    return flat.reshape(10, -1)


def test_one_element_that_has_everything():
    assert METRICS.make("gini").of_map(one()).number == pytest.approx(0.99)
    assert METRICS.make("entropy").of_map(one()).number == 0
    assert METRICS.make("effective-size").of_map(one()).number == pytest.approx(0.01)


@pytest.mark.parametrize("count", [2, 5, 50])
def test_some_elements_that_share_everything(count):
    found = METRICS.make("effective-size").of_map(one(count=count))
    assert found.number == pytest.approx(count / 100)
    assert found.parts["elements"] == pytest.approx(count)
    assert METRICS.make("entropy").of_map(one(count=count)).number == pytest.approx(log(count))
    assert METRICS.make("gini").of_map(one(count=count)).number == pytest.approx(1 - count / 100)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_that_is_the_same_everywhere_is_not_judged(name):
    for value, reason in ((0, "the map is zero everywhere"), (2, "the map has one value everywhere")):
        assert METRICS.make(name).of_map(np.full((4, 4), float(value))).value == Undefined(reason)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_whole_numbers_and_one_of_tiny_or_huge_values(name):
    values = np.arange(12).reshape(3, 4)
    found = METRICS.make(name).of_map(values).number
    for factor in (1e-300, 1e300):
        assert METRICS.make(name).of_map(values * factor).number == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(values=arrays.arrays(float, (4, 5), elements=st.floats(-1e3, 1e3, allow_subnormal=False)))
def test_complexity_stays_in_its_range_and_forgets_places_and_signs(name, values):
    metric = METRICS.make(name)
    found = metric.of_map(values)
    moved = metric.of_map(-np.random.default_rng(0).permutation(values.ravel()).reshape(5, 4))
    assert found.defined == moved.defined
    if found.defined:
        low, high = metric.traits.range
        assert low <= found.number <= (log(20) + 1e-12 if high is None else high)
        assert moved.number == pytest.approx(found.number, rel=1e-9, abs=1e-12)
