"""Two rules for what a straight path's gradients sum to over an interval, each of which can be cut into thirds.

An interval (i, n) goes from i / n to (i + 1) / n of the way. Its part is (*S): the integral over it of the gradient
times the way, summed over channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from saliscope.core.protocols import INPUT, Model
from saliscope.core.target import Target
from saliscope.methods.gradient.secant import Secant, chunks, ends
from saliscope.methods.gradient.slopes import line, slopes
from saliscope.methods.kernel import at_least_single

if TYPE_CHECKING:
    from torch import Tensor

Interval = tuple[int, int]


class Rule(Protocol):
    """How the parts of intervals are found."""

    @property
    def cost(self) -> int:
        """Return how many gradients it takes to cut an interval into thirds."""

    def whole(self, target: Target, intervals: Sequence[Interval]) -> Tensor:
        """Return the parts (K, m, *S) of m intervals in ascending order."""

    def thirds(self, target: Target, intervals: Sequence[Interval], parts: Tensor) -> Tensor:
        """Return the parts (K, m, 3, *S) of the thirds of m intervals whose own are `parts` (K, m, *S)."""


def thirds(intervals: Sequence[Interval]) -> list[Interval]:
    """Return the three thirds of every interval, in order."""
    return [(3 * i + j, 3 * n) for i, n in intervals for j in range(3)]


@dataclass(frozen=True, eq=False)
class Midpoints:
    """The gradient at the middle of an interval stands for all of it; the middle third has the same middle."""

    model: Model
    image: Tensor
    start: Tensor
    size: int
    cost: int = 2

    def whole(self, target: Target, intervals: Sequence[Interval]) -> Tensor:
        """Return the parts (K, m, *S) of m intervals, of one gradient each."""
        import torch

        way = self.image - self.start
        middles = [(i + 0.5) / n for i, n in intervals]

        def copies(some: range) -> Tensor:
            return line(self.image, self.start, middles[some.start : some.stop])

        run = slopes(self.model, target, copies, len(middles), self.size)
        found = [torch.stack([(g * way).sum(dim=1) for g in slope.gradients]) for slope in run]
        length = found[0].new_tensor([1 / n for _, n in intervals])
        return torch.cat(found, dim=1) * length.reshape(-1, *[1] * (way.ndim - 1))

    def thirds(self, target: Target, intervals: Sequence[Interval], parts: Tensor) -> Tensor:
        """Return the parts (K, m, 3, *S) of their thirds, of two new gradients each."""
        import torch

        outer = self.whole(target, [t for at, t in enumerate(thirds(intervals)) if at % 3 != 1])
        first, last = outer[:, ::2], outer[:, 1::2]
        return torch.stack([first, parts / 3, last], dim=2)


@dataclass(frozen=True, eq=False)
class Secants:
    """One gradient through the chords of all activations stands for an interval, and is exact in its sum."""

    model: Model
    image: Tensor
    start: Tensor
    size: int
    cost: int = 3

    def whole(self, target: Target, intervals: Sequence[Interval]) -> Tensor:
        """Return the parts (K, m, *S) of m intervals, of one gradient each and one forward run more than that."""
        import torch

        from saliscope.model.rewrite import Rewriting

        way = self.image - self.start
        found = []
        for some in chunks(intervals, self.size):
            shares, begins = ends(some)
            with torch.enable_grad(), Rewriting(Secant(len(shares))):
                probe = self.model.probe(line(self.image, self.start, shares), [INPUT])
                scores = target.scores(probe.output)[begins]
            parts = [(at_least_single(g[INPUT])[begins] * way).sum(dim=1) for g in probe.gradients(scores)]
            length = parts[0].new_tensor([1 / n for _, n in some]).reshape(-1, *[1] * (way.ndim - 1))
            found.append(torch.stack(parts) * length)
        return torch.cat(found, dim=1)

    def thirds(self, target: Target, intervals: Sequence[Interval], parts: Tensor) -> Tensor:  # noqa: ARG002
        """Return the parts (K, m, 3, *S) of their thirds, of three new gradients each."""
        found = self.whole(target, thirds(intervals))
        return found.reshape(len(found), len(intervals), 3, *found.shape[2:])


def settled(model: Model, target: Target, image: Tensor, start: Tensor, size: int) -> tuple[Rule, Tensor, set[str]]:
    """Return the rule that fits a network, score(image) - score(start) (K,), and what kept the network from secants."""
    import torch

    from saliscope.model.rewrite import Rewriting

    rule = Secant(2)
    with torch.enable_grad(), Rewriting(rule):
        scores = target.scores(model.probe(torch.stack([start, image]), [INPUT]).output)
    kept = rule.kept(scores)
    scores = at_least_single(scores.detach())
    made: Rule = Midpoints(model, image, start, size) if kept else Secants(model, image, start, size)
    return made, scores[1] - scores[0], kept
