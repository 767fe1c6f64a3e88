"""ribeiro2016, eq. 1 and 2 and section 3.4: a linear model of which segments are left, fitted near the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import held
from saliscope.methods.perturbation.coalitions import Coalitions, solved
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.precision import Precision, check_precision
from saliscope.perturb.segments import Partition, Spacing, check_segments, painted, segmented

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LIME:
    """The weight of each segment in a linear model of the score, painted over the segment.

    Each copy keeps every segment with probability one half, `baseline` standing in the others; it counts by
    exp(-D²/`width`²), D being the cosine distance of what it keeps to the whole, as in the authors' code for images.
    The fit is least squares with an intercept and their penalty `ridge` on the weights' squares. About `segments`
    supervoxels ("slic") or boxes ("grid") make the `partition`, by `spacing` of the elements where that is known. How
    much of the score's variance the linear model explains is noted. With `precision` "bfloat16" a reduced copy of the
    network runs where a check finds it as good. `memory_mb` bounds the copies at once, and changes no value.
    """

    samples: int = 1000
    segments: int = 64
    partition: Partition = "slic"
    spacing: Spacing = None
    width: float = 0.25
    ridge: float = 1.0
    baseline: Baseline = "mean"
    seed: int = 0
    precision: Precision = "float32"
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="ribeiro2016",
        cost="1 + `samples` forward, whatever K",
        blind="What segments do together, which no linear model holds. Another parting, another map.",
    )

    def __post_init__(self) -> None:
        if self.samples < 2 or self.width <= 0 or self.ridge < 0:
            raise MethodError(
                f"samples={self.samples}, width={self.width}, ridge={self.ridge}",
                expected="two samples or more, a positive width, a ridge that is not negative",
                do="Correct the fields",
            )
        check_segments(self.segments, self.partition)
        check_baseline(self.baseline)
        check_precision(self.precision)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score for a whole segment."""
        import torch

        pairs = zip(x.detach(), absent(x.detach(), self.baseline), strict=True)
        return torch.stack(
            [
                self._of_one(model, image, out, held(model, image[None], target, n))
                for n, (image, out) in enumerate(pairs)
            ]
        )

    def _of_one(self, model: Model, image: Tensor, without: Tensor, target: Target) -> Tensor:
        import torch

        labels = segmented(image, self.segments, self.partition, self.spacing)
        coalitions = Coalitions(image, without, labels)
        generator = torch.Generator().manual_seed(self.seed)
        kept = torch.rand(1 + self.samples, coalitions.count, generator=generator) < 0.5
        kept[0] = True
        scores = coalitions.scores(model, target, kept, self.memory_mb, self.precision)
        # The cosine of a binary vector with the vector of ones.
        distance = 1 - kept.double().mean(dim=1).sqrt()
        weight = torch.exp(-((distance / self.width) ** 2))
        # An intercept without penalty is the same as taking the weighted means off.
        mean = [(weight @ v) / weight.sum() for v in (kept.double(), scores)]
        design, values = kept.double() - mean[0], scores - mean[1]
        found = solved(design, weight, values, self.ridge)
        left = weight @ (values - design @ found).square()
        explained = 1 - left / (weight @ values.square()).clamp(min=1e-300)
        model.note(f"the linear model explains {float(explained.min()):.0%} or more of the variance of each score.")
        return painted(found.T.to(image), labels)
