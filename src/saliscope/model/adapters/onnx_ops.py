"""One maker for each operation of ONNX that is read; whatever is not here is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saliscope.core.errors import ModelError
from saliscope.model.adapters import onnx_layers as layers
from saliscope.model.adapters.keras_layers import filled
from saliscope.model.adapters.onnx_file import Array, Node

Maker = Callable[[Node], nn.Module]


class Applied(nn.Module):
    """A function of the values that are computed; constant tensors keep their places among its arguments."""

    def __init__(self, function: Callable[..., Any], count: int, constants: Mapping[int, Array]) -> None:
        super().__init__()
        self.function, self.count, self.places = function, count, sorted(constants)
        for place, values in constants.items():
            self.register_buffer(f"constant_{place}", layers.constant_tensor(values))

    def forward(self, *given: Any) -> Any:
        """Return what the function makes of all its arguments."""
        rest = iter(given)
        device = next((g.device for g in given if isinstance(g, Tensor)), None)
        every = [getattr(self, f"constant_{i}") if i in self.places else next(rest) for i in range(self.count)]
        return self.function(*[torch.as_tensor(v, device=device) if isinstance(v, np.ndarray) else v for v in every])


class Reshaped(nn.Module):
    """Another shape; 0 keeps an axis, and the axis of the batch is kept where the file fixed its size."""

    def __init__(self, shape: Sequence[int] | None, batch: int | None) -> None:
        super().__init__()
        self.shape, self.batch = None if shape is None else [int(n) for n in shape], batch

    def forward(self, x: Tensor, shape: Array | None = None) -> Tensor:
        """Return x in the shape."""
        wanted = [int(n) for n in (shape if shape is not None else self.shape or [])]
        if shape is None and self.batch is not None and wanted and wanted[0] == self.batch:
            wanted[0] = len(x)
        return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(wanted)])


def elementwise(function: Callable[..., Any]) -> Maker:
    """Return a maker for a function of all inputs, constants among them."""

    def make(node: Node) -> nn.Module:
        places = [i for i, name in enumerate(node.given) if name]
        constants = {places.index(i): values for i, values in node.constants.items()}
        return Applied(function, len(places), constants)

    return make


def _plain(module: Callable[[], nn.Module]) -> Maker:
    return lambda _node: module()


def _first(function: Callable[[Tensor], Any]) -> nn.Module:
    return Applied(function, 1, {})


def _clip(node: Node) -> nn.Module:
    ends = []
    for place, key in ((1, "min"), (2, "max")):
        found = node.attributes.get(key)
        array = node.constant(place) if found is None else np.asarray(found)
        ends.append(None if array is None else float(array.reshape(-1)[0]))
    low, high = ends
    if low == 0 and high == 6:
        return nn.ReLU6()
    return _first(lambda x: x.clamp(low, high)) if ends != [None, None] else nn.Identity()


def _softmax(node: Node) -> nn.Module:
    axis = softmax_axis(node)
    log = node.op == "LogSoftmax"
    return nn.LogSoftmax(axis) if log else nn.Softmax(axis)


def softmax_axis(node: Node) -> int:
    """Return the axis of a softmax, from the front where the number of axes is known."""
    axis = int(node.attributes.get("axis", -1 if node.opset >= 13 else 1))
    if node.opset < 13 and node.rank not in (None, 2) and axis not in (-1, (node.rank or 0) - 1):
        raise node.refused("a softmax over several axes at once (opset below 13)")
    return axis + node.rank if axis < 0 and node.rank else axis


def _matmul(node: Node) -> nn.Module:
    right = node.constants.get(1)
    if right is not None and right.ndim == 2 and 0 not in node.constants:
        return layers.linear(right.T, None)
    return elementwise(torch.matmul)(node)


def _flatten(node: Node) -> nn.Module:
    if int(node.attributes.get("axis", 1)) != 1:
        raise node.refused(f"axis {node.attributes['axis']}")
    return nn.Flatten(1)


def _transpose(node: Node) -> nn.Module:
    order = node.attributes.get("perm")
    return _first(lambda x: x.permute(*(order or range(x.ndim)[::-1])))


def _reduced(function: Callable[..., Tensor]) -> Maker:
    def make(node: Node) -> nn.Module:
        axes, keep = node.numbers(1, "axes"), bool(node.attributes.get("keepdims", 1))
        if not axes:
            raise node.refused("no axes")
        return _first(lambda x: function(x, tuple(axes), keep))

    return make


def _squeeze(node: Node) -> nn.Module:
    axes = node.numbers(1, "axes")
    if not axes:
        raise node.refused("no axes")
    return _first(lambda x: x.squeeze(tuple(axes)))


def _unsqueeze(node: Node) -> nn.Module:
    axes = sorted(node.numbers(1, "axes") or [])
    if not axes or min(axes) < 0:
        raise node.refused(f"axes {axes}")

    def wider(x: Tensor) -> Tensor:
        for axis in axes:
            x = x.unsqueeze(axis)
        return x

    return _first(wider)


class Cut(nn.Module):
    """Part of a value along some axes; where to begin and end may be computed from shapes."""

    def __init__(self, places: Sequence[int], known: Mapping[int, Array]) -> None:
        super().__init__()
        self.places, self.known = places, known

    def forward(self, x: Tensor, *computed: Array) -> Tensor:
        """Return the part of x; raises ModelError for a step that is not positive."""
        rest = iter(computed)
        every = {i: self.known[i] if i in self.known else next(rest) for i in self.places}
        starts, ends = every[1], every[2]
        axes, steps = every.get(3, np.arange(len(starts))), every.get(4, np.ones(len(starts), np.int64))
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            if step < 1:
                raise ModelError(f"Slice with a step {step}", expected="a positive one", do="Export it without")
            place = int(axis) % x.ndim
            x = x[(slice(None),) * place + (slice(int(start), min(int(end), x.shape[place]), int(step)),)]
        return x


def _slice(node: Node) -> nn.Module:
    known = {i: node.constants[i] for i in node.constants if i}
    for place, key in ((1, "starts"), (2, "ends"), (3, "axes")):
        if key in node.attributes:
            known[place] = np.asarray(node.attributes[key])
    places = sorted({*known, *(i for i, name in enumerate(node.given) if name and i)})
    if not {1, 2} <= set(places):
        raise node.refused("no starts or ends")
    return Cut(places, known)


def _split(node: Node) -> nn.Module:
    sizes, axis, parts = node.numbers(1, "split"), int(node.attributes.get("axis", 0)), len(node.gives)
    return _first(lambda x: x.split(sizes or -(-x.shape[axis] // parts), axis))


def _gather(node: Node) -> nn.Module:
    at, axis = node.constant(1), int(node.attributes.get("axis", 0))
    if at is None or at.ndim > 1:
        raise node.refused("indices of several axes")
    if at.ndim == 0:
        return _first(lambda x: x.select(axis, int(at)))
    return Applied(lambda x, i: x.index_select(axis, i), 2, {1: at.astype(np.int64)})


def _slope(node: Node) -> nn.Module:
    slope = node.constant(1)
    if slope is None:
        raise node.refused("no constant slope")
    return Applied(lambda x, s: torch.where(x >= 0, x, x * s), 2, {1: slope})


def _gelu(node: Node) -> nn.Module:
    return nn.GELU(str(node.attributes.get("approximate", "none")))


def _layer_normalisation(node: Node) -> nn.Module:
    scale, bias, axis = node.constant(1), node.constant(2), int(node.attributes.get("axis", -1))
    if scale is None or axis not in (-1, (node.rank or 0) - 1):
        raise node.refused(f"axis {axis}")
    made = nn.LayerNorm(scale.shape, eps=float(node.attributes.get("epsilon", 1e-5)))
    return filled(made, weight=scale, bias=bias)


def _group_normalisation(node: Node) -> nn.Module:
    scale, bias = node.constant(1), node.constant(2)
    if scale is None or node.opset < 21:
        raise node.refused("one scale for each group (opset below 21)")
    made = nn.GroupNorm(int(node.attributes["num_groups"]), len(scale), float(node.attributes.get("epsilon", 1e-5)))
    return filled(made, weight=scale, bias=bias)


def _power(x: Tensor, exponent: Tensor) -> Tensor:
    return x**exponent


MAKERS: Mapping[str, Maker] = {
    "Conv": layers.conv,
    "ConvTranspose": layers.transposed,
    "MaxPool": layers.pool,
    "AveragePool": layers.pool,
    "GlobalAveragePool": layers.global_pool,
    "GlobalMaxPool": layers.global_pool,
    "BatchNormalization": layers.normalisation,
    "InstanceNormalization": layers.instance_normalisation,
    "LayerNormalization": _layer_normalisation,
    "GroupNormalization": _group_normalisation,
    "Gemm": layers.gemm,
    "MatMul": _matmul,
    "Pad": layers.padded,
    "Resize": layers.enlarged,
    "Upsample": layers.enlarged,
    "Relu": _plain(nn.ReLU),
    "LeakyRelu": lambda node: nn.LeakyReLU(float(node.attributes.get("alpha", 0.01))),
    "PRelu": _slope,
    "Elu": lambda node: nn.ELU(float(node.attributes.get("alpha", 1.0))),
    "Selu": _plain(nn.SELU),
    "Gelu": _gelu,
    "Sigmoid": _plain(nn.Sigmoid),
    "HardSigmoid": lambda node: _first(
        lambda x: (x * float(node.attributes.get("alpha", 0.2)) + float(node.attributes.get("beta", 0.5))).clamp(0, 1)
    ),
    "HardSwish": _plain(nn.Hardswish),
    "Tanh": _plain(nn.Tanh),
    "Softplus": _plain(nn.Softplus),
    "Softsign": _plain(nn.Softsign),
    "Mish": _plain(nn.Mish),
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Clip": _clip,
    "Identity": _plain(nn.Identity),
    "Dropout": _plain(nn.Identity),
    # Everything floating is float32 here, so that a cast between floating types changes nothing.
    "Cast": lambda node: _cast(node),
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Concat": lambda node: elementwise(lambda *xs: torch.cat(xs, int(node.attributes["axis"])))(node),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "ReduceMax": _reduced(torch.amax),
    "Add": elementwise(torch.add),
    "Sub": elementwise(torch.sub),
    "Mul": elementwise(torch.mul),
    "Div": elementwise(torch.div),
    "Pow": elementwise(_power),
    "Sqrt": elementwise(torch.sqrt),
    "Exp": elementwise(torch.exp),
    "Log": elementwise(torch.log),
    "Erf": elementwise(torch.erf),
    "Neg": elementwise(torch.neg),
    "Abs": elementwise(torch.abs),
    "Reciprocal": elementwise(torch.reciprocal),
    "Max": elementwise(lambda *xs: torch.stack(torch.broadcast_tensors(*xs)).amax(0)),
    "Min": elementwise(lambda *xs: torch.stack(torch.broadcast_tensors(*xs)).amin(0)),
    "Sum": elementwise(lambda *xs: sum(xs[1:], start=xs[0])),
}


def _cast(node: Node) -> nn.Module:
    if int(node.attributes["to"]) not in (1, 10, 11):
        raise node.refused(f"type {node.attributes['to']} for values of the network")
    return nn.Identity()
