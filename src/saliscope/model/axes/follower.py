"""One forward run under a mode that follows every tensor from the input: its axes, and what it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

from saliscope.model.axes.meaning import Axes, is_free, of_input
from saliscope.model.axes.rules import Call, Share
from saliscope.model.axes.table import rule_of, told

#: Operations that only move entries: what comes out holds what went in.
MOVING = frozenset({
    "view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "permute", "transpose", "t", "unsqueeze", "squeeze",
    "clone", "alias", "detach", "contiguous", "_to_copy", "expand", "lift_fresh",
})  # fmt: skip
#: Operations that take a tensor apart.
PARTING = frozenset({"split", "split_with_sizes", "unbind", "chunk", "select", "slice"})


#: In the names of operations whose weights, and values in between, are whole numbers.
WHOLE = ("quantized", "fbgemm", "_int_mm", "int8", "int4", "fake_quantize")
PRODUCTS = frozenset({"mm", "bmm", "matmul", "addmm", "baddbmm"})


@dataclass
class Value:
    """A tensor of the run: its number, its axes where they are known, the number of the value that it only re-lays.

    `relation` says that it weighs places against each other, as an attention matrix does, and holds no features;
    `flops` counts the operations of the run so far.
    """

    number: int
    axes: Axes | None
    same_as: int
    flops: int = 0
    relation: bool = False
    parents: list[tuple[int, Share]] = field(default_factory=list)


class Follower(TorchDispatchMode):
    """Numbers every tensor that is made of the input; `flops` counts multiplications and additions of the run."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values: list[Value] = []
        self.flops = 0
        #: Values of which later values take only some features, as queries, keys and values of one projection.
        self.parted: set[int] = set()
        #: Values whose type carries no gradient, with that type and the operation that made them.
        self.coarse: dict[int, tuple[str, str]] = {}
        self._numbers: Any = WeakIdKeyDictionary()
        #: The last value written into a storage through a view of it, and the tensor written.
        self._written: dict[int, tuple[Any, int]] = {}
        self._note(x, of_input(x.shape), [], None)

    def value(self, tensor: Tensor) -> Value | None:
        """Return what is known of a tensor; None for one that is not made of the input."""
        number: int | None = self._numbers.get(tensor)
        written = self._written.get(tensor.untyped_storage()._cdata) if self._written else None  # noqa: SLF001
        if written is not None and not written[0].expired() and (number is None or written[1] > number):
            source = self.values[written[1]]
            own = self.values[number].axes if number is not None else _like(source.axes, tensor)
            parents: list[tuple[int, Share]] = [(written[1], "all")]
            parents += [(number, "each")] if number is not None else []
            return self._note(tensor, own, parents, None)
        return None if number is None else self.values[number]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        tensors = list(_tensors([*args, *named.values()]))
        known = [self.value(t) for t in tensors]
        out = func(*args, **named)
        packet = func.overloadpacket
        if packet in flop_registry:
            self.flops += int(flop_registry[packet](*args, **named, out_val=out))
        if any(v is not None for v in known):
            name = str(packet).removeprefix("aten.")
            self._made(func, name, args, named, tensors, known, out)
        return out

    def _made(
        self, func: Any, name: str, args: Any, named: Any, tensors: list[Tensor], known: list[Value | None], out: Any
    ) -> None:
        mutable = func._schema.is_mutable  # noqa: SLF001 - torch has no public name for it
        plain = name.removesuffix("_") if mutable and not name.startswith("_") else name
        by_name: dict[str, Any] = {}
        if rule_of(plain) is not None:
            by_name = {a.name: v for a, v in zip(func._schema.arguments, args, strict=False)} | dict(named)  # noqa: SLF001
        start = 0
        for piece, made in enumerate(out if isinstance(out, list | tuple) else [out]):
            if not isinstance(made, Tensor):
                continue
            if plain in PARTING and isinstance(out, list | tuple):
                by_name |= {"piece": piece, "start": start}
                start += made.shape[by_name.get("dim", 0)] if made.ndim and plain != "unbind" else 0
            states = [None if v is None else v.axes for v in known]
            state, shares = told(Call(plain, args, by_name, tensors, states, made))
            parents = [(v.number, s) for v, s in zip(known, shares, strict=True) if v is not None]
            first = known[0] if known else None
            value = self._note(made, state, parents, first if plain in MOVING else None)
            value.relation = _relates(plain, known)
            if func.namespace == "quantized" or any(word in name for word in WHOLE):
                self.coarse[value.number] = "whole numbers", name
            elif not made.is_floating_point() and not made.is_complex() and made.dtype != torch.bool:
                self.coarse[value.number] = str(made.dtype).removeprefix("torch."), name
            if plain in PARTING and first is not None and _features(first.axes, by_name.get("dim", 0)):
                self.parted.add(first.same_as)
            if mutable and made._is_view():  # noqa: SLF001 - torch has no public name for it
                self._wrote(made, value.number)

    def _wrote(self, tensor: Tensor, number: int) -> None:
        from torch.multiprocessing.reductions import StorageWeakRef

        storage = tensor.untyped_storage()
        self._written[storage._cdata] = (StorageWeakRef(storage), number)  # noqa: SLF001

    def _note(self, tensor: Tensor, axes: Axes | None, parents: list[tuple[int, Share]], same: Value | None) -> Value:
        number = len(self.values)
        value = Value(number, axes, number if same is None else same.same_as, self.flops, parents=parents)
        self.values.append(value)
        self._numbers[tensor] = number
        return value

    def usage(self, last: int) -> list[int]:
        """Return of each value how much of it the value `last` depends on: 2 all, 1 what lies nowhere, 0 nothing."""
        used = [0] * (last + 1)
        used[last] = 2
        for value in reversed(self.values[: last + 1]):
            mine = used[value.number]
            for parent, share in value.parents if mine else ():
                used[parent] = max(used[parent], _through(share, mine))
        return used

    def sets(self, used: Sequence[int], groups: Sequence[Sequence[int]]) -> tuple[list[bool], list[bool]]:
        """Return of each set of values whether it cuts every way, as in `cuts`, and whether one is made of another.

        All sets are followed at once, by one bit of a number for each.
        """
        last = len(used) - 1
        mine: dict[int, int] = {}
        for bit, group in enumerate(groups):
            for number in group:
                mine[number] = mine.get(number, 0) | 1 << bit
        around, behind, chained = [0] * (last + 1), [0] * (last + 1), 0
        for value in self.values[: last + 1]:
            own = mine.get(value.number, 0)
            if not value.number:
                around[0] = (1 << len(groups)) - 1
            for parent, share in value.parents:
                behind[value.number] |= behind[parent] | mine.get(parent, 0)
                if used[value.number] == 2 and used[parent] == 2 and _through(share, 2) == 2:
                    around[value.number] |= around[parent]
            chained |= behind[value.number] & own
            around[value.number] &= ~own
        bits = range(len(groups))
        return [not around[last] >> b & 1 for b in bits], [bool(chained >> b & 1) for b in bits]

    def cuts(self, used: Sequence[int]) -> set[int]:
        """Return the values through which every way leads from the input to the last one by what has a place."""
        last = len(used) - 1
        passed = [0] * (last + 2)
        for value in self.values[: last + 1]:
            if used[value.number] < 2:
                continue
            for parent, share in value.parents:
                if used[parent] == 2 and _through(share, 2) == 2:
                    passed[parent + 1] += 1
                    passed[value.number] -= 1
        open_ways, found = 0, set()
        for number in range(last + 1):
            open_ways += passed[number]
            if used[number] == 2 and not open_ways:
                found.add(number)
        return found


def _through(share: Share, mine: int) -> int:
    """Return how much of an input is used where `mine` of the output is and `share` of the input was handed on."""
    if share == "all":
        return 2
    if share == "nowhere":
        return 1
    if share == "atoms":
        return 2 if mine == 2 else 0
    return mine


def _relates(name: str, known: Sequence[Value | None]) -> bool:
    """Return whether an operation makes weights of places against each other, or hands such weights on."""
    followed = [v for v in known if v is not None]
    if name in PRODUCTS:
        return len(followed) > 1 and not any(v.relation for v in followed)
    return bool(followed) and followed[0].relation


def _features(axes: Axes | None, dim: int) -> bool:
    """Return whether an axis holds features, of which a piece is then only a part of what a place holds."""
    return axes is not None and bool(axes.axes) and is_free(axes.axes[dim])


def _like(axes: Axes | None, tensor: Tensor) -> Axes | None:
    """Return the axes of what was written into a tensor, where it has as many."""
    return axes if axes is not None and len(axes.axes) == tensor.ndim else None


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
