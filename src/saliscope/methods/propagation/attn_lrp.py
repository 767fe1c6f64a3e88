"""achtibat2024, section 3.3: softmax by its Taylor expansion, products of two activations half to each.

A matrix product O = A V sends A_ji V_ip R_jp / (2 O_jp) to each of A_ji and V_ip. A softmax s of x sends
x_i (R_i - s_i sum_j R_j); the hidden bias of the expansion keeps the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saliscope.methods.kernel import at_least_single
from saliscope.methods.propagation.carrier import Carrier, again, on_copy
from saliscope.methods.propagation.rules import shared

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.methods.propagation.ledger import Ledger
    from saliscope.model.rewrite import Call

#: Linear in each of several arguments.
PRODUCTS = frozenset({
    "matmul", "rmatmul", "einsum", "bilinear", "dot", "inner", "outer", "ger", "tensordot", "kron", "linear", "vdot",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
})  # fmt: skip
#: Linear in one argument, without weights.
MEANS = ("avg_pool", "adaptive_avg_pool", "mean", "sum", "interpolate", "upsample", "cumsum", "fold", "grid_sample")
#: How a value grows with its argument: the power of the scale.
DEGREES = {"std": 1, "var": 2, "linalg_vector_norm": 1, "linalg_norm": 1}
#: Sums of what they move, in all of their arguments at once.
SUMS = frozenset({"scatter_add", "index_add"})


def by_terms(carrier: Carrier, call: Call, epsilon: float, ledger: Ledger | None, degree: int) -> Tensor:
    """Return the result of a call that grows by that power of a scale of its arguments: R is shared by their terms.

    By Euler the slopes times the arguments sum to degree times the value: for a mean of one argument that is bach2015,
    eq. 56, for a product of two the uniform rule.
    """
    import torch

    from saliscope.model.rewrite import tensors_in

    later = on_copy(call)
    kept = [carrier.keep(t) for t in call.followed]
    # Sums of half precision lose digits; a constant among the arguments would not meet another precision.
    alone = len(list(tensors_in([*call.args, *call.named.values()]))) == len(kept)

    def back(r: Tensor) -> Sequence[Tensor]:
        with torch.enable_grad():
            values = [k.values.detach() for k in kept]
            roots = [(at_least_single(v) if alone else v).detach().requires_grad_() for v in values]
            z: Tensor = again(later, [root.clone() if call.inplace else root for root in roots])
        share = shared(at_least_single(r), at_least_single(z.detach()), epsilon)
        if ledger is not None:
            ledger.add(at_least_single(r) - share * z.detach())
            if call.name in SUMS:
                # A constant that values are added to keeps its part.
                with torch.no_grad():
                    ledger.add(share * at_least_single(again(later, [torch.zeros_like(root) for root in roots])))
        slopes = torch.autograd.grad(z, roots, (share / degree).to(z.dtype))
        # A spread of nothing has no slope, and its terms are zero.
        terms = [(root.detach() * slope).nan_to_num() for root, slope in zip(roots, slopes, strict=True)]
        return [term.to(v.dtype) for term, v in zip(terms, values, strict=True)]

    return carrier.carry(call, call.followed, back)


def softmax(carrier: Carrier, call: Call, axis: int, ledger: Ledger | None) -> Tensor:
    """Return a softmax whose way back is its Taylor expansion at x, to first order."""
    import torch

    with torch.no_grad():
        x = at_least_single(call.input.detach())
        s = x.softmax(axis)
        # A masked element is minus infinity and has no share.
        x = x.where(x.isfinite(), 0)

    def back(r: Tensor) -> Sequence[Tensor]:
        r = at_least_single(r)
        if ledger is not None:
            ledger.add(r * (1 - x + (s * x).sum(axis, keepdim=True)))
        return [(x * (r - s * r.sum(axis, keepdim=True))).to(call.input.dtype)]

    return carrier.carry(call, [call.input], back)


def logsumexp(carrier: Carrier, call: Call, ledger: Ledger | None, epsilon: float) -> Tensor:
    """Return a logarithm of a sum of exponentials, shared by s_i x_i, whose hidden bias is the entropy of s."""
    import torch

    axes, keeps = call.given(1, "dim"), bool(call.given(2, "keepdim"))
    with torch.no_grad():
        x = at_least_single(call.input.detach())
        z = x.logsumexp(axes, keepdim=True)
        terms = (x - z).exp() * x.where(x.isfinite(), 0)

    def back(r: Tensor) -> Sequence[Tensor]:
        share = shared(at_least_single(r) if keeps else at_least_single(r).reshape(z.shape), z, epsilon)
        if ledger is not None:
            ledger.add((r if keeps else r.reshape(z.shape)) - share * terms.sum(axes, keepdim=True))
        return [(share * terms).to(call.input.dtype)]

    return carrier.carry(call, [call.input], back)
