"""Which of the things that a network returns are its logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

from torch import Tensor

from saliscope.core.errors import OutputError

#: Keys under which networks that return a dict keep their logits.
LOGIT_KEYS = ("logits", "out", "output", "pred")


def selected(output: object, key: str | int | None) -> Tensor:
    """Return the logits among a network's outputs; raises OutputError where they cannot be told."""
    if is_dataclass(output) and not isinstance(output, type | Mapping):
        output = {f.name: getattr(output, f.name) for f in fields(output)}
    logits = output
    if key is not None and not isinstance(output, Tensor):
        try:
            logits = output[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            logits = None
    elif isinstance(output, Mapping):
        tensors = [k for k, v in output.items() if isinstance(v, Tensor)]
        named = [k for k in LOGIT_KEYS if k in tensors] or (tensors if len(tensors) == 1 else [])
        logits = output[named[0]] if named else None
    elif isinstance(output, tuple | list):
        logits = next((v for v in output if isinstance(v, Tensor)), None)
    if isinstance(logits, Tensor) and logits.is_floating_point() and logits.ndim >= 1:
        return logits
    keys = f" with {', '.join(map(repr, output))}" if isinstance(output, Mapping) else ""
    what = f" of shape {tuple(output.shape)} and type {output.dtype}" if isinstance(output, Tensor) else ""
    raise OutputError(
        f"a network output of type {type(output).__name__}{what}{keys} and key {key!r}",
        expected="a floating tensor of logits, one row for each image (N, ...)",
        do="Wrap the network in a module that returns it so"
        if what
        else "Name the key or the index of the logits (`output=`)",
    )
