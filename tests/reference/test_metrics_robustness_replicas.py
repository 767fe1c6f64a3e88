"""Robustness and randomisation beside their slow replicas, in 2D and 3D."""

import numpy as np
import pytest
import replica_metrics_robustness as replica

from saliscope.core.target import LogitTarget
from saliscope.methods.gradient.gradient import Gradient
from saliscope.metrics.randomisation.efficient_mprt import EfficientMPRT
from saliscope.metrics.randomisation.mprt import MPRT
from saliscope.metrics.randomisation.random_logit import RandomLogit
from saliscope.metrics.robustness.max_sensitivity import MaxSensitivity
from saliscope.metrics.robustness.test_retest import TestRetest
from saliscope.model.network import Network
from saliscope.model.randomised import randomised
from saliscope.perturb.plausible.catalogue import perturbations_of
from saliscope.perturb.plausible.spatial import Affine
from saliscope.testing.networks import SmallNet, image

ONE = LogitTarget((1,), ("b",))
TOLERANCE = 1e-9


def maps_of(network, x, target=ONE):
    with network.opened() as model:
        return Gradient().attribute(model, x, target).numpy()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    "move", [Affine(3), Affine(-17, 1.2, 0.1, -0.05), Affine(scale=0.8), Affine(rows=0.02, columns=-0.02)], ids=str
)
def test_moves_and_their_inverse(axes, move):
    own = image(axes, batch=1)[0, 0]
    moved = move.apply(own[None, None], 0)[0, 0]
    assert np.allclose(moved.numpy(), replica.moved(own.numpy(), move), atol=TOLERANCE)
    back, known = move.restore(moved)
    right, where = replica.restored(moved.numpy(), move)
    assert (known.numpy() == where).all()
    assert np.allclose(back.numpy(), right, atol=TOLERANCE)


@pytest.mark.parametrize("axes", [2, 3])
def test_test_retest(axes):
    network, x = Network(SmallNet(axes)), image(axes, batch=1)
    found = perturbations_of("CT", axes)
    with network.opened() as model:
        score = TestRetest("CT", threshold=-1e9, seed=3).of_method(model, Gradient(), x, ONE)[0][0]
    copies = [p.apply(x, 3 + i) for i, p in enumerate(found)][1:]
    maps = [maps_of(network, c)[0, 0] for c in copies]
    moves = [p if isinstance(p, Affine) else None for p in found[1:]]
    ranks, overlap = replica.retest(maps_of(network, x)[0, 0], maps, moves)
    assert score.number == pytest.approx(ranks, abs=TOLERANCE)
    assert score.parts["top-iou"] == pytest.approx(overlap, abs=TOLERANCE)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("changes", ["noise", "plausible"])
def test_max_sensitivity(axes, changes):
    network, x = Network(SmallNet(axes)), image(axes, batch=1)
    metric = MaxSensitivity(changes, samples=4, modality="MR", seed=1)
    with network.opened() as model:
        score = metric.of_method(model, Gradient(), x, ONE)[0][0]
    found = perturbations_of("MR", axes)[1:]
    copies = metric.noisy(x) if changes == "noise" else [p.apply(x, 1 + i) for i, p in enumerate(found)]
    moves = [p if isinstance(p, Affine) else None for p in found] if changes == "plausible" else [None] * 4
    maps = [maps_of(network, c)[0, 0] for c in copies]
    expected = replica.max_sensitivity(maps_of(network, x)[0, 0], maps, moves)
    assert score.number == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("axes", [2, 3])
def test_mprt_and_its_null(axes):
    network, x = Network(SmallNet(axes)), image(axes, batch=3)
    score = MPRT(seed=4).of_network(network, Gradient(), x, ONE).scores[0][0]
    value, null = replica.mprt(maps_of(network, x)[:, 0], maps_of(randomised(network, x, seed=4), x)[:, 0])
    assert score.number == pytest.approx(value, abs=TOLERANCE)
    assert score.null == pytest.approx(null, abs=TOLERANCE)


@pytest.mark.parametrize("axes", [2, 3])
def test_efficient_mprt(axes):
    network, x = Network(SmallNet(axes)), image(axes, batch=1)
    with network.opened() as model:
        score = EfficientMPRT(bins=15, seeds=2).of_method(model, Gradient(), x, ONE)[0][0]
    drawn = [maps_of(randomised(network, x, seed=s), x)[0, 0] for s in (0, 1)]
    expected = replica.efficient_mprt(maps_of(network, x)[0, 0], drawn, 15)
    assert score.number == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("axes", [2, 3])
def test_random_logit(axes):
    network, x = Network(SmallNet(axes, classes=4)), image(axes, batch=1)
    with network.opened() as model:
        score = RandomLogit().of_method(model, Gradient(), x, ONE)[0][0]
    maps = maps_of(network, x, LogitTarget((0, 1, 2, 3), ("a", "b", "c", "d")))[0]
    assert score.number == pytest.approx(replica.random_logit(maps, 1), abs=TOLERANCE)
