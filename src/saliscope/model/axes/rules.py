"""What every ATen operation does to the meaning of axes, and which part of an input it hands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor

from saliscope.model.axes import places
from saliscope.model.axes.meaning import Axes, Joined, atoms_of, reduced, unknown
from saliscope.model.axes.meetings import joined, product

#: What an operation hands on of an input: each of its entries to its own place ("each"), all of it to everywhere
#: ("all"), only its atoms ("atoms"), or only entries that lie nowhere ("nowhere"), such as a class token.
Share = Literal["each", "all", "atoms", "nowhere"]


@dataclass(frozen=True)
class Call:
    """One operation: its plain name, its arguments by name, its tensors with what is known of their axes."""

    name: str
    args: Sequence[Any]
    named: Mapping[str, Any]
    tensors: Sequence[Tensor]
    states: Sequence[Axes | None]
    out: Tensor

    @property
    def meets(self) -> bool:
        """Return whether two followed tensors are compared element by element under the name of a reduction."""
        return len(self.tensors) == 2 and self.named.get("other") is not None

    @property
    def first(self) -> Axes | None:
        """Return the axes of the first argument, where it is a tensor that is followed."""
        at = self.args[0] if self.args else None
        return next((s for t, s in zip(self.tensors, self.states, strict=True) if t is at), None)

    def integer(self, name: str, default: int = 0) -> int:
        """Return an argument that is a whole number."""
        value = self.named.get(name, default)
        return int(default if value is None else value)

    def integers(self, name: str) -> list[int] | None:
        """Return an argument that is one or several whole numbers; None where it was not given."""
        value = self.named.get(name)
        return None if value is None else [int(v) for v in (value if isinstance(value, list | tuple) else [value])]


Result = tuple[Axes | None, Sequence[Share]]
Rule = Callable[[Call], Result]


def every(call: Call, share: Share) -> list[Share]:
    """Return the same share for every tensor of a call."""
    return [share] * len(call.tensors)


def met(call: Call) -> Result:
    """Return the axes of an operation element by element; nothing where the tensors do not meet in its output."""
    shapes = [t.shape for t in call.tensors]
    fits = all(len(s) <= call.out.ndim for s in shapes) and any(s == call.out.shape for s in shapes)
    broad = fits or _broadcast(shapes, call.out.shape)
    if not broad:
        return None, every(call, "all")
    return joined(call.states, shapes, call.out.shape), every(call, "each")


def _broadcast(shapes: Sequence[Sequence[int]], out: Sequence[int]) -> bool:
    wanted = [1] * len(out)
    for shape in shapes:
        for i, size in enumerate(reversed(shape), start=1):
            if i > len(out):
                return False
            wanted[-i] = max(wanted[-i], size)
    return wanted == list(out)


def alone(change: Callable[[Axes, Call], Axes | None], share: Share = "each") -> Rule:
    """Return the rule of an operation on its first argument."""

    def rule(call: Call) -> Result:
        state = None if call.first is None else change(call.first, call)
        return state, every(call, share)

    return rule


def selected(call: Call) -> Result:
    """Return the axes at one entry of an axis."""
    if call.first is None:
        return None, every(call, "all")
    dim = call.integer("dim") % call.args[0].ndim
    state, nowhere = places.selected(call.first, dim, call.integer("index"))
    return state, every(call, "nowhere" if nowhere else _kept(call.first, [dim]))


def _kept(state: Axes, gone: Sequence[int]) -> Share:
    """Return what is handed on where some axes go: each entry, unless entries that lie nowhere were among them."""
    return "all" if any(isinstance(part, Joined) for d in gone for part in state.axes[d]) else "each"


def sliced(call: Call) -> Result:
    """Return the axes of a cut of one axis."""
    if call.first is None:
        return None, every(call, "each")
    dim = call.integer("dim") % call.args[0].ndim
    size = call.args[0].shape[dim]
    start = call.integer("start")
    start = min(size, max(0, start + size if start < 0 else start))
    state, nowhere = places.cut(call.first, dim, start, call.out.shape[dim], call.integer("step", 1))
    return state, every(call, "nowhere" if nowhere else "each")


def summed(call: Call) -> Result:
    """Return the axes of a sum, mean, maximum or norm."""
    if call.first is None:
        return None, every(call, "all")
    before = call.args[0]
    dims = call.integers("dim") or call.integers("dims") or list(range(before.ndim))
    share = _kept(call.first, [d % max(1, before.ndim) for d in dims])
    return places.summed(call.first, before, call.out, dims), every(call, share)


def concatenated(call: Call) -> Result:
    """Return the axes of a concatenation, of which each tensor is a part."""
    several = [t for t in call.args[0] if t.ndim == call.out.ndim]
    by_id = {id(t): s for t, s in zip(call.tensors, call.states, strict=True)}
    dim = call.integer("dim") % call.out.ndim
    states = [by_id.get(id(t)) for t in several]
    state = places.concatenated(states, several, dim, call.out)
    shares: list[Share] = []
    for t in call.tensors:
        own = by_id[id(t)]
        spatial = own is not None and any(a.spatial for a in atoms_of(own.axes[dim]))
        nowhere = own is not None and any(isinstance(p, Joined) for p in own.axes[dim])
        joins = state is not None and any(isinstance(p, Joined) for p in state.axes[dim])
        shares.append("each" if not joins or nowhere else "atoms" if spatial else "all")
    return state, shares


def stacked(call: Call) -> Result:
    """Return the axes of tensors laid beside each other along a new axis."""
    dim = call.integer("dim") % call.out.ndim
    side_by_side = places.side_by_side(call.states, dim, new=True)
    if side_by_side is not None:
        return side_by_side, every(call, "each")
    rest = [n for i, n in enumerate(call.out.shape) if i != dim]
    state = joined(call.states, [t.shape for t in call.tensors], rest)
    if state is None:
        return None, every(call, "each")
    axes = list(state.axes)
    axes.insert(dim, unknown([call.out.shape[dim]])[0])
    return state.having(axes), every(call, "each")


def multiplied(left: int, right: int) -> Rule:
    """Return the rule of a matrix product of two of the arguments; a third one is added."""

    def rule(call: Call) -> Result:
        one, other = call.args[left], call.args[right]
        by_id = {id(t): s for t, s in zip(call.tensors, call.states, strict=True)}
        first, second = by_id.get(id(one)), by_id.get(id(other))
        state = product(first, other=second, left=one, right=other, out=call.out)
        shares: list[Share] = ["each" if t is one or (t is not other) else "all" for t in call.tensors]
        return state, shares

    return rule


def linear(call: Call) -> Result:
    """Return the axes of a linear layer over the last axis."""
    if call.first is None:
        return None, every(call, "all")
    rest = [*call.first.axes[:-1], unknown([call.out.shape[-1]])[0]]
    return reduced(call.first, atoms_of(call.first.axes[-1]), rest), every(call, "each")


def attended(call: Call) -> Result:
    """Return the axes of the queries, which keep their place; every key and value reaches everywhere."""
    query = call.args[0]
    state = call.first
    if state is not None:
        state = state.having([*state.axes[:-1], unknown([call.out.shape[-1]])[0]]) if call.out.ndim else None
    return state, ["each" if t is query else "all" for t in call.tensors]


def permuted(state: Axes, call: Call) -> Axes:
    """Return the axes in another order."""
    order = call.integers("dims") or []
    return state.having(state.axes[d] for d in order)


def transposed(state: Axes, call: Call) -> Axes:
    """Return the axes with two of them exchanged."""
    axes = list(state.axes)
    if call.name == "t":
        return state.having(reversed(axes))
    one, other = call.integer("dim0"), call.integer("dim1")
    axes[one], axes[other] = axes[other], axes[one]
    return state.having(axes)


def unsqueezed(state: Axes, call: Call) -> Axes:
    """Return the axes with one more of one entry."""
    axes = list(state.axes)
    dim = call.integer("dim")
    axes.insert(dim % call.out.ndim, ())
    return state.having(axes)


def parted(call: Call) -> Result:
    """Return the axes of a piece of an axis, as `split` and `unbind` give them, by its number."""
    if call.first is None:
        return None, every(call, "each")
    dim = call.integer("dim") % call.args[0].ndim
    number = call.integer("piece")
    if call.name == "unbind":
        state, nowhere = places.selected(call.first, dim, number)
        return state, every(call, "nowhere" if nowhere else "each")
    start = call.integer("start")
    state, nowhere = places.cut(call.first, dim, start, call.out.shape[dim], 1)
    return state, every(call, "nowhere" if nowhere else "each")


def indexed(call: Call) -> Result:
    """Return the axes of entries by whole numbers along one axis: even steps are followed, others are not."""
    if call.first is None:
        return None, every(call, "all")
    given = call.named.get("index") if call.name == "index_select" else None
    dim = call.integer("dim")
    if given is None:
        listed = list(call.named.get("indices") or [])
        used = [i for i, t in enumerate(listed) if t is not None]
        if len(used) != 1 or listed[used[0]].ndim != 1 or not _whole(listed[used[0]]):
            return None, every(call, "all")
        dim, given = used[0], listed[used[0]]
    at = [int(v) for v in given.tolist()]
    steps = {b - a for a, b in pairwise(at)} or {1}
    step = steps.pop() if len(steps) == 1 else 0
    if step == 0:
        beyond = places.clamped(call.first, dim, at)
        if beyond is not None:
            return beyond, every(call, "each")
        axes = list(call.first.axes)
        axes[dim] = unknown([len(at)])[0]
        return call.first.having(axes), every(call, "all")
    first, size = at[0], int(call.args[0].shape[dim])
    first = first + size if first < 0 else first
    whole = call.first if step > 0 else places.flipped(call.first, [dim])
    state, nowhere = places.cut(whole, dim, first if step > 0 else size - 1 - first, len(at), abs(step))
    return state, every(call, "nowhere" if nowhere else "each")


def _whole(index: Tensor) -> bool:
    return not index.is_floating_point() and str(index.dtype) != "torch.bool"


def resampled(change: Callable[[Axes, Sequence[Any], Tensor, int], Axes | None]) -> Rule:
    """Return the rule of a resampling whose name says over how many axes it goes."""

    def rule(call: Call) -> Result:
        if call.first is None:
            return None, every(call, "all")
        count = next((int(c) for c in reversed(call.name.removesuffix("d")) if c.isdigit()), call.out.ndim - 2)
        count = min(count, call.out.ndim)
        return change(call.first, call.args, call.out, count), every(call, "all")

    return rule
