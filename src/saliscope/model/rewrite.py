"""Other backward rules for a network's operations, however its modules call them, and no module is touched.

Peers swap modules by class or by name, and so miss every `functional.relu`. Here each operation is seen at the tensor,
by a mode that belongs to one thread and ends with its `with`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from saliscope.model.phase import phase_gradients

#: Operators of Python, under the names of the operations that they are.
OPERATORS = {
    "radd": "add",
    "iadd": "add",
    "rsub": "rsub",
    "isub": "sub",
    "rmul": "mul",
    "imul": "mul",
    "multiply": "mul",
    "truediv": "div",
    "itruediv": "div",
    "rtruediv": "rdiv",
    "true_divide": "div",
    "divide": "div",
    "subtract": "sub",
    "rdiv": "rdiv",
    "rmatmul": "rmatmul",
    "mm": "matmul",
    "bmm": "matmul",
    "mv": "matmul",
    "negative": "neg",
}


#: What autograd calls the operations that only move values, repeat them, or choose among them.
ROUTING = frozenset({
    "_Carried", "_Seeded", "AccumulateGrad", "Clone", "Copy", "CopyBackwards", "CopySlices", "ToCopy", "Alias",
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Expand", "Repeat", "Permute", "Transpose", "T",
    "Movedim", "AsStrided", "Slice", "Select", "Index", "IndexSelect", "Gather", "Split", "SplitWithSizes", "Chunk",
    "Unbind", "Narrow", "Unfold", "Cat", "Stack", "Flip", "Roll", "Where", "MaskedFill", "ConstantPadNd",
    "ReflectionPad1D", "ReflectionPad2D", "ReflectionPad3D", "ReplicationPad1D", "ReplicationPad2D",
    "ReplicationPad3D", "PixelShuffle", "PixelUnshuffle", "Diagonal",
})  # fmt: skip
#: What autograd calls the operations whose gradient is their multiplier already, because they are linear.
LINEAR = frozenset({
    "Convolution", "_FirstConvolution", "CudnnConvolution", "Addmm", "Mm", "Mv", "Bmm", "Baddbmm", "Linear", "Add",
    "Sub", "Neg", "Mul", "Div", "Mean", "Sum", "AvgPool2D", "AvgPool3D", "MkldnnAvgPool", "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D", "NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "UpsampleNearest1D",
    "UpsampleNearest2D", "UpsampleNearest3D", "UpsampleLinear1D", "UpsampleBilinear2D", "UpsampleTrilinear3D",
    "UpsampleBicubic2D",
})  # fmt: skip
#: What only reads a tensor's attributes, sets them, or asks for gradients.
UNTOUCHED = frozenset({"get", "set", "detach", "requires_grad", "grad", "backward", "register_hook", "retain_grad"})
#: Operations that are linear in each of several arguments, but not in two at once.
PRODUCTS = frozenset({"mul", "div", "rdiv", "matmul", "rmatmul", "einsum", "addmm", "linear", "baddbmm"})
#: Those that hand on the largest value of several.
LARGEST = frozenset({
    "MaxPool2DWithIndices", "MaxPool3DWithIndices", "MaxPool2D", "MkldnnMaxPool2D", "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D", "Amax", "Max", "Maximum",
})  # fmt: skip
#: Activations that work element by element, by their plain names in `torch` and `torch.nn.functional`.
ACTIVATIONS = frozenset({
    "relu", "relu6", "hardtanh", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "sigmoid", "tanh", "tanhshrink", "softplus", "logsigmoid", "softsign", "hardswish", "hardsigmoid", "hardshrink",
    "softshrink", "threshold", "clamp", "clamp_min", "clamp_max", "clip",
})  # fmt: skip
#: Normalisations, by running statistics or by those of the image itself.
NORMS = frozenset({"batch_norm", "instance_norm", "group_norm", "layer_norm"})


@dataclass(frozen=True, eq=False)
class Call:
    """One operation on tensors that a graph leads to: its plain name, and what it was called with."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    #: The arguments that a graph led to when it was called: one that it overwrites may have none until then.
    followed: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        """Note which arguments a graph leads to."""
        found = [t for t in tensors_in([*self.args, *self.named.values()]) if t.requires_grad]
        object.__setattr__(self, "followed", found)

    def run(self) -> Any:
        """Return what the operation returns."""
        return self.function(*self.args, **self.named)

    def on(self, value: Tensor) -> Any:
        """Return what the operation returns for another first argument."""
        return self.function(value, *self.args[1:], **_without(self.named, "input"))

    def given(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument by its place or its name."""
        return self.args[place] if place < len(self.args) else self.named.get(name, default)

    @property
    def input(self) -> Tensor:
        """Return the first argument."""
        return cast("Tensor", self.given(0, "input"))

    @property
    def inplace(self) -> bool:
        """Return whether the first argument is overwritten by the result."""
        name = self.function.__name__
        ends = name.startswith("__i") if name.endswith("__") else name.endswith("_")
        return ends or bool(self.named.get("inplace", False))


class Rewriting(TorchFunctionMode):
    """While entered, asks `rewrite` for the result of every operation that has a graph; None leaves it as it is.

    `seen` is told of every call and its result after.
    """

    def __init__(
        self,
        rewrite: Callable[[Call], Tensor | None],
        seen: Callable[[Call, Any], None] | None = None,
    ) -> None:
        super().__init__()
        self.rewrite, self.seen = rewrite, seen

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Any = None,
    ) -> Any:
        name, named = _plain(func.__name__), kwargs or {}
        if not torch.is_grad_enabled() or name in UNTOUCHED:
            return func(*args, **named)
        # A network may unfreeze its parameters while it runs, or make them: they are no values of the image.
        call = Call(name, func, _frozen(tuple(args)), {k: _frozen(v) for k, v in named.items()})
        if not call.followed:
            return call.run()
        found = self.rewrite(call)
        if found is None:
            # This mode is not active here, so the quick way back through a first convolution may be.
            with phase_gradients():
                result = call.run()
        else:
            result = found
        if self.seen is not None:
            self.seen(call, result)
        return result


def carried(
    call: Call, inputs: Sequence[Tensor], saved: Sequence[Tensor], back: Callable[..., Sequence[Tensor | None]]
) -> Tensor:
    """Return the result of a call whose backward is `back(gradient, *saved)`: one gradient for each of the inputs.

    Saved tensors are guarded against later in-place writes as torch's own are. A call in place is run on a copy, which
    is then written into the argument as torch does it: so the argument may be a view of something, or a constant.
    """
    first = call.args[0] if call.args else call.named.get("input")
    if not call.inplace or not isinstance(first, Tensor):
        return _apply(_Carried, call, back, len(saved), *saved, *inputs)
    before = first.detach().clone()
    kept = [before if t is first else t for t in saved]
    copied = replace(call, args=(before.clone(), *call.args[1:]), named=_without(call.named, "input"))
    return first.copy_(_apply(_Carried, copied, back, len(kept), *kept, *inputs))


def seeded(output: Tensor) -> Tensor:
    """Return an output whose gradient is multiplied by its value: relevance starts as output times slope."""
    return _apply(_Seeded, output)


def operations(output: Tensor) -> set[str]:
    """Return the names, as autograd has them, of the operations between an output and the roots of its graph."""
    names: set[str] = set()
    seen: set[Any] = set()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        names.add(node.name())
        waiting += [n for n, _ in node.next_functions]
    return {_operation(name) for name in names}


class _Carried(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, back: Any, count: int, *tensors: Tensor) -> Any:
        ctx.back, ctx.count = back, count
        ctx.save_for_backward(*tensors[:count])
        result = call.run()
        # torch forbids to write in place into a view that such a function returns.
        return result.clone() if result._is_view() else result  # noqa: SLF001 - torch has no public name for it

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return (None, None, None, *[None] * ctx.count, *ctx.back(gradients[0], *ctx.saved_tensors))


class _Seeded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor) -> Tensor:
        ctx.save_for_backward(output)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * ctx.saved_tensors[0]


def _apply(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    return cast("Tensor", function.apply(*args))


def _frozen(value: Any) -> Any:
    """Return an argument with every parameter in it, that asks for a gradient, as the constant that it is."""
    if isinstance(value, nn.Parameter):
        return value.detach() if value.requires_grad else value
    if type(value) in (list, tuple) and any(isinstance(v, Tensor | list | tuple) for v in value):
        return type(value)(_frozen(v) for v in value)
    return value


def _without(named: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in named.items() if k != name}


def _plain(name: str) -> str:
    bare = name.strip("_")
    return OPERATORS.get(bare, bare)


def _operation(node: str) -> str:
    """Return "Convolution" of "ConvolutionBackward0"."""
    return node.rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Give the tensors among values, and in lists and tuples of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)
