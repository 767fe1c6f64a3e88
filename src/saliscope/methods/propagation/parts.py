"""Operations that torch has under one name and that are several: each is run by its parts, which have rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from saliscope.methods.propagation.recurrent import RECURRENT

if TYPE_CHECKING:
    from saliscope.model.rewrite import Call


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(q k / sqrt(d) + mask) v, as torch documents scaled_dot_product_attention."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    found = torch.matmul(query, key.transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        seen = torch.ones(found.shape[-2:], dtype=torch.bool, device=found.device).tril()
        found = found.masked_fill(~seen, -math.inf)
    if attn_mask is not None:
        plain = attn_mask.dtype == torch.bool
        found = found.masked_fill(~attn_mask, -math.inf) if plain else found + attn_mask
    weights = torch.softmax(found, -1)
    return torch.matmul(functional.dropout(weights, dropout_p) if dropout_p else weights, value)


def _glu(values: Tensor, dim: int = -1) -> Tensor:
    signal, gate = values.chunk(2, dim)
    return signal * torch.sigmoid(gate)


def _log_softmax(values: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    values = values if dtype is None else values.to(dtype)
    return values - torch.logsumexp(values, dim, keepdim=True)


def _spread(root: bool, values: Tensor, *args: Any, **named: Any) -> tuple[Tensor, Tensor]:
    own = {k: v for k, v in named.items() if k in ("dim", "keepdim")}
    mean = values.mean(*(a for a in args[:1] if not isinstance(a, bool)), **own)
    return (values.std if root else values.var)(*args, **named), mean


def _addmm(values: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return beta * values + alpha * torch.matmul(one, other)


def _addcmul(values: Tensor, one: Tensor, other: Tensor, *, value: float = 1) -> Tensor:
    return values + value * (one * other)


def _addcdiv(values: Tensor, one: Tensor, other: Tensor, *, value: float = 1) -> Tensor:
    return values + value * (one / other)


def _cosine(one: Tensor, other: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    return (functional.normalize(one, dim=dim, eps=eps) * functional.normalize(other, dim=dim, eps=eps)).sum(dim)


def _lerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    return start + weight * (end - start)


#: name -> the same by parts.
PARTS: Mapping[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": attention,
    "glu": _glu,
    "log_softmax": _log_softmax,
    "var_mean": lambda *args, **named: _spread(False, *args, **named),  # noqa: FBT003
    "std_mean": lambda *args, **named: _spread(True, *args, **named),  # noqa: FBT003
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _addmm),
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
    "lerp": _lerp,
    "cosine_similarity": _cosine,
    **RECURRENT,
}


def biased(call: Call) -> Callable[..., Tensor]:
    """Return a product of two activations and the sum with its bias, such as a layer whose weights follow the image."""
    place = 3 if call.name == "bilinear" else 2
    axes = call.given(1, "weight").ndim - 2 if call.name.startswith("conv") else 0

    def run(*args: Any, **named: Any) -> Tensor:
        bias: Tensor = args[place] if place < len(args) else named.pop("bias")
        rest = {**named, "bias": None} if place >= len(args) else named
        made = call.function(*args[:place], *([None] if place < len(args) else []), *args[place + 1 :], **rest)
        return cast("Tensor", made + bias.reshape(-1, *[1] * axes))

    return run


def opened(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return a function of torch that is written in Python so that what it calls is seen; None for any other.

    Its first lines hand the whole of it to whoever watches; in the copy they do not.
    """
    if not isinstance(function, FunctionType) or function.__module__ == "torch.nn.init":
        return None
    asks = [name for name in function.__code__.co_names if name.startswith("has_torch_function")]
    if not asks:
        return None
    copy = FunctionType(
        function.__code__,
        {**function.__globals__, **dict.fromkeys(asks, _never)},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _never(*_: object) -> bool:
    return False
