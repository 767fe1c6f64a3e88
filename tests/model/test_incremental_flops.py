"""What regions cost, in operations counted by torch: gates that no load of the machine moves."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from saliscope.core.target import LogitTarget
from saliscope.core.windows import Windows
from saliscope.model.incremental.drops import Incremental
from saliscope.model.network import Network
from saliscope.perturb.window import starts

TARGET = LogitTarget((0,), ("0",))


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv2d(inputs, width, 1), nn.Conv2d(width, width, 3, stride, 1), nn.Conv2d(width, 4 * width, 1)]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(c.out_channels) for c in self.convs])
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(inputs, 4 * width, 1, stride) if inputs != 4 * width else None

    def forward(self, x):
        y = self.relu(self.norms[0](self.convs[0](x)))
        y = self.norms[2](self.convs[2](self.relu(self.norms[1](self.convs[1](y)))))
        y += x if self.down is None else self.down(x)
        return self.relu(y)


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, 64 << stage, 2 if stage and not block else 1))
            inputs = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def monai(name, axes):
    nets = pytest.importorskip("monai.networks.nets")
    if name == "densenet121":
        return nets.DenseNet121(spatial_dims=axes, in_channels=3, out_channels=10)
    return nets.resnet18(spatial_dims=axes, n_input_channels=1, num_classes=10, conv1_t_stride=2)


def saving(net, x, window, stride, batches=3, size=4):
    """Return operations of full runs over those of windows by regions, on batches spread over the order."""
    torch.set_num_threads(1)
    begins = [starts(n, window, stride) for n in x.shape[2:]]
    count = int(np.prod([len(b) for b in begins]))
    with Network(net.eval()).opened() as model, torch.no_grad():
        asked = Windows([window] * len(begins), begins, range(count), "exact")
        run = Incremental(model).run(x, torch.zeros_like(x), TARGET, asked)
        assert not isinstance(run, str), run
        some = [run.order[i + j] for i in np.linspace(0, count - size, batches).astype(int) for j in range(size)]
        run.size = size
        with FlopCounterMode(display=False) as parts:
            run.by_regions(some)
        with FlopCounterMode(display=False) as whole:
            model(x)
    return whole.get_total_flops() * len(some) / parts.get_total_flops()


def test_resnet_50_at_224_needs_less_than_half():
    assert saving(resnet50(), torch.randn(1, 3, 224, 224), 16, 8) >= 2


def test_densenet_121_at_224_needs_about_half():
    assert saving(monai("densenet121", 2), torch.randn(1, 3, 224, 224), 16, 8) >= 1.9


def test_resnet_18_on_volumes_needs_two_fifths():
    assert saving(monai("resnet18", 3), torch.randn(1, 1, 96, 96, 96), 16, 8, batches=2, size=2) >= 2.5


def test_resnet_50_at_512_needs_a_fifth():
    assert saving(resnet50(), torch.randn(1, 3, 512, 512), 32, 16) >= 5


def test_densenet_121_at_512_needs_a_third():
    assert saving(monai("densenet121", 2), torch.randn(1, 3, 512, 512), 32, 16) >= 3
