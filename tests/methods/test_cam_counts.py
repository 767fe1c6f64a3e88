"""What the CAM methods may cost: forward samples, backward passes, and copies at once."""

import pytest
import torch
from torch import nn
from watching import forget, largest, watch

from saliscope.core.protocols import Kernel
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.kernel import kernel_maps
from saliscope.model.network import Network
from saliscope.perturb.stream import FORWARD
from saliscope.testing.networks import SmallNet, image, seeded

FOURTEEN = tuple(f"finding {k}" for k in range(14))
TARGET = LogitTarget(tuple(range(14)), FOURTEEN)
KERNELS = ("grad-cam", "hirescam", "layercam", "grad-cam++", "xgrad-cam", "eigen-cam", "eigen-grad-cam")
SEGMENTATION = ("seg-grad-cam", "seg-hirescam", "seg-xres-cam")


class Cut(nn.Module):
    """A network with 14 labels that ends in pooling and one linear layer."""

    def __init__(self, axes):
        super().__init__()
        self.prefix = (nn.Conv2d if axes == 2 else nn.Conv3d)(1, 8, 3, padding=1, stride=2)
        self.head = nn.Linear(8, 14)
        seeded(self)

    def forward(self, x):
        return self.head(self.prefix(x).flatten(2).mean(2))


@pytest.mark.parametrize("axes", [2, 3])
def test_all_cam_kernels_of_fourteen_labels_share_one_forward_sample(axes):
    methods = [METHODS.make(name, layer="prefix") for name in (*KERNELS, *SEGMENTATION)]
    assert all(isinstance(m, Kernel) for m in methods)
    with Network(Cut(axes), FOURTEEN).opened() as model:
        maps = kernel_maps(model, torch.randn(1, 1, *[8] * axes), TARGET, methods)
    assert model.counts.forward_samples == 1
    assert model.counts.backward_passes == 14
    assert [tuple(m.shape) for m in maps] == [(1, 14, *[4] * axes)] * len(methods)


@pytest.mark.parametrize("labels", [1, 14])
@pytest.mark.parametrize(
    ("name", "fields", "forward", "backward"),
    [
        ("cam", {"layer": "prefix"}, 2 + 1, 1),
        ("layercam-fusion", {}, 2, 1),
        ("full-grad", {}, 2, 1),
        ("smooth-grad-cam++", {"layer": "prefix", "samples": 5}, 2 * (5 + 1), 2),
    ],
)
def test_forward_samples_do_not_grow_with_targets(name, fields, forward, backward, labels):
    with Network(Cut(2), FOURTEEN).opened() as model:
        METHODS.make(name, **fields).attribute(
            model, torch.randn(2, 1, 8, 8), LogitTarget(tuple(range(labels)), FOURTEEN[:labels])
        )
    assert model.counts.forward_samples == forward
    assert model.counts.backward_passes == backward * labels


def test_smooth_grad_cam_plus_plus_keeps_within_the_memory_budget():
    net = SmallNet(2)
    watch(net)
    one = image(2)[0].numel() * 8 * FORWARD / 2**20
    method = METHODS.make("smooth-grad-cam++", layer="watched", memory_mb=3.5 * one)
    with Network(net, FOURTEEN[:3]).opened() as model:
        model.independence(image(2))  # what is learnt of a network is learnt once
        forget()
        method.attribute(model, image(2), LogitTarget((0,), ("finding 0",)))
    assert largest() == 3
