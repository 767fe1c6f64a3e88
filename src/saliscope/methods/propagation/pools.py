"""shrikumar2017 for max pools and their kin: a rise stands at the maxima, in equal shares where several are alike.

torch sends a gradient to the first of several equal maxima. A plain baseline makes all values of a window alike, up to
rounding, and so would choose corners, or by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from saliscope.methods.propagation.averages import slopes
from saliscope.methods.propagation.splits import ratio

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.methods.propagation.splits import Back
    from saliscope.model.record import Step
    from saliscope.model.rewrite import Call

#: Place, name and default of what torch's max pools take besides kernel and stride.
PLACES = ((3, "padding", 0), (4, "dilation", 1))


def selecting(step: Step, values: Tensor, others: Tensor) -> Back:
    """Return the way back through what hands on the largest or smallest of several values (N, C, *S) or of all.

    Its rise stands at the places of both maxima, split at the higher of the two: the rise up to there, and the fall.
    """
    import torch

    call = _pool_call(step)
    top, below = step.run([values])[0], step.run([others])[0]
    turn = torch.minimum(top, below) if step.name in ("amin", "min") else torch.maximum(top, below)
    up, down = turn - below, top - turn
    way = values - others
    size = values.abs().maximum(others.abs())

    def back(gs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        g = gs[0]
        assert g is not None
        rise = _at_places(step, call, values, g * up) + _at_places(step, call, others, g * down)
        return [ratio(rise, way, size, lambda: _at_places(step, call, values, g))]

    return back


def _at_places(step: Step, call: Call | None, values: Tensor, amount: Tensor) -> Tensor:
    """Return amounts at the places of what a selection took of values."""
    if call is not None:
        return at_maxima(call, values, amount)
    if not step.name.startswith("adaptive"):
        return at_extremes(step, values, amount)
    (sent,) = slopes(step, [values], [amount, *[None] * (len(step.writes) - 1)])
    assert sent is not None
    return sent


def at_extremes(step: Step, values: Tensor, amount: Tensor) -> Tensor:
    """Return an amount for every largest or smallest value over some axes, shared by the places that have it."""
    args, named = step.arguments()
    given = args[1] if len(args) > 1 else named.get("dim", ())
    axes = (given,) if isinstance(given, int) else tuple(given or range(values.ndim))
    top = values.amin(axes, keepdim=True) if step.name.endswith("min") else values.amax(axes, keepdim=True)
    alike = (1e-9 if values.element_size() == 8 else 1e-5) * values.abs().max()
    places = (values - top).abs() <= alike
    return amount.reshape(top.shape) / places.sum(axes, keepdim=True) * places


def _pool_call(step: Step) -> Call | None:
    """Return a max pool as a call; None for another selection."""
    from saliscope.model.rewrite import Call

    if not step.name.startswith("max_pool"):
        return None
    args, named = step.arguments()
    return Call(step.name.removesuffix("_with_indices"), lambda *a, **k: step.function(*a, **k)[0], args, named)


def at_maxima(call: Call, values: Tensor, amount: Tensor) -> Tensor:
    """Return an amount (N, C, *S') for every window of a max pool over values (N, C, *S), shared by its maxima."""
    import torch

    if not call.name.startswith("max_pool"):
        with torch.enable_grad():
            root = values.detach().clone().requires_grad_()
            return torch.autograd.grad(call.on(root), root, amount)[0]
    top: Tensor = call.on(values)
    alike = (1e-9 if values.element_size() == 8 else 1e-5) * values.abs().max()
    padding, windows = _windows(call, values, top)
    padded = torch.nn.functional.pad(values, padding, value=float("-inf"))
    maxima = [padded[at] >= top - alike for at in windows]
    share = amount / torch.stack(maxima).sum(dim=0)
    found = torch.zeros_like(padded)
    for at, here in zip(windows, maxima, strict=True):
        found[at] += share * here
    return torch.nn.functional.pad(found, [-p for p in padding])


def _windows(call: Call, values: Tensor, top: Tensor) -> tuple[list[int], list[tuple[slice, ...]]]:
    """Return the padding, as torch has it, and for each place in a window where it lies in the padded input."""
    count = int(call.name[-2])
    sizes, before = top.shape[-count:], values.shape[-count:]
    kernel = _each(call.given(1, "kernel_size"), count)
    stride = _each(call.given(2, "stride") or kernel, count)
    padding, dilation = (_each(call.given(at, name, d), count) for at, name, d in PLACES)
    reach = [d * (k - 1) + s * (n - 1) + 1 for k, s, d, n in zip(kernel, stride, dilation, sizes, strict=True)]
    pad: list[int] = []
    for size, p, r in reversed(list(zip(before, padding, reach, strict=True))):
        # Below zero: what no window reaches.
        pad += [p, r - size - p]
    lead = (slice(None),) * (top.ndim - count)
    windows = [
        (
            *lead,
            *(slice(d * o, d * o + s * (n - 1) + 1, s) for o, d, s, n in zip(at, dilation, stride, sizes, strict=True)),
        )
        for at in product(*map(range, kernel))
    ]
    return pad, windows


def _each(value: int | Sequence[int], count: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values
