"""novello2022, section 3: how much the score depends on whether a cell of the image is there (HSIC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import held
from saliscope.methods.resolution import even
from saliscope.methods.sampling import ERROR, MAP, MEASURES, Drawn, Sampling, whole
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.masks import blended, repeated
from saliscope.perturb.precision import Precision, at_precision, check_precision
from saliscope.perturb.stream import FORWARD, ROUNDING, batch_size, scored
from saliscope.perturb.window import per_axis

if TYPE_CHECKING:
    from torch import Tensor

#: After how many copies the error is looked at first, where there is a tolerance.
FIRST = 256
#: The middles of five equally likely parts of a standard normal variable.
FIFTHS = (-1.2816, -0.5244, 0.0, 0.5244, 1.2816)


@dataclass(frozen=True)
class HSIC:
    """Of every cell of a grid the Hilbert-Schmidt independence criterion with the score, painted over the cell.

    Each copy keeps each cell with probability one half. The kernel of a cell is one where two copies agree on it; that
    of the score is Gaussian, as wide as the median distance of two scores. `cells` are one number or one for each axis;
    without them 7 in 2D and 5 in 3D. Values are not negative: they say that the score depends on a cell, in any way.
    Where a cell is not kept, `baseline` stands. Beside the map stands the standard error of each value. With a
    `tolerance`, copies are drawn, up to `samples`, until it is below that share of the map's largest value in every
    cell. With `precision` "bfloat16" a reduced copy of the network runs where a check finds it as good. `memory_mb`
    bounds the copies at once, and changes no value.
    """

    samples: int = 1500
    cells: int | tuple[int, ...] | None = None
    baseline: Baseline = "mean"
    seed: int = 0
    precision: Precision = "float32"
    memory_mb: float = 1024
    tolerance: float | None = None

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="novello2022",
        cost="at most `samples` forward, whatever K",
        blind="Whether a cell speaks for or against. No finer than a cell.",
    )
    beside: ClassVar[tuple[str, ...]] = ("error",)
    measures: ClassVar[tuple[str, ...]] = MEASURES

    def __post_init__(self) -> None:
        least = min(self.cells) if isinstance(self.cells, tuple) else self.cells
        if self.samples < 2 or (least is not None and least < 1):
            raise MethodError(
                f"samples={self.samples}, cells={self.cells}",
                expected="two samples or more, a cell or more",
                do="Correct the fields",
            )
        check_baseline(self.baseline)
        check_precision(self.precision)
        self._sampling()

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), without unit, between 0 and 1/2."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "error" (N, K, *S), without unit, and `measures` (N, K)."""
        pairs = enumerate(zip(x.detach(), absent(x.detach(), self.baseline), strict=True))
        several = [self._of_one(model, image, out, held(model, image[None], target, n)) for n, (image, out) in pairs]
        return self._sampling().told(model, several)

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the cell of the masks, for x (1, C, *S)."""
        return (even(x.shape[2:], self._cells(x.shape[2:])),)

    def _cells(self, shape: Sequence[int]) -> list[int]:
        return per_axis("cells", self.cells, [7 if len(shape) == 2 else 5] * len(shape), shape)

    def _sampling(self) -> Sampling:
        return Sampling(self.samples, self.tolerance, FIRST, "copies")

    def _of_one(self, model: Model, image: Tensor, without: Tensor, target: Target) -> Drawn:
        import torch

        shape = image.shape[1:]
        cells = self._cells(shape)
        generator = torch.Generator().manual_seed(self.seed)
        kept = (torch.rand(self.samples, prod(cells), generator=generator) < 0.5).double()

        def copies(some: range) -> Tensor:
            rows = kept[some.start : some.stop].to(image)
            return blended(image, without, repeated(rows.reshape(-1, *cells), shape))

        size = batch_size(image[None], self.memory_mb, FORWARD)
        run = at_precision(model, target, copies, self.samples, size, self.precision)
        scores: list[Tensor] = []

        def grow(stage: range) -> dict[str, Tensor]:
            begin = stage.start
            parts = scored(run, target, lambda r: copies(range(begin + r.start, begin + r.stop)), len(stage), size)
            scores.extend(s.double().cpu() for _, s in parts)
            columns = torch.cat(scores).T
            each = [dependence_with_error(kept[: stage.stop], column) for column in columns]
            return {
                name: repeated(torch.stack(values).reshape(-1, *cells).to(image), shape)
                for name, values in zip((MAP, ERROR), zip(*each, strict=True), strict=True)
            }

        return self._sampling().drawn(grow)


def dependence(kept: Tensor, scores: Tensor) -> Tensor:
    """Return HSIC (d,) = tr(K H L H) / (n - 1)² of binary cells (n, d) and scores (n,), without building any K.

    For binary z, K = 1 - (z - z')² is 2 z z' but for terms that H takes away: so tr(K H L H) = 2 zᵀ H L H z.
    """
    return dependence_with_error(kept, scores)[0]


def dependence_with_error(kept: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return HSIC (d,) of binary cells (n, d) and scores (n,), and its standard error.

    HSIC is a mean over pairs of h = 2 z z' l with z and the likeness l both centred, a U-statistic of degree 2 but for
    its diagonal (hoeffding1948, eq. 5.13): its variance is 4 ζ1 / n + 2 ζ2 / n². ζ2 is the variance of h; that of each
    sample's mean over the others is ζ1 + ζ2 / n, and the second part is all that is left where the score does not
    depend on a cell. To this comes what the width does: a median of few values that scores take, as with few cells,
    may jump. HSIC's variance over widths as likely as this one, by the median's own error in ranks, is added.
    """
    import torch

    count, distance = len(kept), torch.pdist(scores[:, None], p=2).sort().values
    width = _width(distance, 0.5)
    if not width > ROUNDING * scores.abs().max():
        return kept.new_zeros(kept.shape[1]), kept.new_zeros(kept.shape[1])
    square = (scores[:, None] - scores) ** 2
    likeness = torch.exp(-square / (2 * width**2))
    found = _criterion(kept, likeness)
    if count < 3:
        return found, whole(found[None])[0]
    step = 2 * float((square <= width**2).double().mean(dim=1).std()) / count**0.5
    widths = {float(_width(distance, 0.5 + t * step)) for t in FIFTHS}
    others = {w: _criterion(kept, torch.exp(-square / (2 * w**2))) for w in widths}
    likely = torch.stack([others[float(_width(distance, 0.5 + t * step))] for t in FIFTHS])
    return found, (_variance(kept, likeness) + likely.var(dim=0, correction=0)).sqrt()


def _width(distance: Tensor, share: float) -> Tensor:
    """Return the distance (of sorted ones) below which a share of them lies; the mean in place of a width of zero."""
    at = min(max(0, round(share * (len(distance) - 1) - 1e-9)), len(distance) - 1)
    # At least half of the scores may be equal: then the mean distance stands in for a median of zero.
    return distance[at] if distance[at] > 0 else distance.mean()


def _criterion(kept: Tensor, likeness: Tensor) -> Tensor:
    centred = kept - kept.mean(dim=0)
    return 2 * (centred * (likeness @ centred)).sum(dim=0) / (len(kept) - 1) ** 2


def _variance(kept: Tensor, likeness: Tensor) -> Tensor:
    """Return the variance (d,) of the criterion of cells (n, d), the likeness (n, n) of scores being given."""
    count, rim, z = len(kept), likeness.mean(dim=0), kept - kept.mean(dim=0)
    likeness = likeness - rim - rim[:, None] + rim.mean()
    square, diagonal = z.square(), 2 * z.square() * likeness.diagonal()[:, None]
    single = (2 * z * (likeness @ z) - diagonal) / (count - 1)
    both = 4 * (square * (likeness.square() @ square)).sum(dim=0) - diagonal.square().sum(dim=0)
    pairs = both / (count * (count - 1)) - single.mean(dim=0).square()
    alone = (single.var(dim=0) - pairs / count).clamp(min=0)
    return 4 * alone / count + 2 * pairs.clamp(min=0) / count**2
