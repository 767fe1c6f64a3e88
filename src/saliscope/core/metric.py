"""The contracts of metrics: what each kind looks at, and what is known of it before it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from saliscope.core.protocols import Method, Model
from saliscope.core.score import Direction, Score
from saliscope.core.target_contract import Target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from saliscope.core.geometry import Geometry

    Map = npt.NDArray[np.floating]
    Mask = npt.NDArray[np.bool_]

Category = Literal["fidelity", "localisation", "robustness", "randomisation", "agreement", "complexity"]


@dataclass(frozen=True)
class MetricTraits:
    """What is known of a metric: its category, which values are better, the least and most that it can be.

    `null` says in words what a map that knows nothing scores; `citation` is a key of docs/references.bib; `blind` what
    it cannot see or how it can be gamed; `cost` for one map.
    """

    category: Category
    direction: Direction
    range: tuple[float | None, float | None]
    null: str
    citation: str
    cost: str
    blind: str


class Metric(Protocol):
    """A frozen dataclass of its parameters; which of the kinds below it is, its methods say."""

    traits: ClassVar[MetricTraits]


@runtime_checkable
class OfMap(Metric, Protocol):
    """A metric of a map alone."""

    def of_map(self, attribution: Map) -> Score:
        """Return the score of a raw, signed map (*S)."""


@runtime_checkable
class OfPlace(Metric, Protocol):
    """A metric of a map beside a mask of what it should show, both on one grid."""

    def of_place(self, attribution: Map, mask: Mask, geometry: Geometry | None = None) -> Score:
        """Return the score of a raw, signed map (*S) beside a mask (*S); `geometry` gives millimetres."""


@runtime_checkable
class OfPair(Metric, Protocol):
    """A metric of two maps on one grid."""

    def of_pair(self, first: Map, second: Map) -> Score:
        """Return how far two raw, signed maps (*S) agree."""


class Plan(Protocol):
    """Changed copies of one image that are to be run through a network, each only once."""

    @property
    def x(self) -> Tensor:
        """Return the image (1, C, *S)."""

    def removed(self, gone: Tensor, fill: Fill) -> Sequence[int]:
        """Ask for the image with places (m, *S) filled; return a ticket for each of the m copies."""

    def changed(self, key: str, make: Callable[[], Tensor]) -> int:
        """Ask for a copy (C, *S) that `make` returns, one and the same wherever `key` is; return its ticket."""

    def score(self, ticket: int) -> Tensor:
        """Return the scores (K,), in float64, of a copy that was run."""


class Fill(Protocol):
    """What stands where something was taken away."""

    @property
    def name(self) -> str:
        """Return words that tell it from every other fill."""

    def __call__(self, x: Tensor, gone: Tensor) -> Tensor:
        """Return copies (m, C, *S) of an image x (1, C, *S) with what is `gone` (m, *S) filled."""


@runtime_checkable
class Planned(Metric, Protocol):
    """A metric that asks what the network says of changed copies; many share one plan."""

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put what is needed into a plan for a map (*S) on the image's own elements, of its k-th score.

        Return what gives the score once the plan was run.
        """


@runtime_checkable
class OfMethod(Metric, Protocol):
    """A metric that makes maps of its own by the method."""

    def of_method(self, model: Model, method: Method, x: Tensor, target: Target) -> list[list[Score]]:
        """Return for each image of x (N, C, *S), for each of the K scores of a target, one score."""


@runtime_checkable
class OfNetwork(Metric, Protocol):
    """A metric of a method for a network over several images: what one image alone cannot tell."""

    def scores_of_network(self, network: Any, method: Method, x: Tensor, target: Target) -> list[Score]:
        """Return for each of the K scores of a target one score over images x (N, C, *S), N at least 2.

        `network` is one that can be opened and copied (`saliscope.model.network.Network`), not an opened one.
        """
