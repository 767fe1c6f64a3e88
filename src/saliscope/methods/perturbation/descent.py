"""The gradient of scores with respect to masks, for methods that look for a mask by descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.protocols import INPUT, Model
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, held, watch
from saliscope.perturb.baseline import Baseline, absent
from saliscope.perturb.masks import blended
from saliscope.perturb.stream import GRAPH, ROUNDING, batch_size, batches

if TYPE_CHECKING:
    from torch import Tensor

#: From (model, image, without, target of k scores, their fall (k,)) to masks (k, *S).
Search = Callable[[Model, "Tensor", "Tensor", Target, "Tensor"], "Tensor"]


@dataclass(frozen=True, eq=False)
class OwnScore:
    """As many copies as targets: the score of each copy for its own target, as one column."""

    target: Target
    chosen: range

    @property
    def labels(self) -> tuple[str, ...]:
        """Return one label for the one column."""
        return ("its own",)

    def scores(self, output: Tensor) -> Tensor:
        """Return (k, 1) of an output of k copies."""
        return self.target.scores(output)[:, list(self.chosen)].diagonal()[:, None]


def over_targets(
    model: Model, x: Tensor, target: Target, baseline: Baseline, memory_mb: float, search: Search
) -> Tensor:
    """Return (N, K, *S): for each image what `search` finds for its targets, as many at once as memory allows.

    A target whose score does not fall from the image to the baseline gets zeros, which is noted.
    """
    import torch

    found = []
    for n, (image, without) in enumerate(zip(x.detach(), absent(x.detach(), baseline), strict=True)):
        fixed = held(model, image[None], target, n)
        ends = at_least_single(fixed.scores(model(torch.stack([image, without]))))
        fall = ends[0] - ends[1]
        size = batch_size(image[None], memory_mb, GRAPH)
        masks = [
            search(model, image, without, OwnScore(fixed, some), fall[some.start : some.stop].abs().clamp(min=1e-12))
            for some in batches(len(fall), size)
        ]
        # A fall within rounding is none: as a share of it, any change would be large.
        falls = (fall > ROUNDING * ends.abs().amax(dim=0)).reshape(-1, *[1] * (image.ndim - 1))
        if not bool(falls.all()):
            model.note("a score that the baseline does not lower has no mask: its map is zero.")
        found.append(torch.cat(masks).where(falls, image.new_zeros(())))
    return torch.stack(found)


def mask_gradient(model: Model, image: Tensor, without: Tensor, masks: Tensor, target: Target) -> Tensor:
    """Return the gradient (k, *S) of each copy's own score with respect to the mask (k, *S) that blended it."""
    _, gradients = watch(model, blended(image, without, masks), target, [INPUT])
    return (at_least_single(next(gradients)[INPUT]) * (image - without)).sum(dim=1)
