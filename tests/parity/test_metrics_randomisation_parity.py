"""Ours beside frozen outputs of Quantus 0.6.0, where it is right; and what it gets wrong, by its own outputs."""

from pathlib import Path

import numpy as np
import pytest
from frozen_metrics_randomisation_parts import BINS, NOISE, SEED, TARGET, X, network, weights

from saliscope.core.target import LogitTarget
from saliscope.methods.gradient.gradient import Gradient
from saliscope.metrics.randomisation.efficient_mprt import EfficientMPRT
from saliscope.metrics.randomisation.mprt import MPRT
from saliscope.metrics.randomisation.random_logit import RandomLogit

FROZEN = np.load(Path(__file__).with_name("frozen_metrics_randomisation.npz"))


@pytest.fixture(scope="module")
def mprt():
    return MPRT(stages=None, seed=SEED).of_network(network(), Gradient(), X, TARGET)


def test_the_weights_drawn_are_those_that_were_frozen():
    assert np.allclose(weights().numpy(), FROZEN["weights"], rtol=1e-6)


def test_mprt_agrees_at_every_stage(mprt):
    curve = [value for _, value in mprt.scores[0][0].curve]
    assert curve == pytest.approx(FROZEN["mprt/layers"].mean(axis=1), abs=1e-9)
    last = FROZEN["mprt/layers"][-1]
    assert mprt.scores[0][0].number == pytest.approx(last.mean(), abs=1e-9)
    assert (mprt.scores[0][0].interval.low, mprt.scores[0][0].interval.high) == pytest.approx((last.min(), last.max()))


def test_quantus_mprt_average_has_the_untouched_network_in_it_and_ours_has_not(mprt):
    by_layer, average = FROZEN["mprt/layers"], FROZEN["defect/mprt average"]
    assert average == pytest.approx((by_layer.sum(axis=0) + 1) / (len(by_layer) + 1)), "a perfect agreement more"
    assert abs(average - by_layer.mean(axis=0)).min() > 0.1
    assert all(value < 0.99 for _, value in mprt.scores[0][0].curve)


def test_efficient_mprt_agrees_for_one_seed():
    with network().opened() as model:
        rows = EfficientMPRT(bins=BINS, seeds=1, seed=SEED).of_method(model, Gradient(), X, TARGET)
    assert [row[0].number for row in rows] == pytest.approx(FROZEN["efficient-mprt"], abs=1e-9)


def test_max_sensitivity_agrees_for_the_same_noise():
    with network().opened() as model:
        rows = NOISE.of_method(model, Gradient(), X, TARGET)
        # Quantus hands its images over in float32.
        assert [row[0].number for row in rows] == pytest.approx(FROZEN["max-sensitivity"], rel=1e-5)
        assert model.counts.backward_passes == len(X)


def test_quantus_max_sensitivity_explains_one_draw_after_the_other():
    assert FROZEN["defect/max-sensitivity calls"] == 201


def test_random_logit_agrees_for_two_classes():
    with network().opened() as model:
        rows = RandomLogit().of_method(model, Gradient(), X, TARGET)
    assert [row[0].parts["with signs"] for row in rows] == pytest.approx(FROZEN["random-logit"], abs=1e-6)


def test_quantus_random_logit_seeds_the_callers_generator_anew_and_asks_one_class_and_ours_neither():
    after = FROZEN["defect/random-logit generator"]
    assert after[0] == after[1], "whatever seed the caller had set"
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    with network(8).opened() as model:
        ((score,),) = RandomLogit().of_method(model, Gradient(), X[:1], LogitTarget((0,), ("a",)))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert score.n == 7
