"""shrikumar2017, section 3.5.2 (the rescale rule), under the chain rule for multipliers, eq. 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Indexed, Target
from saliscope.methods.kernel import at_least_single
from saliscope.methods.propagation.run import listed, unchanged
from saliscope.methods.resolution import one_element
from saliscope.perturb.baseline import Baseline, absent, check_baseline

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.methods.propagation.multipliers import Multipliers

#: What rounding may leave of a sum of cancelling terms, as a share of these, by the bytes of a number.
ROUNDING = {8: 1e-12, 4: 1e-5, 2: 3e-2}
#: How many times the scores the sum of a map's sizes may count for; at least one unit of the score.
DWARFED = 1e4
#: A gap above this is worth a word.
SMALL = 1e-3


@dataclass(frozen=True)
class DeepLIFT:
    """What each element adds to score(x) - score(x'), where every activation's slope is its rise between x' and x.

    Every operation on tensors that the network runs has a rule that sums exactly: so does the map, but for what leaves
    torch on the way. `baseline` x' is a name or a number in units of the view. A map whose sum misses the difference by
    more than `gap_limit`, as a share of the larger of both, is not to be shown.
    """

    baseline: Baseline = "min"
    gap_limit: float = 0.1

    traits: ClassVar[Traits] = Traits(
        family="propagation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="shrikumar2017",
        cost="2 forward (the image and its baseline, apart) and K backward",
        blind="Whatever looks like the baseline gets nothing. Two networks of one function can have two maps.",
    )
    resolution = one_element

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        if not 0 <= self.gap_limit <= 2:
            raise MethodError(
                f"gap_limit={self.gap_limit}",
                expected="a share from 0 to 2, which refuses none",
                do="Leave it at 0.1, the default",
            )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        import torch

        from saliscope.methods.propagation.multipliers import multipliers

        x = x.detach()
        start = absent(x, self.baseline)
        maps = []
        for n in range(len(x)):
            image, before = x[n : n + 1], start[n : n + 1]
            own = target.of(n) if isinstance(target, Indexed) else target
            part = multipliers(model, image, before, own)
            way = at_least_single(image - before)
            maps.append((part.values * way).sum(dim=1))
            self._note(model, maps[-1], part)
        return torch.stack(maps)

    def _note(self, model: Model, maps: Tensor, part: Multipliers) -> None:
        """Say what the sum of the maps (K, *S) of an image misses, and which operations were left without a rule."""
        missed = float(shortfall(maps[None], part.scores, part.start)["completeness_relative_gap"].max())
        if part.shared:
            model.note(
                f"DeepLIFT has no rescale rule for {listed(part.shared)}: its rise was shared in proportion to the "
                "squared changes of what it read."
            )
        if missed > SMALL and part.lost:
            model.note(f"DeepLIFT cannot follow {listed(part.lost)}.")
        if missed > min(SMALL, self.gap_limit):
            model.note(f"The map's sum misses {missed:.2g} of the difference of the scores.")

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus score(x) - score(x'), and that as a share of the larger of the two."""
        image, start = unchanged(model, x, target, absent(x.detach(), self.baseline))
        return shortfall(attribution, image, start)


def shortfall(attribution: Tensor, image: Tensor, start: Tensor) -> dict[str, Tensor]:
    """Return (N, K): by how much maps (N, K, *S) miss the scores' difference, and that as a share of the larger.

    What rounding of the map's terms and of the scores explains is judged against these: 0 / 0 is no gap. Terms that
    dwarf the scores explain nothing.
    """
    values = attribution.flatten(2).double()
    total, right = values.sum(dim=2), image.double() - start.double()
    scores = image.abs().maximum(start.abs()).double()
    terms = values.abs().sum(dim=2).minimum((DWARFED * scores).clamp(min=1)).maximum(scores)
    gap = total - right
    larger = total.abs().maximum(right.abs())
    larger = terms.where(gap.abs() <= ROUNDING[image.element_size()] * terms, larger)
    # What is no number is no small gap.
    share = (gap.abs() / larger).where(larger != 0, 0).nan_to_num(nan=float("inf"))
    return {"completeness_gap": gap.to(attribution.dtype), "completeness_relative_gap": share.to(attribution.dtype)}
