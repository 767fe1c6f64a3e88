"""Which operations of a network are linear layers: weights against an input, and normalisations taken as fixed.

A normalisation by fixed statistics is a linear layer with one weight an element. Merged into the linear layer before
it (motzkus2022), or alone where there is none, it gives the relevance of the network without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from saliscope.methods.kernel import at_least_single

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Call


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer: `run(a, w, b)` is its output for an input a, a weight w and a bias b or None."""

    run: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None = None


def layer_of(call: Call) -> Layer | None:
    """Return the linear layer that a call is, if its one followed argument meets constants only."""
    followed = call.followed
    if len(followed) != 1:
        return None
    if call.name.startswith("conv") or call.name == "linear":
        rest = call.args[3:]
        named = {k: v for k, v in call.named.items() if k not in ("input", "weight", "bias")}
        layer = Layer(
            lambda a, w, b: cast("Tensor", call.function(a, w, b, *rest, **named)),
            call.given(1, "weight"),
            call.given(2, "bias"),
        )
        return layer if followed[0] is call.input else None
    if call.name not in ("matmul", "rmatmul", "einsum") or len(call.args) < 2 or call.named:
        return None
    *ahead, one, other = call.args
    if followed[0] is one and hasattr(other, "requires_grad"):
        return Layer(lambda a, w, _b: cast("Tensor", call.function(*ahead, a, w)), other)
    if followed[0] is other and hasattr(one, "requires_grad"):
        return Layer(lambda a, w, _b: cast("Tensor", call.function(*ahead, w, a)), one)
    return None


def fixed(norm: Call) -> bool:
    """Return whether a normalisation uses statistics that it was given, not those of what it is given."""
    if norm.name not in ("batch_norm", "instance_norm") or norm.given(1, "running_mean") is None:
        return False
    own = norm.given(5, "training" if norm.name == "batch_norm" else "use_input_stats", norm.name == "instance_norm")
    return not own


def normalising(norm: Call) -> Layer:
    """Return a batch, instance, group or layer normalisation as elementwise, its statistics taken as constants."""
    import torch

    x = at_least_single(norm.input.detach())
    place = 2 if norm.name in ("group_norm", "layer_norm") else 3
    weight, bias = norm.given(place, "weight"), norm.given(place + 1, "bias")
    eps = norm.given(4 if place == 2 else 7, "eps", 1e-5)
    if norm.name != "layer_norm":
        column = (1, -1, *[1] * (x.ndim - 2))
        weight, bias = (None if v is None else v.reshape(column) for v in (weight, bias))
    mean, var = _statistics(norm, x)
    scale = torch.rsqrt(var + eps) * (1 if weight is None else weight)
    return Layer(_elementwise, scale, (0 if bias is None else bias) - mean * scale)


def shifted(call: Call) -> Layer:
    """Return a sum or difference of a followed argument and a constant as elementwise, the constant being its bias."""
    one, other = call.given(0, "input"), call.given(1, "other")
    times = call.given(2, "alpha", 1) * (1 if call.name == "add" else -1)
    if call.name == "rsub":
        one, other = other, one
    (seen,) = call.followed
    weight, bias = (1, other * times) if one is seen else (times, one)
    return Layer(_elementwise, seen.new_tensor(weight), seen.new_ones(()) * bias)


def merged(before: Call, layer: Layer, norm: Call) -> Layer:
    """Return a linear layer and the normalisation of fixed statistics that follows it, as one linear layer."""
    after = normalising(norm)
    assert after.bias is not None
    scale, shift, w = after.weight.reshape(-1), after.bias.reshape(-1), layer.weight
    if before.name.startswith("conv_transpose"):
        groups = before.given(6, "groups", 1)
        by_group = w.reshape(groups, -1, *w.shape[1:]) * scale.reshape(groups, 1, -1, *[1] * (w.ndim - 2))
        w = by_group.reshape(w.shape)
    else:
        w = w * scale.reshape(-1, *[1] * (w.ndim - 1))
    return Layer(layer.run, w, shift if layer.bias is None else layer.bias * scale + shift)


def _elementwise(a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return a * w if b is None else a * w + b


def _statistics(norm: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance by which a normalisation of x (N, C, *S) divides, shaped to meet x."""
    import torch

    column = (-1, x.shape[1], *[1] * (x.ndim - 2))
    if fixed(norm):
        return norm.given(1, "running_mean").reshape(column), norm.given(2, "running_var").reshape(column)
    if norm.name == "layer_norm":
        axes = tuple(range(-len(norm.given(1, "normalized_shape")), 0))
        var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return mean, var
    if norm.name == "batch_norm":
        var, mean = torch.var_mean(x, (0, *range(2, x.ndim)), correction=0)
    else:
        groups = norm.given(1, "num_groups") if norm.name == "group_norm" else x.shape[1]
        var, mean = torch.var_mean(x.reshape(len(x), groups, -1), 2, correction=0)
        var, mean = (v.repeat_interleave(x.shape[1] // groups, 1) for v in (var, mean))
    return mean.reshape(column), var.reshape(column)
