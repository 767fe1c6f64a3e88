"""The contracts between the stations, on one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.core.target import Target

#: The name under which a probe watches the network's input itself.
INPUT = "input"

Family = Literal["gradient", "path", "cam", "perturbation", "control"]


@dataclass(frozen=True)
class Traits:
    """What is known of a method before it runs: how it is classed, what it costs, what it cannot see.

    `citation` is a key of docs/references.bib; `grid` says whether the map lies on the input or on a layer.
    """

    family: Family
    signed: bool
    grid: Literal["input", "layer"]
    class_discriminative: bool
    citation: str
    cost: str
    blind: str


class Probe(Protocol):
    """One forward run whose layers were watched."""

    @property
    def output(self) -> Tensor:
        """Return the network's logits, with a graph to the watched layers."""

    @property
    def activations(self) -> Mapping[str, Tensor]:
        """Return the output (N, C, *S') of every watched layer."""

    def gradients(self, scores: Tensor) -> Iterator[Mapping[str, Tensor]]:
        """Yield for each of K score columns (N, K) the gradient at every watched layer; once for each probe."""


class Model(Protocol):
    """An opened network: evaluation mode, frozen, and nothing left behind."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output of x (N, C, *S) without a graph."""

    def probe(self, x: Tensor, layers: Sequence[str]) -> Probe:
        """Run x once and watch layers by dotted name, or the input by the name `INPUT`."""


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass of parameters that turns tensors into attribution."""

    traits: ClassVar[Traits]

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return raw attribution (N, K, *S') of x (N, C, *S) for the K scores of a target."""


@runtime_checkable
class Kernel(Method, Protocol):
    """A method that needs one probe of one layer: many share one forward run."""

    @property
    def layer(self) -> str:
        """Return the dotted name of the watched layer, or `INPUT`, or "auto"."""

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') from activation and gradient, both (N, C, *S')."""


@runtime_checkable
class Diagnosing(Method, Protocol):
    """A method that can measure how well one of its own maps kept what the paper promises."""

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return named quantities (N, K), such as the completeness gap, of an attribution (N, K, *S)."""
