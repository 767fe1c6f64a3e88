"""Scores of an image of which only some segments are left: what LIME and the Shapley values are fitted to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.protocols import Model
from saliscope.core.target import Target
from saliscope.perturb.precision import Precision, at_precision
from saliscope.perturb.segments import assembled
from saliscope.perturb.stream import FORWARD, batch_size, scored

if TYPE_CHECKING:
    from torch import Tensor

#: Samples of a larger leverage decide a coefficient alone.
ALONE = 1 - 1e-6


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

    def scores(
        self, model: Model, target: Target, kept: Tensor, memory_mb: float, precision: Precision
    ) -> Callable[[range], Tensor]:
        """Return what gives the scores (m, K), in float64 on the CPU, of a range of the coalitions (M, segments)."""
        import torch

        def copies(some: range) -> Tensor:
            return assembled(self.image, self.without, self.labels, kept[some.start : some.stop])

        size = batch_size(self.image[None], memory_mb, FORWARD)
        run = at_precision(model, target, copies, len(kept), size, precision)

        def scores(some: range) -> Tensor:
            parts = scored(
                run, target, lambda r: copies(range(some.start + r.start, some.start + r.stop)), len(some), size
            )
            return torch.cat([scores.double().cpu() for _, scores in parts])

        return scores


def solved(design: Tensor, weight: Tensor, values: Tensor, ridge: float = 0.0) -> Tensor:
    """Return coefficients (d, K) of weighted least squares, of the smallest norm where there are several.

    They minimise Σ w (values - design b)² + ridge b² over samples, for a design (m, d), weights (m,), values (m, K).
    """
    import torch

    weighted = design.T * weight
    normal = weighted @ design + ridge * torch.eye(design.shape[1], dtype=design.dtype)
    found: Tensor = torch.linalg.pinv(normal, hermitian=True) @ (weighted @ values)
    return found


def solved_error(
    design: Tensor, weight: Tensor, values: Tensor, ridge: Tensor, wanted: Tensor, fixed: int = 0
) -> Tensor:
    """Return the standard error (q, K) of sums `wanted` (q, d) of the coefficients of weighted least squares.

    HC2 of mackinnon1985: squares of w x e / √(1 - h) stand in for the variance of what a sample adds, with the residual
    e and the leverage h = w xᵀ A⁻¹ x, A = Σ w x xᵀ + ridge (d,). The root makes up for residuals being too small,
    because they were fitted. The first `fixed` samples were not drawn, and vary nothing. Where a sample alone decides
    something (h = 1) nothing is known: then the error is the standard deviation of the values.
    """
    import torch

    inverse = torch.linalg.pinv((design.T * weight) @ design + ridge.diag(), hermitian=True)
    reach = weight[:, None] * (design @ inverse)
    leverage = (reach * design).sum(dim=1)
    count = len(design) - fixed
    if count < 2 or bool((leverage[fixed:] > ALONE).any()):
        return values.std(dim=0, correction=0).expand(len(wanted), -1)
    residual = (values - design @ (reach.T @ values)) / (1 - leverage[:, None]) ** 0.5
    reach, residual = (reach @ wanted.T)[fixed:], residual[fixed:]
    squares: Tensor = reach.square().T @ residual.square() - (reach.T @ residual).square() / count
    return squares.clamp(min=0).sqrt()
