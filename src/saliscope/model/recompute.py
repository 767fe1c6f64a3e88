"""Activation checkpointing, switched off while a network is open.

A checkpointed part is run again in the backward pass, where the modes of the forward pass are gone and a generator has
moved on. What it saves is memory, which is ours to check. torch has no switch for it, so the two functions behind
`torch.utils.checkpoint.checkpoint` step aside, in the thread that asked for it only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.utils.checkpoint as checkpointing

_off = threading.local()


@contextmanager
def no_recompute() -> Iterator[None]:
    """Let checkpointed parts run once, as plain calls, in this thread."""
    _install()
    _off.depth = getattr(_off, "depth", 0) + 1
    try:
        yield
    finally:
        _off.depth -= 1


def _install() -> None:
    """Put the two stand-ins in place; outside of `no_recompute` they hand on to torch's own."""
    if not isinstance(vars(checkpointing.CheckpointFunction).get("apply"), _Apply):
        checkpointing.CheckpointFunction.apply = _Apply(checkpointing.CheckpointFunction.apply)  # type: ignore[method-assign]
    own = checkpointing._checkpoint_without_reentrant_generator  # noqa: SLF001 - torch has no public switch
    if not hasattr(own, "stands_for"):
        checkpointing._checkpoint_without_reentrant_generator = _generator(own)  # noqa: SLF001


class _Apply:
    """The reentrant kind: `CheckpointFunction.apply(function, preserve_rng_state, *args)`."""

    def __init__(self, own: Callable[..., Any]) -> None:
        self.own = own

    def __call__(self, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        if getattr(_off, "depth", 0):
            return function(*args)
        return self.own(function, preserve, *args)


def _generator(own: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for the other kind: a generator around the call, which prepares and then cleans up."""

    def stand_in(*args: Any, **kwargs: Any) -> Iterator[None]:
        if getattr(_off, "depth", 0):
            yield
        else:
            yield from own(*args, **kwargs)

    stand_in.stands_for = own  # type: ignore[attr-defined]
    return stand_in
