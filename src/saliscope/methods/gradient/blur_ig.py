"""xu2020, Blur IG: integrated gradients on the path of ever less blurred copies of the image, without a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.completeness import GAP_LIMIT, check_limit, completeness
from saliscope.methods.gradient.doubling import Doubling, at_ends
from saliscope.methods.gradient.slopes import slopes
from saliscope.methods.kernel import held
from saliscope.methods.resolution import one_element
from saliscope.perturb.baseline import blurred
from saliscope.perturb.stream import GRAPH, batch_size

if TYPE_CHECKING:
    from torch import Tensor

#: Steps to begin with where a tolerance is to be met.
FIRST = 32


@dataclass(frozen=True)
class BlurIG:
    """The gradient at blurred copies of the image times what each step takes off the blur, summed over channels.

    The standard deviation falls in equal steps from `sigma_mm` to nothing, the same in millimetres along
    every axis: `spacing` is the size of an element of the view in mm for each axis, and one where that is not known.
    Without `sigma_mm` it is an eighth of the longest side. The gradient is taken in the middle of a step, and the
    step itself stands for the paper's derivative times its length, so that a linear network's map is complete. At
    the edge the Gaussian's weights sum to one. The steps are doubled from 32 to at most `max_steps` until the sum of
    the map is within `tolerance`; with a number of `steps` there are so many. A sum that is off by more than
    `gap_limit` is refused where a map is explained. `memory_mb` bounds how many steps run at once and changes no value.
    """

    steps: int | None = None
    sigma_mm: float | None = None
    spacing: tuple[float, ...] | None = None
    memory_mb: float = 1024
    tolerance: float = 0.05
    max_steps: int = 512
    gap_limit: float = GAP_LIMIT

    traits: ClassVar[Traits] = Traits(
        family="path",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="xu2020",
        cost="34 forward, K x 32 backward, and up to 994 for the tolerance; or `steps`",
        blind="What a blur leaves as it is gets nothing: the inside of large even regions, and the mean brightness.",
    )
    resolution = one_element

    def __post_init__(self) -> None:
        widths = (self.sigma_mm or 1, *(self.spacing or ()))
        least = self.max_steps if self.steps is None else self.steps
        if least < 1 or min(widths) <= 0 or self.sigma_mm == 0 or not self.tolerance > 0:
            raise MethodError(
                f"steps={self.steps}, max_steps={self.max_steps}, sigma_mm={self.sigma_mm}, spacing={self.spacing}, "
                f"tolerance={self.tolerance}",
                expected="at least one step, positive widths and a positive tolerance",
                do="Correct the field",
            )
        check_limit(self.gap_limit)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score; raises MethodError for a spacing of another number of axes."""
        import torch

        widest = self._widest(x)
        doubling = Doubling("Blur IG", min(FIRST, self.max_steps), self.max_steps, self.tolerance)
        maps = []
        for n, image in enumerate(x.detach().split(1)):
            own = held(model, image, target, n)
            run = partial(self._of_one, model, own, image, widest)
            if self.steps is None:
                maps.append(doubling.settled(run, *at_ends(model, own, blurred(image, widest), image)))
            else:
                maps.append(run(self.steps))
        doubling.say(model)
        return torch.stack(maps)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus score(x) - score(blurred x), and that as a share; see `sum_gap`."""
        return completeness(model, x, target, attribution, blurred(x.detach(), self._widest(x)))

    def _widest(self, x: Tensor) -> list[float]:
        """Return the largest standard deviation along each axis, in elements."""
        shape = x.shape[2:]
        spacing = self.spacing or (1.0,) * len(shape)
        if len(spacing) != len(shape):
            raise MethodError(
                f"spacing={spacing} for an image of {len(shape)} axes",
                expected="one size for each axis",
                do=f"Give {len(shape)}",
            )
        sigma = self.sigma_mm or max(n * mm for n, mm in zip(shape, spacing, strict=True)) / 8
        return [sigma / mm for mm in spacing]

    def _of_one(self, model: Model, target: Target, image: Tensor, widest: list[float], count: int) -> Tensor:
        """Return (K, *S) of one image (1, C, *S) in so many steps."""
        import torch

        def at(place: float) -> Tensor:
            share = 1 - place / count
            return blurred(image, [share * w for w in widest]) if share > 0 else image

        size = batch_size(image, self.memory_mb, GRAPH)
        total = image.new_zeros(())
        for found in slopes(model, target, lambda some: torch.cat([at(i + 0.5) for i in some]), count, size):
            steps = torch.cat([at(i + 1) - at(i) for i in found.some])
            total = total + torch.stack([(g * steps).sum(dim=(0, 1)) for g in found.gradients])
        return total
