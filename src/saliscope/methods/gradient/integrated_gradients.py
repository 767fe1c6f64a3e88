"""sundararajan2017, eq. 1 and its sum in section 5: gradients on the line from a baseline, times its length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.completeness import GAP_LIMIT, check_limit, completeness
from saliscope.methods.gradient.refinement import Refinement
from saliscope.methods.gradient.slopes import line, slopes
from saliscope.methods.kernel import held
from saliscope.methods.resolution import one_element
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.stream import GRAPH, batch_size

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class IntegratedGradients:
    """The mean gradient between a baseline x' and the image x, times x - x', summed over channels.

    The path is cut finer, where it matters, until the map is within `tolerance` of the integral: the error, in L2 and
    as a share of the map, is at most half the change from steps three times as long, wherever it shrinks at least
    as the steps do. It is noted, with the number of gradients that it took, of which there are at most
    `max_gradients`. With a number of `steps` they are equal ones of the midpoint rule, without a bound. `baseline` is
    a name or a number in units of the view; the default "min" is the paper's black image whatever the view's
    normalisation. `memory_mb` bounds how many steps run at once and changes no value. A sum that is off by
    more than `gap_limit` is refused where a map is explained.
    """

    steps: int | None = None
    baseline: Baseline = "min"
    tolerance: float = 0.05
    max_gradients: int = 500
    memory_mb: float = 1024
    gap_limit: float = GAP_LIMIT

    traits: ClassVar[Traits] = Traits(
        family="path",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="sundararajan2017",
        cost="28 forward, K x 24 backward, and more where the tolerance asks for it; or `steps`",
        blind="Whatever looks like the baseline gets nothing, however much it matters. Noisy.",
    )
    resolution = one_element

    def __post_init__(self) -> None:
        fixed = self.steps is None or self.steps >= 1
        if not fixed or self.tolerance <= 0 or self.max_gradients < 24:
            raise MethodError(
                f"steps={self.steps}, tolerance={self.tolerance}, max_gradients={self.max_gradients}",
                expected="at least one step or None, a positive tolerance, and 24 gradients or more",
                do="Correct the field",
            )
        check_baseline(self.baseline)
        check_limit(self.gap_limit)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        import torch

        x = x.detach()
        refinement = Refinement(self.tolerance, self.max_gradients)
        maps = []
        for n, (image, start) in enumerate(zip(x, absent(x, self.baseline), strict=True)):
            own = held(model, image[None], target, n)
            size = batch_size(image[None], self.memory_mb, GRAPH)
            if self.steps is None:
                maps.append(refinement.integrate(model, own, image, start, size))
            else:
                maps.append(equal_steps(model, own, image, start, (self.steps, size)))
        refinement.say(model)
        return torch.stack(maps)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus score(x) - score(x'), and that as a share; see `sum_gap`."""
        return completeness(model, x, target, attribution, absent(x.detach(), self.baseline))


def equal_steps(model: Model, target: Target, image: Tensor, start: Tensor, steps_and_size: tuple[int, int]) -> Tensor:
    """Return (K, *S) of one image (C, *S) by that many steps of the midpoint rule, of which `size` run at once."""
    import torch

    steps, size = steps_and_size
    way = image - start
    total = way.new_zeros(())
    middles = [(i + 0.5) / steps for i in range(steps)]
    for found in slopes(model, target, lambda some: line(image, start, [middles[i] for i in some]), steps, size):
        total = total + torch.stack([(g.sum(dim=0) * way).sum(dim=0) for g in found.gradients])
    return total / steps
