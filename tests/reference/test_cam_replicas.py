"""The CAM methods against their literal replicas, in float64, 2D and 3D, whatever follows the layer.

Tolerances are shares of the largest value: 1e-12 where only the order of sums differs, 1e-9 for eigenvectors.
"""

import numpy as np
import pytest
import replica
import replica_cams
import torch
from replica_cams import ReluNet

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing.networks import AFTER, SmallNet, image

TARGET = LogitTarget((0, 1, 2), replica.LABELS)


def maps(method, net, x):
    with Network(net, replica.LABELS).opened() as model:
        return method.attribute(model, x, TARGET).numpy()


def agree(found, right, tolerance=1e-12):
    assert found.shape == right.shape
    scale = np.abs(right).max()
    assert scale > 1e-6, "a replica of zeros proves nothing"
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * scale)


def each(found, net, x, formula, tolerance=1e-12):
    for n in range(len(x)):
        a, gradients = replica.split_run(net, x[n])
        agree(found[n], np.stack([formula(a, g) for g in gradients]), tolerance)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("xgrad-cam", replica_cams.xgrad_cam),
        ("seg-grad-cam", replica.grad_cam),
        ("seg-hirescam", replica.hirescam),
    ],
)
def test_cam_equals_its_replica(name, formula, after, axes):
    net, x = SmallNet(axes, after), image(axes)
    # Channels of SmallNet's layer can sum to nearly zero, where the weight of XGrad-CAM loses digits.
    each(maps(METHODS.make(name, layer="watched"), net, x), net, x, formula, 1e-10)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("name", ["eigen-cam", "eigen-grad-cam"])
@pytest.mark.parametrize("layer_is_wide", [False, True])
def test_eigen_cams_equal_their_replica(layer_is_wide, name, centred, axes):
    """By the Gram matrix over channels, and where there are more channels than cells by that over cells."""
    net, x = SmallNet(axes), image(axes)
    if layer_is_wide:
        x = x[..., :4, :4] if axes == 2 else x[..., :2, :2, :4]
    a, _ = replica.split_run(net, x[0])
    assert (a[0].size < len(a)) == layer_is_wide
    formula = getattr(replica_cams, name.replace("-", "_"))
    found = maps(METHODS.make(name, layer="watched", centred=centred), net, x)
    each(found, net, x, lambda a, g: formula(a, g, centred), 1e-9)


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize(
    ("axes", "window"),
    [(2, 1), (2, 2), (2, (3, 5)), (2, (4, 1)), (2, 99), (3, 2), (3, (2, 3, 5)), (3, (3, 2, 1))],
    ids=str,
)
def test_seg_xres_cam_equals_its_replica(axes, window, pool):
    net, x = SmallNet(axes), image(axes)
    shape = replica.split_run(net, x[0])[0].shape[1:]
    sizes = [min(w, n) for w, n in zip(window if isinstance(window, tuple) else (window,) * axes, shape, strict=True)]
    found = maps(METHODS.make("seg-xres-cam", layer="watched", window=window, pool=pool), net, x)
    each(found, net, x, lambda a, g: replica_cams.seg_xres_cam(a, g, sizes, pool))


@pytest.mark.parametrize("name", ["xgrad-cam", "seg-grad-cam", "seg-hirescam", "seg-xres-cam"])
def test_the_papers_relu_is_the_positive_part(name):
    net, x = SmallNet(2), image(2)
    signed = maps(METHODS.make(name, layer="watched"), net, x)
    assert signed.min() < 0
    agree(maps(METHODS.make(name, layer="watched", relu=True), net, x), np.maximum(signed, 0), 0)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("memory_mb", [1024, 1e-6])
def test_smooth_grad_cam_plus_plus_equals_its_replica(memory_mb, axes):
    net, x = SmallNet(axes), image(axes)
    fields = {"samples": 5, "sigma": 0.2, "seed": 3, "memory_mb": memory_mb}
    method = METHODS.make("smooth-grad-cam++", layer="watched", **fields)
    with Network(net, replica.LABELS).opened() as model:
        found = method.attribute_with(model, x, TARGET)
        np.testing.assert_array_equal(found["map"], method.attribute(model, x, TARGET))
    for n in range(len(x)):
        right, variance = replica_cams.smooth_grad_cam_plus_plus(net, x[n], 5, 0.2, 3)
        agree(found["map"][n].numpy(), right, 1e-10)
        agree(found["variance"][n].numpy(), variance, 1e-10)


@pytest.mark.parametrize("axes", [2, 3])
def test_layercam_fusion_equals_its_replica(axes):
    net, x = SmallNet(axes, "functional"), image(axes)
    layers = ("stem", "watched", "last")
    plain = [maps(METHODS.make("layercam", layer=layer), net, x) for layer in layers]
    found = maps(METHODS.make("layercam-fusion", layers=layers, gamma=1.5), net, x)
    assert found.min() >= 0
    assert found.max() <= 1
    # A kernel of 2 with stride 2: cell 0 is centred between elements 0 and 1.
    cells = [(2, 0.5)] * 3
    for n in range(len(x)):
        for k in range(3):
            right = replica_cams.layercam_fusion([p[n, k] for p in plain], 1.5, x.shape[2:], cells)
            agree(found[n, k], right)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("shown", ["signed", "absolute", "rescaled"])
def test_full_grad_equals_its_replica(shown, axes):
    net, x = ReluNet(axes).eval(), image(axes)
    found = maps(METHODS.make("full-grad", terms=shown), net, x)
    cells = {"input": (1, 0), "norm": (2, 0.5), "middle": (2, 0.5), "last": (4, 1.5)}
    for n in range(len(x)):
        scores, terms = replica_cams.full_gradient(net, x[n])
        sums = [sum(t.sum() for t in of_class.values()) for of_class in terms]
        np.testing.assert_allclose(sums, scores, rtol=0, atol=1e-12 * np.abs(scores).max())
        right = [replica_cams.full_grad(of_class, x.shape[2:], cells, shown) for of_class in terms]
        agree(found[n], np.stack(right))


@pytest.mark.parametrize("axes", [2, 3])
def test_cam_equals_its_replica_with_the_row_of_the_linear_layer(axes):
    net, x = replica_cams.PooledNet(axes).eval(), image(axes)
    found = maps(METHODS.make("cam", layer="relu"), net, x)
    with torch.no_grad():
        a = net.last(net.norm(net.stem(x))).relu().numpy()
    rows = net.head.weight.detach().numpy()
    for n in range(len(x)):
        agree(found[n], np.stack([replica_cams.cam(a[n], row) for row in rows]))
