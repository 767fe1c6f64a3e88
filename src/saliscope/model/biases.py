"""What the layers of a network add to what they are given: biases, and norms that are fixed as affine maps."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from saliscope.model.axes.meaning import BATCH
from saliscope.model.layers import EVERY, LayerRun
from saliscope.model.probe import found

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork

#: Norms that take mean and scale from the input itself: no bias says all that they add.
MOVING = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, _InstanceNorm)


def biases(model: OpenNetwork, x: Tensor) -> dict[str, Tensor]:
    """Return for each layer run of x (N, C, *S) that adds a bias that tensor, in a shape that fits its output.

    A batch norm at rest is y = (x - mean) / std * scale + shift, which adds shift - mean / std * scale. Of a norm
    that depends on its input only the shift is told, and that is noted, as is a bias whose axis cannot be known.
    """
    told: dict[str, Tensor] = {}
    moving: list[str] = []
    unknown: list[str] = []
    runs = model.runs(x)
    whole = {run.name.removesuffix(EVERY) for run in runs if run.count > 1}
    for run in runs:
        if not run.name or not run.reaches:
            continue
        if run.count == 1 and run.name.partition("#")[0] in whole:
            continue  # all runs beside each other are one
        module = found(model.module, run.name.partition("#")[0])
        if isinstance(module, MOVING) or (isinstance(module, _BatchNorm) and module.running_mean is None):
            moving.append(run.name)
        added = _added(module)
        if added is None:
            continue
        fitted = _fitted(module, added, run.shape) if run.count == 1 else _on_grid(added, run)
        if fitted is None:
            unknown.append(run.name)
        else:
            told[run.name] = fitted
    if moving:
        model.note(f"Norms that depend on the image add more than their bias: {', '.join(moving)}.")
    if unknown:
        model.note(f"Layers whose bias fits no one axis of their output are left out: {', '.join(unknown)}.")
    return told


def _on_grid(added: Tensor, run: LayerRun) -> Tensor | None:
    """Return what a module adds for the output of all its runs, laid out as (N, C, *S'); None where C is another."""
    assert run.grid is not None
    features = prod(a.size for a in run.grid.axes.atoms() if not a.spatial and a.dim != BATCH)
    return added.reshape(1, -1, *[1] * len(run.grid.shape)) if added.numel() == features else None


def _fitted(module: nn.Module, added: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Return what a module adds in a shape that fits its output: along the channels, or last; None where unknown."""
    if isinstance(module, nn.LayerNorm) and type(module).forward is not nn.LayerNorm.forward and len(shape) > 2:
        # Of libraries' own kind: channels of an image stand first, others last.
        first, last = shape[1] == added.numel(), tuple(shape[-added.ndim :]) == tuple(added.shape)
        if first and last and type(module).__name__.lower().endswith(("2d", "3d")):
            last = False
        if first == last:
            return None
        axis = 1 if first else None
    elif isinstance(module, nn.Linear | nn.LayerNorm):
        axis = None
    elif isinstance(module, _ConvNd):
        # Without an axis of images the channels stand first.
        axis = len(shape) - len(module.kernel_size) - 1
    else:
        axis = 1
    if axis is None:
        return added if tuple(shape[-added.ndim :]) == tuple(added.shape) else None
    if len(shape) <= axis or shape[axis] != added.numel():
        return None
    return added.reshape(*[1] * axis, -1, *[1] * (len(shape) - axis - 1))


def _added(module: nn.Module) -> Tensor | None:
    """Return what a module adds, for each channel, or None for nothing and for modules that are not known."""
    if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
        scale = torch.rsqrt(module.running_var + module.eps)
        if module.weight is not None:
            scale = scale * module.weight.detach()
        shift = -module.running_mean * scale
        return shift if module.bias is None else shift + module.bias.detach()
    if isinstance(module, (_ConvNd, nn.Linear, _BatchNorm, *MOVING)):
        bias = getattr(module, "bias", None)
        return None if bias is None else bias.detach()
    return None
