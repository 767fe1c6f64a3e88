"""bach2015, section 2.3 and montavon2019, section 2: a network whose way back carries relevance instead of slopes.

Linear layers send by their rule, sums and means in proportion to their terms; activations and what prepares the image
for the first layer hand relevance on. Operations that only move values route it as a gradient; others are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from saliscope.core.errors import MethodError
from saliscope.methods.kernel import at_least_single
from saliscope.methods.propagation.linear import Layer, fixed, layer_of, merged, normalising, shifted
from saliscope.methods.propagation.rules import Rules, send, shared
from saliscope.methods.propagation.run import listed

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Call

#: Linear in one argument, without weights.
MEANS = ("avg_pool", "adaptive_avg_pool", "mean", "sum", "interpolate", "upsample")


class Relevance:
    """Gives every operation its way to send relevance back; `conv`, `dense` and `stem` are names of rules."""

    def __init__(self, rules: Rules, conv: str, dense: str, stem: str | None) -> None:
        from torch.utils.weak import WeakIdKeyDictionary

        self.rules, self.conv, self.dense, self.stem = rules, conv, dense, stem
        self.small = min(rules.epsilon_, 1e-6)
        self.notes: set[str] = set()
        # Which tensors came out of a linear layer, and which have none before them.
        self._linear: Any = WeakIdKeyDictionary()
        self._early: Any = WeakIdKeyDictionary()

    def __call__(self, call: Call) -> Tensor | None:
        """Return the result of a call with relevance behind it; None where it only moves values or is unknown."""
        from saliscope.model.rewrite import ACTIVATIONS, NORMS

        if (layer := layer_of(call)) is not None:
            return self._linear_layer(call, layer)
        followed = call.followed
        if call.name in ("add", "sub", "rsub") and len(followed) == 2:
            return self._sum(call)
        if len(followed) != 1:
            return None
        if call.name in ("add", "sub", "rsub"):
            return self._alone(call, shifted)
        if call.name == "mul":
            return handed_on(call)
        if followed[0] is not call.input:
            return None
        if call.name in ACTIVATIONS or call.name in ("div", "neg"):
            return handed_on(call)
        if call.name in NORMS:
            return self._norm(call)
        return self._mean(call) if call.name.startswith(MEANS) else None

    def after(self, call: Call, result: Any) -> None:
        """Remember of the result of a call whether a linear layer stood before it."""
        from saliscope.model.rewrite import tensors_in

        early = layer_of(call) is None and all(self._is_early(t) for t in call.followed)
        for made in tensors_in([result]):
            self._early[made] = early

    def check(self, output: Tensor) -> None:
        """Raise MethodError for operations between the root and an output that relevance has no way through."""
        from saliscope.model.rewrite import LARGEST, ROUTING, operations

        if unknown := operations(output) - ROUTING - LARGEST:
            raise MethodError(
                f"a network with operations that have no relevance rule: {listed(unknown)}",
                expected="convolutions, linear layers, sums, means, pools, normalisations and activations",
                do="Use integrated-gradients or deeplift; products of activations, softmax and scripted parts are out",
            )

    def _is_early(self, t: Tensor) -> bool:
        return bool(self._early.get(t, t.is_leaf))

    def _linear_layer(self, call: Call, layer: Layer) -> Tensor:
        a = call.followed[0]
        rule = self.conv if call.name.startswith("conv") else self.dense
        if self.stem is not None and self._is_early(a):
            rule = self.stem
        result = self._carried(call, rule, layer, a)
        self._linear[result] = (call, rule, layer, a, result._version)  # noqa: SLF001 - no other count of writes
        return result

    def _carried(self, call: Call, rule: str, layer: Layer, a: Tensor) -> Tensor:
        from saliscope.model.rewrite import carried

        return carried(call, [a], [a], lambda r, a: (self.rules.apply(rule, layer, a, r),))

    def _norm(self, call: Call) -> Tensor:
        """Merge a normalisation into the linear layer that it follows, or take it as a layer of its own."""
        seen = call.input
        before, rule, layer, a, version = self._linear.get(seen, (None, "", None, None, -1))
        by_channel = before is not None and (
            before.name.startswith("conv") or (before.name == "linear" and seen.ndim == 2)
        )
        if by_channel and version == seen._version and fixed(call):  # noqa: SLF001
            return self._carried(call, rule, merged(before, layer, call), a)
        if not fixed(call):
            self.notes.add(f"the mean and scale of {call.name} were taken as constants.")
        return self._alone(call, normalising)

    def _alone(self, call: Call, layer: Callable[[Call], Layer]) -> Tensor:
        """Take an elementwise operation as a layer of its own, unless it only prepares the image for the first."""
        (seen,) = call.followed
        if self._is_early(seen):
            return handed_on(call)
        # One term and a shift are often of one sign, and alpha-beta would multiply relevance by alpha at each of them.
        return self._carried(call, "z-plus" if self.conv == "alpha-beta" else self.conv, layer(call), seen)

    def _sum(self, call: Call) -> Tensor:
        """Share relevance between two terms in proportion to them."""
        import torch

        from saliscope.model.rewrite import carried

        with torch.no_grad():
            one, other = (t.detach() for t in (call.given(0, "input"), call.given(1, "other")))
            other = other * call.given(2, "alpha", 1) * (1 if call.name == "add" else -1)
            one, other = (-one, -other) if call.name == "rsub" else (one, other)
            share = [shared(v, one + other, self.small) for v in (one, other)]
        shapes = [t.shape for t in call.followed]
        return carried(
            call,
            call.followed,
            share,
            lambda r, *share: tuple((r * s).sum_to_size(shape) for s, shape in zip(share, shapes, strict=True)),
        )

    def _mean(self, call: Call) -> Tensor:
        from saliscope.model.rewrite import carried

        layer = Layer(lambda a, _w, _b: cast("Tensor", call.on(a)), call.input.new_ones(()), None)

        def back(r: Tensor, a: Tensor) -> Sequence[Tensor]:
            part = (at_least_single(a), layer.weight, None)
            return (send(layer, [part], at_least_single(r), self.small).to(a.dtype),)

        return carried(call, [call.input], [call.input], back)


def handed_on(call: Call) -> Tensor:
    """Return the result of a call that leaves all relevance where it is."""
    from saliscope.model.rewrite import carried

    (seen,) = call.followed
    shape = seen.shape
    return carried(call, [seen], [], lambda r: (r.sum_to_size(shape),))
