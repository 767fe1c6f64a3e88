"""Maps made anew by a method, a few images at a time, for metrics that compare them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.nesting import has, inside
from saliscope.core.protocols import INPUT, Kernel, Method, Model
from saliscope.core.target import Holding, Indexed, PerImage, Target
from saliscope.perturb.stream import GRAPH, batch_size, batches

if TYPE_CHECKING:
    from torch import Tensor


def maps_of(
    model: Model, method: Method, x: Tensor, target: Target, memory_mb: float = 1024, *, on_input: bool = False
) -> Tensor:
    """Return the maps (N, K, *S') of images x (N, C, *S), in float64 on the CPU, on their own grid or on that of x.

    As many images run at once as the memory allows; a method gives each the map that it would have alone.
    """
    import torch

    layer = layer_of(method) if on_input else INPUT
    found = []
    for some in batches(len(x), batch_size(x, memory_mb, GRAPH)):
        part = x[some.start : some.stop]
        asked = PerImage(tuple(target.of(n) for n in some)) if isinstance(target, Indexed) else target
        maps = method.attribute(model, part, asked).detach()
        maps = maps if layer == INPUT else model.onto_input(maps, part, layer)
        found.append(maps.to("cpu", torch.float64))
    return torch.cat(found)


def maps_and_outputs(
    model: Model, method: Method, x: Tensor, target: Target, memory_mb: float = 1024
) -> tuple[Tensor, Tensor]:
    """Return the maps (N, K, *S) of copies of one image, on their elements, and the network's outputs (N, ...).

    A method that is one probe runs each copy once and its target hears the output; of any other the outputs cost a
    forward run of their own.
    """
    import torch

    heard = _Overheard(target)
    maps = maps_of(model, method, x, heard if isinstance(method, Kernel) else target, memory_mb, on_input=True)
    outputs = heard.outputs
    if sum(map(len, outputs)) != len(x):
        sizes = batches(len(x), batch_size(x, memory_mb, GRAPH))
        outputs = [model(x[some.start : some.stop]) for some in sizes]
    return maps, torch.cat(outputs)


def held_for(model: Model, x: Tensor, target: Target) -> Target:
    """Return the target with what each image of x (N, C, *S) has fixed as this model sees it.

    A segmentation keeps the region predicted now, also when another network is asked; nothing is run for a target
    without such a part.
    """
    own = [target.of(n) if isinstance(target, Indexed) else target for n in range(len(x))]
    held = [t.held(_running(model, x[n : n + 1])) if isinstance(t, Holding) else t for n, t in enumerate(own)]
    return target if all(a is b for a, b in zip(own, held, strict=True)) else PerImage(tuple(held))


def layer_of(method: Method) -> str:
    """Return the layer on whose grid a method's map lies, or `INPUT`; raises MetricError where it is still "auto"."""
    if method.traits.grid == "input":
        return INPUT
    layers = [str(m.layer) for m in inside(method) if has(m, "layer")]  # type: ignore[attr-defined]
    if not layers or layers[0] == "auto":
        raise MetricError(
            f"{type(method).__name__} on the grid of a layer that is not named",
            expected="the dotted name of a layer",
            do="Settle the layer before the metric is asked.",
        )
    return layers[0]


class _Overheard:
    """A target that keeps the outputs it was asked to score."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.outputs: list[Tensor] = []

    @property
    def labels(self) -> tuple[str, ...]:
        return self._target.labels

    def scores(self, output: Tensor) -> Tensor:
        self.outputs.append(output.detach())
        return self._target.scores(output)


def _running(model: Model, x: Tensor) -> Callable[[], Tensor]:
    return lambda: model(x)
