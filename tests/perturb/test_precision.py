"""Reduced precision is used where it says the same, and left, with a word, where it does not."""

import pytest
import torch
from torch import nn

from saliscope.core.errors import MethodError, ModelError
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing.networks import SmallNet, image, seeded

LABELS = ("a", "b")
TARGET = LogitTarget((0, 1), LABELS)
METHOD_FIELDS = {
    "rise": {"samples": 64, "cells": 4, "tolerance": 0},
    "lime": {"samples": 64, "segments": 9},
    "kernel-shap": {"samples": 64, "segments": 9},
    "sobol": {"designs": 8, "cells": 3},
    "hsic": {"samples": 64, "cells": 3},
}


class Net(nn.Module):
    """Convolutions and a linear head with a large bias, in which eight bits lose small effects."""

    def __init__(self, axes=2, pool=False, bias=0.0):
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        average = nn.AvgPool2d if axes == 2 else nn.AvgPool3d
        self.body = nn.Sequential(
            conv(1, 8, 3, padding=1), nn.ReLU(), average(2) if pool else nn.Identity(), conv(8, 8, 3)
        )
        self.head = nn.Linear(8, 2)
        seeded(self)
        with torch.no_grad():
            self.head.bias += bias

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)).flatten(2).mean(2))


class Rounded(Net):
    """A network whose logits are lost in eight bits: its last layer is no linear one."""

    def forward(self, x):
        return super().forward(x).to(x.dtype) + torch.tensor([3000.0, 0.0]).to(x.dtype)


def run(name, net, precision, axes=2):
    x = torch.randn(1, 1, *[16] * axes, generator=torch.Generator().manual_seed(1))
    with Network(net, LABELS).opened() as model:
        found = METHODS.make(name, precision=precision, **METHOD_FIELDS[name]).attribute(model, x, TARGET)
        return found, model.notes, model.counts.forward_samples


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", METHOD_FIELDS)
def test_bfloat16_gives_nearly_the_same_map_and_says_so(name, axes):
    right, _, plain = run(name, Net(axes), "float32", axes)
    found, notes, checked = run(name, Net(axes), "bfloat16", axes)
    assert any("run in bfloat16, whose effects correlate with float32 by 0.99" in n or "by 1.0" in n for n in notes), (
        notes
    )
    assert found.dtype == torch.float32
    assert not torch.equal(found, right)
    assert torch.corrcoef(torch.stack([found.flatten(), right.flatten()]))[0, 1] > 0.98
    assert plain < checked <= plain + 64, "the check runs a sample of the copies both ways"


def test_the_last_linear_layer_keeps_small_effects_on_large_logits():
    right, _, _ = run("rise", Net(bias=3000.0), "float32")
    found, notes, _ = run("rise", Net(bias=3000.0), "bfloat16")
    assert any("run in bfloat16" in n for n in notes), notes
    assert torch.corrcoef(torch.stack([found[0, 0].flatten(), right[0, 0].flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("name", METHOD_FIELDS)
def test_effects_that_eight_bits_lose_are_run_in_float32(name):
    right, _, _ = run(name, Rounded(), "float32")
    found, notes, _ = run(name, Rounded(), "bfloat16")
    assert any("bfloat16 was asked for and not used" in n and "float32 was used" in n for n in notes), notes
    assert torch.equal(found, right)


def test_a_network_that_does_not_run_in_bfloat16_runs_in_float32():
    class Fixed(Net):
        def forward(self, x):
            return super().forward(x + torch.nn.functional.conv2d(x, torch.ones(1, 1, 1, 1)))

    right, _, _ = run("rise", Fixed(), "float32")
    found, notes, _ = run("rise", Fixed(), "bfloat16")
    assert any("could not be used" in n and "does not run in torch.bfloat16" in n for n in notes), notes
    assert torch.equal(found, right)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_network_that_counts_on_channels_first_has_them_first(axes):
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            conv = nn.Conv2d if axes == 2 else nn.Conv3d
            self.body, self.head = conv(1, 4, 3, stride=4), nn.Linear(4 * 4**axes, 2)
            seeded(self)

        def forward(self, x):
            return self.head(self.body(x).view(len(x), -1))

    right, _, _ = run("rise", Viewing(), "float32", axes)
    found, notes, _ = run("rise", Viewing(), "bfloat16", axes)
    assert any("run in bfloat16" in n for n in notes), notes
    assert torch.corrcoef(torch.stack([found.flatten(), right.flatten()]))[0, 1] > 0.98


def test_average_pooling_in_3d_runs_in_one_way_or_the_other():
    right, _, _ = run("rise", Net(3, pool=True), "float32", 3)
    found, notes, _ = run("rise", Net(3, pool=True), "bfloat16", 3)
    assert any("bfloat16" in n for n in notes)
    assert torch.corrcoef(torch.stack([found.flatten(), right.flatten()]))[0, 1] > 0.98


def test_a_reduced_copy_leaves_the_network_alone_and_ends_with_it():
    net = Net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with Network(net, LABELS).opened() as model:
        reduced = model.reduced(torch.bfloat16)
        output = reduced(torch.randn(3, 1, 16, 16))
        assert output.dtype == torch.float32
        assert model.counts.forward_samples == 3
    assert all(torch.equal(v, before[k]) and v.dtype == torch.float32 for k, v in net.state_dict().items())
    assert not any(m._forward_pre_hooks for m in net.modules())
    with pytest.raises(ModelError, match="closed"):
        reduced(torch.randn(1, 1, 16, 16))


def test_another_precision_is_refused():
    with pytest.raises(MethodError, match="float32 or bfloat16"):
        METHODS.make("rise", precision="int8")


def test_many_copies_run_frozen_and_say_so_and_few_do_not():
    x, target = image(2, batch=1).float(), LogitTarget((0, 1), ("a", "b"))
    maps = []
    for samples in (256, 255):
        method = METHODS.make("rise", samples=samples, tolerance=0.0)
        with Network(SmallNet(2).float()).opened() as model:
            maps.append(method.attribute(model, x, target))
            assert any("folded" in note for note in model.take_notes()) == (samples == 256)
    assert not torch.equal(*maps)
