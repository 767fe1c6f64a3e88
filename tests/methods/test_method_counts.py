"""What the methods may cost: forward samples, backward passes, FLOPs, and bytes kept for the backward pass."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from watching import forget, largest, watch

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.kernel import kernel_maps
from saliscope.model.network import Network
from saliscope.perturb.stream import FORWARD, GRAPH
from saliscope.testing.networks import SmallNet, image, seeded

FOURTEEN = tuple(f"finding {k}" for k in range(14))
TARGET = LogitTarget(tuple(range(14)), FOURTEEN)
CAMS = [METHODS.make(name, layer="prefix") for name in ("grad-cam", "hirescam", "layercam", "grad-cam++")]


class Cut(nn.Module):
    """A network in two parts, most of its work before the watched layer's end."""

    def __init__(self, axes):
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.prefix = nn.Sequential(conv(1, 16, 3, padding=1), nn.ReLU(True), conv(16, 16, 3, padding=1, stride=2))
        self.suffix = nn.Sequential(nn.ReLU(inplace=True), conv(16, 8, 3, padding=1), nn.Tanh())
        self.head = nn.Linear(8, 14)
        seeded(self)

    def end(self, seen):
        return self.head(self.suffix(seen).flatten(2).mean(2))

    def forward(self, x):
        return self.end(self.prefix(x))


def four_cams(net, x):
    with Network(net, FOURTEEN).opened() as model:
        return kernel_maps(model, x, TARGET, CAMS), model.counts


def flops(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def bytes_kept(run):
    kept = 0

    def pack(tensor):
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return kept


@pytest.mark.parametrize("axes", [2, 3])
def test_four_cams_of_fourteen_labels_cost_one_forward_sample(axes):
    maps, counts = four_cams(Cut(axes), torch.randn(1, 1, *[8] * axes))
    assert counts.forward_samples == 1
    assert counts.backward_passes == 14
    assert [tuple(m.shape) for m in maps] == [(1, 14, *[4] * axes)] * 4


@pytest.mark.parametrize("axes", [2, 3])
def test_four_cams_cost_the_flops_of_one_forward_and_of_the_suffix_backward(axes):
    net, x = Cut(axes).requires_grad_(False), torch.randn(1, 1, *[8] * axes)
    seen = net.prefix(x)

    def suffix(labels):
        root = seen.clone().requires_grad_()
        scores = net.end(root.clone())[0]
        for k in range(labels):
            torch.autograd.grad(scores[k], root, retain_graph=True)

    forward = flops(lambda: net(x))
    backward = flops(lambda: suffix(14)) - flops(lambda: suffix(0))
    assert forward > 0
    assert backward > 0
    four_cams(net, x)  # what is learnt of a network is learnt once
    assert flops(lambda: four_cams(net, x)) == forward + backward


@pytest.mark.parametrize("axes", [2, 3])
def test_no_graph_is_kept_before_the_layer(axes):
    net, x = Cut(axes).requires_grad_(False), torch.randn(1, 1, *[32 if axes == 2 else 12] * axes)
    root = net.prefix(x).requires_grad_()
    suffix = bytes_kept(lambda: net.end(root.clone())[0].sum())
    whole = bytes_kept(lambda: net(x.clone().requires_grad_()).sum())
    found = bytes_kept(lambda: four_cams(net, x))
    assert whole > 1.5 * suffix, "the prefix is too small to show a graph before the layer"
    assert found <= suffix + 14 * 64, "more is kept than the suffix needs and a few scalars"


def test_peers_param_grads_neither_made_nor_zeroed():
    """Peers call backward(), which writes a gradient into every parameter, or zero the user's own first."""
    net = Cut(2)
    four_cams(net, torch.randn(1, 1, 8, 8))
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    for p in net.parameters():
        p.grad = torch.full_like(p, 7.0)
    four_cams(net, torch.randn(1, 1, 8, 8))
    assert all((p.grad == 7).all() for p in net.parameters())


@pytest.mark.parametrize(
    ("name", "fields", "per_image"),
    [
        ("gradient", {}, 1),
        ("input-x-gradient", {}, 1),
        ("integrated-gradients", {"steps": 11}, 11),
        ("smoothgrad", {"samples": 13}, 13),
        # 12 x 10 with windows of 4 every 2: 5 by 4 places, and the image itself.
        ("occlusion", {"window": 4, "stride": 2}, 5 * 4 + 1),
        # 12 x 10 with windows of 5 every 4: at 0, 4, 7 and at 0, 4, 5.
        ("occlusion", {"window": 5, "stride": 4}, 3 * 3 + 1),
        ("random", {}, 0),
        ("edges", {}, 0),
        ("centre", {}, 0),
        ("constant", {}, 0),
    ],
)
def test_forward_samples_do_not_grow_with_targets(name, fields, per_image):
    for labels in (1, 3):
        names = FOURTEEN[:labels]
        with Network(SmallNet(2), FOURTEEN[:3]).opened() as model:
            METHODS.make(name, **fields).attribute(model, image(2), LogitTarget(tuple(range(labels)), names))
        assert model.counts.forward_samples == 2 * per_image


def test_occlusion_skips_windows_that_change_nothing():
    """An image that is empty but for one corner: windows of nothing are not run, and their drop is exactly zero."""
    x = torch.zeros(1, 2, 12, 10, dtype=torch.float64)
    x[..., :4, :4] = image(2, batch=1)[..., :4, :4]
    method = METHODS.make("occlusion", window=2, stride=2, baseline="zero")
    with Network(SmallNet(2), FOURTEEN[:3]).opened() as model:
        found = method.attribute(model, x, LogitTarget((0,), ("finding 0",)))
    assert model.counts.forward_samples == 4 + 1
    assert (found[..., :4, :4] != 0).all()
    assert (found[..., 4:, :] == 0).all()
    assert (found[..., :, 4:] == 0).all()


def test_batches_keep_within_the_memory_budget():
    """The most copies that run at once follow from the budget, however many steps there are."""
    net = SmallNet(2)
    watch(net)
    one = image(2)[0].numel() * 8 * GRAPH / 2**20
    with Network(net, FOURTEEN[:3]).opened() as model:
        model.independence(image(2))  # what is learnt of a network is learnt once
        forget()
        for name in ("integrated-gradients", "smoothgrad"):
            METHODS.make(name, memory_mb=3.5 * one).attribute(model, image(2), LogitTarget((0,), ("finding 0",)))
            assert largest() == 3
        METHODS.make("occlusion", memory_mb=one).attribute(model, image(2), LogitTarget((0,), ("finding 0",)))
        assert largest() == GRAPH // FORWARD
