"""Integrated gradients to a tolerance: thirds of thirds of a path, where the map still changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saliscope.core.protocols import Model
from saliscope.core.target import Target
from saliscope.methods.gradient.completeness import CANCELLED
from saliscope.methods.gradient.slopes import Column
from saliscope.methods.gradient.trisection import Interval, Rule, settled, thirds

if TYPE_CHECKING:
    from torch import Tensor

#: Intervals to begin with. From five to eight, the shipped networks need the fewest gradients for an error of 2 %.
FIRST = 6


@dataclass(frozen=True, eq=False)
class Cell:
    """An interval that was cut into thirds: their parts (3, *S), and half of what the cut changed, (*S)."""

    interval: Interval
    parts: Tensor
    error: Tensor

    @classmethod
    def cut(cls, interval: Interval, part: Tensor, parts: Tensor) -> Cell:
        """Return the cell of an interval with its part (*S) before the cut, and those of its thirds (3, *S)."""
        return cls(interval, parts, (part - parts.sum(dim=0)) / 2)


@dataclass(eq=False)
class Refinement:
    """Cuts the paths of some maps until each meets a tolerance, and remembers what it took."""

    tolerance: float
    most: int
    counts: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)

    def integrate(self, model: Model, target: Target, image: Tensor, start: Tensor, size: int) -> Tensor:
        """Return (K, *S) of one image (C, *S) from its `start`, with at most `size` points run at once."""
        import torch

        rule, rises, kept = settled(model, target, image, start, size)
        self.kept |= kept
        first = [(i, FIRST) for i in range(FIRST)]
        whole = rule.whole(target, first)
        cut = rule.thirds(target, first, whole)
        maps = []
        for k, rise in enumerate(rises):
            cells = [Cell.cut(i, *both) for i, *both in zip(first, whole[k], cut[k], strict=True)]
            maps.append(self._refined(rule, Column(target, k), cells, rise))
        return torch.stack(maps)

    def _refined(self, rule: Rule, target: Target, cells: list[Cell], rise: Tensor) -> Tensor:
        """Return the map (*S) of one target that rises by `rise` on the way, cut on from the first cells."""
        import torch

        count = FIRST * (1 + rule.cost)
        while True:
            found = torch.stack([c.parts.sum(dim=0) for c in cells]).sum(dim=0)
            norm = found.norm()
            error = torch.stack([c.error for c in cells]).sum(dim=0).norm()
            gap = (found.sum() - rise).abs()
            done = bool(error <= self.tolerance * norm) and bool(
                gap <= self.tolerance * rise.abs().maximum(CANCELLED * norm)
            )
            room = (self.most - count) // (3 * rule.cost)
            chosen: set[int] = set() if done else self._chosen(cells, float(norm), room)
            if not chosen:
                self.counts.append(count)
                self.errors.append(float(error / norm) if norm > 0 else float(error))
                return found
            count += 3 * rule.cost * len(chosen)
            cells = _cut(rule, target, cells, chosen)

    def _chosen(self, cells: Sequence[Cell], norm: float, room: int) -> set[int]:
        """Return which cells to cut: the worst, so that the others hold no more than half of the squared tolerance."""
        squares = [float(c.error.norm()) ** 2 for c in cells]
        ascending = sorted(range(len(cells)), key=lambda at: squares[at])
        left, total = 0, 0.0
        while left < len(cells) - 1 and total + squares[ascending[left]] <= (self.tolerance * norm) ** 2 / 2:
            total += squares[ascending[left]]
            left += 1
        return set(ascending[max(left, len(cells) - max(room, 0)) :])

    def say(self, model: Model) -> None:
        """Note how many gradients the maps took, and how far they may be from the integral."""
        if not self.counts:
            return
        least, most, worst = min(self.counts), max(self.counts), max(self.errors)
        took = f"{least}" if least == most else f"{least} to {most}"
        model.note(
            f"Integrated gradients took {took} gradients a map. The relative L2 error is at most {worst:.1%}: half the "
            "change from steps three times as long, which bounds it where it shrinks at least as the steps do."
        )
        if worst > self.tolerance:
            model.note(f"Integrated gradients stopped at max_gradients={self.most}, above tolerance={self.tolerance}.")
        if self.kept:
            names = ", ".join(sorted(self.kept))
            model.note(f"Integrated gradients used midpoints, because chords are not known for {names}.")


def _cut(rule: Rule, target: Target, cells: Sequence[Cell], chosen: set[int]) -> list[Cell]:
    """Return the cells with each chosen one replaced by its three thirds, themselves cut."""
    import torch

    pieces = [t for at, c in enumerate(cells) if at in chosen for t in thirds([c.interval])]
    parts = torch.cat([c.parts for at, c in enumerate(cells) if at in chosen])
    made = iter(zip(pieces, parts, rule.thirds(target, pieces, parts[None])[0], strict=True))
    found: list[Cell] = []
    for at, cell in enumerate(cells):
        found += [Cell.cut(*next(made)) for _ in range(3)] if at in chosen else [cell]
    return found
