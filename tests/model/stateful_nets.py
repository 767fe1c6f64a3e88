"""Networks whose forward keeps something: caches, counters, features, weights, generators. None of it moves the map."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

#: name -> what makes the network, in the state in which its owner hands it over
ZOO: dict[str, Callable[[], nn.Module]] = {}


def entry(name: str) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Return a decorator that keeps what makes a network under a name."""

    def keep(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        ZOO[name] = make
        return make

    return keep


class Small(nn.Module):
    """conv -> ReLU -> mean -> linear; others override what happens to the image and to the features between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)
        self.prepare()
        self.eval()

    def prepare(self) -> None:
        """Make what the network keeps."""

    def given(self, x: Tensor) -> Tensor:
        return x

    def features(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.act(self.conv(self.given(x)))).mean((2, 3)))


def ramp(x: Tensor) -> Tensor:
    return torch.linspace(0.5, 1.5, x.shape[-1])


@entry("cache: None, then a tensor")
class Cache(Small):
    def prepare(self) -> None:
        self.cache: Tensor | None = None

    def given(self, x: Tensor) -> Tensor:
        if self.cache is None:
            self.cache = ramp(x)
        return x * self.cache


@entry("cache: absent, then an attribute")
class Absent(Small):
    def given(self, x: Tensor) -> Tensor:
        if not hasattr(self, "table"):
            self.table = ramp(x)
        return x * self.table


@entry("cache: by size")
class BySize(Small):
    def prepare(self) -> None:
        self.caches: dict[tuple[int, ...], Tensor] = {}

    def given(self, x: Tensor) -> Tensor:
        key = tuple(x.shape[2:])
        if key not in self.caches:
            self.caches[key] = ramp(x)
        return x * self.caches[key]


@entry("cache: by device, as LeViT's attention biases")
class Biases(Small):
    def prepare(self) -> None:
        self.weight = nn.Parameter(torch.randn(4, 12))
        self.register_buffer("index", torch.arange(12), persistent=False)
        self.bias_cache: dict[str, Tensor] = {}

    def features(self, h: Tensor) -> Tensor:
        key = str(h.device)
        if key not in self.bias_cache:
            self.bias_cache[key] = self.weight[:, self.index]
        return h + self.bias_cache[key][:, None]


@entry("cache: positions rebuilt for another size, as ConViT's")
class Positions(Small):
    def prepare(self) -> None:
        self.rel_indices: Tensor = torch.zeros(1, 1, 1, 3)

    def given(self, x: Tensor) -> Tensor:
        if self.rel_indices.shape[1] != x.shape[-1]:
            self.rel_indices = ramp(x)[None, :, None, None]
        return x * self.rel_indices[0, :, 0, 0]


@entry("cache: appended to a list")
class Appended(Small):
    def prepare(self) -> None:
        self.seen: list[Tensor] = []

    def features(self, h: Tensor) -> Tensor:
        self.seen.append(h)
        return h


@entry("cache: a deque")
class Recent(Small):
    def prepare(self) -> None:
        self.recent: deque[Tensor] = deque(maxlen=2)

    def features(self, h: Tensor) -> Tensor:
        self.recent.append(h.detach())
        return h


@entry("cache: a set of sizes")
class Sizes(Small):
    def prepare(self) -> None:
        self.sizes: set[torch.Size] = set()

    def given(self, x: Tensor) -> Tensor:
        self.sizes.add(x.shape)
        return x


@entry("cache: lru_cache in an attribute")
class Remembering(Small):
    def prepare(self) -> None:
        self.table = lru_cache(maxsize=8)(lambda size: torch.linspace(0.5, 1.5, size))

    def given(self, x: Tensor) -> Tensor:
        return x * self.table(x.shape[-1])


@lru_cache(maxsize=8)
def kept_table(size: int) -> Tensor:
    return torch.linspace(0.5, 1.5, size)


class OfModule(Small):
    def given(self, x: Tensor) -> Tensor:
        return x * kept_table(x.shape[-1])


class OfClass(Small):
    # As libraries write it, although it keeps the network alive.
    @lru_cache(maxsize=8)  # noqa: B019
    def table(self, size: int) -> Tensor:
        return torch.linspace(0.5, 1.5, size)

    def given(self, x: Tensor) -> Tensor:
        return x * self.table(x.shape[-1])


@entry("cache: lru_cache on a function of the module")
def of_module() -> nn.Module:
    kept_table.cache_clear()
    return OfModule()


@entry("cache: lru_cache on a method of the class")
def of_class() -> nn.Module:
    OfClass.table.cache_clear()
    return OfClass()


class Store:
    """A plain object that a network keeps."""

    def __init__(self) -> None:
        self.value: Tensor | None = None
        self.calls = 0


class Slotted:
    __slots__ = ("calls", "value")

    def __init__(self) -> None:
        self.calls, self.value = 0, None


@entry("cache: a plain object's attribute")
class InObject(Small):
    def prepare(self) -> None:
        self.store = Store()

    def given(self, x: Tensor) -> Tensor:
        self.store.calls += 1
        if self.store.value is None:
            self.store.value = ramp(x)
        return x * self.store.value


@entry("cache: an object with __slots__")
class InSlots(InObject):
    def prepare(self) -> None:
        self.store = Slotted()


@entry("cache: nested, and shared by two modules")
class Nested(Small):
    def prepare(self) -> None:
        self.state = {"levels": [{"table": None}], "stores": (Store(),)}
        self.act.state = self.state

    def given(self, x: Tensor) -> Tensor:
        level = self.state["levels"][0]
        if level["table"] is None:
            level["table"] = ramp(x)
            self.act.state["stores"][0].value = x
        return x * level["table"]


@entry("counter: an integer")
class Counted(Small):
    def prepare(self) -> None:
        self.calls = 0

    def given(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


@entry("counter: a buffer, in place")
class CountedBuffer(Small):
    def prepare(self) -> None:
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def given(self, x: Tensor) -> Tensor:
        self.steps += 1
        return x


@entry("counter: a buffer, replaced")
class ReplacedBuffer(CountedBuffer):
    def given(self, x: Tensor) -> Tensor:
        self.steps = self.steps + 1
        return x


@entry("counter: that stops the network after 10,000 runs")
class Exhausted(Counted):
    def given(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 10_000:
            raise RuntimeError("no more runs")
        return x


@entry("feature: the tensor itself")
class Feature(Small):
    def prepare(self) -> None:
        self.feat: Tensor | None = None

    def features(self, h: Tensor) -> Tensor:
        self.feat = h
        return h


@entry("feature: a list made anew")
class FeatureList(Small):
    def features(self, h: Tensor) -> Tensor:
        self.feats = [h, h.mean((2, 3))]
        return h


@entry("feature: attention maps by name")
class Attention(Small):
    def prepare(self) -> None:
        self.maps: dict[str, Tensor] = {}

    def features(self, h: Tensor) -> Tensor:
        self.maps["attention"] = h.flatten(2).softmax(2)
        return h
