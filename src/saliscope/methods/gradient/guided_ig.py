"""kapishnikov2021, Guided IG, bounded by `max_dist`: a path that first moves what the score depends on least."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.completeness import GAP_LIMIT, check_limit, completeness
from saliscope.methods.gradient.doubling import Doubling, at_ends
from saliscope.methods.gradient.slopes import Column
from saliscope.methods.kernel import at_least_single, held, watch
from saliscope.methods.resolution import one_element
from saliscope.perturb.baseline import Baseline, absent, check_baseline

if TYPE_CHECKING:
    from torch import Tensor

#: How near the distance left must come to the distance due, as a share of it, or of the whole way at its end.
NEAR = 1e-9
#: Steps to begin with where a tolerance is to be met.
FIRST = 64


@dataclass(frozen=True)
class GuidedIG:
    """Gradients times steps along a path from a baseline that moves the elements of smallest gradient first.

    In each step the distance to the image, summed over all elements, falls by the same amount: the `fraction` of
    elements of smallest absolute gradient are moved, then the next, as far as `max_dist` allows, the share of the whole
    way by which an element may run ahead of the straight line or stay behind. With a number of `steps` a move counts
    with the gradient at its start, as in the authors' code; chosen for being small, it lets the sum fall short of the
    score. Without one it counts with the mean of the gradients at both ends of a step, and the steps are doubled from
    64 to at most `max_steps` until the sum is within `tolerance`. A sum that is off by more than `gap_limit` is refused
    where a map is explained. `baseline` is a name or a number in units of the view. Every score has a path of its own,
    whose points follow from one another.
    """

    steps: int | None = None
    fraction: float = 0.25
    max_dist: float = 0.02
    baseline: Baseline = "min"
    tolerance: float = 0.05
    max_steps: int = 256
    gap_limit: float = GAP_LIMIT

    traits: ClassVar[Traits] = Traits(
        family="path",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="kapishnikov2021",
        cost="K x 65 forward and backward, one after another, and up to 452 for the tolerance; or K x `steps`",
        blind="Whatever looks like the baseline gets nothing. The path, and so the map, jumps where gradients cross.",
    )
    resolution = one_element

    def __post_init__(self) -> None:
        least = self.max_steps if self.steps is None else self.steps
        if least < 1 or not 0 < self.fraction <= 1 or not 0 <= self.max_dist <= 1 or not self.tolerance > 0:
            raise MethodError(
                f"steps={self.steps}, fraction={self.fraction}, max_dist={self.max_dist}, tolerance={self.tolerance}, "
                f"max_steps={self.max_steps}",
                expected="at least one step, a fraction above 0 and at most 1, a distance from 0 to 1, a tolerance",
                do="Correct the field",
            )
        check_baseline(self.baseline)
        check_limit(self.gap_limit)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        import torch

        x = x.detach()
        doubling = Doubling("Guided IG", min(FIRST, self.max_steps), self.max_steps, self.tolerance)
        maps = []
        for n, (image, start) in enumerate(zip(x, absent(x, self.baseline), strict=True)):
            own = held(model, image[None], target, n)
            columns = [Column(own, k) for k in range(len(own.labels))]
            if self.steps is None:
                before, after = at_ends(model, own, start[None], image[None])
                ends = zip(columns, before[:, None], after[:, None], strict=True)
                found = [doubling.settled(self._steps(model, c, image, start), *both) for c, *both in ends]
                maps.append(torch.cat(found))
            else:
                maps.append(torch.stack([self._path(model, c, (start, image), self.steps) for c in columns]))
        doubling.say(model)
        return torch.stack(maps)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus score(x) - score(x'), and that as a share; see `sum_gap`."""
        return completeness(model, x, target, attribution, absent(x.detach(), self.baseline))

    def _steps(self, model: Model, target: Target, image: Tensor, start: Tensor) -> Callable[[int], Tensor]:
        """Return what makes the map (1, *S) of one score in a number of steps, each with the gradients at both ends."""
        return lambda steps: self._path(model, target, (start, image), steps, both=True)[None]

    def _path(
        self, model: Model, target: Target, ends: tuple[Tensor, Tensor], steps: int, *, both: bool = False
    ) -> Tensor:
        """Return (*S) of one score on the way between two images (C, *S) in so many steps."""
        # The path is followed in float64: what is left of it is a difference of large sums.
        begin, end = (image.double() for image in ends)
        exact, kind = begin.dtype, ends[1].dtype

        def slope(point: Tensor) -> Tensor:
            _, gradients = watch(model, point.to(kind)[None], target, [INPUT])
            return next(gradients)[INPUT][0].to(exact)

        point, total, gradient = begin.clone(), begin.new_zeros(begin.shape), slope(begin)
        for step in range(steps):
            moved = self._moved(point, gradient, (begin, end), (step + 1) / steps)
            here, way = gradient, moved - point
            point = moved
            if both or step < steps - 1:
                gradient = slope(point)
            total = total + way * ((here + gradient) / 2 if both else here)
        return total.sum(dim=0).to(at_least_single(ends[1]).dtype)

    def _moved(self, point: Tensor, gradient: Tensor, path: tuple[Tensor, Tensor], share: float) -> Tensor:
        """Return where a point is after a step that ends at a share of the way."""
        begin, end = path
        way = end - begin
        low = begin + max(share - self.max_dist, 0.0) * way
        high = begin + min(share + self.max_dist, 1.0) * way
        whole = float(way.abs().sum())
        due = whole * (1 - share)
        # Who has fallen behind what is allowed catches up.
        point = low.where((low - point) * way > 0, point)
        size = gradient.abs()
        while True:
            left = float((end - point).abs().sum())
            if isclose(left, due, rel_tol=NEAR, abs_tol=NEAR * whole):
                return point
            size = size.masked_fill(point == high, float("inf"))
            chosen = self._smallest(size)
            room = float(((high - point).abs() * chosen).sum())
            if room == 0:
                return point
            part = (left - due) / room
            to = high if part > 1 else point + part * (high - point)
            point = to.where(chosen, point)
            if part <= 1:
                return point

    def _smallest(self, size: Tensor) -> Tensor:
        """Return where a gradient's absolute value is among the `fraction` of smallest ones, of those that can move."""
        flat = size.flatten()
        rank = int(self.fraction * (len(flat) - 1)) + 1
        limit = flat.kthvalue(rank).values
        return (size <= limit) & (size != float("inf"))
