"""novello2022, section 3: how much the score depends on whether a cell of the image is there (HSIC)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import held
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.masks import blended, repeated
from saliscope.perturb.precision import Precision, at_precision, check_precision
from saliscope.perturb.stream import FORWARD, ROUNDING, batch_size, scored
from saliscope.perturb.window import per_axis

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HSIC:
    """Of every cell of a grid the Hilbert-Schmidt independence criterion with the score, painted over the cell.

    Each copy keeps each cell with probability one half. The kernel of a cell is one where two copies agree on it; that
    of the score is Gaussian, as wide as the median distance of two scores. `cells` are one number or one for each axis;
    without them 7 in 2D and 5 in 3D. Values are not negative: they say that the score depends on a cell, in any way.
    Where a cell is not kept, `baseline` stands. With `precision` "bfloat16" a reduced copy of the network runs where a
    check finds it as good. `memory_mb` bounds the copies at once, and changes no value.
    """

    samples: int = 1500
    cells: int | tuple[int, ...] | None = None
    baseline: Baseline = "mean"
    seed: int = 0
    precision: Precision = "float32"
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="novello2022",
        cost="`samples` forward, whatever K",
        blind="Whether a cell speaks for or against. No finer than a cell.",
    )

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

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), without unit, between 0 and 1/2."""
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

        shape = image.shape[1:]
        cells = per_axis("cells", self.cells, [7 if len(shape) == 2 else 5] * len(shape), shape)
        generator = torch.Generator().manual_seed(self.seed)
        kept = (torch.rand(self.samples, prod(cells), generator=generator) < 0.5).double()

        def copies(some: range) -> Tensor:
            rows = kept[some.start : some.stop].to(image)
            return blended(image, without, repeated(rows.reshape(-1, *cells), shape))

        size = batch_size(image[None], self.memory_mb, FORWARD)
        run = at_precision(model, target, copies, self.samples, size, self.precision)
        scores = torch.cat([s.double().cpu() for _, s in scored(run, target, copies, self.samples, size)])
        found = torch.stack([dependence(kept, column) for column in scores.T])
        return repeated(found.reshape(-1, *cells).to(image), shape)


def dependence(kept: Tensor, scores: Tensor) -> Tensor:
    """Return HSIC (d,) = tr(K H L H) / (n - 1)² of binary cells (n, d) and scores (n,), without building any K.

    For binary z, K = 1 - (z - z')² is 2 z z' but for terms that H takes away: so tr(K H L H) = 2 zᵀ H L H z.
    """
    import torch

    distance = torch.pdist(scores[:, None], p=2)
    # At least half of the scores may be equal: then the mean distance stands in for a median of zero.
    width = distance.median() if distance.median() > 0 else distance.mean()
    if not width > ROUNDING * scores.abs().max():
        return kept.new_zeros(kept.shape[1])
    likeness = torch.exp(-((scores[:, None] - scores) ** 2) / (2 * width**2))
    centred = kept - kept.mean(dim=0)
    return 2 * (centred * (likeness @ centred)).sum(dim=0) / (len(kept) - 1) ** 2
