"""adebayo2018, section 3.1, cascading randomisation, passed or failed by the null of arun2021.

The value is that with all layers drawn anew; the curve holds the stages before it. The network as trained, whose maps
agree with themselves, is in neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.protocols import Method
from saliscope.core.score import Interval, Score, Undefined
from saliscope.core.target import Target
from saliscope.metrics.agreement.spearman import Spearman
from saliscope.metrics.agreement.ssim import SSIM
from saliscope.metrics.randomisation.stages import Made

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from saliscope.core.metric import Map
    from saliscope.model.network import Network

    Found = dict[str, list[Score]]

#: Windows of the structural similarity, the first that a map holds twice: a map of a layer may be 7 by 7.
WINDOWS = (7, 5, 3)
#: What a similarity must at least fall below its null by: one map for every image agrees with itself but for this.
ROUNDING = 1e-9


@dataclass(frozen=True)
class MPRTResult:
    """For each of K targets three scores, and whether it passed: True, False, or why that cannot be said.

    `stages` names the last layer drawn anew at each stage, `samples` the forward samples that it cost in all.
    """

    labels: tuple[str, ...]
    scores: tuple[tuple[Score, ...], ...]
    passed: tuple[bool | Undefined, ...]
    stages: tuple[str, ...]
    samples: int


@dataclass(frozen=True)
class MPRT:
    """How alike maps are to those of the same images when the network's weights are drawn anew, from the last layer.

    Three similarities: the rank correlation of the maps ("mprt"), of their magnitudes ("mprt-magnitude", since a sign
    that turns over is no new map), and SSIM ("mprt-ssim"). A method passes if with all weights drawn anew each of
    them is below its null: the mean similarity of `pairs` random pairs of maps of different images from the network as
    trained, fewer where there are fewer images. A similarity of at most `negligible`, a convention, passes whatever
    the null: two maps without anything in common agree by chance alone. `stages` groups the layers (None: each);
    `memory_mb` is what the images that run at once may take.
    """

    stages: int | None = 4
    pairs: int = 50
    negligible: float = 0.1
    seed: int = 0
    memory_mb: float = 1024

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="randomisation",
        direction="lower",
        range=(-1.0, 1.0),
        null="the mean similarity of maps of different images from the network as trained",
        citation="adebayo2018",
        cost="the method's for each image, once and for each stage",
        blind="Finds methods that fail, ranks none: maps of noise pass best (binder2023). The last layers drawn anew "
        "may leave the scale of what lies before them, so a map may stay alike early for good reason. Where all "
        "images have much the same map, the null is high and little is asked. Passing says that the map depends on "
        "the weights, not that it is right: see the curve, and whether the map tells classes apart.",
    )

    def __post_init__(self) -> None:
        if (self.stages is not None and self.stages < 1) or self.pairs < 1 or not 0 <= self.negligible < 1:
            raise MetricError(
                f"{self.stages} stages, {self.pairs} pairs, negligible {self.negligible}",
                expected="one stage and pair or more, and a similarity from 0 to below 1",
                do="Correct the fields.",
            )

    def of_network(self, network: Network, method: Method, x: Tensor, target: Target) -> MPRTResult:
        """Return what became of the maps of images x (N, C, *S), N at least 2, for each of the K scores."""
        from saliscope.model.randomised import layers_with_weights, stages_of

        groups = stages_of(layers_with_weights(network, x), self.stages)
        made = Made(network, method, x, target, self.memory_mb)
        trained = made.trained.numpy()
        rows: list[list[Found]] = [[] for _ in range(trained.shape[1])]
        for _, maps in made.drawn_anew(groups, self.seed):
            other = maps.numpy()
            for k, row in enumerate(rows):
                row.append(_alike([(trained[n, k], other[n, k]) for n in range(len(x))]))
        pairs = self._pairs(len(x))
        drawn = [len([name for group in groups[: i + 1] for name in group]) for i in range(len(groups))]
        shares = [count / drawn[-1] for count in drawn]
        scores, passed = [], []
        for k, row in enumerate(rows):
            null = _alike([(trained[a, k], trained[b, k]) for a, b in pairs])
            of_target = tuple(self._score(name, shares, [stage[name] for stage in row], null[name]) for name in null)
            scores.append(of_target)
            passed.append(self.decided(of_target))
        return MPRTResult(target.labels, tuple(scores), tuple(passed), tuple(g[-1] for g in groups), made.samples)

    def scores_of_network(self, network: Network, method: Method, x: Tensor, target: Target) -> list[Score]:
        """Return for each of the K scores the rank correlation at the end, `passed` (0 or 1) among its parts."""
        result = self.of_network(network, method, x, target)
        found = []
        for scores, passed in zip(result.scores, result.passed, strict=True):
            said = {} if isinstance(passed, Undefined) else {"passed": float(passed)}
            found.append(replace(scores[0], parts={**scores[0].parts, **said}))
        return found

    def decided(self, scores: Sequence[Score]) -> bool | Undefined:
        """Return whether every similarity is below its null, or why that cannot be said.

        That of the maps themselves must be known; the others may be undefined, as SSIM is of a map of few elements.
        """
        for number in (scores[0].value, scores[0].null):
            if isinstance(number, Undefined):
                return number
        known = [(s.number, s.null) for s in scores if s.defined and isinstance(s.null, float | int)]
        return all(value <= self.negligible or value < null - ROUNDING for value, null in known)

    def _pairs(self, images: int) -> list[tuple[int, int]]:
        """Return pairs of different images, each at most once, drawn from the seed."""
        import numpy as np

        every = list(combinations(range(images), 2))
        drawn = np.random.default_rng(self.seed).permutation(len(every))[: self.pairs]
        return [every[i] for i in drawn]

    def _score(self, name: str, shares: list[float], stages: list[list[Score]], pairs: list[Score]) -> Score:
        """Return the score of one similarity from those of the images at each stage and those of the pairs."""
        known = [[s.number for s in stage if s.defined] for stage in stages]
        of_pairs = [s.number for s in pairs if s.defined]
        excluded = Counter(s.value.reason for s in stages[-1] if isinstance(s.value, Undefined))
        null: float | Undefined = Undefined(f"no two of {len(stages[-1])} images have maps that can be compared")
        if of_pairs:
            null = sum(of_pairs) / len(of_pairs)
        curve = tuple((share, sum(v) / len(v)) for share, v in zip(shares, known, strict=True) if v)
        how = (
            *stages[-1][0].how,
            f"{len(stages)} stages; null: the mean of {len(of_pairs)} pairs of different images (arun2021)",
            "the curve is over the share of layers drawn anew, from the last; the network as trained is not in it",
        )
        parts = {"pairs": float(len(of_pairs)), "negligible": self.negligible}
        if not (last := known[-1]):
            none = Undefined(f"none of {len(stages[-1])} images has maps that can be compared")
            return Score(name, none, "lower", null, None, 0, dict(excluded), curve, parts, how)
        ends = Interval(min(last), max(last), "range over images", None)
        return Score(name, sum(last) / len(last), "lower", null, ends, len(last), dict(excluded), curve, parts, how)


def _alike(pairs: Sequence[tuple[Map, Map]]) -> Found:
    """Return for each similarity the score of each pair of maps (*S')."""
    measures: dict[str, Callable[[Map, Map], Score]] = {
        "mprt": Spearman().of_pair,
        "mprt-magnitude": Spearman("magnitude").of_pair,
        "mprt-ssim": _ssim,
    }
    return {name: [measure(a, b) for a, b in pairs] for name, measure in measures.items()}


def _ssim(first: np.ndarray, second: np.ndarray) -> Score:
    window = next((w for w in WINDOWS if 2 * w <= min(first.shape)), WINDOWS[-1])
    return SSIM(window).of_pair(first, second)
