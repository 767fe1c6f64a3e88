"""srinivas2019, the full-gradient decomposition and FullGrad: input times gradient, plus bias times gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, gaps, watch

if TYPE_CHECKING:
    from torch import Tensor

    #: Gradient times input and gradient times bias with the layer where it has a place (N, C, *S'), None elsewhere.
    Terms = list[tuple[str | None, Tensor]]


@dataclass(frozen=True)
class FullGrad:
    """What the input and every bias with a place adds to the score, summed over layers on the input's grid.

    In a network of convolutions, ReLUs, pooling and batch norm at rest, input times gradient and bias times gradient
    of all layers sum to the score. Layers without space, such as the last, count there and have no place here. What a
    cell adds is spread over the input elements that it stands for. That is `terms` "signed"; "absolute" takes
    magnitudes before channels are summed, and "rescaled", the paper's, then stretches each layer to 0 to 1 instead
    of spreading it.
    """

    terms: Literal["signed", "absolute", "rescaled"] = "signed"

    traits: ClassVar[Traits] = Traits(
        family="gradient",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="srinivas2019",
        cost="1 forward, K backward, and the same again to measure completeness",
        blind="Norms that depend on the image and smooth activations add more than their bias: then it is incomplete.",
    )

    def __post_init__(self) -> None:
        if self.terms not in ("signed", "absolute", "rescaled"):
            raise MethodError(
                f"terms={self.terms!r}", expected="signed, absolute or rescaled", do="Choose one of the three"
            )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score per element of the input."""
        import torch

        _, of_targets = _terms(model, x, target)
        maps = []
        for terms in of_targets:
            total = torch.zeros_like(at_least_single(x.detach())[:, 0])
            for layer, term in terms:
                if layer is not None:
                    total = total + self._placed(model, x, layer, term)
            maps.append(total)
        return torch.stack(maps, dim=1)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Return, each (N, K), the gap to the score, that as a share of the larger, and what of it has no place."""
        import torch

        scores, of_targets = _terms(model, x, target)
        both = [(_total(terms), _total(terms) - _total([t for t in terms if t[0] is not None])) for terms in of_targets]
        sums, without = (torch.stack(some, dim=1) for some in zip(*both, strict=True))
        return {**gaps("completeness", sums, scores), "without_place": without}

    def _placed(self, model: Model, x: Tensor, layer: str, term: Tensor) -> Tensor:
        """Return the term (N, C, *S') of a layer on the input's grid, (N, *S)."""
        term = term if self.terms == "signed" else term.abs()
        if self.terms == "rescaled":
            axes = tuple(range(1, term.ndim))
            least, most = term.amin(dim=axes, keepdim=True), term.amax(dim=axes, keepdim=True)
            term = ((term - least) / (most - least)).where(most > least, term.new_zeros(()))
        else:
            term = term * (prod(term.shape[2:]) / prod(x.shape[2:]))
        return model.onto_input(term.sum(dim=1, keepdim=True), x, layer)[:, 0]


def _terms(model: Model, x: Tensor, target: Target) -> tuple[Tensor, Iterator[Terms]]:
    """Return the scores (N, K), and an iterator over the terms of each target."""
    biases = model.biases(x)
    probe, gradients = watch(model, x, target, [INPUT, *biases])
    factors = {INPUT: x.detach(), **biases}
    # A bias along the last axis, as after a flattening or of channels that stand last, fits no grid (N, C, *S').
    places = {layer: layer if factor.ndim == x.ndim else None for layer, factor in factors.items()}
    terms = ([(places[n], at_least_single(g[n]) * factor) for n, factor in factors.items()] for g in gradients)
    return target.scores(probe.output.detach()), terms


def _total(terms: Terms) -> Tensor:
    """Return the sum (N,) of the terms of one target over layers, channels and space."""
    import torch

    return torch.stack([term.flatten(1).sum(dim=1) for _, term in terms]).sum(dim=0)
