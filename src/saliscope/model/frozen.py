"""A network's forward run with its weights folded in and its operations fused, for methods that run it many times."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork

#: How far its outputs may be from the network's, as a share of the largest: what float32 rounds away.
ROUNDING = 2e-5


class Frozen:
    """What an opened network gives without a graph; it counts as the network."""

    def __init__(self, opened: OpenNetwork, run: nn.Module) -> None:
        self._opened, self._run = opened, run

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits of x (N, C, *S), without a graph."""
        if self._opened.mixes(x):
            return self._opened(x)
        with torch.no_grad():
            output: Tensor = self._run(x.detach())
        self._opened.count(len(x))
        return output if self._opened.stands(x, output) else self._opened(x)


def frozen(opened: OpenNetwork, x: Tensor) -> Frozen | str:
    """Return the network frozen, proved on x (N, C, *S), N at least three; or why it had better run as it is.

    The proof runs x through both, with other numbers of images than it was traced with.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return "only networks in float32 on a CPU gain from it"
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A path that depends on values would be kept as it was for the traced images.
            warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            traced = torch.jit.trace(_Logits(opened), x[:2], check_trace=False)
            run = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
            # The first runs are watched to choose what to fuse, so a later one is looked at.
            found = [run(part) for part in (x, x[:1], x)][-1]
    except Exception as fault:  # noqa: BLE001 - a network that cannot be traced runs as it is
        return f"it cannot be traced ({type(fault).__name__})"
    right = opened(x)
    error = float((found - right).abs().max() / right.abs().max().clamp(min=1e-30))
    if not error <= ROUNDING:
        return f"frozen it differs by {error:.1e} of its largest output"
    return Frozen(opened, run)


class _Logits(nn.Module):
    """The module with its logits chosen, as tracing needs it."""

    def __init__(self, opened: OpenNetwork) -> None:
        super().__init__()
        self.training = False  # the module's own flags are set already, and are not ours to set
        self.module = opened.module
        # Not a submodule: what is opened is no part of the network.
        self._choose = opened.run_uncounted

    def forward(self, x: Tensor) -> Tensor:
        return self._choose(x, self.module)
