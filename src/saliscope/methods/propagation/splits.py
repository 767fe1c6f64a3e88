"""shrikumar2017, eq. 1: how the rise of one operation between two runs is split among what it read, exactly.

An element by element function of one argument has its rise over its argument's (the rescale rule). One of several has
the Shapley value (shapley1953) of every argument, over that argument's rise. A product's is the mean of the other
factor. A quotient x / y has a mean of (dx - r' dy) / y and (dx - r dy) / y', with r = x / y.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import factorial
from typing import TYPE_CHECKING

from saliscope.methods.kernel import at_least_single

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.record import Step

Back = Callable[[Sequence["Tensor | None"]], Sequence["Tensor | None"]]


def ratio(share: Tensor, way: Tensor, size: Tensor, slope: Callable[[], Tensor]) -> Tensor:
    """Return share / way, and the slope where the way is too short for a quotient beside the `size` of the values."""
    own, whole = {8: (1e-10, 1e-13)}.get(way.element_size(), (1e-6, 1e-8))
    short = way.abs() <= own * size + whole * size.max() if way.numel() else way.bool()
    quotient = share / way.masked_fill(short, 1)
    # A root's slope at zero has no bound, but there is no way there either.
    return slope().nan_to_num(0, 0, 0).where(short, quotient) if bool(short.any()) else quotient


def pointwise(step: Step, values: Sequence[Tensor], others: Sequence[Tensor]) -> Back:
    """Return the way back through an operation that works element by element, of one argument or several."""
    results = {
        present: step.run([v if p else o for v, o, p in zip(values, others, present, strict=True)])[0]
        for present in product((False, True), repeat=len(values))
    }
    ahead = results[(True,) * len(values)]
    multipliers = []
    for i, (value, other) in enumerate(zip(values, others, strict=True)):
        one, two = (at_least_single(number(v, values)).expand(ahead.shape) for v in (value, other))
        size = one.abs().maximum(two.abs()).nan_to_num(0, 0, 0)
        slope = functools.partial(_slope, step, values, i, ahead)
        multipliers.append(ratio(_share(results, i), rise(one, two), size, slope))
    shapes = [v.shape for v in values]
    return lambda gs: [(gs[0] * m).sum_to_size(shape) for m, shape in zip(multipliers, shapes, strict=True)]  # type: ignore[operator]


def _share(results: Mapping[tuple[bool, ...], Tensor], i: int) -> Tensor:
    """Return the Shapley value of argument i in the rise of a pointwise operation."""
    shares = []
    for present, without in results.items():
        if not present[i]:
            count, before = len(present), sum(present)
            weight = factorial(before) * factorial(count - before - 1) / factorial(count)
            shares.append(weight * rise(results[(*present[:i], True, *present[i + 1 :])], without))
    return functools.reduce(operator.add, shares)


def quotient(
    values: Sequence[Tensor], others: Sequence[Tensor], over: Sequence[bool], results: Sequence[Tensor]
) -> Back:
    """Return the way back through x / y; `over` says of each followed argument whether it is y.

    The rise is (dx - r' dy) / y and (dx - r dy) / y' alike. Weighed by y² and y'², they never divide by what is small.
    """
    at = list(over).index(True)
    y, y0 = values[at], others[at]
    r, r0 = results
    # By the larger of the two first, so that no square overflows.
    most = y.abs().maximum(y0.abs())
    y, y0 = y / most, y0 / most
    square = most * (y * y + y0 * y0)
    by_x, by_y = (y + y0) / square, -(r0 * y + r * y0) / square
    shapes = [v.shape for v in values]
    return lambda gs: [
        (gs[0] * (by_y if below else by_x)).sum_to_size(shape)  # type: ignore[operator]
        for below, shape in zip(over, shapes, strict=True)
    ]


def softmax(value: Tensor, other: Tensor, dim: int | Sequence[int], kind: str) -> Back:
    """Return the way back through softmax, its logarithm, or the logarithm of the sum of exponentials.

    With L the logarithmic mean of p and p', the rise of log p is dz - sum(L dz) / sum(L), for 0 is the rise of sum(p).
    """
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    logs, p = [], []
    for z in (value, other):
        # A row that is masked as a whole has no sum.
        log = (z - z.logsumexp(axes, keepdim=True)).masked_fill(z == float("-inf"), float("-inf"))
        logs.append(log)
        p.append(log.exp())
    way = rise(logs[0], logs[1])
    mean = ratio(p[0] - p[1], way, logs[0].abs().nan_to_num(0, 0, 0), lambda: p[0]).nan_to_num(0, 0, 0)
    share = (mean / mean.sum(axes, keepdim=True)).nan_to_num(0, 0, 0)
    kept = value.shape

    def back(gs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        g = gs[0]
        assert g is not None
        if kind == "logsumexp":
            return [g.reshape([1 if i in {a % len(kept) for a in axes} else n for i, n in enumerate(kept)]) * share]
        sent = g if kind == "log" else g * mean
        return [sent - share * sent.sum(axes, keepdim=True)]

    return back


def number(value: Tensor, beside: Sequence[Tensor]) -> Tensor:
    """Return truth values and counts as numbers of the type that stands beside them, others as they are."""
    import torch

    if value.is_floating_point() or value.is_complex():
        return value
    return value.to(next((v.dtype for v in beside if v.is_floating_point()), torch.float64))


def rise(one: Tensor, other: Tensor, beside: Sequence[Tensor] = ()) -> Tensor:
    """Return a difference, in which what is alike counts as nothing, infinite or not."""
    difference = at_least_single(number(one, beside)) - at_least_single(number(other, beside))
    return difference.where(one != other, 0)


def _slope(step: Step, values: Sequence[Tensor], i: int, ahead: Tensor) -> Tensor:
    """Return the slope of a pointwise operation in one argument; zero for a step."""
    import torch

    if not values[i].is_floating_point():
        return torch.zeros_like(ahead, dtype=torch.float32)
    with torch.enable_grad():
        root = values[i].expand(ahead.shape).detach().clone().requires_grad_()
        result = step.run([root if j == i else v for j, v in enumerate(values)])[0]
        if not result.requires_grad:
            return torch.zeros_like(ahead, dtype=torch.float32)
        return torch.autograd.grad(result.sum(), root)[0]
