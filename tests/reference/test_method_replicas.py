"""Every method against its literal replica, in float64, 2D and 3D, whatever follows the layer.

Tolerances are shares of the largest value: 1e-12 where only the order of sums differs, 1e-6 for finite differences.
"""

import numpy as np
import pytest
import replica
import torch

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


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("name", ["grad-cam", "hirescam", "layercam", "grad-cam++"])
def test_cam_equals_its_replica(name, after, axes):
    net, x = SmallNet(axes, after), image(axes)
    formula = getattr(replica, name.replace("-", "_").replace("++", "_plus_plus"))
    found = maps(METHODS.make(name, layer="watched"), net, x)
    for n in range(len(x)):
        a, gradients = replica.split_run(net, x[n])
        assert a.min() < 0, "an activation without negative values cannot show an in-place ReLU"
        agree(found[n], np.stack([formula(a, g) for g in gradients]))


@pytest.mark.parametrize("name", ["grad-cam", "layercam", "grad-cam++"])
def test_the_papers_relu_is_the_positive_part(name):
    net, x = SmallNet(2), image(2)
    signed = maps(METHODS.make(name, layer="watched"), net, x)
    assert signed.min() < 0
    agree(maps(METHODS.make(name, layer="watched", relu=True), net, x), np.maximum(signed, 0), 0)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
def test_gradient_and_input_x_gradient_equal_their_replicas(after, axes):
    net, x = SmallNet(axes, after), image(axes)
    found = {name: maps(METHODS.make(name), net, x) for name in ("gradient", "input-x-gradient")}
    magnitude = maps(METHODS.make("gradient", magnitude=True), net, x)
    for n in range(len(x)):
        g = replica.input_gradients(net, x[n]).numpy()
        agree(found["gradient"][n], g[:, 0] + g[:, 1])
        agree(found["input-x-gradient"][n], g[:, 0] * x[n, 0].numpy() + g[:, 1] * x[n, 1].numpy())
        agree(magnitude[n], np.maximum(np.abs(g[:, 0]), np.abs(g[:, 1])))


@pytest.mark.parametrize("axes", [2, 3])
def test_gradient_equals_finite_differences(axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    found = maps(METHODS.make("gradient"), net, x)[0]
    step, right = 1e-6, np.zeros(found.shape)
    for cell in list(np.ndindex(found.shape[1:]))[::7]:
        up, down = x[0].clone(), x[0].clone()
        up[(slice(None), *cell)] += step
        down[(slice(None), *cell)] -= step
        right[(slice(None), *cell)] = (replica.scores(net, up) - replica.scores(net, down)).numpy() / (2 * step)
    agree(np.where(right != 0, found, 0), right, 1e-6)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("memory_mb", [1024, 1e-6])
def test_smoothgrad_equals_its_replica(memory_mb, axes):
    net, x = SmallNet(axes), image(axes)
    found = maps(METHODS.make("smoothgrad", samples=5, sigma=0.2, seed=3, memory_mb=memory_mb), net, x)
    for n in range(len(x)):
        agree(found[n], replica.smoothgrad(net, x[n], 5, 0.2, 3))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("baseline", ["zero", "min", "mean", 0.25])
def test_integrated_gradients_equal_their_replica(baseline, axes):
    net, x = SmallNet(axes), image(axes)
    found = maps(METHODS.make("integrated-gradients", steps=7, baseline=baseline), net, x)
    for n in range(len(x)):
        start = torch.empty_like(x[n])
        for c in range(2):
            named = {"zero": 0.0, "min": float(x[n, c].min()), "mean": float(x[n, c].mean())}
            start[c] = named.get(baseline, baseline)
        agree(found[n], replica.integrated_gradients(net, x[n], start, 7))


@pytest.mark.parametrize(
    ("axes", "window", "stride"), [(2, (4, 3), (3, 2)), (2, (5, 5), (5, 5)), (3, (4, 3, 5), (3, 3, 4))]
)
@pytest.mark.parametrize("memory_mb", [1024, 1e-6])
def test_occlusion_equals_its_replica(memory_mb, axes, window, stride):
    net, x = SmallNet(axes), image(axes)
    method = METHODS.make("occlusion", window=window, stride=stride, baseline="mean", memory_mb=memory_mb)
    found = maps(method, net, x)
    for n in range(len(x)):
        without = x[n].mean(tuple(range(1, axes + 1)), keepdim=True).expand_as(x[n])
        agree(found[n], replica.occlusion(net, x[n], without, window, stride))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("sigma", [0.7, 1.0])
def test_edges_equal_their_replica(sigma, axes):
    x = image(axes)
    found = maps(METHODS.make("edges", sigma=sigma), SmallNet(axes), x)
    for n in range(len(x)):
        agree(found[n], np.stack([replica.edges(x[n], sigma)] * 3))


@pytest.mark.parametrize("axes", [2, 3])
def test_centre_equals_its_formula_and_lies_in_the_middle(axes):
    x = image(axes)
    found = maps(METHODS.make("centre", width=0.4), SmallNet(axes), x)
    right = np.zeros(x.shape[2:])
    for cell in np.ndindex(right.shape):
        share = [(i - (n - 1) / 2) / (n / 2) for i, n in zip(cell, right.shape, strict=True)]
        right[cell] = np.exp(-sum(s**2 for s in share) / (2 * 0.4**2))
    agree(found, np.broadcast_to(right, found.shape))


def test_constant_is_one_everywhere():
    assert (maps(METHODS.make("constant"), SmallNet(2), image(2)) == 1).all()


def test_random_is_standard_normal_of_image_and_seed():
    x = torch.rand(2, 1, 60, 50, dtype=torch.float64)
    net = SmallNet(2, channels=1)
    first, other = maps(METHODS.make("random"), net, x)[:, 0]
    assert abs(first.mean()) < 0.06
    assert abs(first.std() - 1) < 0.05
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.06, "two images share their noise"
    again = maps(METHODS.make("random", seed=1), net, x)[0, 0]
    assert abs(np.corrcoef(first.ravel(), again.ravel())[0, 1]) < 0.06, "two seeds share their noise"
