"""ribeiro2016, eq. 1 and 2 and section 3.4: a linear model of which segments are left, fitted near the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import held
from saliscope.methods.perturbation.coalitions import Coalitions, solved, solved_error
from saliscope.methods.resolution import pieces
from saliscope.methods.sampling import ERROR, MAP, MEASURES, Drawn, Sampling
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.precision import Precision, check_precision
from saliscope.perturb.segments import Partition, Spacing, check_segments, painted, segmented

if TYPE_CHECKING:
    from torch import Tensor

#: After how many copies the error is looked at first, where there is a tolerance.
FIRST = 256


@dataclass(frozen=True)
class LIME:
    """The weight of each segment in a linear model of the score, painted over the segment.

    Each copy keeps every segment with probability one half, `baseline` standing in the others; it counts by the paper's
    `kernel` exp(-D²/`width`²), D being the cosine distance of what it keeps to the whole. The authors' code for images
    takes the root of that, exp(-D²/(2 `width`²)), which is "root" here; at their width of 0.25 maps differ by some per
    cent. The fit is least squares with an intercept and their penalty `ridge` on the weights' squares. About `segments`
    supervoxels ("slic") or boxes ("grid") make the `partition`, by `spacing` of the elements where that is known. How
    much of the score's variance the linear model explains is noted. Beside the map stands the standard error of each
    weight over other draws (mackinnon1985); it is not how far the linear model is from the network. With a
    `tolerance`, copies are drawn, up to `samples`, until it is below that share of the map's largest magnitude in every
    segment. With `precision` "bfloat16" a reduced copy of the network runs where a check finds it as good.
    `memory_mb` bounds the copies at once, and changes no value.
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
    tolerance: float | None = None
    kernel: Literal["squared", "root"] = "squared"

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="ribeiro2016",
        cost="1 + at most `samples` forward, whatever K",
        blind="What segments do together, which no linear model holds. Another parting, another map.",
    )
    beside: ClassVar[tuple[str, ...]] = ("error",)
    measures: ClassVar[tuple[str, ...]] = MEASURES

    def __post_init__(self) -> None:
        if self.samples < 2 or self.width <= 0 or self.ridge < 0 or self.kernel not in ("squared", "root"):
            raise MethodError(
                f"samples={self.samples}, width={self.width}, ridge={self.ridge}, kernel={self.kernel!r}",
                expected="two samples or more, a positive width, a ridge that is not negative, kernel squared or root",
                do="Correct the fields",
            )
        self._sampling()
        check_segments(self.segments, self.partition)
        check_baseline(self.baseline)
        check_precision(self.precision)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score for a whole segment."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "error" (N, K, *S), in units of the score for a whole segment, and `measures` (N, K)."""
        pairs = enumerate(zip(x.detach(), absent(x.detach(), self.baseline), strict=True))
        several = [self._of_one(model, image, out, held(model, image[None], target, n)) for n, (image, out) in pairs]
        return self._sampling().told(model, several)

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the typical segment of one image x (1, C, *S)."""
        return (pieces(self._labels(x[0])),)

    def _labels(self, image: Tensor) -> Tensor:
        return segmented(image, self.segments, self.partition, self.spacing)

    def _sampling(self) -> Sampling:
        return Sampling(self.samples, self.tolerance, FIRST, "copies")

    def _of_one(self, model: Model, image: Tensor, without: Tensor, target: Target) -> Drawn:
        import torch

        labels = self._labels(image)
        coalitions = Coalitions(image, without, labels)
        generator = torch.Generator().manual_seed(self.seed)
        kept = torch.rand(1 + self.samples, coalitions.count, generator=generator) < 0.5
        kept[0] = True
        run = coalitions.scores(model, target, kept, self.memory_mb, self.precision)
        scores, explained = run(range(1)), torch.ones(1)

        def grow(stage: range) -> dict[str, Tensor]:
            nonlocal scores, explained
            scores = torch.cat([scores, run(range(1 + stage.start, 1 + stage.stop))])
            found, error, explained = self._fitted(kept[: len(scores)].double(), scores)
            return {MAP: painted(found.T.to(image), labels), ERROR: painted(error.T.to(image), labels)}

        drawn = self._sampling().drawn(grow)
        model.note(f"the linear model explains {float(explained.min()):.0%} or more of the variance of each score.")
        return drawn

    def _fitted(self, kept: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights and their errors, both (segments, K), and the share of the variance (K,) that they explain."""
        import torch

        # The cosine of a binary vector with the vector of ones.
        distance = 1 - kept.mean(dim=1).sqrt()
        weight = torch.exp(-((distance / self.width) ** 2))
        weight = weight.sqrt() if self.kernel == "root" else weight
        # An intercept without penalty is the same as taking the weighted means off.
        mean = [(weight @ v) / weight.sum() for v in (kept, scores)]
        design, values = kept - mean[0], scores - mean[1]
        found = solved(design, weight, values, self.ridge)
        left = weight @ (values - design @ found).square()
        explained = 1 - left / (weight @ values.square()).clamp(min=1e-300)
        # For the error the intercept is a column, since a copy left out moves the means.
        count = kept.shape[1]
        both = torch.cat([design, torch.ones_like(weight)[:, None]], dim=1)
        ridge = kept.new_tensor([self.ridge] * count + [0.0])
        error = solved_error(both, weight, values, ridge, torch.eye(count, count + 1, dtype=kept.dtype), fixed=1)
        return found, error, explained
