"""Fused operations in plain ones, each of which has a multiplier of its own: norms, deviations, gates, LSTM cells.

A normalisation is a quotient of what is left of the mean and its deviation. The chain rule of shrikumar2017, eq. 3,
then gives the multiplier of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised x, mean and 1 / deviation over the last axes, which `shape` counts."""
    value, mean, deviation = _normalised(x, list(range(-len(shape), 0)), eps)
    return _scaled(value, weight, bias), mean, deviation.reciprocal()


def rms_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return x over the root of its mean square, and 1 / that root."""
    import torch

    least = torch.finfo(x.dtype).eps if eps is None else eps
    root = ((x * x).mean(list(range(-len(shape), 0)), keepdim=True) + least).sqrt()
    return _scaled(x / root, weight, None), root.reciprocal()


def group_norm(  # the arguments and the order of torch's own
    x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int, size: int, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised x (N, C, *S), mean and 1 / deviation (N, groups)."""
    value, mean, deviation = _normalised(x.reshape(n, groups, c // groups * size), [2], eps)
    column = (1, c, *[1] * (x.ndim - 2))
    weight, bias = (None if v is None else v.reshape(column) for v in (weight, bias))
    return _scaled(value.reshape(x.shape), weight, bias), mean[..., 0], deviation[..., 0].reciprocal()


def batch_norm(x: Tensor, *rest: Any) -> Any:
    """Return x (N, C, *S) normalised by its own statistics, mean and 1 / deviation; NotImplemented for fixed ones."""
    weight, bias, training, eps = rest[0], rest[1], rest[-3], rest[-1]
    if training is not True:
        return NotImplemented
    value, mean, deviation = _normalised(x, [0, *range(2, x.ndim)], eps)
    column = (1, -1, *[1] * (x.ndim - 2))
    weight, bias = (None if v is None else v.reshape(column) for v in (weight, bias))
    return _scaled(value, weight, bias), mean.reshape(-1), deviation.reshape(-1).reciprocal()


def batch_norm_on_gpu(x: Tensor, *rest: Any) -> Any:
    """Return the same, with the memory that the GPU's form asks for."""
    result = batch_norm(x, *rest)
    return result if result is NotImplemented else (*result, x.new_empty(0))


def variance(x: Tensor, dim: Any = None, *more: Any, correction: float | None = None, keepdim: bool = False) -> Tensor:
    """Return the variance over some axes, by whichever of torch's overloads it is called."""
    return _moments(x, dim, more, correction, keepdim)[0]


def deviation(x: Tensor, dim: Any = None, *more: Any, correction: float | None = None, keepdim: bool = False) -> Tensor:
    """Return the standard deviation over some axes."""
    return variance(x, dim, *more, correction=correction, keepdim=keepdim).sqrt()


def variance_mean(
    x: Tensor, dim: Any = None, *more: Any, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the variance and the mean over some axes."""
    return _moments(x, dim, more, correction, keepdim)


def deviation_mean(
    x: Tensor, dim: Any = None, *more: Any, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the standard deviation and the mean over some axes."""
    var, mean = _moments(x, dim, more, correction, keepdim)
    return var.sqrt(), mean


def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:  # noqa: A002 - torch's name
    """Return the norm of any order over some axes."""
    x = x if dtype is None else x.to(dtype)
    axes = _axes(x, dim)
    if ord == 2:
        return (x * x.conj()).real.sum(axes, keepdim).sqrt() if x.is_complex() else (x * x).sum(axes, keepdim).sqrt()
    size = x.abs()
    if ord in (float("inf"), float("-inf")):
        return size.amax(axes, keepdim) if ord > 0 else size.amin(axes, keepdim)
    if ord == 0:
        return (x != 0).to(size.dtype).sum(axes, keepdim)
    return size.sum(axes, keepdim) if ord == 1 else size.pow(ord).sum(axes, keepdim).pow(1 / ord)


def norm(x: Tensor, p: float | None = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return torch's older norm."""
    return vector_norm(x, 2 if p is None else p, dim, keepdim, dtype=dtype)


def gated(x: Tensor, dim: int = -1) -> Tensor:
    """Return one half of x times the sigmoid of the other."""
    value, gate = x.chunk(2, dim)
    return value * gate.sigmoid()


def lstm(x: Tensor, *rest: Any) -> Any:
    """Return what a layer of LSTM cells makes of a sequence (T, N, F), and its last states, by the cell's equations."""
    import torch

    by_input, by_state, bias_one, bias_other, state, memory, reverse, sizes, mode = rest[:9]
    if mode != LSTM or sizes:
        return NotImplemented
    outputs = []
    before = torch.nn.functional.linear(x, by_input, bias_one + bias_other).unbind(0)
    for step in reversed(before) if reverse else before:
        i, f, g, o = (step + torch.nn.functional.linear(state, by_state)).chunk(4, -1)
        memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
        state = o.sigmoid() * memory.tanh()
        outputs.append(state)
    return torch.stack(outputs[::-1] if reverse else outputs), state, memory, x.new_empty(0)


def masked(x: Tensor, at: Sequence[Tensor | None], value: Tensor, *more: Any, **named: Any) -> Any:
    """Return x with one value where a mask says so, as a choice; NotImplemented for other places and values."""
    import torch

    mask = at[0]
    alone = len(at) == 1 and mask is not None and mask.dtype == torch.bool and value.numel() == 1
    if mask is None or not alone or any(more) or any(named.values()):
        return NotImplemented
    mask = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
    return torch.where(mask, value.reshape(()), x)


def masked_over(x: Tensor, at: Sequence[Tensor | None], value: Tensor, *more: Any, **named: Any) -> Any:
    """Overwrite x with one value where a mask says so."""
    chosen = masked(x, at, value, *more, **named)
    return chosen if chosen is NotImplemented else x.copy_(chosen)


#: What torch calls an LSTM among its recurrent layers.
LSTM = 2

PIECES: dict[str, Callable[..., Any]] = {
    "native_layer_norm": layer_norm,
    "_fused_rms_norm": rms_norm,
    "native_group_norm": group_norm,
    "native_batch_norm": batch_norm,
    "_native_batch_norm_legit": batch_norm,
    "cudnn_batch_norm": batch_norm_on_gpu,
    "var": variance,
    "std": deviation,
    "var_mean": variance_mean,
    "std_mean": deviation_mean,
    "linalg_vector_norm": vector_norm,
    "norm": norm,
    "glu": gated,
    "mkldnn_rnn_layer": lstm,
    "index_put": masked,
    "index_put_": masked_over,
    "_index_put_impl_": masked_over,
}


def _normalised(x: Tensor, axes: list[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.mean(axes, keepdim=True)
    rest = x - mean
    deviation = ((rest * rest).mean(axes, keepdim=True) + eps).sqrt()
    return rest / deviation, mean, deviation


def _scaled(value: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    value = value if weight is None else value * weight
    return value if bias is None else value + bias


def _moments(
    x: Tensor, dim: Any, more: Sequence[Any], correction: float | None, keepdim: bool
) -> tuple[Tensor, Tensor]:
    """Return variance and mean; an older overload has `unbiased` and `keepdim` in its places."""
    if isinstance(dim, bool):
        dim, more = None, (dim, *more)
    unbiased = more[0] if more else True
    keepdim = more[1] if len(more) > 1 else keepdim
    less = float(unbiased) if correction is None else correction
    axes = _axes(x, dim)
    mean = x.mean(axes, keepdim=True)
    rest = x - mean
    count = x.numel() / max(1, mean.numel())
    var = (rest * rest).sum(axes, keepdim=keepdim) / max(0.0, count - less)
    return var, mean if keepdim else mean.squeeze(axes)


def _axes(x: Tensor, dim: Any) -> tuple[int, ...]:
    if isinstance(dim, int):
        return (dim,)
    return tuple(dim) if dim else tuple(range(x.ndim))
