"""shrikumar2017, section 3.5.2: an activation's multiplier is its rise over the rise of its input.

A batch holds the images and then, in the same order, their baselines; only the images' half carries multipliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saliscope.methods.propagation.linear import fixed
from saliscope.methods.propagation.pools import at_maxima

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Call

#: What autograd calls the operations whose gradient is their multiplier already, because they are linear.
LINEAR = frozenset({
    "Convolution", "_FirstConvolution", "CudnnConvolution", "Addmm", "Mm", "Mv", "Bmm", "Baddbmm", "Linear", "Add",
    "Sub", "Neg", "Mul", "Div", "Mean", "Sum", "AvgPool2D", "AvgPool3D", "MkldnnAvgPool", "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D", "NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "UpsampleNearest1D",
    "UpsampleNearest2D", "UpsampleNearest3D", "UpsampleLinear1D", "UpsampleBilinear2D", "UpsampleTrilinear3D",
    "UpsampleBicubic2D",
})  # fmt: skip
#: Operations that are linear in each of several arguments, but not in two at once.
PRODUCTS = frozenset({"mul", "div", "rdiv", "matmul", "rmatmul", "einsum", "addmm", "linear", "baddbmm"})


class Rescale:
    """Gives activations and max pools their multipliers; remembers what it could not."""

    def __init__(self) -> None:
        self._left: set[str] = set()

    def __call__(self, call: Call) -> Tensor | None:
        """Return the result of a call with the rescale rule behind it; None where its gradient stands."""
        from saliscope.model.rewrite import ACTIVATIONS, NORMS

        alone = len(call.followed) == 1 and call.followed[0] is call.input and len(call.input) % 2 == 0
        if call.name in ACTIVATIONS and alone:
            return _activation(call)
        if call.name.startswith(("max_pool", "adaptive_max_pool")) and alone and not call.given(6, "return_indices"):
            return _max_pool(call)
        several = call.name in PRODUCTS and len(call.followed) > 1
        below = call.name == "rdiv" or (call.name == "div" and call.followed[0] is not call.input)
        if (call.name in NORMS and not fixed(call)) or several or below:
            self._left.add(call.name)
        return None

    def kept(self, output: Tensor) -> set[str]:
        """Return the names of what is not linear and kept its gradient on the way to the output."""
        from saliscope.model.rewrite import ROUTING, operations

        return self._left | (operations(output) - ROUTING - LINEAR)


def _activation(call: Call) -> Tensor:
    import torch

    from saliscope.model.rewrite import carried

    seen = call.input.detach()
    image, start = seen.chunk(2)
    with torch.enable_grad():
        root = image.clone().requires_grad_()
        # A clone, because the call may write into its argument.
        after = call.on(root.clone())
        (slope,) = torch.autograd.grad(after.sum(), root)
    multiplier = _ratio(after.detach() - call.on(start.clone()), image - start, slope)
    return carried(call, [call.input], [multiplier], lambda g, m: (_first(g[: len(m)] * m),))


def _max_pool(call: Call) -> Tensor:
    from saliscope.model.rewrite import carried

    return carried(call, [call.input], [call.input], lambda g, seen: _pool_back(call, g, seen))


def _pool_back(call: Call, gradient: Tensor, seen: Tensor) -> Sequence[Tensor]:
    """Return the multipliers of a max pool: its rise, above and below the higher of two maxima, at their places."""
    import torch

    sent = gradient.chunk(2)[0]
    image, start = seen.detach().chunk(2)
    top, below = call.on(image), call.on(start)
    higher = torch.maximum(top, below)
    rise = at_maxima(call, image, sent * (higher - below)) + at_maxima(call, start, sent * (top - higher))
    return (_first(_ratio(rise, image - start, at_maxima(call, image, sent))),)


def _ratio(rise: Tensor, way: Tensor, slope: Tensor) -> Tensor:
    """Return rise / way, and the slope where the way is too short for a quotient."""
    short = way.abs() < {8: 1e-10, 4: 1e-6}.get(way.element_size(), 1e-3)
    return slope.where(short, rise / way.masked_fill(short, 1))


def _first(values: Tensor) -> Tensor:
    """Return values for the images' half of a batch, and none for their baselines'."""
    import torch

    return torch.cat([values, torch.zeros_like(values)])
