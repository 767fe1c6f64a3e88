"""adebayo2018, section 3.1: a network with weights drawn anew, on a copy, from its last layer down."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from saliscope.core.errors import LayerError, did_you_mean
from saliscope.model.network import Network, unwrapped

if TYPE_CHECKING:
    from torch import Tensor

#: Standard deviation of a drawn parameter that held one value everywhere, such as a scale of ones.
SPREAD = 0.02


def layers_with_weights(network: Network, x: Tensor) -> tuple[str, ...]:
    """Return the layers that own parameters or running statistics, from the last that x (N, C, *S) passes to the first.

    The order is that of the run; the order of registration says nothing of a U-Net.
    A layer that was not seen to run stands beside the one registered before it.
    """
    with network.opened() as model:
        seen = {run.name.partition("#")[0]: at for at, run in enumerate(model.runs(x)) if run.name}
    places: list[tuple[int, str]] = []
    at = -1
    for name, module in unwrapped(network.module).named_modules():
        at = seen.get(name, at)
        if _owns(module):
            places.append((at, name))
    places.sort(key=lambda place: place[0])
    return tuple(name for _, name in reversed(places))


def randomised(network: Network, x: Tensor, *, down_to: str | None = None, seed: int = 0) -> Network:
    """Return a copy whose layers from the last down to `down_to`, or all of them, are drawn anew.

    Each layer is initialised as torch does it when it is made, running statistics included; the caller's module and
    generator stay as they are. Raises LayerError for a layer that is not there or owns no weights.
    """
    names = layers_with_weights(network, x)
    if down_to is not None and down_to not in names:
        raise LayerError(
            f"layer {down_to!r}", expected="the dotted name of a layer with weights", do=did_you_mean(down_to, names)
        )
    count = len(names) if down_to is None else names.index(down_to) + 1
    *_, (_, last) = cascade(network, (names[:count],), seed)
    return last


def cascade(network: Network, stages: tuple[tuple[str, ...], ...], seed: int = 0) -> Iterator[tuple[str, Network]]:
    """Give for each stage its last layer and one copy, in which the layers of all stages so far are drawn anew.

    It is one and the same copy that changes from stage to stage: use each before the next is asked for.
    """
    module = deepcopy(unwrapped(network.module))
    named = dict(module.named_modules())
    copy = replace(network, module=module, digest="", name=f"{network.name}, weights drawn anew with seed {seed}")
    for stage in stages:
        for name in stage:
            draw(named[name], _own_seed(seed, name))
        yield stage[-1], copy


def stages_of(names: tuple[str, ...], count: int | None) -> tuple[tuple[str, ...], ...]:
    """Return layers, the last first, in at most `count` consecutive groups of nearly equal size; None: each alone."""
    groups = len(names) if count is None else min(count, len(names))
    ends = [round(len(names) * (i + 1) / groups) for i in range(groups)]
    return tuple(names[start:end] for start, end in zip([0, *ends], ends, strict=False))


def draw(module: nn.Module, seed: int) -> None:
    """Draw the parameters that a layer itself owns anew, from a generator of its own, and reset running statistics.

    A layer that cannot reset itself has each parameter drawn from a normal with that parameter's mean and spread.
    """
    devices = sorted({p.device.index or 0 for p in module.parameters(recurse=False) if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        reset = _reset(module)
        if reset is not None:
            reset()
            return
        for parameter in module.parameters(recurse=False):
            if parameter.is_floating_point():
                spread = parameter.std(correction=0) if parameter.numel() > 1 else parameter.new_zeros(())
                spread = spread.where(spread > 0, torch.full_like(spread, SPREAD))
                parameter.copy_(parameter.mean() + spread * torch.randn_like(parameter))


def _own_seed(seed: int, name: str) -> int:
    """Return a seed for one layer, so that what it gets does not depend on which others were drawn before it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big")


def _reset(module: nn.Module) -> Callable[[], object] | None:
    for name in ("reset_parameters", "_reset_parameters"):  # the second is that of torch's attention
        reset = getattr(module, name, None)
        if callable(reset):
            return reset  # type: ignore[no-any-return]
    return None


def _owns(module: nn.Module) -> bool:
    floating = any(p.is_floating_point() for p in module.parameters(recurse=False))
    return floating or isinstance(getattr(module, "running_mean", None), torch.Tensor)
