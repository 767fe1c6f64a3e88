"""Which layer of a network is running: watched while it runs, and no hook stays behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from torch import nn
from torch.jit import ScriptModule

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


@contextmanager
def innermost(module: nn.Module) -> Iterator[Callable[[], str]]:
    """Give a function that returns the dotted name of the layer whose forward runs; empty outside of all.

    What other threads run on the same network is not counted. The inside of a scripted layer cannot be watched.
    """
    running: list[str] = []
    owner = threading.get_ident()

    def entering(name: str) -> Callable[..., None]:
        def enter(*_: object) -> None:
            if threading.get_ident() == owner:
                running.append(name)

        return enter

    def leave(*_: object) -> None:
        if threading.get_ident() == owner and running:
            running.pop()

    with ExitStack() as hooks:
        for name, layer in list(module.named_modules()):
            if not isinstance(layer, ScriptModule):
                handles: tuple[RemovableHandle, ...] = (
                    layer.register_forward_pre_hook(entering(name), prepend=True),
                    layer.register_forward_hook(leave, always_call=True),
                )
                for handle in handles:
                    hooks.callback(handle.remove)
        yield lambda: running[-1] if running else ""
