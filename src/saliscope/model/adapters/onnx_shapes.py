"""ONNX's arithmetic of shapes, on small arrays: at once where it is constant, else while the network runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from saliscope.core.errors import ModelError
from saliscope.model.adapters.onnx_file import Array, Node

#: No shape and no array that is made of constants needs more.
MOST_ELEMENTS = 2**26
#: ONNX's numbers of the types that a shape is cast to.
TYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float32, 11: np.float32}


class ShapeOf(nn.Module):
    """The shape of a value, as an array of whole numbers."""

    def __init__(self, start: int, end: int | None) -> None:
        super().__init__()
        self.start, self.end = start, end

    def forward(self, x: Tensor) -> Array:
        """Return the sizes of the axes start to end of x."""
        return np.array([int(n) for n in x.shape[self.start : self.end]], dtype=np.int64)


class Counted(nn.Module):
    """One operation on arrays of numbers, its constant inputs in their places."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def forward(self, *given: Array) -> Array:
        """Return what the operation makes of the inputs that are computed."""
        rest = iter(given)
        every = [self.node.constants[i] if i in self.node.constants else next(rest) for i in _places(self.node)]
        return counted(self.node, *every)


def counted(node: Node, *arrays: Array) -> Array:
    """Return what an operation makes of arrays; raises ModelError where that would be absurdly large."""
    if node.op == "ConstantOfShape" and np.prod(arrays[0], dtype=np.float64) > MOST_ELEMENTS:
        raise node.refused(f"a shape {arrays[0].tolist()}")
    if node.op == "Expand" and np.prod(arrays[1], dtype=np.float64) > MOST_ELEMENTS:
        raise node.refused(f"a shape {arrays[1].tolist()}")
    return np.asarray(COUNTED[node.op](node, *arrays))


def _places(node: Node) -> list[int]:
    return [i for i, name in enumerate(node.given) if name]


def _axes(node: Node, rest: tuple[Array, ...]) -> tuple[int, ...]:
    found = node.attributes.get("axes", rest[0] if rest else [])
    return tuple(int(n) for n in np.asarray(found).reshape(-1))


def _slice(_node: Node, x: Array, starts: Array, ends: Array, *rest: Array) -> Array:
    axes = rest[0] if rest else np.arange(len(starts))
    steps = rest[1] if len(rest) > 1 else np.ones(len(starts), np.int64)
    cut: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut[int(axis)] = slice(int(start), int(end), int(step))
    return np.asarray(x[tuple(cut)])


def _divided(_node: Node, a: Array, b: Array) -> Array:
    # Whole numbers are divided towards zero, as C does; numpy's // goes towards minus infinity.
    return np.trunc(a / b).astype(a.dtype) if a.dtype.kind in "iu" else np.asarray(a / b)


def _cast(node: Node, x: Array) -> Array:
    kind = TYPES.get(int(node.attributes["to"]))
    if kind is None:
        raise node.refused(f"type {node.attributes['to']}")
    return x.astype(kind)


def _filled(node: Node, shape: Array) -> Array:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).reshape(-1)
    return np.full(tuple(int(n) for n in shape), value[0], value.dtype)


COUNTED: Mapping[str, Callable[..., Any]] = {
    "Identity": lambda _node, x: x,
    "Cast": _cast,
    "Gather": lambda node, x, at: np.take(x, at.astype(np.int64), axis=int(node.attributes.get("axis", 0))),
    "Concat": lambda node, *xs: np.concatenate(xs, axis=int(node.attributes["axis"])),
    "Unsqueeze": lambda node, x, *rest: np.expand_dims(x, _axes(node, rest)),
    "Squeeze": lambda node, x, *rest: np.squeeze(x, _axes(node, rest) or None),
    "Reshape": lambda _node, x, shape: x.reshape([x.shape[i] if n == 0 else int(n) for i, n in enumerate(shape)]),
    "Transpose": lambda node, x: np.transpose(x, node.attributes.get("perm")),
    "Slice": _slice,
    "Add": lambda _node, a, b: a + b,
    "Sub": lambda _node, a, b: a - b,
    "Mul": lambda _node, a, b: a * b,
    "Div": _divided,
    "Mod": lambda _node, a, b: np.mod(a, b),
    "Equal": lambda _node, a, b: a == b,
    "Where": lambda _node, c, a, b: np.where(c, a, b),
    "Floor": lambda _node, x: np.floor(x),
    "Sqrt": lambda _node, x: np.sqrt(x),
    "Neg": lambda _node, x: -x,
    "ConstantOfShape": _filled,
    "Expand": lambda _node, x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(n) for n in shape))),
}


def constant_of(node: Node) -> Array:
    """Return the array of a Constant; raises ModelError for text."""
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in node.attributes:
            kind = {"value_float": np.float32, "value_floats": np.float32}.get(key)
            found = np.asarray(node.attributes[key])
            return found.astype(kind or (np.int64 if key != "value" else found.dtype))
    raise ModelError(f"Constant {node.name!r} without numbers", do="Export the network without it")
