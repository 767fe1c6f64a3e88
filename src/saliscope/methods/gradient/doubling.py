"""A path in twice as many steps, and again, until its map sums to the rise of the score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saliscope.core.protocols import Model
from saliscope.core.target import Target
from saliscope.methods.gradient.completeness import sum_gap
from saliscope.methods.kernel import at_least_single

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(eq=False)
class Doubling:
    """Runs paths in `first` steps and doubles them up to `most`, and remembers what it took."""

    method: str
    first: int
    most: int
    tolerance: float
    counts: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def settled(self, run: Callable[[int], Tensor], before: Tensor, after: Tensor) -> Tensor:
        """Return the maps (K, *S) that `run` makes of a number of steps, once their gap is within the tolerance.

        Where it never is, those of the smallest gap. `before` and `after` (K,) are the scores at the ends of the path.
        """
        steps, best = self.first, None
        while True:
            found = run(steps)
            gap = sum_gap(found[None], (after - before)[None], (after.abs() + before.abs())[None])
            share = float(gap["completeness_relative_gap"].max())
            if best is None or share < best[0]:
                best = share, steps, found
            # A gap that is no number stays one.
            if share <= self.tolerance or 2 * steps > self.most or share != share:
                self.shares.append(best[0])
                self.counts.append(best[1])
                return best[2]
            steps *= 2

    def say(self, model: Model) -> None:
        """Note how many steps the maps took, and how far the sum of the worst is off."""
        if not self.counts:
            return
        least, most = min(self.counts), max(self.counts)
        took = f"{least}" if least == most else f"{least} to {most}"
        model.note(f"{self.method} took {took} steps a map; its sum is off by at most {max(self.shares):.1%}.")
        if not max(self.shares) <= self.tolerance:
            model.note(f"{self.method} stopped at max_steps={self.most}, above tolerance={self.tolerance}.")


def at_ends(model: Model, target: Target, start: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores (K,) of both ends of a path, each (1, C, *S)."""
    before, after = (at_least_single(target.scores(model(end)))[0] for end in (start, image))
    return before, after
