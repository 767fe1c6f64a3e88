"""zeiler2014, springenberg2014: gradients whose way back through every ReLU is another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single
from saliscope.methods.propagation.run import listed, run_with

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Call

#: What autograd calls the activations that these papers have no rule for; they keep their gradient.
OTHERS = frozenset({
    "LeakyRelu", "PreluKernel", "RreluWithNoise", "Elu", "Gelu", "Silu", "Mish", "Softplus", "LogSigmoid",
    "Sigmoid", "Tanh", "Hardtanh", "Hardswish", "Hardsigmoid", "Softmax", "Clamp", "ClampMin", "Threshold",
})  # fmt: skip


def rectified_map(model: Model, x: Tensor, target: Target, gate: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return (N, K, *S): what reaches x (N, C, *S), summed over channels, when every ReLU sends back gate(g, passed).

    g is the gradient after the ReLU and `passed` says where its input was positive. Raises MethodError for a network
    without a ReLU, or with one that cannot be seen.
    """
    import torch

    from saliscope.model.rewrite import Rewriting, carried, operations

    count = 0

    def rewrite(call: Call) -> Tensor | None:
        nonlocal count
        top = ceiling(call)
        if top is None:
            return None
        count += 1
        seen = call.input
        # A mask of its own, because an operation in place may follow the ReLU or be it.
        passed = ((seen > 0) & (seen < top)).detach()
        return carried(call, [seen], [passed], lambda g, passed: (gate(g, passed),))

    probe, gradients = run_with(Rewriting(rewrite), model, x, target, INPUT)
    left = operations(probe.output)
    if "Relu" in left or not count:
        raise MethodError(
            "a ReLU inside a scripted part of the network" if "Relu" in left else "a network without a ReLU",
            expected="a network whose ReLUs can be given another way back",
            do="Use gradient, which such a network's map would be, or smoothgrad",
        )
    if others := OTHERS & left:
        model.note(f"{count} ReLUs were changed; {listed(others)} kept the gradient.")
    return torch.stack([at_least_single(g[INPUT]).sum(dim=1) for g in gradients], dim=1)


def ceiling(call: Call) -> float | None:
    """Return where a ReLU under any of its names stops to rise, infinity for the plain one; None if it is no ReLU."""
    if call.name in ("relu", "relu6"):
        return 6.0 if call.name == "relu6" else float("inf")
    if call.name == "hardtanh" and call.given(1, "min_val", -1.0) == 0:
        return float(call.given(2, "max_val", 1.0))
    if call.name in ("clamp", "clamp_min", "clip"):
        least = call.given(1, "min")
        cut = isinstance(least, int | float) and least == 0 and call.given(2, "max") is None
        return float("inf") if cut else None
    return None
