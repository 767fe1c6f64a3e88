"""Which modules and functions are known, and the rule of each."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from saliscope.model.incremental.rules import Conv, Join, Local, Pool, Rule, Shape, SpaceMean, affine, laid

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
MAX_POOLS = {nn.MaxPool1d: functional.max_pool1d, nn.MaxPool2d: functional.max_pool2d,
             nn.MaxPool3d: functional.max_pool3d}  # fmt: skip
MEAN_POOLS = {nn.AvgPool1d: functional.avg_pool1d, nn.AvgPool2d: functional.avg_pool2d,
              nn.AvgPool3d: functional.avg_pool3d}  # fmt: skip
GLOBAL_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid,
    nn.Tanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Softplus,
    nn.Softsign, nn.LogSigmoid, nn.Threshold,
)  # fmt: skip
ALIKE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
F = functional
#: Functions of one place at a time, of one or several tensors and numbers.
LOCAL_FUNCTIONS = (
    F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.sigmoid, F.tanh,
    F.hardswish, F.hardsigmoid, F.hardtanh, F.hardshrink, F.softshrink, F.tanhshrink, F.softplus, F.softsign,
    F.logsigmoid, F.threshold,
    torch.relu, torch.sigmoid, torch.tanh, torch.selu, torch.celu, torch.add, torch.sub, torch.mul, torch.div,
    torch.true_divide, torch.neg, torch.abs, torch.exp, torch.log, torch.sqrt, torch.rsqrt, torch.square, torch.pow,
    torch.clamp, torch.maximum, torch.minimum, torch.erf, torch.sin, torch.cos, torch.log1p, torch.reciprocal,
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pow, operator.pos,
)  # fmt: skip
LOCAL_METHODS = (
    "relu", "sigmoid", "tanh", "add", "sub", "mul", "div", "neg", "abs", "exp", "log", "sqrt", "rsqrt", "square",
    "pow", "clamp", "maximum", "minimum", "contiguous", "float", "double", "clone", "detach", "erf", "reciprocal",
)  # fmt: skip
SHAPE_METHODS = ("size", "dim", "numel", "is_floating_point", "ndimension")
SHAPE_NAMES = ("shape", "dtype", "device", "ndim", "is_cuda")


def rule_of(node: fx.Node, modules: Mapping[str, nn.Module]) -> Rule | None:
    """Return the rule of a node, or None for an operation that is run on whole maps."""
    if node.op == "call_module":
        return _of_module(modules[str(node.target)]) if len(node.args) == 1 and not node.kwargs else None
    if node.op == "call_function":
        return _of_function(node)
    if node.op == "call_method":
        if node.target in SHAPE_METHODS:
            return Shape()
        if node.target == "mean":
            return _mean(node)
        if node.target in LOCAL_METHODS:
            return Local(_applied(node, lambda x, *a, **k: getattr(x, str(node.target))(*a, **k)))
    return None


def _of_module(module: nn.Module) -> Rule | None:
    kind = type(module)
    if isinstance(module, CONVS) and kind in CONVS:
        return _conv(module)
    if isinstance(module, NORMS) and kind in NORMS:
        return _norm(module)
    if kind in ALIKE:
        return Local(lambda x: x)
    if kind is nn.ReLU:
        return Local(torch.relu, torch.relu_, rectifies=True)
    if kind in ACTIVATIONS:
        return Local(module)
    if isinstance(module, GLOBAL_POOLS) and kind in GLOBAL_POOLS:
        return SpaceMean(keep=True) if _ones(module.output_size) else None
    if kind in MAX_POOLS:
        return _max_pool(MAX_POOLS[kind], module)
    if kind in MEAN_POOLS:
        return _mean_pool(MEAN_POOLS[kind], module)
    return None


def _of_function(node: fx.Node) -> Rule | None:
    target: Any = node.target
    if target in (torch.cat, torch.concat, torch.concatenate):
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        plain = node.args and isinstance(node.args[0], list | tuple) and len(set(node.args[0])) == len(node.args[0])
        return Join() if dim == 1 and plain else None
    if target is getattr:
        return Shape() if node.args[1] in SHAPE_NAMES else None
    if target is torch.mean:
        return _mean(node)
    if target in (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d):
        size = node.args[1] if len(node.args) > 1 else node.kwargs.get("output_size")
        return SpaceMean(keep=True) if _ones(size) else None
    if target in (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout):
        training = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else target is not F.dropout)
        return Local(lambda x: x) if training is False else None
    for kind, run in (*MAX_POOLS.items(), *MEAN_POOLS.items()):
        if target is run:
            return _pool_function(kind, run, node)
    if target in LOCAL_FUNCTIONS:
        inplace = _inplace(node, target)
        return Local(_applied(node, target), inplace, rectifies=inplace is torch.relu_)
    return None


def _inplace(node: fx.Node, target: Any) -> Callable[..., Tensor] | None:
    plain = not node.kwargs and list(node.args) == node.all_input_nodes
    if plain and target in (F.relu, torch.relu):
        return torch.relu_
    return operator.iadd if plain and target in (operator.add, torch.add) and len(node.args) == 2 else None


def _conv(module: Any) -> Rule | None:
    if module.padding_mode != "zeros":
        return None
    reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if module.padding == "same":
        left = tuple(r // 2 for r in reach)
        right = tuple(r - p for r, p in zip(reach, left, strict=True))
    else:
        left = right = (0,) * len(reach) if module.padding == "valid" else tuple(module.padding)
    bias = None if module.bias is None else module.bias.detach()
    shape = (tuple(module.kernel_size), tuple(module.stride), left, tuple(module.dilation))
    return Conv(*shape, 0.0, right, laid(module.weight.detach()), bias, module.groups)


def _norm(module: Any) -> Rule | None:
    if module.training or module.running_mean is None or module.running_var is None:
        return None
    scale = (module.running_var + module.eps).rsqrt()
    scale = scale if module.weight is None else scale * module.weight.detach()
    shift = -module.running_mean * scale
    shift = shift if module.bias is None else shift + module.bias.detach()
    return Local(affine(scale, shift), None, (scale, shift))


def _max_pool(run: Callable[..., Tensor], m: Any) -> Rule | None:
    axes = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d).index(type(m)) + 1
    if m.return_indices:
        return None
    kernel, dilation = _each(m.kernel_size, axes), _each(m.dilation, axes)
    stride, left = _each(m.stride or m.kernel_size, axes), _each(m.padding, axes)
    low = float("-inf")
    return Pool(kernel, stride, left, dilation, low, lambda x: run(x, kernel, stride, 0, dilation))


def _mean_pool(run: Callable[..., Tensor], m: Any) -> Rule | None:
    axes = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d).index(type(m)) + 1
    kernel, stride = _each(m.kernel_size, axes), _each(m.stride or m.kernel_size, axes)
    left = _each(m.padding, axes)
    # With these the divisor differs from place to place.
    if m.ceil_mode or getattr(m, "divisor_override", None) or (any(left) and not m.count_include_pad):
        return None
    return Pool(kernel, stride, left, (1,) * axes, 0.0, lambda x: run(x, kernel, stride))


def _pool_function(kind: Any, run: Callable[..., Tensor], node: fx.Node) -> Rule | None:
    """Return the rule of the module that says the same as a call of the function."""
    names = ["kernel_size", "stride", "padding"]
    names += ["dilation"] if kind in MAX_POOLS else ["ceil_mode", "count_include_pad", "divisor_override"]
    given = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
    given.pop("input", None)
    if any(isinstance(v, fx.Node) for v in given.values()) or len(node.all_input_nodes) > 1:
        return None
    if len(node.args) > 1 + len(names):
        return None
    module = kind(**given)
    return _max_pool(run, module) if kind in MAX_POOLS else _mean_pool(run, module)


def _mean(node: fx.Node) -> Rule | None:
    """Return the rule of a mean over the axes 2 and up; that they are all of space is seen when it runs."""
    given = {**dict(zip(("dim", "keepdim"), node.args[1:], strict=False)), **node.kwargs}
    dims, keep = given.get("dim"), given.get("keepdim", False)
    if isinstance(dims, list | tuple) and all(isinstance(d, int) for d in dims) and set(given) <= {"dim", "keepdim"}:
        count = len(dims)
        found = {d if d >= 0 else d + count + 2 for d in dims}
        return SpaceMean(bool(keep)) if found == set(range(2, count + 2)) else None
    return None


def _applied(node: fx.Node, run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the values of a node's inputs, with its other arguments filled in."""
    nodes, args, kwargs = node.all_input_nodes, node.args, node.kwargs
    if len(args) == 1 and not kwargs and args[0] is nodes[0]:
        return run

    def apply(*values: Any) -> Any:
        of = dict(zip(nodes, values, strict=True))
        return run(*fx.map_arg(args, of.__getitem__), **fx.map_arg(kwargs, of.__getitem__))

    return apply


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return (int(value),) * axes if isinstance(value, int) else tuple(int(v) for v in value)


def _ones(size: Any) -> bool:
    return size == 1 or (isinstance(size, list | tuple) and all(s == 1 for s in size))
