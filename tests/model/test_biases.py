"""What a layer adds is what it makes of nothing; and the last layers of each grid."""

import pytest
import torch
from torch import nn

from saliscope.model.network import Network
from saliscope.testing.networks import seeded


def opened(net, x):
    with Network(net).opened() as model:
        return model.biases(x), model.take_notes(), model.stages(x), model.counts


class Chain(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        for i, layer in enumerate(layers):
            self.add_module(f"layer{i}", layer)
        self.count = len(layers)
        seeded(self)

    def forward(self, x):
        for i in range(self.count):
            x = getattr(self, f"layer{i}")(x)
        return x.flatten(2).mean(2)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ConvTranspose2d(3, 4, 2, stride=2),
        nn.BatchNorm2d(3),
        nn.BatchNorm2d(3, affine=False),
        nn.Linear(6, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_bias_is_what_the_layer_makes_of_nothing(layer):
    x = torch.zeros(2, 3, 4, 6)
    told, notes, _, counts = opened(Chain(layer), x)
    right = layer.eval()(x).detach()
    assert right.abs().max() > 0
    torch.testing.assert_close(told["layer0"].expand_as(right), right)
    assert notes == ()
    assert counts.forward_samples == 0


@pytest.mark.parametrize(
    ("layer", "shift"),
    [
        (nn.GroupNorm(1, 3), True),
        (nn.InstanceNorm2d(3, affine=True), True),
        (nn.InstanceNorm2d(3), False),
        (nn.LayerNorm(6), True),
        (nn.BatchNorm2d(3, track_running_stats=False), True),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_norm_that_depends_on_the_image_is_noted_and_only_its_shift_is_told(layer, shift):
    told, notes, _, _ = opened(Chain(layer), torch.randn(2, 3, 4, 6))
    assert notes == ("Norms that depend on the image add more than their bias: layer0.",)
    assert list(told) == (["layer0"] if shift else [])
    if shift:
        torch.testing.assert_close(told["layer0"].flatten(), layer.bias.detach())


def test_layers_without_bias_and_layers_that_take_no_part_add_nothing():
    net = Chain(nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2))
    net.spare = nn.Conv2d(3, 3, 1)
    told, _, stages, _ = opened(net, torch.randn(1, 3, 4, 6))
    assert told == {}
    assert stages == ("layer1", "layer2")


def test_stages_are_the_outermost_last_layers_of_each_grid_from_shallow_to_deep():
    block = nn.Sequential(nn.Conv2d(2, 2, 3, stride=2, padding=1), nn.ReLU(inplace=True))
    net = Chain(nn.Conv2d(1, 2, 1), nn.ReLU(), block, nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(2, 3, 1))
    assert opened(net, torch.randn(1, 1, 8, 12))[2] == ("layer1", "layer3", "layer5")
