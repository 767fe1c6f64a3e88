"""ROAD and its exact imputation against their literal replicas, in float64, 2D and 3D."""

import numpy as np
import pytest
import replica_metrics_road as replica
import torch

from saliscope.core.target import CallableTarget
from saliscope.metrics.fidelity.road import ROAD
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.plan import PerturbationPlan, run

SHAPES = {1: (17,), 2: (9, 7), 3: (5, 4, 6)}
#: In a plane the system is factored; in a volume it is descended to a residual.
TOLERANCE = {1: 1e-12, 2: 1e-12, 3: 1e-7}


def picture(axes, channels=2):
    return np.random.default_rng(axes).normal(size=(channels, *SHAPES[axes]))


def test_the_weights_of_a_plane_are_the_papers():
    assert replica.weights(2)[(0, 1)] == pytest.approx(1 / 6)
    assert replica.weights(2)[(1, -1)] == pytest.approx(1 / 12)
    assert replica.weights(3)[(0, 1, 0)] == pytest.approx(1 / 14)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_the_exact_imputation_equals_its_replica(axes, share):
    image = picture(axes)
    drawn = np.random.default_rng(10 + axes).permutation(image[0].size).reshape(SHAPES[axes])
    gone = drawn < int(share * drawn.size)
    found = RoadFill(exact=True, noise=0)(torch.from_numpy(image)[None], torch.from_numpy(gone)[None])
    np.testing.assert_allclose(found[0].numpy(), replica.imputed(image, gone), rtol=0, atol=TOLERANCE[axes])


@pytest.mark.parametrize("axes", [2, 3])
def test_road_equals_its_replica(axes):
    image, weight = picture(axes), np.random.default_rng(3).normal(size=(2, *SHAPES[axes]))
    attribution = np.random.default_rng(4).normal(size=SHAPES[axes])
    plan = PerturbationPlan(torch.from_numpy(image)[None])
    shares = (0.2, 0.55, 0.9)
    metric = ROAD(shares=shares, fill=RoadFill(exact=True, noise=0))
    ask = metric.ask(plan, torch.from_numpy(attribution), k=1)

    def scores(output):
        return torch.stack([output * 0, output], dim=1)

    def model(x):
        return torch.tanh((x**2 * torch.from_numpy(weight)).flatten(1).sum(1) / 5)

    run([plan], model, [CallableTarget(scores, ("none", "this"))])
    ranked = sorted(np.ndindex(*SHAPES[axes]), key=lambda place: -attribution[place])
    value, morf, lerf = replica.road(lambda one: np.tanh((one**2 * weight).sum() / 5), image, ranked, shares)
    found = ask()
    assert abs(value) > 0.01
    assert found.number == pytest.approx(value, abs=1e-6)
    assert (found.parts["morf"], found.parts["lerf"]) == pytest.approx((morf, lerf), abs=1e-6)
