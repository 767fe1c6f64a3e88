"""What a network's own exception means for whoever called it: one sentence, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from saliscope.core.errors import ChannelsError, ModelError, SaliscopeError


@contextmanager
def told_of_failure(module: nn.Module, x: Tensor) -> Iterator[None]:
    """Raise ModelError in place of whatever a network raises on x (N, C, *S); a refusal of ours passes."""
    try:
        yield
    except (SaliscopeError, MemoryError):
        raise
    except Exception as error:
        raise failure(module, x, error) from error


def failure(module: nn.Module, x: Tensor, error: Exception) -> ModelError:
    """Return the refusal for an exception that a network raised on x (N, C, *S)."""
    first = (str(error).strip().splitlines() or [""])[0]
    got = f"{type(module).__name__}, which raised {type(error).__name__} on an input of shape {tuple(x.shape)}"
    got += f" ({first})" if first else ""
    wanted = _wanted_channels(module, x)
    if wanted and ("channel" in first or "size of tensor" in first):
        how = f"x.expand(-1, {wanted}, {'-1, ' * (x.ndim - 3)}-1)" if x.shape[1] == 1 else "x.mean(1, keepdim=True)"
        fits = wanted == 1 or x.shape[1] == 1
        return ChannelsError(
            got,
            wanted=wanted,
            expected=f"{wanted} channels in place of {x.shape[1]}",
            do=f"Give it {how}, or a view with the step channels" if fits else "Give it the channels it was made for",
        )
    if isinstance(error, TypeError) and "argument" in first:
        return ModelError(
            got,
            expected="a forward that takes one tensor (N, C, *S)",
            do="Say how to call it with the image x and what else it needs: forward=lambda net, x: net(x, table), "
            "with as many rows of the rest as x has",
        )
    return ModelError(
        got,
        expected="a network that runs on one tensor (N, C, *S) of this size and type",
        do="Call it yourself on the same tensor; give the size, channels and type that it was made for, or wrap it",
    )


def _wanted_channels(module: nn.Module, x: Tensor) -> int:
    """Return how many channels the first convolution takes, 0 where there is none or it fits."""
    first = next((m for m in module.modules() if isinstance(m, _ConvNd)), None)
    return 0 if first is None or first.in_channels == x.shape[1] else int(first.in_channels)
