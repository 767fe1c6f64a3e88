"""Which of the things that a network returns are its logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor

from saliscope.core.errors import OutputError

#: Keys under which networks that return a dict keep their logits.
LOGIT_KEYS = ("logits", "out", "output", "pred")
#: Types of logits that torch reckons with; narrower ones are only stored.
FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def selected(output: object, key: str | int | None) -> Tensor:
    """Return the logits among a network's outputs; raises OutputError where they cannot be told."""
    if is_dataclass(output) and not isinstance(output, type | Mapping):
        output = {f.name: getattr(output, f.name) for f in fields(output)}
    logits = output
    if key is not None and not isinstance(output, Tensor):
        logits = _picked(output, key)
    elif isinstance(output, Mapping):
        tensors = [k for k, v in output.items() if isinstance(v, Tensor)]
        named = [k for k in LOGIT_KEYS if k in tensors] or (tensors if len(tensors) == 1 else [])
        logits = output[named[0]] if named else None
    elif isinstance(output, tuple | list):
        logits = next((v for v in output if isinstance(v, Tensor)), None)
    if not isinstance(logits, Tensor):
        names = output if isinstance(output, Mapping) else getattr(output, "_fields", ())
        keys = f" with {', '.join(map(repr, names))}" if names else ""
        raise OutputError(
            f"a network output of type {type(output).__name__}{keys} and key {key!r}",
            expected="a floating tensor of logits, one row for each image (N, ...)",
            do="Name the key or the index of the logits (`output=`)",
        )
    if wrong := _unusable(logits):
        raise OutputError(
            f"a network output of type {type(logits).__name__}, {wrong}, and key {key!r}",
            expected="a floating tensor of logits, one row for each image (N, ...)",
            do="Wrap the network in a module that returns it so",
        )
    return logits


def _picked(output: object, key: str | int) -> object:
    """Return one of several outputs by its key, its index, or its name in a named tuple; None where there is none."""
    try:
        return getattr(output, str(key)) if key in getattr(output, "_fields", ()) else output[key]  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return None


def _unusable(logits: Tensor) -> str:
    """Return what keeps a tensor from being logits with values that can be read; nothing for one that is."""
    if logits.is_nested:
        return "which is nested"
    # While a network is traced its sizes are no numbers that may be compared.
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    filled = traced or logits.layout != torch.strided or logits.numel() > 0
    if logits.layout == torch.strided and not logits.is_meta and logits.dtype in FLOATING and logits.ndim and filled:
        return ""
    shape = f"of shape {tuple(logits.shape)} and type {logits.dtype}"
    if logits.layout != torch.strided:
        return f"{shape}, which is stored as {logits.layout}: return it as output.to_dense()"
    return f"{shape}, which lies on the device meta and has no values" if logits.is_meta else shape


def one_row_each(output: Tensor, x: Tensor) -> Tensor:
    """Return an output that has one row for each image of x (N, C, *S); raises OutputError for another."""
    if output.ndim and len(output) == len(x):
        return output
    raise OutputError(
        f"an output of shape {tuple(output.shape)} for {len(x)} image{'s' if len(x) > 1 else ''}",
        expected="one row for each image (N, ...)",
        do="Wrap the network in a module that returns it so: output[None] for a missing axis, output.T for a "
        "transposed one",
    )
