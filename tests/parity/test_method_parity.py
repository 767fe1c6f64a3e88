"""Our maps against frozen outputs of captum 0.9, which is right here; made by make_frozen.py.

Tolerances are shares of the largest value of the frozen map: 1e-10 in float64, but 1e-6 for occlusion, which captum
adds up in float32.
"""

from functools import cache
from pathlib import Path

import frozen_nets
import numpy as np
import pytest
import torch

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.kernel import kernel_maps
from saliscope.model.network import Network
from saliscope.testing.networks import AFTER

FROZEN = np.load(Path(__file__).with_name("frozen.npz"))
TOLERANCE = {"occlusion": 1e-6}


def labels(count):
    return tuple(f"class {k}" for k in range(count))


def agree(found, key):
    right = FROZEN[key]
    limit = TOLERANCE.get(key.partition("/")[2], 1e-10) * np.abs(right).max()
    np.testing.assert_allclose(found[0].numpy(), right, rtol=0, atol=limit)


def run(net, x, count, *methods):
    names = labels(count)
    with Network(net, names).opened() as model:
        return [m.attribute(model, x, LogitTarget(tuple(range(count)), names)) for m in methods]


@pytest.mark.parametrize("name", ["grad-cam", "hirescam"])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("axes", [2, 3])
def test_cam_equals_captum(axes, after, name):
    x = frozen_nets.picture(frozen_nets.SMALL_SHAPE[axes], seed=100 + axes)
    (found,) = run(frozen_nets.small(axes, after), x, 3, METHODS.make(name, layer="watched"))
    agree(found, f"{after}-{axes}d/{name}")


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gradient", {}),
        ("input-x-gradient", {}),
        ("integrated-gradients", {"steps": frozen_nets.STEPS, "baseline": "zero"}),
        ("occlusion", {"baseline": 0.0}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
@pytest.mark.parametrize("axes", [2, 3])
def test_map_on_the_input_equals_captum(axes, name, fields):
    if name == "occlusion":
        fields = {**fields, **dict(zip(("window", "stride"), frozen_nets.WINDOW[axes], strict=True))}
    x = frozen_nets.picture(frozen_nets.SMALL_SHAPE[axes], seed=100 + axes)
    (found,) = run(frozen_nets.small(axes, "inplace"), x, 3, METHODS.make(name, **fields))
    agree(found, f"inplace-{axes}d/{name}")


@cache
def densenet_maps(axes):
    """Return Grad-CAM and HiResCAM of 14 classes at DenseNet's last norm layer, and its activation."""
    torch.set_num_threads(1)
    x = frozen_nets.picture(frozen_nets.DENSENET_SHAPE[axes], seed=200 + axes)
    methods = [METHODS.make(name, layer="features.norm5") for name in ("grad-cam", "hirescam")]
    with Network(frozen_nets.densenet(axes), labels(14)).opened() as model:
        maps = kernel_maps(model, x, LogitTarget(tuple(range(14)), labels(14)), methods)
        return maps, model.probe(x, ["features.norm5"]).activations["features.norm5"].detach(), model


@pytest.mark.parametrize("axes", [2, 3])
def test_densenet_equals_captum_at_the_norm_before_an_inplace_relu(axes):
    maps, activation, _ = densenet_maps(axes)
    assert activation.min() < -0.1, "the ReLU after the norm rewrote what was seen"
    for found, name in zip(maps, ("grad-cam", "hirescam"), strict=True):
        agree(found, f"densenet-{axes}d/{name}")


@pytest.mark.parametrize("axes", [2, 3])
def test_densenet_tells_a_rewritten_activation_from_the_true_one(axes):
    """What peers compute here, from the activation after the ReLU, is not within tolerance: the test above can fail."""
    maps, activation, model = densenet_maps(axes)
    cells = np.prod(activation.shape[2:])
    weight = model.module.class_layers.out.weight.detach()
    alpha = torch.einsum("kc,c...->kc", weight, (activation[0] > 0).double()) / cells**2
    true = torch.einsum("kc,c...->k...", alpha, activation[0])
    rewritten = torch.einsum("kc,c...->k...", alpha, activation[0].relu())
    np.testing.assert_allclose(maps[0][0], true, atol=1e-10)
    assert (rewritten - true).abs().max() > 0.1 * true.abs().max()
