"""byun2022, the spatial masks of section 3: the score of each cell of a layer alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, check_named, held, on_grid
from saliscope.methods.resolution import one_cell
from saliscope.perturb.stream import batch_size, scored

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ReciproCAM:
    """The score when all cells of a layer but one are zero, less the score when all are.

    The paper scales each map from its smallest to its largest value, so what is taken off is no part of it: with it,
    zero says that the cell alone adds nothing. The authors' code uses the probability, here a matter of the target.
    Cells that are zero in every channel are not run. `memory_mb` bounds the copies at once and changes no value.
    """

    layer: str = "auto"
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="byun2022",
        cost="1 forward, and the rest after the layer once a cell, whatever K",
        blind="Evidence that needs two cells at once. A layer of one cell is unlike any that the model has seen.",
    )
    resolution = one_cell

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid, in units of the score."""
        import torch

        check_named(self, self.layer)
        return torch.stack([self._of_one(model, image[None], target, n) for n, image in enumerate(x.detach())])

    def _of_one(self, model: Model, image: Tensor, target: Target, n: int) -> Tensor:
        """Return the map (K, *S') of one image (1, C, *S)."""
        target = held(model, image, target, n)
        suffix = model.suffix(image, self.layer)
        shape = on_grid(self.layer, suffix.activation, image).shape[2:]
        cells = suffix.activation[0].flatten(1)
        alive = cells.any(dim=0).nonzero()[:, 0].tolist()
        empty = at_least_single(target.scores(suffix(suffix.activation.new_zeros(suffix.activation.shape))))[0]
        found = empty.new_zeros(len(empty), cells.shape[1])

        def alone(some: range) -> Tensor:
            copies = cells.new_zeros(len(some), *cells.shape)
            for copy, i in zip(copies, some, strict=True):
                copy[:, alive[i]] = cells[:, alive[i]]
            return copies.reshape(len(some), -1, *shape)

        size = batch_size(suffix.activation, self.memory_mb, suffix.growth)
        for some, scores in scored(suffix, target, alone, len(alive), size):
            found[:, alive[some.start : some.stop]] = (scores - empty).T
        return found.reshape(len(empty), *shape)
