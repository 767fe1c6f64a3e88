"""What the methods that run only the end of a network may cost: samples, their batches, and their operations."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from watching import forget, largest, watch

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing.networks import SmallNet, image, seeded

LABELS = ("first", "second", "third")
#: Two rows prove the cut, before any method runs.
PROOF = 2


class Pooled(nn.Module):
    """A convolution of 8 channels, an in-place ReLU, pooling and a linear layer."""

    def __init__(self, axes=2):
        super().__init__()
        self.stem = (nn.Conv2d if axes == 2 else nn.Conv3d)(2, 8, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(8, 3)
        seeded(self)
        self.double().eval()

    def forward(self, x):
        return self.head(self.relu(self.stem(x)).flatten(2).mean(2))


def target(labels=3):
    return LogitTarget(tuple(range(labels)), LABELS[:labels])


def counted(net, x, name, labels=3, **fields):
    with Network(net, LABELS).opened() as model:
        METHODS.make(name, **fields).attribute(model, x, target(labels))
    return model.counts


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("labels", [1, 3])
def test_ablation_cam_in_closed_form_is_one_forward_sample(labels, axes):
    counts = counted(Pooled(axes), image(axes, batch=1), "ablation-cam", labels, layer="stem")
    assert counts.forward_samples == 1
    # One for the gradient, and three halves and the whole of the channels for the proof.
    assert counts.suffix_samples == PROOF + 1 + 4


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize(
    ("name", "fields", "forward", "suffix"),
    [
        ("ablation-cam", {"closed_form": False}, 1, 5),
        # One run shows that the end is not linear: nothing is tried.
        ("ablation-cam", {}, 1, 1 + 5),
        ("recipro-cam", {}, 1, None),
        ("shapley-cam", {}, 1, 1),
        ("finer-cam", {}, 1, None),
        ("score-cam", {"weights": "cic"}, 1 + 5 + 1, None),
        ("score-cam", {"weights": "softmax"}, 1 + 5, None),
    ],
)
def test_samples_do_not_grow_with_targets(name, fields, forward, suffix, labels, axes):
    x = image(axes)
    counts = counted(SmallNet(axes), x, name, labels, layer="watched", **fields)
    if name == "recipro-cam":
        suffix = 1 + x[0, 0].numel() // 2**axes
    assert counts.forward_samples == forward * len(x)
    assert counts.suffix_samples == (0 if suffix is None else (PROOF + suffix) * len(x))


def test_what_is_zero_anyway_is_not_run():
    net, x = SmallNet(2), image(2, batch=1)
    with torch.no_grad():
        net.watched.weight[1:3] = 0
        net.watched.bias[1:3] = 0
    assert counted(net, x, "ablation-cam", layer="watched", closed_form=False).suffix_samples == PROOF + 3
    cells = 6 * 5
    with torch.no_grad():
        net.watched.bias.zero_()
        net.norm.bias.fill_(-100)  # the layer sees nothing, so all of its cells are zero
    assert counted(net, x, "recipro-cam", layer="watched").suffix_samples == PROOF + 1
    assert cells > 1


def test_masks_that_are_equal_or_constant_are_run_once_or_never():
    net, x = SmallNet(2), image(2, batch=1)
    with torch.no_grad():
        net.watched.weight[3], net.watched.bias[3] = net.watched.weight[1], net.watched.bias[1]
        net.watched.weight[2], net.watched.bias[2] = 0, 0.7
    assert counted(net, x, "score-cam", layer="watched", weights="softmax").forward_samples == 1 + 3


def flops(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("axes", [2, 3])
def test_floating_point_operations_are_those_of_the_suffix(axes):
    """One whole run, and then convolutions after the layer only."""
    net, x = SmallNet(axes).eval().requires_grad_(False), image(axes, batch=1)
    seen = torch.zeros(1, 5, *[n // 2 for n in x.shape[2:]], dtype=x.dtype)

    def end(root):
        return net.head(torch.tanh(net.last(root)).flatten(2).mean(2))

    whole, suffix = flops(lambda: net(x)), flops(lambda: end(seen))
    assert suffix < 0.8 * whole
    cells = seen[0, 0].numel()
    for name, samples in (("ablation-cam", 5), ("recipro-cam", 1 + cells)):
        fields = {"closed_form": False} if name == "ablation-cam" else {}
        counted(net, x, name, 1, layer="watched", **fields)  # what is learnt of a network is learnt once
        found = flops(lambda n=name, f=fields: counted(net, x, n, 1, layer="watched", **f))
        # One row of the first batch is looked at by itself. The map is one small product; the rest is counted exactly.
        runs = PROOF + samples + 1
        assert whole + runs * suffix <= found <= whole + runs * suffix + 20 * cells


@pytest.mark.parametrize("name", ["ablation-cam", "recipro-cam", "score-cam"])
def test_batches_keep_within_the_memory_budget(name):
    net, x = SmallNet(2), image(2, batch=1)
    watch(net.last)
    with Network(net, LABELS).opened() as model:
        model.independence(image(2))  # what is learnt of a network is learnt once
        forget()
        suffix = model.suffix(x, "watched")
        one = (
            suffix.activation.numel() * 8 * suffix.growth / 2**20
            if name != "score-cam"
            else x.numel() * 8 * 136 / 2**20
        )
        forget()
        METHODS.make(name, layer="watched", memory_mb=3.5 * one).attribute(model, x, target())
    assert largest() == 3


def test_finer_cam_of_a_batch_is_one_run():
    with Network(SmallNet(2), LABELS).opened() as model:
        METHODS.make("finer-cam", layer="watched").attribute(model, image(2, batch=3), target())
    assert model.counts.forward_samples == 3
    assert model.counts.backward_passes == 3
