"""hedstrom2024, the efficient MPRT: how much more complex a map becomes when all weights are drawn anew.

(H(map of drawn weights) - H(map)) / H(map), H being the entropy of a histogram of the map's values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.protocols import Method, Model
from saliscope.core.score import Interval, Score, Undefined
from saliscope.core.target import Target
from saliscope.metrics.randomisation.stages import Made
from saliscope.metrics.ranking import finite, no_order

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.core.metric import Map


@dataclass(frozen=True)
class EfficientMPRT:
    """The mean, over `seeds` networks with all weights drawn anew, of the relative rise of a map's entropy.

    The histogram has `bins` of equal width from the least to the largest value of each map. How many of the seeds
    gave a rise stands beside the value; `memory_mb` is what the images that run at once may take. Raises MetricError
    for fewer than two bins or no seed.
    """

    bins: int = 100
    seeds: int = 5
    seed: int = 0
    memory_mb: float = 1024

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="randomisation",
        direction="higher",
        range=(-1.0, None),
        null="0 for a map that does not depend on the weights",
        citation="hedstrom2024",
        cost="the method's for each image, once and for each seed",
        blind="Only how values are spread, not where they lie: a map that moves elsewhere scores 0. Depends on the "
        "bins; a map of a coarse layer has fewer elements than bins, and its entropy hardly changes.",
    )

    def __post_init__(self) -> None:
        if self.bins < 2 or self.seeds < 1:
            raise MetricError(
                f"{self.bins} bins, {self.seeds} seeds", expected="two bins, one seed or more", do="Correct the fields."
            )

    def of_method(self, model: Model, method: Method, x: Tensor, target: Target) -> list[list[Score]]:
        """Return for each image of x (N, C, *S), for each of the K scores, the mean relative rise.

        The samples of the copies are counted as the model's. Raises MetricError for a model that has no weights to
        draw: give an opened network.
        """
        from saliscope.model.opened import OpenNetwork
        from saliscope.model.randomised import layers_with_weights

        if not isinstance(model, OpenNetwork):
            raise MetricError(
                f"a {type(model).__name__}", expected="an opened network", do="Use `with network.opened() as model`."
            )
        made = Made(model.network, method, x, target, self.memory_mb)
        layers = (layers_with_weights(model.network, x),)
        drawn = [maps.numpy() for s in range(self.seeds) for _, maps in made.drawn_anew(layers, self.seed + s)]
        model.count(made.samples)
        trained = made.trained.numpy()
        return [
            [self._score(trained[n, k], [maps[n, k] for maps in drawn]) for k in range(trained.shape[1])]
            for n in range(len(x))
        ]

    def _score(self, own: Map, drawn: list[Map]) -> Score:
        name, how = "efficient-mprt", (f"entropy of a histogram of {self.bins} bins", f"{self.seeds} seeds")
        if reason := no_order(own):
            return Score(name, Undefined(reason), "higher", 0.0, n=0, how=how)
        before = histogram_entropy(own, self.bins)
        rises = [(histogram_entropy(m, self.bins) - before) / before for m in drawn]
        ends = Interval(min(rises), max(rises), "range over seeds", None)
        parts = {"share of seeds with a rise": sum(r > 0 for r in rises) / len(rises), "entropy": before}
        return Score(name, sum(rises) / len(rises), "higher", 0.0, ends, len(rises), parts=parts, how=how)


def histogram_entropy(attribution: Map, bins: int) -> float:
    """Return the entropy, in nats, of a histogram of a map's values; 0 for a map with one value everywhere."""
    import numpy as np
    from scipy.special import entr

    counts, _ = np.histogram(finite(attribution), bins=bins)
    return float(entr(counts / counts.sum()).sum())
