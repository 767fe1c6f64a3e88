"""Every way to combine methods against its literal replica, in float64, 2D and 3D."""

import itertools

import numpy as np
import pytest
import replica
import replica_combine
import torch
from torch import nn

from saliscope.core.target import CallableTarget, LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.cam.hirescam import HiResCAM
from saliscope.model.network import Network
from saliscope.testing.networks import SmallNet, image, seeded

TARGET = LogitTarget((0, 1, 2), replica.LABELS)


def run(method, net, x, target=TARGET):
    with Network(net, replica.LABELS).opened() as model:
        found = method.attribute_with(model, x, target) if hasattr(method, "beside") else {}
        return {name: v.numpy() for name, v in {"map": method.attribute(model, x, target), **found}.items()}


def agree(found, right, tolerance=1e-12):
    assert found.shape == right.shape
    scale = np.abs(right).max()
    assert scale > 1e-9, "a replica of zeros proves nothing"
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("memory_mb", [1024, 1e-6])
def test_smoothed_equals_its_replica(memory_mb, axes):
    net, x = SmallNet(axes, "functional"), image(axes)
    fields = {"samples": 5, "sigma": 0.2, "seed": 3, "memory_mb": memory_mb}
    cam = run(METHODS.make("smoothed", method=GradCAM("watched"), **fields), net, x)
    slope = run(METHODS.make("smoothed", method="gradient", **fields), net, x)
    for n in range(len(x)):
        copies = replica_combine.noisy(x[n], 5, 0.2, 3)
        for found, one in (
            (cam, lambda copy: replica_combine.grad_cam(net, copy, "watched")),
            (slope, lambda copy: replica.input_gradients(net, copy).numpy().sum(1)),
        ):
            mean, variance = replica_combine.mean_and_variance([one(copy) for copy in copies])
            agree(found["map"][n], mean)
            agree(found["variance"][n], variance)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("relu", [True, False])
def test_guided_equals_its_replica(relu, axes):
    net, x = SmallNet(axes, "functional"), image(axes)
    found = run(METHODS.make("guided", method=GradCAM("watched"), relu=relu), net, x)["map"]
    for n in range(len(x)):
        coarse = replica_combine.grad_cam(net, x[n], "watched")
        placed = replica_combine.laid_on(np.maximum(coarse, 0) if relu else coarse, x.shape[2:])
        agree(found[n], replica_combine.guided_backprop(net, x[n]) * placed)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("scale", ["none", "largest"])
@pytest.mark.parametrize("how", ["mean", "max", "product"])
def test_fused_equals_its_replica(how, scale, axes):
    net, x = SmallNet(axes, "functional"), image(axes)
    method = METHODS.make("fused", method="grad-cam", layers=("stem", "watched"), how=how, scale=scale)
    found = run(method, net, x)["map"]
    for n, k in itertools.product(range(len(x)), range(3)):
        first, second = (
            replica_combine.laid_on(m / np.abs(m).max() if scale == "largest" else m, x.shape[2:])[0]
            for m in (replica_combine.grad_cam(net, x[n], layer)[k : k + 1] for layer in ("stem", "watched"))
        )
        right = np.zeros(first.shape)
        for i in np.ndindex(first.shape):
            if how == "mean":
                right[i] = (first[i] + second[i]) / 2
            elif how == "max":
                right[i] = max(first[i], second[i])
            else:
                right[i] = max(first[i], 0) * max(second[i], 0)
        agree(found[n, k], right)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("part", ["signed", "positive", "magnitude"])
def test_consensus_equals_its_replica(part, axes):
    net, x = SmallNet(axes, "functional"), image(axes, batch=1)
    method = METHODS.make("consensus", methods=(GradCAM("watched"), "gradient", "input-x-gradient"), part=part)
    found = run(method, net, x)
    g = replica.input_gradients(net, x[0]).numpy()
    maps = [
        replica_combine.laid_on(replica_combine.grad_cam(net, x[0], "watched"), x.shape[2:]),
        g.sum(1),
        (g * x[0].numpy()).sum(1),
    ]
    change = {"signed": lambda v: v, "positive": lambda v: np.maximum(v, 0), "magnitude": np.abs}[part]
    for k in range(3):
        ranks = np.stack([replica_combine.ranks(change(m[k])) for m in maps])
        mean, variance = replica_combine.mean_and_variance(ranks)
        agree(found["map"][0, k], mean)
        agree(found["disagreement"][0, k], np.sqrt(variance))


class Local(nn.Module):
    """A network without pooling over the whole: convolutions of 3, one with a stride, two classes over space."""

    def __init__(self, axes, stride=1):
        super().__init__()
        convolution = nn.Conv2d if axes == 2 else nn.Conv3d
        self.first = convolution(1, 3, 3, padding=1, stride=stride)
        self.second = convolution(3, 4, 3, padding=1)
        self.last = convolution(4, 2, 1)
        seeded(self)
        self.double()

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


SUMS = CallableTarget(lambda output: output.flatten(2).sum(2), ("first", "second"))


@pytest.mark.parametrize("axes", [2, 3])
def test_tiled_gradient_equals_its_replica(axes):
    """Tiles of 6 elements, 4 apart: 0, 4, 7 of 13."""
    net, shape = Local(axes), (13, 9) if axes == 2 else (9, 6, 13)
    x = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = run(METHODS.make("tiled", method="gradient", tile=6, overlap=0.25), net, x, SUMS)["map"][0]
    maps = {}
    for box in itertools.product(*(replica_combine.tiles(n, 6, 4) for n in shape)):
        cut = x[(0, slice(None), *[slice(*ends) for ends in box])].clone().requires_grad_()
        sums = net(cut[None])[0].flatten(1).sum(1)
        maps[box] = np.stack([torch.autograd.grad(s, cut, retain_graph=True)[0][0].numpy() for s in sums])
    agree(found, replica_combine.blended(maps, shape, 2))


@pytest.mark.parametrize("axes", [2, 3])
def test_tiled_hirescam_equals_its_replica_on_the_layers_grid(axes):
    """Cells of 2 elements: tiles of 8 elements, 6 apart."""
    net, shape = Local(axes, stride=2), (20, 14) if axes == 2 else (14, 8, 20)
    x = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = run(METHODS.make("tiled", method=HiResCAM("second"), tile=8, overlap=0.25), net, x, SUMS)["map"][0]
    maps = {}
    for box in itertools.product(*(replica_combine.tiles(n, 8, 6) for n in shape)):
        cut = x[(slice(None), slice(None), *[slice(*ends) for ends in box])]
        root = net.second(torch.tanh(net.first(cut))).detach().requires_grad_()
        sums = net.last(torch.tanh(root))[0].flatten(1).sum(1)
        products = [root * torch.autograd.grad(s, root, retain_graph=True)[0] for s in sums]
        maps[box] = np.stack([p[0].sum(0).detach().numpy() for p in products])
    agree(found, replica_combine.blended(maps, tuple(n // 2 for n in shape), 2, 2))
