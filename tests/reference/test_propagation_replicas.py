"""Every propagation method against its literal replica, in float64, 2D and 3D.

Tolerances are shares of the largest value: 1e-12 where only the order of sums differs, 1e-10 where quotients of small
numbers amplify that.
"""

import numpy as np
import pytest
import replica_propagation as replica
import torch

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

#: composite -> rules of convolutions, of the linear head, and of the first layer where it has another.
RULES = {
    "epsilon": ("epsilon", "epsilon", None),
    "epsilon-plus": ("z-plus", "epsilon", None),
    "epsilon-plus-flat": ("z-plus", "epsilon", "flat"),
    "epsilon-gamma-box": ("gamma", "epsilon", "box"),
    "epsilon-alpha-beta": ("alpha-beta", "epsilon", None),
    "epsilon-alpha-beta-flat": ("alpha-beta", "epsilon", "flat"),
    "z-plus": ("z-plus", "z-plus", None),
    "z-plus-box": ("z-plus", "z-plus", "box"),
    "z-plus-w-square": ("z-plus", "z-plus", "w-square"),
}
TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))


def maps(method, net, x):
    with Network(net, TARGET.labels).opened() as model:
        return method.attribute(model, x, TARGET).numpy()


def agree(found, right, tolerance=1e-12):
    assert found.shape == right.shape
    scale = np.abs(right).max()
    assert scale > 1e-6, "a replica of zeros proves nothing"
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_replica_runs_the_network_that_it_copies(axes):
    net, x = replica.Branched(axes), replica.picture(axes)
    for image in x:
        agree(replica.Steps(net, image).y, net(image[None])[0].detach().numpy())
        agree(replica.rectified(net, image, "gradient"), maps(METHODS.make("gradient"), net, image[None])[0])


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(("name", "way"), [("guided-backprop", "guided"), ("deconvnet", "deconvnet")])
def test_rectified_gradient_equals_its_replica(name, way, axes):
    net, x = replica.Branched(axes), replica.picture(axes)
    found = maps(METHODS.make(name), net, x)
    for n, image in enumerate(x):
        agree(found[n], replica.rectified(net, image, way))
        assert np.abs(found[n] - replica.rectified(net, image, "gradient")).max() > 0.01


@pytest.mark.parametrize("axes", [2, 3])
def test_guided_grad_cam_equals_its_replica(axes):
    net, x = replica.Branched(axes), replica.picture(axes)
    found = maps(METHODS.make("guided-grad-cam", layer="pool"), net, x)
    for n, image in enumerate(x):
        centres = [0.5 + 2 * np.arange(size // 2) for size in image.shape[1:]]
        coarse = [replica.stretched(m, centres, image.shape[1:]) for m in replica.grad_cam_at_pool(net, image)]
        agree(found[n], replica.rectified(net, image, "guided") * np.stack(coarse))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("baseline", ["zero", "min", "mean", 0.25])
def test_deeplift_equals_its_replica(baseline, axes):
    net, x = replica.Branched(axes), replica.picture(axes)
    found = maps(METHODS.make("deeplift", baseline=baseline), net, x)
    for n, image in enumerate(x):
        start = torch.empty_like(image)
        for c in range(2):
            named = {"zero": 0.0, "min": float(image[c].min()), "mean": float(image[c].mean())}
            start[c] = named.get(baseline, baseline)
        agree(found[n], replica.deeplift(net, image, start), 1e-10)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("composite", RULES)
def test_lrp_equals_its_replica(composite, axes):
    net, x = replica.Branched(axes), replica.picture(axes)
    found = maps(METHODS.make("lrp", composite=composite), net, x)
    for n, image in enumerate(x[: 4 - axes]):
        agree(found[n], replica.lrp(net, image, *RULES[composite]), 1e-10)


@pytest.mark.parametrize(
    ("composite", "rules", "fields"),
    [
        ("epsilon", ("epsilon", "epsilon", None), {"epsilon": 0.3}),
        ("epsilon-gamma-box", ("gamma", "epsilon", "box"), {"gamma": 0.9, "low": -4.0, "high": 5.0}),
        ("epsilon-alpha-beta", ("alpha-beta", "epsilon", None), {"alpha": 1.5}),
    ],
)
def test_lrp_heeds_its_parameters(composite, rules, fields):
    net, x = replica.Branched(2), replica.picture(2)
    found = maps(METHODS.make("lrp", composite=composite, **fields), net, x)
    for n, image in enumerate(x):
        agree(found[n], replica.lrp(net, image, *rules, **fields), 1e-10)
    assert np.abs(found - maps(METHODS.make("lrp", composite=composite), net, x)).max() > 0.01 * np.abs(found).max()
