"""srinivas2019, the full-gradient decomposition and FullGrad: input times gradient, plus bias times gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.completeness import GAP_LIMIT, check_limit, sum_gap
from saliscope.methods.kernel import at_least_single, held, watch
from saliscope.methods.resolution import one_element

if TYPE_CHECKING:
    from torch import Tensor

    #: Of each layer, gradient times input or bias as the layer has it, and as (N, C, *S') where it has a place.
    Terms = list[tuple[str, Tensor, Tensor | None]]


@dataclass(frozen=True)
class FullGrad:
    """What the input and every bias with a place adds to the score, summed over layers on the input's grid.

    In a network of convolutions, ReLUs, pooling and batch norm at rest, input times gradient and bias times gradient
    of all layers sum to the score. What a cell adds is given out to the input elements that it stands for, so that the
    map sums to the score less what has no place: layers without a grid, such as the last, and what stands beside the
    cells, such as a class token. Both are measured, on the map itself. That is `terms` "signed"; "absolute" takes
    magnitudes before channels are summed, and "rescaled", the paper's, then stretches each layer to 0 to 1 instead of
    giving it out: of those, the terms must sum, not the map. A sum that is off by more than `gap_limit` is refused
    where a map is explained.
    """

    terms: Literal["signed", "absolute", "rescaled"] = "signed"
    gap_limit: float = GAP_LIMIT

    traits: ClassVar[Traits] = Traits(
        family="gradient",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="srinivas2019",
        cost="1 forward, K backward, and the same again to measure completeness",
        blind="Norms that depend on the image and smooth activations add more than their bias: then it is incomplete.",
    )
    resolution = one_element

    def __post_init__(self) -> None:
        if self.terms not in ("signed", "absolute", "rescaled"):
            raise MethodError(
                f"terms={self.terms!r}", expected="signed, absolute or rescaled", do="Choose one of the three"
            )
        check_limit(self.gap_limit)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score per element of the input."""
        import torch

        maps = []
        for images, _, of_targets in _each(model, x.detach(), target):
            empty = torch.zeros_like(at_least_single(images)[:, 0])
            placed = ([self._placed(model, images, n, t) for n, _, t in terms if t is not None] for terms in of_targets)
            maps.append(torch.stack([sum(some, empty) for some in placed], dim=1))
        return torch.cat(maps)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> dict[str, Tensor]:
        """Return, each (N, K), by how much map and what has no place miss the score, that as a share, and the latter.

        The share is that of `sum_gap`. Of magnitudes it is the terms themselves that are summed.
        """
        import torch

        told: list[dict[str, Tensor]] = []
        for images, scores, of_targets in _each(model, x.detach(), target):
            sums = [
                (_total([t for _, t, _ in terms], scores), _total([t for _, _, t in terms if t is not None], scores))
                for terms in of_targets
            ]
            whole, placed = (torch.stack(some, dim=1) for some in zip(*sums, strict=True))
            without = whole - placed
            at = len(told)
            given = attribution[at : at + len(images)] if self.terms == "signed" else placed[..., None]
            told.append({**sum_gap(given, scores, scores.abs() + without.abs(), without), "without_place": without})
        return {name: torch.cat([one[name] for one in told]) for name in told[0]}

    def _placed(self, model: Model, x: Tensor, layer: str, term: Tensor) -> Tensor:
        """Return the term (N, C, *S') of a layer on the input's grid, (N, *S)."""
        from saliscope.model.onto import spread

        term = term if self.terms == "signed" else term.abs()
        if self.terms == "rescaled":
            axes = tuple(range(1, term.ndim))
            least, most = term.amin(dim=axes, keepdim=True), term.amax(dim=axes, keepdim=True)
            term = ((term - least) / (most - least)).where(most > least, term.new_zeros(()))
            return model.onto_input(term.sum(dim=1, keepdim=True), x, layer)[:, 0]
        return spread(term.sum(dim=1, keepdim=True), model.cells(x, layer), x.shape[2:])[:, 0]


def _each(model: Model, x: Tensor, target: Target) -> Iterator[tuple[Tensor, Tensor, Iterator[Terms]]]:
    """Give images, their scores (n, K), and an iterator over the terms of each target.

    All at once where every layer has a row for each image, else one by one: slices or windows of an image may be rows.
    """
    together = _terms(model, x, target)
    if together is not None:
        yield x, *together
        return
    for n, image in enumerate(x.split(1)):
        alone = _terms(model, image, held(model, image, target, n))
        if alone is not None:
            yield image, *alone


def _terms(model: Model, x: Tensor, target: Target) -> tuple[Tensor, Iterator[Terms]] | None:
    """Return the scores (N, K) and an iterator over the terms of each target; None where rows are not the images."""
    biases = model.biases(x)
    probe, gradients = watch(model, x, target, [INPUT, *biases], placed=False)
    if len(x) > 1 and any(len(seen) != len(x) for seen in probe.activations.values()):
        return None
    factors = {INPUT: x, **biases}

    def term(layer: str, gradient: Tensor, factor: Tensor) -> tuple[str, Tensor, Tensor | None]:
        raw = at_least_single(gradient) * factor
        return layer, raw, raw if layer == INPUT else model.laid_out(raw, x, layer)

    terms = ([term(n, g[n], factor) for n, factor in factors.items()] for g in gradients)
    return at_least_single(target.scores(probe.output.detach())), terms


def _total(terms: Iterable[Tensor], scores: Tensor) -> Tensor:
    """Return the sum (N,) of the terms of one target over layers, channels and space; zero of none."""
    sums = [term.reshape(len(scores), -1).sum(dim=1) for term in terms]
    return sum(sums, scores.new_zeros(len(scores)))
