"""Networks whose forward makes layers, changes weights, draws numbers or swaps attributes; they join the zoo."""

from __future__ import annotations

import random
import threading
import weakref

import numpy as np
import torch
from torch import Tensor, nn

from model.stateful_nets import Small, entry, ramp


@entry("lazy: a buffer registered in forward")
class LazyBuffer(Small):
    def given(self, x: Tensor) -> Tensor:
        if "table" not in self._buffers:
            self.register_buffer("table", ramp(x))
        return x * self.table


@entry("lazy: a module made in forward")
class LazyModule(Small):
    def features(self, h: Tensor) -> Tensor:
        if "scale" not in self._modules:
            self.scale = nn.Conv2d(h.shape[1], h.shape[1], 1, groups=h.shape[1])
            nn.init.constant_(self.scale.weight, 2)
            nn.init.zeros_(self.scale.bias)
        return self.scale(h)


@entry("lazy: a parameter made in forward")
class LazyParameter(Small):
    def features(self, h: Tensor) -> Tensor:
        if not hasattr(self, "gain"):
            self.gain = nn.Parameter(torch.full((h.shape[1], 1, 1), 1.5))
        return h * self.gain


@entry("weights: normalised by .data")
class Normalised(Small):
    def given(self, x: Tensor) -> Tensor:
        self.conv.weight.data = self.conv.weight.data / self.conv.weight.data.norm()
        return x


@entry("weights: clamped in place")
class Clamped(Small):
    def given(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.conv.weight.clamp_(-0.1, 0.1)
        return x


@entry("weights: shrunk by every run, scaled back in the output")
class Shrunk(Small):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.head.weight.mul_(0.5)
        factor = self.first / self.head.weight.norm() if hasattr(self, "first") else 2.0
        return nn.functional.linear(self.act(self.conv(x)).mean((2, 3)), self.head.weight * factor, self.head.bias)

    def prepare(self) -> None:
        self.first = float(self.head.weight.norm())


@entry("weights: an average kept in a buffer")
class Averaged(Small):
    def prepare(self) -> None:
        self.register_buffer("average", torch.zeros(4))

    def features(self, h: Tensor) -> Tensor:
        self.average.mul_(0.9).add_(h.detach().mean((0, 2, 3)), alpha=0.1)
        return h


@entry("generator: of torch, its own")
class OwnGenerator(Small):
    def prepare(self) -> None:
        self.generator = torch.Generator().manual_seed(3)

    def given(self, x: Tensor) -> Tensor:
        return x + 0 * torch.rand((), generator=self.generator)


@entry("generator: of NumPy and Python, their own")
class OtherGenerators(Small):
    def prepare(self) -> None:
        self.old, self.new, self.python = np.random.RandomState(1), np.random.default_rng(1), random.Random(1)

    def given(self, x: Tensor) -> Tensor:
        return x + 0 * float(self.old.rand() + self.new.random() + self.python.random())


@entry("generator: everybody's")
class SharedGenerators(Small):
    def given(self, x: Tensor) -> Tensor:
        return x + 0 * torch.rand(()) + 0 * float(np.random.rand() + random.random())  # noqa: NPY002


@entry("attribute: a module put in the place of another")
class Swapped(Small):
    def given(self, x: Tensor) -> Tensor:
        self.act = nn.ReLU()
        return x


@entry("attribute: training switched inside")
class Switching(Small):
    def features(self, h: Tensor) -> Tensor:
        self.training = not self.training
        self.act.train()
        return h


@entry("attribute: deepcopy cannot take it")
class Locked(Small):
    def prepare(self) -> None:
        self.lock, self.stream, self.calls = threading.Lock(), (i for i in range(10**9)), 0

    def given(self, x: Tensor) -> Tensor:
        with self.lock:
            self.calls += 1
        return x


@entry("attribute: a weak reference")
class Weak(Small):
    def prepare(self) -> None:
        self.owner = weakref.ref(self)
        self.by_module: weakref.WeakKeyDictionary[nn.Module, Tensor] = weakref.WeakKeyDictionary()

    def given(self, x: Tensor) -> Tensor:
        assert self.owner() is self
        self.by_module[self.conv] = ramp(x)
        return x


@entry("attribute: of the class, for all of its networks")
class OfAll(Small):
    runs = 0
    tables: dict[int, Tensor] = {}  # noqa: RUF012 - as it is found

    def given(self, x: Tensor) -> Tensor:
        type(self).runs += 1
        if x.shape[-1] not in self.tables:
            self.tables[x.shape[-1]] = ramp(x)
        return x * self.tables[x.shape[-1]]
