"""Which operations of a network are linear layers: weights against an input, and normalisations taken as fixed.

A normalisation by fixed statistics is a linear layer with one weight an element. Merged into the linear layer before
it (motzkus2022), or alone where there is none, it gives the relevance of the network without it. One by the statistics
of its own input is linear in all that its mean is taken over (ali2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from saliscope.methods.kernel import at_least_single

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Call


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer: `run(a, w, b)` is its output for an input a, a weight w and a bias b or None.

    So many `axes` of the output stand behind the bias's own.
    """

    run: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None = None
    axes: int = 0

    def spread(self, bias: Tensor) -> Tensor:
        """Return a bias in a shape that meets the output."""
        return bias.reshape(-1, *[1] * self.axes) if self.axes else bias


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
            0 if call.name == "linear" else call.given(1, "weight").ndim - 2,
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
    """Return a normalisation as a linear layer: elementwise where its statistics are given, else as `centred`."""
    import torch

    x = at_least_single(norm.input.detach())
    place = 2 if norm.name in ("group_norm", "layer_norm", "rms_norm") else 3
    weight, bias = norm.given(place, "weight"), norm.given(place + 1, "bias")
    eps = norm.given(4 if place == 2 else 7, "eps", 1e-5)
    if norm.name == "rms_norm":
        bias, eps = None, norm.given(3, "eps")
        eps = torch.finfo(norm.input.dtype).eps if eps is None else eps
    elif norm.name != "layer_norm":
        column = (1, -1, *[1] * (x.ndim - 2))
        weight, bias = (None if v is None else v.reshape(column) for v in (weight, bias))
    mean, var = _statistics(norm, x)
    scale = torch.rsqrt(var + eps) * (1 if weight is None else weight)
    if not fixed(norm):
        return centred(norm, scale, bias)
    return Layer(_elementwise, scale, (0 if bias is None else bias) - mean * scale)


def centred(norm: Call, scale: Tensor, bias: Tensor | None) -> Layer:
    """Return a normalisation by its input's own statistics: the mean is linear in it, the scale a constant.

    That is the LN-rule of ali2022, and the identity rule of achtibat2024, section 3.3.3, for the division. Constant
    means would absorb relevance of which the network knows nothing.
    """

    def run(a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        seen = a if norm.name == "rms_norm" else a - _statistics(norm, a)[0]
        return seen * w if b is None else seen * w + b

    return Layer(run, scale, bias)


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
    return replace(layer, weight=w, bias=shift if layer.bias is None else layer.bias * scale + shift)


def _elementwise(a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return a * w if b is None else a * w + b


def _statistics(norm: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance by which a normalisation of x (N, C, *S) divides, shaped to meet x."""
    import torch

    column = (-1, x.shape[1], *[1] * (x.ndim - 2))
    if fixed(norm):
        return norm.given(1, "running_mean").reshape(column), norm.given(2, "running_var").reshape(column)
    if norm.name in ("layer_norm", "rms_norm"):
        axes = tuple(range(-len(norm.given(1, "normalized_shape")), 0))
        var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return mean, var if norm.name == "layer_norm" else x.square().mean(axes, keepdim=True)
    if norm.name == "batch_norm":
        var, mean = torch.var_mean(x, (0, *range(2, x.ndim)), correction=0)
    else:
        groups = norm.given(1, "num_groups") if norm.name == "group_norm" else x.shape[1]
        var, mean = torch.var_mean(x.reshape(len(x), groups, -1), 2, correction=0)
        var, mean = (v.repeat_interleave(x.shape[1] // groups, 1) for v in (var, mean))
    return mean.reshape(column), var.reshape(column)
