"""arras2019, section 3: of a product of a gate and a signal, the signal takes all relevance.

Which of the two is the gate is not written in a network. A value that some function keeps between bounds gates one that
none does, one between zero and a bound gates one that has a sign, and a scale by a statistic gates everything. Two
alike share half and half, the uniform rule of achtibat2024, section 3.3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.methods.propagation.origin import Origin, mark, origin_of

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.methods.propagation.carrier import Carrier
    from saliscope.model.rewrite import Call

SIGNED, POSITIVE, SCALE = 1, 2, 3
#: How much of a gate an operation makes of its argument.
RANKS = {
    **dict.fromkeys(("tanh", "erf", "softsign", "sin", "cos", "sign", "exp", "special_erf"), SIGNED),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "softmax", "softmin", "relu6", "special_expit", "heaviside"), POSITIVE),
    **dict.fromkeys(
        ("rsqrt", "reciprocal", "rdiv", "std", "var", "norm", "linalg_norm", "linalg_vector_norm", "special_rsqrt"),
        SCALE,
    ),
}


def rank_of(call: Call) -> int:
    """Return how much of a gate the result of a call is; a layer or a norm makes none."""
    if call.name in ("hardtanh", "clamp", "clip"):
        low, high = call.given(1, "min_val", call.given(1, "min")), call.given(2, "max_val", call.given(2, "max"))
        if call.name == "hardtanh":
            low, high = -1.0 if low is None else low, 1.0 if high is None else high
        if isinstance(low, int | float) and isinstance(high, int | float):
            return POSITIVE if low >= 0 else SIGNED
        return 0
    if call.name == "pow":
        power = call.given(1, "exponent")
        return SCALE if isinstance(power, int | float) and power < 0 else 0
    return RANKS.get(call.name, 0)


def product(carrier: Carrier, call: Call) -> tuple[Tensor, bool]:
    """Return the result of a product of two followed arguments, and whether one was a scale by a statistic."""
    one, other = call.followed
    ranks = origin_of(one).rank, origin_of(other).rank
    shapes = one.shape, other.shape
    if ranks[0] == ranks[1]:
        made = carrier.carry(call, [one, other], lambda r: [(r / 2).sum_to_size(shape) for shape in shapes])
        return made, False
    signal, shape = (one, shapes[0]) if ranks[0] < ranks[1] else (other, shapes[1])
    early = origin_of(signal).early
    made = carrier.carry(call, [signal], lambda r: [r.sum_to_size(shape)])
    mark(made, Origin(early, min(ranks)))
    return made, max(ranks) == SCALE
