"""kapishnikov2021, Guided IG, bounded by `max_dist`: a path that first moves what the score depends on least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.integrated_gradients import completeness
from saliscope.methods.gradient.slopes import Column
from saliscope.methods.kernel import at_least_single, held, watch
from saliscope.perturb.baseline import Baseline, absent, check_baseline

if TYPE_CHECKING:
    from torch import Tensor

#: How near the distance left must come to the distance due, as a share of it, or of the whole way at its end.
NEAR = 1e-9


@dataclass(frozen=True)
class GuidedIG:
    """Gradients times steps along a path from a baseline that moves the elements of smallest gradient first.

    In each of `steps` steps the distance to the image, summed over all elements, falls by the same amount: the
    `fraction` of elements of smallest absolute gradient are moved, then the next, as far as `max_dist` allows, the
    share of the whole way by which an element may run ahead of the straight line or stay behind. `baseline` is a
    name or a number in units of the view. Every score has a path of its own, whose points follow from one another.
    """

    steps: int = 64
    fraction: float = 0.25
    max_dist: float = 0.02
    baseline: Baseline = "min"

    traits: ClassVar[Traits] = Traits(
        family="path",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="kapishnikov2021",
        cost="K x `steps` forward and backward, one after another",
        blind="Whatever looks like the baseline gets nothing. The path, and so the map, jumps where gradients cross. "
        "A move counts with the gradient at its start, chosen for being small: the sum falls short of the score.",
    )

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.fraction <= 1 or not 0 <= self.max_dist <= 1:
            raise MethodError(
                f"steps={self.steps}, fraction={self.fraction}, max_dist={self.max_dist}",
                expected="at least one step, a fraction above 0 and at most 1, a distance from 0 to 1",
                do="Correct the field",
            )
        check_baseline(self.baseline)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        import torch

        x = x.detach()
        maps = []
        for n, (image, start) in enumerate(zip(x, absent(x, self.baseline), strict=True)):
            own = held(model, image[None], target, n)
            columns = [Column(own, k) for k in range(len(own.labels))]
            maps.append(torch.stack([self._of_one(model, column, image, start) for column in columns]))
        return torch.stack(maps)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus score(x) - score(x'), and that as a share of the larger of the two."""
        return completeness(model, x, target, attribution, absent(x.detach(), self.baseline))

    def _of_one(self, model: Model, target: Target, image: Tensor, start: Tensor) -> Tensor:
        """Return (*S) of one image (C, *S) and one score."""
        # The path is followed in float64: what is left of it is a difference of large sums.
        end, begin = image.double(), start.double()
        point, total = begin.clone(), at_least_single(image.new_zeros(image.shape)).double()
        for step in range(self.steps):
            _, gradients = watch(model, point.to(image.dtype)[None], target, [INPUT])
            gradient = next(gradients)[INPUT][0].double()
            for moved in self._moves(point, gradient, (begin, end), step):
                total = total + (moved - point) * gradient
                point = moved
        return total.sum(dim=0).to(at_least_single(image).dtype)

    def _moves(self, point: Tensor, gradient: Tensor, path: tuple[Tensor, Tensor], step: int) -> list[Tensor]:
        """Return the points through which one step goes."""
        begin, end = path
        way = end - begin
        share = (step + 1) / self.steps
        low = begin + max(share - self.max_dist, 0.0) * way
        high = begin + min(share + self.max_dist, 1.0) * way
        whole = float(way.abs().sum())
        due = whole * (1 - share)
        # Who has fallen behind what is allowed catches up.
        point = low.where((low - point) * way > 0, point)
        found = [point]
        size = gradient.abs()
        while True:
            left = float((end - point).abs().sum())
            if isclose(left, due, rel_tol=NEAR, abs_tol=NEAR * whole):
                return found
            size = size.masked_fill(point == high, float("inf"))
            chosen = self._smallest(size)
            room = float(((high - point).abs() * chosen).sum())
            if room == 0:
                return found
            part = (left - due) / room
            to = high if part > 1 else point + part * (high - point)
            point = to.where(chosen, point)
            found.append(point)
            if part <= 1:
                return found

    def _smallest(self, size: Tensor) -> Tensor:
        """Return where a gradient's absolute value is among the `fraction` of smallest ones, of those that can move."""
        flat = size.flatten()
        rank = int(self.fraction * (len(flat) - 1)) + 1
        limit = flat.kthvalue(rank).values
        return (size <= limit) & (size != float("inf"))
