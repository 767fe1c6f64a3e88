"""One forward run as the list of its operations, seen below autograd, where scripts, checkpoints and hooks end too.

A tensor is a window on a piece of memory (`Place`), and what flows back is kept for memory and not for tensors. So a
view needs no rule, and an operation in place reads and writes the same window, whatever looks at it besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

#: How operations are called that take only the shape of what they read.
SHAPED = ("new_", "empty", "zeros", "ones", "full", "rand")
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
#: What is run instead of a fused operation: the same result in plain operations, each of which is seen.
Pieces = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: its window on a piece of memory of `count` real numbers; `fresh` if nothing was there."""

    memory: int
    count: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    fresh: bool = False


class Kept:
    """A tensor as it was when an operation read it: copied before something overwrites its memory."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


@dataclass(eq=False)
class Step:
    """One operation: its plain name, what it read of what is followed and what it wrote, and how to run it again."""

    name: str
    function: Callable[..., Any]
    flat: list[Any]
    layout: Any
    #: Where among the flat arguments the followed ones stand, and those that are overwritten.
    at: list[int]
    overwritten: list[int]
    reads: list[Place]
    pointwise: bool
    writes: list[Place] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    results: list[Kept] = field(default_factory=list)

    @property
    def values(self) -> list[Tensor]:
        """Return the followed arguments as they were read."""
        return [self.flat[i].value for i in self.at]

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments; those that are followed may have been forgotten."""
        args, named = tree_unflatten([a.value if isinstance(a, Kept) else a for a in self.flat], self.layout)
        return args, named

    def run(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Return what the operation makes of other values of its followed arguments; it overwrites none of them."""
        flat = [a.value if isinstance(a, Kept) else a for a in self.flat]
        for i, value in zip(self.at, values, strict=True):
            flat[i] = value
        for i in self.overwritten:
            flat[i] = flat[i].clone()
        args, named = tree_unflatten(flat, self.layout)
        leaves = tree_leaves(self.function(*args, **named))
        return [leaves[i] for i in self.returned]

    def release(self) -> None:
        """Forget the values that were followed."""
        for i in self.at:
            self.flat[i] = None
        self.results = []


class Recording(TorchDispatchMode):
    """While entered, follows what `root` leads to, and hands every operation on it to `seen`.

    `keeps` says whether an operation's values are needed. `lost` names what took values out of sight, with the values.
    """

    def __init__(
        self, root: Tensor, pieces: Pieces, keeps: Callable[[Step], bool], seen: Callable[[Step], None]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pieces, self.keeps, self.seen = pieces, keeps, seen
        self.lost: list[tuple[str, Any]] = []
        # A weak reference keeps the address of a piece of memory from being given away again.
        self._followed: dict[int, StorageWeakRef] = {}
        # Weak too: what no step keeps any more need not be copied.
        self._kept: dict[int, WeakSet[Kept]] = {}
        self._follow(root)

    def place(self, value: Any, *, fresh: bool = False) -> Place | None:
        """Return where a followed tensor lies; None for what is not followed."""
        key = _memory(value)
        if key is None or key not in self._followed:
            return None
        real = value.element_size() // (2 if value.is_complex() else 1)
        count = value.untyped_storage().nbytes() // real
        return Place(key, count, tuple(value.shape), value.stride(), value.storage_offset(), value.dtype, fresh)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run an operation, and keep of it what its rule needs."""
        named = dict(kwargs or {})
        name = func.overloadpacket.__name__
        followed = not name.startswith(SHAPED) and any(self.place(t) for t in tree_leaves((args, named)))
        if followed and name in self.pieces:
            with self:
                result = self.pieces[name](*args, **named)
            if result is not NotImplemented:
                return result
        targets = _overwritten(func, args, named)
        if not followed or torch.Tag.inplace_view in func.tags:
            self._preserve(targets)
            return func(*args, **named)
        step = self._step(func, name, args, named, targets)
        self._preserve(targets)
        result = func(*args, **named)
        self._finish(step, result, targets)
        return result

    def _step(self, func: Any, name: str, args: Any, named: dict[str, Any], targets: list[Tensor]) -> Step:
        outs = {a.name for a in func._schema.arguments if a.is_out}  # noqa: SLF001 - torch has no public name for it
        rest = {k: v for k, v in named.items() if k not in outs}
        flat, layout = tree_flatten((args, rest))
        places = [(i, p) for i, t in enumerate(flat) if (p := self.place(t)) is not None]
        overwritten = [i for i, t in enumerate(flat) if any(t is target for target in targets)]
        plain = name if name.startswith("__") else name.rstrip("_")
        at, reads = [i for i, _ in places], [p for _, p in places]
        # The variant with `out` has no derivative; without it another overload of the same packet is called.
        function = func.overloadpacket if outs else func
        step = Step(plain, function, flat, layout, at, overwritten, reads, pointwise=_pointwise(func, plain))
        keeps = self.keeps(step)
        for i, t in enumerate(flat):
            if isinstance(t, Tensor):
                flat[i] = self._keep(t) if keeps or i not in step.at else None
        return step

    def _finish(self, step: Step, result: Any, targets: list[Tensor]) -> None:
        leaves = tree_leaves(result)
        held = {_memory(t) for t in targets}
        inputs = {p.memory for p in step.reads}
        for i, made in enumerate(leaves):
            key = _memory(made)
            if key is None and made is not None:
                self.lost.append((step.name, made))
            elif key is not None and (key in held or key not in inputs):
                fresh = key not in held
                self._follow(made)
                place = self.place(made, fresh=fresh)
                assert place is not None
                step.writes.append(place)
                step.returned.append(i)
                if step.at and step.flat[step.at[0]] is not None:
                    step.results.append(self._keep(made))
        if step.writes:
            self.seen(step)

    def _follow(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        self._followed.setdefault(storage._cdata, StorageWeakRef(storage))  # noqa: SLF001 - no public identity

    def _keep(self, value: Tensor) -> Kept:
        kept = Kept(value.detach())
        key = _memory(value)
        if key is not None:
            self._kept.setdefault(key, WeakSet()).add(kept)
        return kept

    def _preserve(self, targets: Sequence[Tensor]) -> None:
        """Copy what operations read from memory that is about to be overwritten."""
        for target in targets:
            copies: dict[tuple[Any, ...], Tensor] = {}
            for kept in self._kept.pop(_memory(target) or 0, ()):
                value = kept.value
                window = (tuple(value.shape), value.stride(), value.storage_offset(), value.dtype)
                copies.setdefault(window, value.clone())
                kept.value = copies[window]


class Unfused(TorchFunctionMode):
    """While entered, recurrent layers on a GPU run as the operations of their cells, of which each has a way back."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run a function, without cuDNN where it is a recurrent layer."""
        if getattr(func, "__name__", "") not in RECURRENT:
            return func(*args, **(kwargs or {}))
        with torch.backends.cudnn.flags(enabled=False):
            return func(*args, **(kwargs or {}))


def _memory(value: Any) -> int | None:
    """Return the identity of a tensor's memory; None for what has none."""
    if not isinstance(value, Tensor):
        return None
    try:
        return int(value.untyped_storage()._cdata)  # noqa: SLF001 - torch has no public identity of memory
    except (NotImplementedError, RuntimeError):
        return None


def _overwritten(func: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors among the arguments that an operation writes into."""
    return [
        t
        for i, name in _writable(func)
        for t in tree_leaves(args[i] if i < len(args) else named.get(name))
        if isinstance(t, Tensor)
    ]


@cache
def _writable(func: Any) -> tuple[tuple[int, str], ...]:
    arguments = func._schema.arguments  # noqa: SLF001 - torch has no public name for it
    return tuple((i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write)


@cache
def _pointwise(func: Any, plain: str) -> bool:
    """Return whether torch says of an operation, or of its form out of place, that it works element by element."""
    return any(torch.Tag.pointwise in overload.tags for overload in _overloads(func, plain))


def _overloads(func: Any, plain: str) -> Iterator[Any]:
    yield func
    packet = getattr(getattr(torch.ops, func.namespace), plain, None)
    if packet is not None:
        for name in packet.overloads():
            if name == func._overloadname or name in ("default", "Tensor", "Scalar", "self"):  # noqa: SLF001
                yield getattr(packet, name)
