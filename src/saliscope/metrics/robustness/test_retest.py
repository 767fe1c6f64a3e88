"""arun2021, "repeatability", asked of one network: how far a map stays when acquisition differs.

The changes are those of `perturb.plausible`, not the paper's retrained networks. What was moved is put back on the
map, and compared on what both images show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.protocols import Method, Model
from saliscope.core.score import Interval, Score, Undefined
from saliscope.core.target import Indexed, Target
from saliscope.metrics.agreement.spearman import Spearman
from saliscope.metrics.agreement.top_iou import TopIoU
from saliscope.metrics.ranking import no_order
from saliscope.metrics.remade import maps_and_outputs
from saliscope.metrics.robustness.decision import changed
from saliscope.perturb.plausible.catalogue import perturbations_of
from saliscope.perturb.plausible.contract import Moving, Plausible

if TYPE_CHECKING:
    from torch import Tensor

CHANGED = "the decision changed"


@dataclass(frozen=True)
class TestRetest:
    """The median rank correlation of a map with those of plausibly perturbed copies of its image.

    `modality` is that of DICOM and chooses the perturbations; `count` takes only the first so many of them. Copies
    whose decision differs are left out and counted: their map ought to change. `threshold`, in units of the score,
    says what a decision is; without one see `decision.changed`. `share` is that of the largest elements compared,
    `memory_mb` what the copies that run at once may take.
    """

    __test__: ClassVar[bool] = False  # no test case, whatever its name begins with

    modality: str = "OT"
    count: int | None = None
    threshold: float | None = None
    share: float = 0.1
    seed: int = 0
    memory_mb: float = 1024

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="robustness",
        direction="higher",
        range=(-1.0, 1.0),
        null="1 for a map that does not look at the image, such as the centre; 0 for one that is noise",
        citation="arun2021",
        cost="the method's for 12 images: the image, the control and ten perturbations",
        blind="A constant map, or one of the edges alone, is stable: read it with the randomisation test. The "
        "magnitudes of the perturbations are conventions.",
    )

    def of_method(self, model: Model, method: Method, x: Tensor, target: Target) -> list[list[Score]]:
        """Return for each image of x (N, C, *S), for each of K scores, the agreement with its perturbed copies."""
        found = perturbations_of(self.modality, x.ndim - 2)
        chosen = found if self.count is None else found[: 1 + self.count]
        targets = [target.of(n) if isinstance(target, Indexed) else target for n in range(len(x))]
        return [self._of_one(model, method, x[n : n + 1], t, chosen) for n, t in enumerate(targets)]

    def beside(
        self, model: Model, method: Method, x: Tensor, target: Target, own: tuple[Tensor, Tensor]
    ) -> list[Score]:
        """Return for each of K scores that of one image x (1, C, *S) whose map and output are known already.

        With a `count` the control, which only says what resampling does, is left out.
        """
        found = perturbations_of(self.modality, x.ndim - 2)
        return self._of_one(model, method, x, target, found if self.count is None else found[1 : 1 + self.count], own)

    def _of_one(
        self,
        model: Model,
        method: Method,
        x: Tensor,
        target: Target,
        chosen: Sequence[Plausible],
        own: tuple[Tensor, Tensor] | None = None,
    ) -> list[Score]:
        import torch

        copies = [p.apply(x, self.seed + i) for i, p in enumerate(chosen)]
        several = torch.cat(copies if own else [x, *copies])
        maps, outputs = maps_and_outputs(model, method, several, target, self.memory_mb)
        if own:
            maps, outputs = (torch.cat([a, b]) for a, b in zip(own, (maps, outputs), strict=True))
        differs, rule = changed(outputs, target, self.threshold)
        how = (rule, "perturbations: " + "; ".join(p.name for p in chosen if not p.control))
        return [self._score(maps[:, k], differs[1:, k].tolist(), chosen, how) for k in range(maps.shape[1])]

    def _score(self, maps: Tensor, differs: list[bool], chosen: Sequence[Plausible], how: tuple[str, ...]) -> Score:
        """Return the score of the maps (1 + M, *S) of an image and of its M copies."""
        parts: dict[str, float] = {}
        excluded: Counter[str] = Counter()
        agreed: list[tuple[float, float]] = []
        for map_, perturbation, other in zip(maps[1:], chosen, differs, strict=True):
            if other and not perturbation.control:
                excluded[CHANGED] += 1
                continue
            pair = self._agreement(maps[0], map_, perturbation)
            if isinstance(pair, Undefined):
                excluded[pair.reason] += not perturbation.control
            elif perturbation.control:
                parts |= {"control": pair[0], "control top-iou": pair[1]}
            else:
                agreed.append(pair)
        asked = sum(not p.control for p in chosen)
        left_out = {reason: n for reason, n in excluded.items() if n}
        parts["share of decisions changed"] = left_out.get(CHANGED, 0) / max(1, asked)
        if reason := no_order(maps[0].numpy()):
            return Score("test-retest", Undefined(reason), "higher", n=0, excluded=left_out, how=how)
        if not agreed:
            nothing = Undefined(f"none of {asked} perturbations left a map to compare")
            return Score("test-retest", nothing, "higher", n=0, excluded=left_out, parts=parts, how=how)
        ranks = [r for r, _ in agreed]
        ends = Interval(min(ranks), max(ranks), "range over perturbations", None)
        parts["top-iou"] = median(iou for _, iou in agreed)
        return Score("test-retest", median(ranks), "higher", None, ends, len(agreed), left_out, parts=parts, how=how)

    def _agreement(self, own: Tensor, other: Tensor, perturbation: Plausible) -> tuple[float, float] | Undefined:
        """Return the rank correlation and the overlap of the largest elements, where both maps are known."""
        first, second = own.flatten(), other.flatten()
        if isinstance(perturbation, Moving):
            put_back, known = perturbation.restore(other)
            first, second = own[known], put_back[known]
        ranks = Spearman().of_pair(first.numpy(), second.numpy())
        overlap = TopIoU(self.share).of_pair(first.numpy(), second.numpy())
        for score in (ranks, overlap):
            if isinstance(score.value, Undefined):
                return score.value
        return ranks.number, overlap.number
