"""fel2021, section 3: what share of the score's variance needs a cell of the image (total-order Sobol index)."""

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
from saliscope.methods.sampling import ERROR, GROUPS, MAP, MEASURES, Drawn, Sampling, jackknife, whole
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.masks import blended, repeated
from saliscope.perturb.precision import Precision, at_precision, check_precision
from saliscope.perturb.stream import FORWARD, ROUNDING, batch_size, scored
from saliscope.perturb.window import per_axis

if TYPE_CHECKING:
    from torch import Tensor

#: After how many designs the error is looked at first, where there is a tolerance.
FIRST = 32


@dataclass(frozen=True)
class Sobol:
    """Of every cell of a grid the total-order index, by Jansen's estimator, painted over the cell.

    Masks take values between 0 (`baseline`) and 1 (the image), the same over a cell, from Sobol sequences scrambled
    by the seed. `designs` rows A, and for each cell A with the cell's column from B, are run. `cells` are one number
    or one for each axis; without them 7 in 2D and 4 in 3D. The paper takes 11 with 32 designs, where an index has a
    standard deviation near half of the largest: 256 designs of 7 cells bring it to a tenth. Indices are not negative:
    they say how much hangs on a cell, not for or against. A score that never changes has indices of zero.

    The rows are dealt to 16 sequences, each scrambled by itself; the paper has one, whose error cannot be told. Beside
    the map stands the standard error of each index, by leaving out one sequence at a time (busing1999). With a
    `tolerance` (None or 0 for none), designs are drawn, up to `designs`, until it is below that share of the map's
    largest value in every cell. With `precision` "bfloat16" a reduced copy of the network runs where a check finds it
    as good. `memory_mb` bounds the copies at once, and changes no value.
    """

    designs: int = 256
    cells: int | tuple[int, ...] | None = None
    baseline: Baseline = "mean"
    seed: int = 0
    precision: Precision = "float32"
    memory_mb: float = 1024
    tolerance: float | None = 0.15

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="fel2021",
        cost="at most `designs` x (cells + 1) forward (12,800 in 2D, 16,640 in 3D by default), whatever K",
        blind="Whether a cell speaks for or against. No finer than a cell.",
    )
    beside: ClassVar[tuple[str, ...]] = ("error",)
    measures: ClassVar[tuple[str, ...]] = MEASURES

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
        self._sampling()

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), shares of the variance of the score over the masks; together they may exceed one."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "error" (N, K, *S), shares of the score's variance over the masks, and `measures` (N, K)."""
        pairs = enumerate(zip(x.detach(), absent(x.detach(), self.baseline), strict=True))
        several = [self._of_one(model, image, out, held(model, image[None], target, n)) for n, (image, out) in pairs]
        return self._sampling().told(model, several)

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the cell of the masks, for x (1, C, *S)."""
        return (even(x.shape[2:], self._cells(x.shape[2:])),)

    def _cells(self, shape: Sequence[int]) -> list[int]:
        return per_axis("cells", self.cells, [7 if len(shape) == 2 else 4] * len(shape), shape)

    def _sampling(self) -> Sampling:
        return Sampling(self.designs, self.tolerance, FIRST, "designs")

    def _of_one(self, model: Model, image: Tensor, without: Tensor, target: Target) -> Drawn:
        import torch

        shape = image.shape[1:]
        cells = self._cells(shape)
        runs = 1 + prod(cells)
        first, second = self._design(prod(cells))

        def copies(some: range) -> Tensor:
            rows = torch.stack([_row(first, second, i) for i in some]).to(image)
            return blended(image, without, repeated(rows.reshape(-1, *cells), shape))

        size = batch_size(image[None], self.memory_mb, FORWARD)
        run = at_precision(model, target, copies, self.designs * runs, size, self.precision)
        scores: list[Tensor] = []

        def grow(stage: range) -> dict[str, Tensor]:
            begin = stage.start * runs
            parts = scored(
                run, target, lambda r: copies(range(begin + r.start, begin + r.stop)), len(stage) * runs, size
            )
            scores.extend(s.double() for _, s in parts)
            found, error = indices(torch.cat(scores).unflatten(0, (-1, runs)).movedim(0, 1))
            return {
                name: repeated(values.T.reshape(-1, *cells).to(image), shape)
                for name, values in ((MAP, found), (ERROR, error))
            }

        return self._sampling().drawn(grow)

    def _design(self, count: int) -> tuple[Tensor, Tensor]:
        """Return two independent designs (designs, count) in [0, 1): row i is of sequence i % 16."""
        import numpy as np
        import torch
        from scipy.stats import qmc

        each = -(-self.designs // GROUPS)
        several = [
            qmc.Sobol(2 * count, scramble=True, seed=np.random.default_rng([self.seed, group])).random_base2(
                (each - 1).bit_length()
            )[:each]
            for group in range(min(GROUPS, self.designs))
        ]
        both = torch.from_numpy(np.stack(several, axis=1).reshape(-1, 2 * count)[: self.designs])
        return both[:, :count], both[:, count:]


def _row(first: Tensor, second: Tensor, index: int) -> Tensor:
    """Return the mask of an index: for each row of A itself, then with each cell's column from B."""
    at, block = divmod(index, 1 + first.shape[1])
    row = first[at].clone()
    if block:
        row[block - 1] = second[at, block - 1]
    return row


def indices(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return total indices and their errors, both (d, K), from scores (1 + d, n, K) of rows dealt to 16 sequences."""
    import torch

    found, group = jansen(scores), torch.arange(scores.shape[1]) % GROUPS
    if len(group) < 3:
        return found, whole(found.T).T
    sizes = [int(n) for n in group.bincount()]
    return found, jackknife(found, [jansen(scores[:, group != g]) for g in range(len(sizes))], sizes)


def jansen(scores: Tensor) -> Tensor:
    """Return total indices (d, K) from scores (1 + d, n, K) of A and of A with one column from B (jansen1999)."""
    plain, changed = scores[0], scores[1:]
    variance = plain.var(dim=0)
    found = (plain - changed).square().mean(dim=1) / (2 * variance)
    return found.where(variance.sqrt() > ROUNDING * scores.abs().amax(dim=(0, 1)), found.new_zeros(()))
