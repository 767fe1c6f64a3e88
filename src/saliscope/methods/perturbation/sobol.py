"""fel2021, section 3: what share of the score's variance needs a cell of the image (total-order Sobol index)."""

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
class Sobol:
    """Of every cell of a grid the total-order index, by Jansen's estimator, painted over the cell.

    Masks take values between 0 (`baseline`) and 1 (the image), the same over a cell, from a Sobol sequence scrambled
    by the seed. `designs` rows A, and for each cell A with the cell's column from B, are run. `cells` are one number
    or one for each axis; without them 11 in 2D, as in the paper, and 6 in 3D. Indices are not negative: they say how
    much hangs on a cell, not for or against. A score that never changes has indices of zero. With `precision`
    "bfloat16" a reduced copy of the network runs where a check finds it as good. `memory_mb` bounds the copies at
    once, and changes no value.
    """

    designs: int = 32
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
        citation="fel2021",
        cost="`designs` x (cells + 1) forward (3,904 in 2D, 6,944 in 3D by default), whatever K",
        blind="Whether a cell speaks for or against. No finer than a cell.",
    )

    def __post_init__(self) -> None:
        least = min(self.cells) if isinstance(self.cells, tuple) else self.cells
        if self.designs < 2 or (least is not None and least < 1):
            raise MethodError(
                f"designs={self.designs}, cells={self.cells}",
                expected="two designs or more, a cell or more",
                do="Correct the fields",
            )
        check_baseline(self.baseline)
        check_precision(self.precision)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), shares of the variance of the score over the masks; together they may exceed one."""
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
        cells = per_axis("cells", self.cells, [11 if len(shape) == 2 else 6] * len(shape), shape)
        count = prod(cells)
        first, second = self._design(count)

        def copies(some: range) -> Tensor:
            rows = torch.stack([_row(first, second, i) for i in some]).to(image)
            return blended(image, without, repeated(rows.reshape(-1, *cells), shape))

        total, size = self.designs * (1 + count), batch_size(image[None], self.memory_mb, FORWARD)
        run = at_precision(model, target, copies, total, size, self.precision)
        scores = torch.cat([s.double() for _, s in scored(run, target, copies, total, size)])
        found = jansen(scores.reshape(1 + count, self.designs, -1))
        return repeated(found.T.reshape(-1, *cells).to(image), shape)

    def _design(self, count: int) -> tuple[Tensor, Tensor]:
        """Return two independent designs (designs, count) from one scrambled Sobol sequence, in [0, 1)."""
        import numpy as np
        import torch
        from scipy.stats import qmc

        sequence = qmc.Sobol(2 * count, scramble=True, seed=np.random.default_rng(self.seed))
        both = torch.from_numpy(sequence.random_base2((self.designs - 1).bit_length())[: self.designs])
        return both[:, :count], both[:, count:]


def _row(first: Tensor, second: Tensor, index: int) -> Tensor:
    """Return the mask of an index: the rows of A, then for each cell those of A with that column from B."""
    block, at = divmod(index, len(first))
    row = first[at].clone()
    if block:
        row[block - 1] = second[at, block - 1]
    return row


def jansen(scores: Tensor) -> Tensor:
    """Return total indices (d, K) from scores (1 + d, n, K) of A and of A with one column from B (jansen1999)."""
    plain, changed = scores[0], scores[1:]
    variance = plain.var(dim=0)
    found = (plain - changed).square().mean(dim=1) / (2 * variance)
    return found.where(variance.sqrt() > ROUNDING * scores.abs().amax(dim=(0, 1)), found.new_zeros(()))
