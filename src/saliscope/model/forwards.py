"""Modules that run something in place of their forward for a while, and nested outputs with every tensor changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def forwards(root: nn.Module, instead: Callable[[nn.Module], Callable[..., Any] | None]) -> Iterator[None]:
    """Let modules run something in place of their forward; each has its own again after, also on error."""
    changed: list[tuple[nn.Module, Any]] = []
    try:
        for module in root.modules():
            # A scripted module is one piece: nothing inside of it can be watched or replaced.
            run = None if isinstance(module, torch.jit.ScriptModule) else instead(module)
            if run is not None:
                changed.append((module, vars(module).get("forward")))
                vars(module)["forward"] = run
        yield
    finally:
        for module, own in changed:
            if own is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = own


def each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a nested output with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    make: Callable[[Any], Any] = type(value)
    try:
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return make(*(each(v, change) for v in value))  # a named tuple takes its fields one by one
        if isinstance(value, list | tuple):
            return make([each(v, change) for v in value])
        if isinstance(value, Mapping):
            return make({k: each(v, change) for k, v in value.items()})
    except TypeError:
        # Made in another way: it is handed out as it was, and the check against the output tells if that is wrong.
        return value
    return value
