"""Small networks with the habits that trip hooks up, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv(axes: int, *args: int, **kwargs: int) -> nn.Module:
    return (nn.Conv2d if axes == 2 else nn.Conv3d)(*args, **kwargs)


class Plain(nn.Module):
    """conv -> norm -> activation -> conv (watched as "norm") -> pool -> linear."""

    def __init__(self, axes: int = 2, activation: Callable[[Tensor], Tensor] | None = None, classes: int = 3) -> None:
        super().__init__()
        self.axes = axes
        self.first = conv(axes, 1, 4, kernel_size=3, stride=2, padding=1)
        self.norm = (nn.BatchNorm2d if axes == 2 else nn.BatchNorm3d)(4)
        self.activation = activation or nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.first(x)))

    def forward(self, x: Tensor) -> object:
        return self.head(self.drop(self.features(x).mean(dim=tuple(range(2, x.ndim)))))


class Wrapped(Plain):
    def __init__(self, wrap: Callable[[Tensor], object], axes: int = 2) -> None:
        super().__init__(axes)
        self.wrap = wrap

    def forward(self, x: Tensor) -> object:
        logits = super().forward(x)
        assert isinstance(logits, Tensor)
        return self.wrap(logits)


class Twice(Plain):
    """One activation module that runs twice, and one convolution shared by two places."""

    def __init__(self, axes: int = 2) -> None:
        super().__init__(axes)
        self.again = conv(axes, 4, 4, kernel_size=3, padding=1)

    def features(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm(self.first(x)))
        return self.activation(self.again(self.again(y)))


class Raises(Plain):
    def forward(self, x: Tensor) -> object:
        self.features(x)
        raise RuntimeError("half-way")


class Residual(Plain):
    """An activation in place, whose result is added to what came before."""

    def features(self, x: Tensor) -> Tensor:
        y = self.norm(self.first(x))
        return functional.relu(y) + y


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """Return the module in float64 with weights and statistics drawn anew, far from symmetric."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.double().state_dict().items():
            if value.is_floating_point():
                drawn = torch.rand(value.shape, generator=generator, dtype=torch.float64)
                value.copy_(drawn + 0.5 if "var" in name else drawn - 0.4)
    return module


def image(axes: int, n: int = 1, size: int = 9, seed: int = 1) -> Tensor:
    return torch.randn((n, 1, *[size] * axes), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
