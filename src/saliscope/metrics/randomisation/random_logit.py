"""sixt2020, section 5, the random logit test, asked of every other class instead of one drawn at random."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.protocols import Method, Model
from saliscope.core.score import Score, Undefined
from saliscope.core.target import Indexed, LogitTarget, Opposite, ProbabilityTarget, Target, Together
from saliscope.metrics.agreement.spearman import Spearman
from saliscope.metrics.agreement.top_iou import TopIoU
from saliscope.metrics.remade import maps_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SEGMENTATION = Undefined("each class of a segmentation is explained over a region of its own")


@dataclass(frozen=True)
class RandomLogit:
    """The largest rank correlation of the positive part of a map with that of any other class of the network.

    Of a network whose classes stand alone (multi-label), only classes below `threshold` count, where there are any: a
    finding that is there too may share its evidence. Of a single logit the other class is minus that logit. Of a
    target that is no logit or probability of classes: its other columns, or its opposite where it has one. `share` is
    that of the largest elements compared beside it, `labels` names all classes. Nothing is drawn at random.
    `memory_mb` is what the images that run at once may take.
    """

    threshold: float = 0.0
    share: float = 0.1
    labels: tuple[str, ...] = ()
    memory_mb: float = 1024

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="randomisation",
        direction="lower",
        range=(-1.0, 1.0),
        null="1 for a map that does not look at the class",
        citation="sixt2020",
        cost="1 forward, and the method's for as many scores as the network has classes",
        blind="Classes that share their evidence by nature look alike in a right map too. Where the map of minus a "
        "logit is minus the map, as for gradients and CAMs of one logit, the positive parts differ by construction.",
    )

    def of_method(self, model: Model, method: Method, x: Tensor, target: Target) -> list[list[Score]]:
        """Return for each image of x (N, C, *S), for each of K scores, the similarity to the most similar class."""
        targets = [target.of(n) if isinstance(target, Indexed) else target for n in range(len(x))]
        return [self._of_one(model, method, x[n : n + 1], t) for n, t in enumerate(targets)]

    def _of_one(self, model: Model, method: Method, x: Tensor, target: Target) -> list[Score]:
        if getattr(target, "kind", "") == "segmentation":
            return [Score("random-logit", SEGMENTATION, "lower", 1.0, n=0) for _ in target.labels]
        output = model(x)
        every, own = every_class(output, target, self.labels)
        maps = maps_of(model, method, x, every, self.memory_mb)[0].numpy()
        absent, rule = self._absent(output, target, len(maps))
        scores = []
        for k in own:
            others, words = [c for c in absent if c != k], rule
            if not others:
                others, words = [c for c in range(len(maps)) if c != k], "over every other class: none is absent"
            how = ("positive parts of the maps", f"the largest {words}")
            scores.append(self._score(maps, k, others, every.labels, how))
        return scores

    def _absent(self, output: Tensor, target: Target, count: int) -> tuple[list[int], str]:
        """Return the classes that the network finds absent where classes stand alone, else all, and the rule."""
        if getattr(target, "kind", "") != "multi-label" or output.shape[1] != count:
            return list(range(count)), "over every other class"
        absent = [c for c, logit in enumerate(output[0].tolist()) if logit <= self.threshold]
        return absent, f"over other classes whose logit is at most {self.threshold:g}"

    def _score(
        self, maps: np.ndarray, own: int, others: list[int], labels: tuple[str, ...], how: tuple[str, ...]
    ) -> Score:
        """Return the score of map `own` of maps (classes, *S') against those of other classes."""
        positive = maps.clip(min=0)
        found = {c: Spearman().of_pair(positive[own], positive[c]) for c in others}
        excluded = Counter(s.value.reason for s in found.values() if isinstance(s.value, Undefined))
        known = {c: s.number for c, s in found.items() if s.defined}
        if not known:
            none = Undefined(f"none of {len(others)} other classes has a map that can be compared")
            return Score("random-logit", none, "lower", 1.0, n=0, excluded=dict(excluded), how=how)
        nearest = max(known, key=lambda c: known[c])
        parts = {labels[c]: value for c, value in known.items()}
        for name, score in (
            ("with signs", Spearman().of_pair(maps[own], maps[nearest])),
            ("top-iou", TopIoU(self.share).of_pair(positive[own], positive[nearest])),
        ):
            if score.defined:
                parts[name] = score.number
        if (maps[own] == -maps[nearest]).all():
            how = (*how, "the other map is exactly minus this one: its positive part differs by construction")
        how = (*how, f"most alike: {labels[nearest]}")
        return Score(
            "random-logit", known[nearest], "lower", 1.0, None, len(known), dict(excluded), parts=parts, how=how
        )


def every_class(output: Tensor, target: Target, labels: tuple[str, ...] = ()) -> tuple[Target, tuple[int, ...]]:
    """Return a target of every class of an output (1, classes), and which of its columns are those of a target.

    `labels` names the classes; one that is not named is "class i".
    """
    if isinstance(target, LogitTarget | ProbabilityTarget) and target.kind != "regression":
        count = 2 if target.kind == "binary" else output.shape[1]
        known = dict(
            zip(target.indices, target.labels if isinstance(target, LogitTarget) else target.names, strict=True)
        )
        named = labels if len(labels) == count else tuple(f"class {c}" for c in range(count))
        names = tuple(known.get(c, named[c]) for c in range(count))
        indices = tuple(range(count))
        if isinstance(target, LogitTarget):
            return replace(target, indices=indices, labels=names), target.indices
        return replace(target, indices=indices, names=names), target.indices
    if len(target.labels) > 1:
        return target, tuple(range(len(target.labels)))
    return Together((target, Opposite(target))), (0,)
