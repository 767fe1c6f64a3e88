"""Our CAM maps against frozen outputs of grad-cam 1.5.7 and torchcam 0.5.0; made by make_frozen_cams.py.

Tolerances are shares of the largest value: 1e-10 in float64, but 1e-6 where grad-cam returns float32, and 1e-5 and
1e-7 for the XGrad-CAM of grad-cam and torchcam, which add 1e-7 and 1e-8 to every divisor. A singular vector has no
sign: theirs are compared up to it.
"""

from functools import cache
from pathlib import Path

import frozen_nets
import numpy as np
import pytest
import torch

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

FROZEN = np.load(Path(__file__).with_name("frozen_cams.npz"))
TOLERANCE = {
    "grad-cam/eigen-cam": 1e-6,
    "grad-cam/eigen-grad-cam": 1e-6,
    "grad-cam/xgrad-cam": 1e-5,
    "torchcam/xgrad-cam": 1e-7,
}
#: grad-cam centres both; the papers' Eigen-CAM does not.
CENTRED = {"eigen-cam": {"centred": True}, "eigen-grad-cam": {"centred": True}}


def run(net, x, count, method):
    names = tuple(f"class {k}" for k in range(count))
    with Network(net, names).opened() as model:
        return method.attribute(model, x, LogitTarget(tuple(range(count)), names))[0].numpy()


def agree(found, right, tolerance):
    assert np.abs(right).max() > 1e-6
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * np.abs(right).max())


@cache
def network(axes, after):
    return frozen_nets.small(axes, after)


@pytest.mark.parametrize("key", [k for k in FROZEN.files if not k.startswith("densenet")])
def test_cam_equals_its_peers(key):
    setting, peer, name = key.split("/")
    after, axes = setting[:-3], int(setting[-2])
    x = frozen_nets.picture(frozen_nets.SMALL_SHAPE[axes], seed=100 + axes)
    found = run(network(axes, after), x, 3, METHODS.make(name, layer="watched", **CENTRED.get(name, {})))
    right = FROZEN[key]
    if name.startswith("eigen"):
        turned = (found * right).reshape(3, -1).sum(1) < 0
        right = np.where(turned.reshape(3, *[1] * axes), -right, right)
    agree(found, right, TOLERANCE.get(f"{peer}/{name}", 1e-10))


@pytest.mark.parametrize("axes", [2, 3])
def test_cam_of_densenet_equals_torchcams_which_is_told_the_linear_layer(axes):
    torch.set_num_threads(1)
    x = frozen_nets.picture(frozen_nets.DENSENET_SHAPE[axes], seed=200 + axes)
    found = run(frozen_nets.densenet(axes), x, 14, METHODS.make("cam", layer="class_layers.relu"))
    agree(found, FROZEN[f"densenet-{axes}d/torchcam/cam"], 1e-10)
