"""bach2015, eq. 56 to 60, montavon2017 and montavon2019, table 1: how a linear layer sends relevance back.

With parts (a, w, b) of a layer, the terms of output j are the a_i w_ij and b_j, their sum is z_j, and input i gets
sum_j a_i w_ij R_j / z_j. Each rule is a choice of parts. A bias keeps its share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from saliscope.methods.kernel import at_least_single
from saliscope.methods.propagation.ledger import Ledger
from saliscope.methods.propagation.linear import Layer

if TYPE_CHECKING:
    from torch import Tensor

#: What keeps a quotient finite where the rule itself has no epsilon.
TINY = 1e-6

#: The rules by the names that a user gives them.
NAMES = ("epsilon", "gamma", "alpha-beta", "z-plus", "box", "flat", "w-square")

Part = tuple["Tensor", "Tensor", "Tensor | None"]


@dataclass(frozen=True)
class Rules:
    """The rules by name, with their parameters; each returns the relevance of an input a from that of the output.

    What biases and epsilon absorb is told to the ledger.
    """

    epsilon_: float = TINY
    gamma_: float = 0.25
    alpha_: float = 2.0
    low: float | None = None
    high: float | None = None
    ledger: Ledger | None = None

    def apply(self, name: str, layer: Layer, a: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of a by the rule of this name, summed in at least float32."""
        bias = None if layer.bias is None else at_least_single(layer.bias)
        full = replace(layer, weight=at_least_single(layer.weight), bias=bias)
        rule = getattr(self, name.replace("-", "_"))
        found: Tensor = rule(full, at_least_single(a.detach()), at_least_single(relevance))
        return found.to(a.dtype)

    def epsilon(self, layer: Layer, a: Tensor, relevance: Tensor) -> Tensor:
        """bach2015, eq. 58: z_j moved away from zero by epsilon, which absorbs weak and contradictory relevance."""
        return send(layer, [(a, layer.weight, layer.bias)], relevance, self.epsilon_, self.ledger)

    def gamma(self, layer: Layer, a: Tensor, relevance: Tensor) -> Tensor:
        """montavon2019, table 1: terms of the sign of z_j count 1 + gamma times, for inputs of any sign."""
        import torch

        with torch.no_grad():
            z = layer.run(a, layer.weight, layer.bias)
        if self.ledger is not None:
            self.ledger.add(relevance.where(z == 0, 0))
        up, down = _halves(a, layer, lambda w, part: w + self.gamma_ * part)
        return self._sent(layer, up, relevance.where(z > 0, 0)) + self._sent(layer, down, relevance.where(z < 0, 0))

    def alpha_beta(self, layer: Layer, a: Tensor, relevance: Tensor) -> Tensor:
        """bach2015, eq. 60: positive terms share alpha times the relevance, negative ones take alpha - 1 times it."""
        up, down = _halves(a, layer, lambda _, part: part)
        sent = self._sent(layer, up, self.alpha_ * relevance)
        return sent if self.alpha_ == 1 else sent + self._sent(layer, down, (1 - self.alpha_) * relevance)

    def z_plus(self, layer: Layer, a: Tensor, relevance: Tensor) -> Tensor:
        """montavon2017: positive terms share all relevance, which is alpha = 1, beta = 0."""
        return self._sent(layer, _halves(a, layer, lambda _, part: part)[0], relevance)

    def box(self, layer: Layer, a: Tensor, relevance: Tensor) -> Tensor:
        """montavon2017: terms a w - l w+ - h w-, for an input between l and h, by default its own extremes."""
        axes = tuple(range(2, a.ndim)) or (1,)
        low = a.amin(axes, keepdim=True) if self.low is None else a.new_tensor(self.low)
        high = a.amax(axes, keepdim=True) if self.high is None else a.new_tensor(self.high)
        w = layer.weight
        parts: list[Part] = [
            (a, w, None),
            (low.expand_as(a), -w.clamp(min=0), None),
            (high.expand_as(a), -w.clamp(max=0), None),
        ]
        return self._sent(layer, parts, relevance)

    def flat(self, layer: Layer, a: Tensor, relevance: Tensor) -> Tensor:
        """Return relevance spread evenly over what an output sees, as lapuschkin2019 do in the first layers."""
        return self._sent(
            layer, [(a.new_ones(()).expand_as(a), layer.weight.new_ones(layer.weight.shape), None)], relevance
        )

    def w_square(self, layer: Layer, a: Tensor, relevance: Tensor) -> Tensor:
        """montavon2017: shares by squared weights alone, for inputs of any sign."""
        return self._sent(layer, [(a.new_ones(()).expand_as(a), layer.weight**2, None)], relevance)

    def _sent(self, layer: Layer, parts: Sequence[Part], relevance: Tensor) -> Tensor:
        return send(layer, parts, relevance, min(TINY, self.epsilon_), self.ledger)


def send(
    layer: Layer, parts: Sequence[Part], relevance: Tensor, epsilon: float, ledger: Ledger | None = None
) -> Tensor:
    """Return the sum over parts of a_i w_ij R_j / z_j, z_j the sum of all parts' terms.

    The ledger is told what stays: b_j R_j / z_j, and what z_j was moved away from zero by.
    """
    import torch

    from saliscope.model.phase import phase_gradients

    with torch.enable_grad(), phase_gradients():
        inputs = [a.detach().requires_grad_() for a, _, _ in parts]
        outputs = [layer.run(a, w, b) for a, (_, w, b) in zip(inputs, parts, strict=True)]
        z = torch.stack([o.detach() for o in outputs]).sum(dim=0) if len(outputs) > 1 else outputs[0].detach()
    share = shared(relevance, z, epsilon)
    if ledger is not None:
        ledger.add(relevance - share * z)
        for bias in (b for _, _, b in parts if b is not None):
            ledger.add(share * layer.spread(bias))
    slopes = torch.autograd.grad(outputs, inputs, [share] * len(outputs))
    terms = [a.detach() * slope for a, slope in zip(inputs, slopes, strict=True)]
    return torch.stack(terms).sum(dim=0) if len(terms) > 1 else terms[0]


def shared(relevance: Tensor, z: Tensor, epsilon: float) -> Tensor:
    """Return R / (z + epsilon sign(z)), where zero counts as positive; without an epsilon, zero gets nothing."""
    if epsilon:
        return relevance / z.where(z < 0, z + epsilon).where(z >= 0, z - epsilon)
    return (relevance / z.where(z != 0, 1)).where(z != 0, 0)


def _halves(a: Tensor, layer: Layer, changed: Callable[[Tensor, Tensor], Tensor]) -> tuple[list[Part], list[Part]]:
    """Return the parts whose positive terms, and those whose negative terms, stand in weights w changed by w+ or w-."""
    w, b = layer.weight, layer.bias
    more, less = changed(w, w.clamp(min=0)), changed(w, w.clamp(max=0))
    b_more, b_less = (None, None) if b is None else (changed(b, b.clamp(min=0)), changed(b, b.clamp(max=0)))
    plus, minus = a.clamp(min=0), a.clamp(max=0)
    up: list[Part] = [(plus, more, b_more), (minus, less, None)]
    down: list[Part] = [(plus, less, b_less), (minus, more, None)]
    # After a ReLU no input is negative, which saves half of the work.
    return (up, down) if bool(minus.any()) else (up[:1], down[:1])
