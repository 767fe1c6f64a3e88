"""rong2022: the linear imputation solved; in a plane by factors, in volumes and very large planes by descent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import MetricError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Array = npt.NDArray[np.float64]

#: The unknowns in a plane, at most, that are factored: measured, the factors of a million take about 2 GB. Those of
#: volumes fill in far more.
FACTORED = 2**20
#: The residual of a descended solution, as a share of the right side.
RESIDUAL = 1e-9


def solved(image: Tensor, gone: Tensor) -> Tensor:
    """Return copies (m, C, *S) of an image (1, C, *S) with what is `gone` (m, *S) solved for, in float64.

    A copy of which everything or nothing is gone is the image. Raises MetricError where the gradients do not converge.
    """
    import torch

    values = image[0].double().cpu().numpy()
    planar = sum(n > 1 for n in image.shape[2:]) < 3
    found = []
    for one in gone.cpu().numpy():
        filled = values.copy()
        if one.any() and not one.all():
            factored = planar and one.sum() <= FACTORED
            filled[:, one] = _factored(values, one) if factored else _descended(values, one)
        found.append(torch.from_numpy(filled))
    return torch.stack(found).to(image)


def _factored(values: Array, gone: npt.NDArray[np.bool_]) -> Array:
    from scipy.sparse.linalg import splu

    flat, hole = values.reshape(len(values), -1), gone.ravel()
    rows = laplacian(gone.shape)[hole]
    right = -(rows[:, ~hole] @ flat[:, ~hole].T)
    # The system is symmetric and its diagonal the largest: an order for symmetric factors, without pivots, halves them.
    factors = splu(
        rows[:, hole].tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    filled: Array = factors.solve(right).T
    return filled


@lru_cache(maxsize=4)
def laplacian(shape: Sequence[int]) -> Any:
    """Return the system of a grid *S of which all is unknown, as a sparse matrix in rows."""
    from scipy.sparse import csr_matrix, diags, identity, kron

    # Neighbours weigh as the product of (1, 2, 1) over the axes, without the centre: 2 along an axis, 1 diagonally.
    beside = csr_matrix([[1.0]])
    for n in shape:
        beside = kron(beside, diags([1.0, 2.0, 1.0], [-1, 0, 1], shape=(n, n)), format="csr")
    beside = beside - 2 ** len(shape) * identity(prod(shape))
    return (diags(beside.sum(axis=1).A1) - beside).tocsr()


def _descended(values: Array, gone: npt.NDArray[np.bool_]) -> Array:
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, cg

    centre = 2**gone.ndim
    weight = (_summed(np.ones(gone.shape)) - centre)[gone]

    def without_rest(inside: Array) -> Array:
        whole = np.zeros(gone.shape)
        whole[gone] = inside
        left: Array = (weight + centre) * inside - _summed(whole)[gone]
        return left

    system = LinearOperator((weight.size, weight.size), without_rest, dtype=np.float64)
    found = []
    for channel in values:
        right = _summed(np.where(gone, 0.0, channel))[gone]
        filled, fault = cg(system, right, rtol=RESIDUAL, maxiter=20 * sum(gone.shape))
        if fault:
            raise MetricError("an imputation that does not converge", do="Use the fast one: exact=False.")
        found.append(filled)
    return np.stack(found)


def _summed(values: Array) -> Array:
    """Return the sum of an array (*S) under the weights (1, 2, 1) of each axis, nothing being beyond the edges."""
    for axis in range(values.ndim):
        along = values.swapaxes(0, axis)
        total = 2 * along
        total[1:] += along[:-1]
        total[:-1] += along[1:]
        values = total.swapaxes(0, axis)
    return values
