"""One forward run for all methods that weigh the activation and gradient of a layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Kernel, Method, Model, Probe
from saliscope.core.target import Holding, Indexed, Target

if TYPE_CHECKING:
    from torch import Tensor


def kernel_maps(model: Model, x: Tensor, target: Target, methods: Sequence[Kernel]) -> list[Tensor]:
    """Return for each method its map (N, K, *S') of x (N, C, *S), all from one probe of all their layers.

    Half-precision activations are combined in float32. Raises MethodError for a layer that is still "auto", or
    whose output has not the axes (N, C, *S').
    """
    import torch

    for method in methods:
        check_named(method, method.layer)
    layers = list(dict.fromkeys(method.layer for method in methods))
    probe, gradients = watch(model, x, target, layers)
    activations = {name: on_grid(name, probe.activations[name], x) for name in layers}
    maps: list[list[Tensor]] = [[] for _ in methods]
    # One target at a time, so that K gradients never stand in memory together.
    for gradient in gradients:
        for found, method in zip(maps, methods, strict=True):
            found.append(method.combine(activations[method.layer], at_least_single(gradient[method.layer])))
    return [torch.stack(found, dim=1) for found in maps]


def watch(
    model: Model, x: Tensor, target: Target, layers: Sequence[str], *, placed: bool = True
) -> tuple[Probe, Iterator[Mapping[str, Tensor]]]:
    """Return a probe of x (N, C, *S) and the gradients of the K scores, also where the caller switched them off."""
    import torch

    with torch.enable_grad():
        probe = model.probe(x, layers, placed=placed)
        return probe, iter(probe.gradients(target.scores(probe.output)))


def held(model: Model, x: Tensor, target: Target, n: int = 0) -> Target:
    """Return the target of image n of a batch as it stands for that image unchanged, x (1, C, *S).

    A segmentation keeps the region predicted there. Only a target that has such a part costs a forward run.
    """
    target = target.of(n) if isinstance(target, Indexed) else target
    return target.held(lambda: model(x)) if isinstance(target, Holding) else target


def at_least_single(values: Tensor) -> Tensor:
    """Return values in float32 if they are of half precision, in which a sum loses digits or overflows."""
    return values.float() if values.element_size() < 4 else values


def check_named(method: Method, layer: str) -> None:
    """Raise MethodError for a layer that is still "auto"."""
    if layer == "auto":
        raise MethodError(
            f"{type(method).__name__} with layer 'auto', which is chosen where the network is known",
            expected="the dotted name of a layer",
            do="Name a layer, or call saliscope.explain, which chooses one",
        )


def on_grid(name: str, activation: Tensor, x: Tensor) -> Tensor:
    """Return the activation of a layer, in at least float32; raises MethodError unless its axes are (N, C, *S')."""
    if activation.ndim != x.ndim:
        raise MethodError(
            f"layer {name!r} with an output of shape {tuple(activation.shape)}",
            expected=f"{x.ndim} axes (N, C, *S), as the input has",
            do="Choose a layer before the pooling or flattening",
        )
    # A method may have run several copies of each image.
    if len(activation) % len(x):
        raise MethodError(
            f"layer {name!r} with an output of shape {tuple(activation.shape)} for {len(x)} images",
            expected="one row for each image (N, C, *S')",
            do="Let the reshape_transform keep the images apart, or give them one by one",
        )
    return at_least_single(activation.detach())


def gaps(name: str, total: Tensor, right: Tensor) -> dict[str, Tensor]:
    """Return, each (N, K), by how much the total of a map misses what is right, and that as a share of the larger.

    The share is zero where both are, and never above 2.
    """
    gap = total - right
    larger = total.abs().maximum(right.abs())
    share = (gap.abs() / larger).where(larger > 0, gap.new_zeros(()))
    return {f"{name}_gap": gap, f"{name}_relative_gap": share}
