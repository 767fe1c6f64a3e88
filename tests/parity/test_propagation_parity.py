"""Our maps against frozen outputs of zennit 0.5 and captum 0.9 where these are right.

Made by make_frozen_propagation.py; tolerances are shares of the largest value of the frozen map, in float64.
"""

from pathlib import Path

import frozen_propagation_nets as nets
import numpy as np
import pytest
from frozen_nets import picture

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

FROZEN = np.load(Path(__file__).with_name("frozen_propagation.npz"))
TARGET = LogitTarget((0, 1, 2), ("a", "b", "c"))
COMPOSITES = (
    "epsilon",
    "epsilon-plus",
    "epsilon-plus-flat",
    "epsilon-gamma-box",
    "epsilon-alpha-beta",
    "z-plus",
    "z-plus-w-square",
)


def agree(method, net, axes, key):
    x = picture(nets.SHAPE[axes], seed=300 + axes)
    with Network(net, TARGET.labels).opened() as model:
        found = method.attribute(model, x, TARGET)[0].numpy()
    right = FROZEN[key]
    assert np.abs(right).max() > 1e-6
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-10 * np.abs(right).max())


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("kind", ["stacked", "shortcuts"])
@pytest.mark.parametrize("axes", [2, 3])
def test_lrp_equals_zennit(axes, kind, composite):
    box = {"low": nets.LOW, "high": nets.HIGH} if composite.endswith("box") else {}
    method = METHODS.make("lrp", composite=composite, **box)
    agree(method, getattr(nets, kind)(axes), axes, f"{kind}-{axes}d/{composite}")


@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet"])
@pytest.mark.parametrize("axes", [2, 3])
def test_rectified_gradient_equals_captum(axes, name):
    agree(METHODS.make(name), nets.stacked(axes), axes, f"stacked-{axes}d/{name}")


@pytest.mark.parametrize("kind", ["shortcuts", "pooled"])
@pytest.mark.parametrize("axes", [2, 3])
def test_deeplift_equals_captum(axes, kind):
    agree(METHODS.make("deeplift", baseline="blur"), getattr(nets, kind)(axes), axes, f"{kind}-{axes}d/deeplift")
