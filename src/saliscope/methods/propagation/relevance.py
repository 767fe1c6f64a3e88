"""bach2015, section 2.3 and montavon2019, section 2: a network whose way back carries relevance instead of slopes.

Linear layers send by their rule, sums and means in proportion to their terms; activations and what prepares the image
for the first layer hand relevance on. What torch has under one name is run by its parts. Operations that only move
values route relevance as a gradient; what is left has no rule and is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from saliscope.methods.kernel import at_least_single
from saliscope.methods.propagation import attn_lrp, moves
from saliscope.methods.propagation.carrier import Carrier
from saliscope.methods.propagation.gates import SCALE, product, rank_of
from saliscope.methods.propagation.ledger import Ledger
from saliscope.methods.propagation.linear import Layer, fixed, layer_of, merged, normalising, shifted
from saliscope.methods.propagation.origin import Origin, mark, origin_of
from saliscope.methods.propagation.rules import Rules, shared

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.methods.propagation.layer_rules import LayerRules
    from saliscope.model.rewrite import Call

#: Functions of one value that hand relevance on, beside the activations of every network.
ELEMENTWISE = frozenset({
    "neg", "abs", "square", "sqrt", "pow", "float_power", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10",
    "sin", "cos", "tan", "asin", "atan", "arctan", "sinh", "cosh", "asinh", "erf", "logit", "special_expit",
    "special_erf", "sign", "sgn", "nan_to_num", "positive", "round", "floor", "ceil", "trunc",
})  # fmt: skip
#: With a constant they are activations.
BOUNDED = frozenset({"maximum", "minimum", "max", "min", "fmax", "fmin"})


class Relevance:
    """Gives every operation its way to send relevance back; `conv`, `dense` and `stem` are names of rules."""

    def __init__(self, rules: Rules, conv: str, dense: str, stem: str | None, layers: LayerRules | None = None) -> None:
        self.rules, self.conv, self.dense, self.stem, self.layers = rules, conv, dense, stem, layers
        self.small = min(rules.epsilon_, 1e-6)
        self.notes: set[str] = set()
        self.carrier = Carrier()
        self._opened: list[Callable[..., Any]] = []

    @property
    def ledger(self) -> Ledger | None:
        """Return where what is absorbed is counted."""
        return self.rules.ledger

    def __call__(self, call: Call) -> Tensor | None:
        """Return the result of a call with relevance behind it; None where it only moves values or is unknown."""
        found = self._by_rule(call)
        if found is None:
            found = self._by_parts(call)
        if found is None:
            self.carrier.before(call)
        return found

    def after(self, call: Call, result: Any) -> None:
        """Remember where the result of a call came from."""
        from saliscope.model.rewrite import NORMS, tensors_in

        origins = [origin_of(t) for t in call.followed]
        layer = layer_of(call) is not None
        new = layer or call.name in NORMS or call.name in attn_lrp.PRODUCTS or call.name == "rms_norm"
        early = not layer and all(o.early for o in origins)
        rank = max(rank_of(call), 0 if new else min(o.rank for o in origins))
        for made in tensors_in([result]):
            mark(made, Origin(early, rank))

    def _by_rule(self, call: Call) -> Tensor | None:
        from saliscope.model.rewrite import ACTIVATIONS, NORMS

        if (layer := layer_of(call)) is not None:
            return self._linear_layer(call, layer)
        if call.name in attn_lrp.PRODUCTS and not self._has_bias(call):
            return self._by_terms(call, len(call.followed))
        if call.name in attn_lrp.SUMS:
            return self._by_terms(call, 1)
        if len(call.followed) == 2:
            return self._of_two(call)
        if len(call.followed) != 1:
            return moves.moved(self.carrier, call, self.ledger)
        if call.name in ("add", "sub", "rsub"):
            return self._alone(call, shifted)
        if call.name == "mul" or (call.name in BOUNDED and moves.tensors(call) == 2):
            return self._handed_on(call)
        if call.followed[0] is not call.input:
            return moves.moved(self.carrier, call, self.ledger)
        falls = call.name in ELEMENTWISE and rank_of(call) == SCALE
        if call.name in ACTIVATIONS or (call.name in ELEMENTWISE and not falls) or call.name == "div" or _drops(call):
            return self._handed_on(call)
        if call.name in NORMS or call.name == "rms_norm":
            return self._norm(call)
        if call.name.startswith(attn_lrp.MEANS) or call.name in attn_lrp.DEGREES:
            return self._by_terms(call, attn_lrp.DEGREES.get(call.name, 1))
        return self._of_softmax(call)

    def _of_two(self, call: Call) -> Tensor | None:
        """Return the result of a call with two followed arguments."""
        if call.name in ("add", "sub", "rsub"):
            return self._sum(call)
        if call.name == "mul":
            made, scale = product(self.carrier, call)
            if scale:
                self.notes.add("a scale taken from the image's own values was taken as a constant.")
            return made
        if call.name == "div":
            self.notes.add("a divisor taken from the image's own values was taken as a constant.")
            return self._signal(call, Origin(origin_of(call.input).early))
        if call.name == "grid_sample":
            self.notes.add("the places from which values are resampled were taken as constants.")
            return self._resampled(call)
        return moves.moved(self.carrier, call, self.ledger)

    def _by_parts(self, call: Call) -> Tensor | None:
        """Return the result of a call run by its parts, each under its own rule; None where it has none."""
        from saliscope.methods.propagation.parts import PARTS, biased, opened
        from saliscope.model.rewrite import NORMS, Rewriting

        if call.name in attn_lrp.PRODUCTS and self._has_bias(call):
            parts: Callable[..., Any] | None = biased(call)
        elif call.name in NORMS or moves.packed(call):
            return None
        else:
            parts = opened(call.function) or PARTS.get(call.name)
        if parts is None or call.function in self._opened:
            return None
        # Methods of tensors call what they wrap under their own name, which must not open again.
        self._opened.append(call.function)
        try:
            with Rewriting(self, self.after):
                result = parts(*call.args, **call.named)
        finally:
            self._opened.pop()
        if call.inplace and result is not call.input:
            self.carrier.before(call)
            result = call.input.copy_(result)
        return cast("Tensor", result)

    @staticmethod
    def _has_bias(call: Call) -> bool:
        own = call.name.startswith(("conv", "linear")) and call.given(2, "bias") is not None
        return own or (call.name == "bilinear" and call.given(3, "bias") is not None)

    def _linear_layer(self, call: Call, layer: Layer) -> Tensor:
        a = call.followed[0]
        rule = self.conv if call.name.startswith("conv") else self.dense
        if self.stem is not None and origin_of(a).early:
            rule = self.stem
        rule = rule if self.layers is None else self.layers.rule(rule)
        made, kept = self._carried(call, rule, layer, a)
        mark(made, Origin(early=False, layer=(call, rule, layer, a, kept)))
        return made

    def _carried(self, call: Call, rule: str, layer: Layer, a: Tensor, kept: Any = None) -> tuple[Tensor, Any]:
        kept = kept or self.carrier.keep(a)
        made = self.carrier.carry(call, [a], lambda r: (self.rules.apply(rule, layer, kept.values, r),))
        return made, kept

    def _norm(self, call: Call) -> Tensor:
        """Merge a normalisation into the linear layer that it follows, or take it as a layer of its own."""
        seen = call.input
        if not fixed(call):
            if origin_of(seen).early:
                return self._handed_on(call)
            self.notes.add(f"the scale of {call.name} was taken as a constant, its mean as linear.")
            small = Rules(self.small, ledger=self.ledger)
            layer, kept = normalising(call), self.carrier.keep(seen)
            return self.carrier.carry(call, [seen], lambda r: (small.apply("epsilon", layer, kept.values, r),))
        if (before := origin_of(seen).layer) is not None:
            made_by, rule, layer, a, kept = before
            if made_by.name.startswith("conv") or (made_by.name == "linear" and seen.ndim == 2):
                return self._carried(call, rule, merged(made_by, layer, call), a, kept)[0]
        return self._alone(call, normalising, own=True)

    def _alone(self, call: Call, layer: Callable[[Call], Layer], *, own: bool = False) -> Tensor:
        """Take an elementwise operation as a layer of its own, unless it only prepares the image for the first."""
        (seen,) = call.followed
        # One term and a shift are often of one sign, and alpha-beta would multiply relevance by alpha at each of them.
        rule = "z-plus" if self.conv == "alpha-beta" else self.conv
        asked = self.layers.rule("") if own and self.layers is not None else ""
        if origin_of(seen).early and not asked:
            return self._handed_on(call)
        return self._carried(call, asked or rule, layer(call), seen)[0]

    def _sum(self, call: Call) -> Tensor:
        """Share relevance between two terms in proportion to them."""
        import torch

        with torch.no_grad():
            one, other = (at_least_single(t.detach()) for t in (call.given(0, "input"), call.given(1, "other")))
            other = other * call.given(2, "alpha", 1) * (1 if call.name == "add" else -1)
            one, other = (-one, -other) if call.name == "rsub" else (one, other)
            share = [shared(v, one + other, self.small) for v in (one, other)]
        shapes = [(t.shape, t.dtype) for t in call.followed]

        def back(r: Tensor) -> list[Tensor]:
            if self.ledger is not None:
                self.ledger.add(r * (1 - share[0] - share[1]))
            return [(r * s).sum_to_size(shape).to(dtype) for s, (shape, dtype) in zip(share, shapes, strict=True)]

        return self.carrier.carry(call, call.followed, back)

    def _by_terms(self, call: Call, degree: int) -> Tensor:
        return attn_lrp.by_terms(self.carrier, call, self.small, self.ledger, degree)

    def _of_softmax(self, call: Call) -> Tensor | None:
        axis = call.given(1, "dim")
        if call.name == "softmax" and isinstance(axis, int):
            return attn_lrp.softmax(self.carrier, call, axis, self.ledger)
        if call.name == "logsumexp":
            return attn_lrp.logsumexp(self.carrier, call, self.ledger, self.small)
        return moves.moved(self.carrier, call, self.ledger)

    def _signal(self, call: Call, origin: Origin) -> Tensor:
        """Let the first argument take all relevance."""
        shape = call.input.shape
        made = self.carrier.carry(call, [call.input], lambda r: (r.sum_to_size(shape),))
        mark(made, origin)
        return made

    def _resampled(self, call: Call) -> Tensor:
        place = call.given(1, "grid").detach()
        args = (call.input, place, *call.args[2:])
        named = {k: v for k, v in call.named.items() if k not in ("input", "grid")}
        return self._by_terms(replace(call, args=args, named=named), 1)

    def _handed_on(self, call: Call) -> Tensor:
        """Return the result of a call that leaves all relevance where it is."""
        (seen,) = call.followed
        shape = seen.shape
        return self.carrier.carry(call, [seen], lambda r: (r.sum_to_size(shape),))


def _drops(call: Call) -> bool:
    """Return whether a call is a dropout that is on."""
    own = call.name in ("dropout", "feature_dropout", "alpha_dropout") and len(call.args) == 3
    return own and bool(call.args[2])
