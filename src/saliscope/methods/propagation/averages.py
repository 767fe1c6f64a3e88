"""sundararajan2017, eq. 1, for one operation: its slopes averaged on the straight way between two runs.

Exact for whatever is linear, or a product of two, with one slope at the middle of the way; for the rest the average is
refined, and what the slopes still miss of the rise is shared in proportion to the squares of the ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from saliscope.methods.propagation.splits import number

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.methods.propagation.splits import Back
    from saliscope.model.record import Place, Step

#: How many slopes are averaged, in turn, until they explain the rise.
COUNTS = (1, 4, 16)
#: Above this share of a rise, what slopes miss is worth a word.
MISSED = 0.05


def slopes(step: Step, values: Sequence[Tensor], gs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return gradients gs of an operation's results sent back to its arguments at some values; None where none goes."""
    import torch

    with torch.enable_grad():
        roots = [v.detach().requires_grad_() if _smooth(v) else v for v in values]
        smooth = [r for r in roots if _smooth(r)]
        try:
            results = step.run(roots)
            pairs = [(r, g) for r, g in zip(results, gs, strict=True) if g is not None and r.requires_grad]
            if not pairs or not smooth:
                return [None] * len(values)
            sent = iter(
                torch.autograd.grad([r for r, _ in pairs], smooth, [g.to(r.dtype) for r, g in pairs], allow_unused=True)
            )
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error):
                raise
            # An operation without a derivative.
            return [None] * len(values)
    return [next(sent) if _smooth(r) else None for r in roots]


def linear(step: Step, like: Tensor) -> Back:
    """Return the way back through an operation whose slopes are the same everywhere: it needs no values."""
    places = step.reads
    if step.name == "convolution" and step.at == [0]:
        (_, weight, *_), _ = step.arguments()
        return lambda gs: [None if gs[0] is None else _through(step, gs[0].to(weight.dtype))]
    # One zero, wherever it is looked at.
    at = [like.new_zeros((), dtype=p.dtype if _smooth(p) else like.dtype).expand(p.shape) for p in places]
    return lambda gs: slopes(step, at, gs)


def _through(step: Step, gradient: Tensor) -> Tensor:
    """Return the gradient (N, C, *S) at a convolution's input, which needs no run of it."""
    import torch

    from saliscope.model.phase import CHANNELS, input_gradient

    (_, weight, _, stride, padding, dilation, transposed, more, groups), _ = step.arguments()
    shape = step.reads[0].shape
    axes, channels, width = len(shape) - 2, shape[1], max(weight.shape[2:])
    first = channels <= CHANNELS and width > 1 and (axes, channels, width) != (3, 1, 3) and not gradient.is_cuda
    if first and axes in (2, 3) and not transposed and groups == 1 and set(dilation) == {1}:
        return input_gradient(gradient, weight, stride, padding, shape[2:])
    empty = gradient.new_zeros(()).expand(shape)
    sent: Tensor = torch.ops.aten.convolution_backward(
        gradient, empty, weight, None, stride, padding, dilation, transposed, more, groups, (True, False, False)
    )[0]
    return sent


def middle(step: Step, values: Sequence[Tensor], others: Sequence[Tensor]) -> Back:
    """Return the way back through a product of two: its slopes at the mean of the two runs."""
    at = [(number(v, values) + number(o, values)) / 2 for v, o in zip(values, others, strict=True)]
    return lambda gs: slopes(step, at, gs)


def average(
    step: Step, values: Sequence[Tensor], others: Sequence[Tensor], rises: Sequence[Tensor], tell: Callable[[str], None]
) -> Back:
    """Return the way back through any operation: its averaged slopes; `tell` gets its name where they miss the rise."""
    import numpy as np

    # Where nothing is smooth, what takes steps has the whole rise.
    steps = not any(_smooth(v) for v in values)
    ways = [
        number(v, rises) - number(o, rises) if steps or _smooth(v) else None
        for v, o in zip(values, others, strict=True)
    ]
    counts = COUNTS if all(_smooth(v) for v in values) else COUNTS[1:2]

    def back(gs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        terms = [_inner(g, r) for g, r in zip(gs, rises, strict=True) if g is not None]
        right, size = (sum(t) for t in zip(*terms, strict=True))
        sent: list[Tensor | None] = [None] * len(values)
        missing = right
        for count in counts:
            nodes, weights = np.polynomial.legendre.leggauss(count)
            sent = [None] * len(values)
            for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
                at = [_between(v, o, node) for v, o in zip(values, others, strict=True)]
                sent = [_plus(s, m, weight) for s, m in zip(sent, slopes(step, at, gs), strict=True)]
            missing = right - sum(_inner(s, w)[0] for s, w in zip(sent, ways, strict=True) if s is not None is not w)
            if abs(missing) <= _rounding(rises[0]) * size:
                break
        lengths = [None if w is None else _inner(w, w)[0] for w in ways]
        whole = sum(n for n in lengths if n is not None)
        if whole:
            sent = [s if w is None else _plus(s, w, missing / whole) for s, w in zip(sent, ways, strict=True)]
        if abs(missing) > MISSED * size or (missing and not whole):
            tell(step.name)
        return sent

    return back


def _between(value: Tensor, other: Tensor, at: float) -> Tensor:
    """Return a point on the way; what takes steps, such as an index, takes one half-way."""
    if not _smooth(value):
        return value if at >= 0.5 else other
    return other + (value - other) * at


def _plus(total: Tensor | None, more: Tensor | None, times: float) -> Tensor | None:
    if more is None:
        return total
    return more * times if total is None else total + more * times


def _inner(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Return the sum of a product, and that of its terms' sizes."""
    terms = (one.conj() * other).real if one.is_complex() or other.is_complex() else one * other
    return float(terms.double().sum()), float(terms.double().abs().sum())


def _rounding(value: Tensor) -> float:
    return 1e-12 if value.dtype.itemsize >= 8 else 1e-6


def _smooth(value: Tensor | Place) -> bool:
    return value.dtype.is_floating_point or value.dtype.is_complex
