"""lundberg2017, theorem 2, with covert2021: Shapley values of segments as weighted least squares over coalitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, ClassVar

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

#: After how many coalitions the error is looked at first, where there is a tolerance.
FIRST = 256


@dataclass(frozen=True)
class KernelSHAP:
    """The Shapley value of each segment, painted over the segment; over segments they sum to score(x) - score(x').

    Where all coalitions fit into `samples`, as with ten segments, all are run once and the values are exact.
    Otherwise coalitions are drawn by the Shapley kernel, each with its complement (paired sampling, covert2021),
    which lessens the variance; the sum is exact all the same, as a constraint of the fit. x' is `baseline`. About
    `segments` supervoxels ("slic") or boxes ("grid") make the `partition`, by `spacing` of the elements where that is
    known. Beside the map stands the standard error of each value over other draws (mackinnon1985); of all coalitions it
    is 0. With a `tolerance`, pairs are drawn, up to `samples` coalitions, until it is below that share of the map's
    largest magnitude in every segment. With `precision` "bfloat16" a reduced copy of the network runs where a check
    finds it as good. `memory_mb` bounds the copies at once, and changes no value.
    """

    samples: int = 2048
    segments: int = 64
    partition: Partition = "slic"
    spacing: Spacing = None
    baseline: Baseline = "mean"
    seed: int = 0
    precision: Precision = "float32"
    memory_mb: float = 1024
    tolerance: float | None = None

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="lundberg2017",
        cost="2 + at most `samples` forward, whatever K",
        blind="No finer than a segment; another parting, other map. Copies without most segments look like no image.",
    )
    beside: ClassVar[tuple[str, ...]] = ("error",)
    measures: ClassVar[tuple[str, ...]] = MEASURES

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise MethodError(f"samples={self.samples}", expected="two or more", do="Correct the field")
        check_segments(self.segments, self.partition)
        check_baseline(self.baseline)
        check_precision(self.precision)
        self._sampling(self.samples)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score for a whole segment."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "error" (N, K, *S), in units of the score for a whole segment, and `measures` (N, K)."""
        pairs = enumerate(zip(x.detach(), absent(x.detach(), self.baseline), strict=True))
        several = [self._of_one(model, image, out, held(model, image[None], target, n)) for n, (image, out) in pairs]
        return self._sampling(self.samples).told(model, several)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum over segments minus score(x) - score(x'); zero but for rounding and the precision."""
        import torch

        gaps = []
        for n, (image, out) in enumerate(zip(x.detach(), absent(x.detach(), self.baseline), strict=True)):
            fixed = held(model, image[None], target, n)
            scores = fixed.scores(model(torch.stack([image, out])))
            labels = self._labels(image).flatten()
            size = torch.bincount(labels)[labels].to(attribution)
            gaps.append((attribution[n].flatten(1) / size).sum(dim=1) - (scores[0] - scores[1]))
        return {"completeness_gap": torch.stack(gaps)}

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the typical segment of one image x (1, C, *S)."""
        return (pieces(self._labels(x[0])),)

    def _labels(self, image: Tensor) -> Tensor:
        return segmented(image, self.segments, self.partition, self.spacing)

    def _sampling(self, ceiling: int) -> Sampling:
        return Sampling(ceiling, self.tolerance, FIRST, "coalitions")

    def _of_one(self, model: Model, image: Tensor, without: Tensor, target: Target) -> Drawn:
        import torch

        labels = self._labels(image)
        coalitions = Coalitions(image, without, labels)
        kept, weight = self._drawn(coalitions.count)
        ends = torch.tensor([[True], [False]]).expand(2, coalitions.count)
        run = coalitions.scores(model, target, torch.cat([ends, kept]), self.memory_mb, self.precision)
        (whole, nothing), scores = run(range(2)), torch.zeros(0)
        every = 2**coalitions.count - 2 == len(kept)

        def grow(stage: range) -> dict[str, Tensor]:
            nonlocal scores
            scores = torch.cat([scores, run(range(2 + stage.start, 2 + stage.stop))])
            some = len(scores)
            # The constraint on the sum is met by writing the last value as what the others leave.
            last = kept[:some, -1:].double()
            design, values = kept[:some, :-1].double() - last, scores - nothing - last * (whole - nothing)
            rest = solved(design, weight[:some], values)
            found = torch.cat([rest, (whole - nothing - rest.sum(dim=0))[None]])
            error = torch.zeros_like(found) if every else _error(design, values)
            return {MAP: painted(found.T.to(image), labels), ERROR: painted(error.T.to(image), labels)}

        # All coalitions are not draws: each has its weight, and none may be missing.
        return (Sampling(len(kept), None, FIRST, "coalitions") if every else self._sampling(len(kept))).drawn(grow)

    def _drawn(self, count: int) -> tuple[Tensor, Tensor]:
        """Return coalitions (m, count), neither empty nor full, and their weights (m,): all, or drawn in pairs."""
        import torch

        if 2**count - 2 <= self.samples:
            number = torch.arange(1, 2**count - 1)
            kept = (number[:, None] >> torch.arange(count)) & 1 == 1
            size = kept.sum(dim=1)
            kernel = [(count - 1) / (comb(count, s) * s * (count - s)) for s in range(1, count)]
            return kept, torch.tensor(kernel, dtype=torch.float64)[size - 1]
        generator = torch.Generator().manual_seed(self.seed)
        sizes = torch.arange(1, count)
        chance = 1 / (sizes * (count - sizes)).double()
        drawn = sizes[torch.multinomial(chance, self.samples // 2, replacement=True, generator=generator)]
        rank = torch.rand(len(drawn), count, generator=generator).argsort(dim=1).argsort(dim=1)
        half = rank < drawn[:, None]
        kept = torch.stack([half, ~half], dim=1).flatten(0, 1)
        return kept, torch.ones(len(kept), dtype=torch.float64)


def _error(design: Tensor, values: Tensor) -> Tensor:
    """Return the standard error (segments, K) of values fitted to pairs: a coalition's row, then its complement's.

    The rows of a pair are x and -x, so together they are one row x with half the difference of their values.
    """
    import torch

    pairs, half = design[::2], (values[::2] - values[1::2]) / 2
    eye = torch.eye(pairs.shape[1], dtype=pairs.dtype)
    # The last value is what the others leave of the whole.
    wanted = torch.cat([eye, -torch.ones_like(eye[:1])])
    return solved_error(pairs, torch.ones_like(pairs[:, 0]), half, torch.zeros_like(eye[0]), wanted)
