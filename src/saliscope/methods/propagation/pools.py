"""shrikumar2017 for max pools: a window's rise stands at its maxima, in equal shares where several are alike.

torch sends a gradient to the first of several equal maxima. A plain baseline makes all values of a window alike, up to
rounding, and so would choose corners, or by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Call

#: Place, name and default of what torch's max pools take besides kernel and stride.
PLACES = ((3, "padding", 0), (4, "dilation", 1))


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
