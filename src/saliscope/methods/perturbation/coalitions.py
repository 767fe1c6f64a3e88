"""Scores of an image of which only some segments are left: what LIME and the Shapley values are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.protocols import Model
from saliscope.core.target import Target
from saliscope.perturb.precision import Precision, at_precision
from saliscope.perturb.segments import assembled
from saliscope.perturb.stream import FORWARD, batch_size, scored

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Coalitions:
    """An image (C, *S), what stands for its absence, and the labels (*S) of its segments."""

    image: Tensor
    without: Tensor
    labels: Tensor

    @property
    def count(self) -> int:
        """Return the number of segments."""
        return int(self.labels.max()) + 1

    def scores(self, model: Model, target: Target, kept: Tensor, memory_mb: float, precision: Precision) -> Tensor:
        """Return the scores (m, K), in float64 on the CPU, of coalitions of kept segments (m, segments)."""
        import torch

        def copies(some: range) -> Tensor:
            return assembled(self.image, self.without, self.labels, kept[some.start : some.stop])

        size = batch_size(self.image[None], memory_mb, FORWARD)
        run = at_precision(model, target, copies, len(kept), size, precision)
        return torch.cat([scores.double().cpu() for _, scores in scored(run, target, copies, len(kept), size)])


def solved(design: Tensor, weight: Tensor, values: Tensor, ridge: float = 0.0) -> Tensor:
    """Return coefficients (d, K) of weighted least squares, of the smallest norm where there are several.

    They minimise Σ w (values - design b)² + ridge b² over samples, for a design (m, d), weights (m,), values (m, K).
    """
    import torch

    weighted = design.T * weight
    normal = weighted @ design + ridge * torch.eye(design.shape[1], dtype=design.dtype)
    found: Tensor = torch.linalg.pinv(normal, hermitian=True) @ (weighted @ values)
    return found
