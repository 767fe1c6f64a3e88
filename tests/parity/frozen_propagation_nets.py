"""The networks and images of frozen_propagation.npz; weights from NumPy's legacy stream, as in frozen_nets.py.

The norms have no epsilon, which zennit takes another way when it merges them.
"""

import torch
from frozen_nets import filled
from torch import nn


class Stacked(nn.Module):
    """A network of modules alone: convolutions with and without norm and bias, a max pool and a mean."""

    def __init__(self, axes):
        super().__init__()
        conv, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[axes - 2]
        most, mean = ((nn.MaxPool2d, nn.AdaptiveAvgPool2d), (nn.MaxPool3d, nn.AdaptiveAvgPool3d))[axes - 2]
        first = (conv(2, 6, 3, padding=1), norm(6, eps=0), nn.ReLU(), most(2))
        second = (conv(6, 8, 3, stride=2, padding=1, bias=False), nn.ReLU(), conv(8, 8, 2), norm(8, eps=0), nn.ReLU())
        head = (mean(1), nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
        self.layers = nn.Sequential(*first, *second, *head)

    def forward(self, x):
        return self.layers(x)


class Shortcuts(nn.Module):
    """Two blocks with norms and sums that `add` makes, because zennit sees a sum only as a module of its own."""

    def __init__(self, axes, add):
        super().__init__()
        conv, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[axes - 2]
        halved, mean = ((nn.AvgPool2d, nn.AdaptiveAvgPool2d), (nn.AvgPool3d, nn.AdaptiveAvgPool3d))[axes - 2]
        self.add, self.again = add(), add()
        self.stem = nn.Sequential(conv(2, 6, 3, stride=2, padding=1), norm(6, eps=0), nn.ReLU())
        self.body = nn.Sequential(
            conv(6, 6, 3, padding=1), norm(6, eps=0), nn.ReLU(), conv(6, 6, 3, padding=1), norm(6, eps=0)
        )
        self.short = nn.Sequential(conv(6, 8, 1), norm(8, eps=0))
        self.wide = nn.Sequential(conv(6, 8, 3, padding=1), norm(8, eps=0))
        self.first, self.second = nn.ReLU(), nn.ReLU()
        self.pool = nn.Sequential(halved(2), mean(1), nn.Flatten())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.stem(x)
        x = self.first(self.add(self.body(x), x))
        x = self.second(self.again(self.wide(x), self.short(x)))
        return self.head(self.pool(x))


def stacked(axes):
    return filled(Stacked(axes), seed=30 + axes).eval()


def shortcuts(axes, add=lambda: torch.add):
    return filled(Shortcuts(axes, add), seed=40 + axes).eval()


def pooled(axes):
    """Return a network whose max pool does not follow a ReLU: captum's DeepLIFT is not complete where it does."""
    conv, most = ((nn.Conv2d, nn.MaxPool2d), (nn.Conv3d, nn.MaxPool3d))[axes - 2]
    mean = (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[axes - 2]
    layers = (conv(2, 5, 3), most(2), conv(5, 6, 2), nn.ELU(), conv(6, 6, 1), nn.Sigmoid(), mean(1), nn.Flatten())
    return filled(nn.Sequential(*layers, nn.Linear(6, 3)), seed=50 + axes).eval()


SHAPE = {2: (2, 12, 10), 3: (2, 8, 10, 8)}
LOW, HIGH = -5.0, 6.0
