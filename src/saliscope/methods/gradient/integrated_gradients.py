"""sundararajan2017, eq. 1 and its sum in section 5: gradients on the line from a baseline, times its length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, held, watch
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.stream import GRAPH, batch_size, batches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class IntegratedGradients:
    """The mean gradient between a baseline x' and the image x, times x - x', summed over channels.

    The map sums to score(x) - score(x'), up to the error of `steps` points of the midpoint rule, which `diagnose`
    measures. `baseline` is a name or a number in units of the view; the default "min" is the paper's black image
    whatever the view's normalisation. `memory_mb` bounds how many steps run at once and changes no value.
    """

    steps: int = 64
    baseline: Baseline = "min"
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="path",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="sundararajan2017",
        cost="`steps` forward, K x `steps` backward",
        blind="Whatever looks like the baseline gets nothing, however much it matters. Noisy.",
    )

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise MethodError(f"steps={self.steps}", expected="at least one", do="Correct the field")
        check_baseline(self.baseline)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        import torch

        pairs = zip(x.detach(), absent(x.detach(), self.baseline), strict=True)
        return torch.stack([self._of_one(model, image, start, target) for image, start in pairs])

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus score(x) - score(x'), and that as a share of the larger of the two.

        The share is zero for a complete map and never above 2, also where the scores do not differ.
        """
        target = held(model, x.detach(), target)
        scores = [target.scores(model(v)) for v in (x.detach(), absent(x.detach(), self.baseline))]
        difference = scores[0] - scores[1]
        total = attribution.flatten(2).sum(dim=2)
        gap = total - difference
        larger = total.abs().maximum(difference.abs())
        share = (gap.abs() / larger).where(larger > 0, gap.new_zeros(()))
        return {"completeness_gap": gap, "completeness_relative_gap": share}

    def _of_one(self, model: Model, image: Tensor, start: Tensor, target: Target) -> Tensor:
        import torch

        target = held(model, image[None], target)
        way = image - start
        total = image.new_zeros(())
        for steps in batches(self.steps, batch_size(image[None], self.memory_mb, GRAPH)):
            share = torch.tensor([(i + 0.5) / self.steps for i in steps], device=image.device, dtype=image.dtype)
            points = start + share.reshape(-1, *[1] * image.ndim) * way
            _, gradients = watch(model, points, target, [INPUT])
            total = total + torch.stack([(at_least_single(g[INPUT]).sum(dim=0) * way).sum(dim=0) for g in gradients])
        return total / self.steps
