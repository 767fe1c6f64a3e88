"""The contracts between the stations, on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, dtype

    from saliscope.core.target import Target
    from saliscope.core.windows import Windows

#: The name under which a probe watches the network's input itself.
INPUT = "input"

#: A size in elements of the input, one number for each axis, and one for each part of which a map is put together.
Size = tuple[float, ...]
Sizes = tuple[Size, ...]

Family = Literal["gradient", "path", "cam", "propagation", "perturbation", "combine", "control"]


@dataclass(frozen=True)
class Traits:
    """What is known of a method before it runs: how it is classed, what it costs, what it cannot see.

    `citation` is a key of docs/references.bib; `grid` says whether the map lies on the input or on a layer;
    `fails_randomisation` that the map was shown to change little when the network's weights are drawn anew;
    `quantity` whether its values add up to something, or only rank places from 0 (last) to 1 (first).
    """

    family: Family
    signed: bool
    grid: Literal["input", "layer"]
    class_discriminative: bool
    citation: str
    cost: str
    blind: str
    fails_randomisation: bool = False
    quantity: Literal["attribution", "rank"] = "attribution"


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


class Suffix(Protocol):
    """What comes after a layer of a network, for one image."""

    @property
    def activation(self) -> Tensor:
        """Return what the layer gave for the image (1, C', *S')."""

    @property
    def output(self) -> Tensor:
        """Return the network's logits for the image."""

    @property
    def growth(self) -> int:
        """Return how many bytes one activation holds while it runs, for each byte of itself."""

    def __call__(self, a: Tensor) -> Tensor:
        """Return the logits (M, ...) of other activations (M, C', *S'), with a graph where they require one."""


class Steps(Protocol):
    """Where the cells of a layer lie: cell j of an axis is centred on element offset + stride * j of the input."""

    @property
    def stride(self) -> tuple[float, ...]:
        """Return the step between cells along every axis, in elements of the input."""

    @property
    def offset(self) -> tuple[float, ...]:
        """Return the element on which cell 0 is centred, along every axis."""


class Model(Protocol):
    """An opened network: evaluation mode, frozen, and nothing left behind."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output of x (N, C, *S) without a graph."""

    def probe(self, x: Tensor, layers: Sequence[str], *, placed: bool = True) -> Probe:
        """Run x once and watch layers by dotted name, or the input by the name `INPUT`.

        What is watched is laid out as (N, C, *S'), or as the layer has it where it need not be `placed`.
        """

    def suffix(self, x: Tensor, layer: str) -> Suffix:
        """Return what comes after a layer for one image x (1, C, *S)."""

    def stages(self, x: Tensor) -> Sequence[str]:
        """Return, from shallow to deep, the last layer of each grid that x (N, C, *S) passes."""

    def biases(self, x: Tensor) -> Mapping[str, Tensor]:
        """Return for each layer on the way of x (N, C, *S) what it adds, in a shape that fits its output."""

    def laid_out(self, values: Tensor, x: Tensor, layer: str) -> Tensor | None:
        """Return values with the shape of a layer's output as (N, C', *S'); None for a layer without a grid."""

    def cells(self, x: Tensor, layer: str) -> Steps | None:
        """Return where the cells of a layer lie on x (N, C, *S); None where they could not be followed."""

    def size_of(self, x: Tensor, layer: str) -> tuple[int, ...]:
        """Return the size S' of a layer's grid for x (N, C, *S)."""

    def onto_input(self, values: Tensor, x: Tensor, layer: str) -> Tensor:
        """Return values (N, K, *S') of a layer linearly interpolated onto the elements (N, K, *S) of x by its cells."""

    def frozen(self, x: Tensor) -> Callable[[Tensor], Tensor] | None:
        """Return what gives the logits of many inputs faster, proved on x (N, C, *S); None where nothing does."""

    def reduced(self, dtype: dtype) -> Callable[[Tensor], Tensor]:
        """Return a copy that runs forward in another floating type; raises ModelError where the network cannot."""

    def window_drops(self, x: Tensor, without: Tensor, target: Target, windows: Windows) -> Tensor | None:
        """Return how much the K scores of x (1, C, *S) fall (n, K) when each of n windows is taken from `without`.

        Only what a window changes is run. None where that is not possible or does not pay: then run them in full.
        """

    def note(self, text: str) -> None:
        """Keep a sentence for the record of the maps being made: which way was taken, and why."""


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass of parameters that turns tensors into attribution."""

    traits: ClassVar[Traits]

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return raw attribution (N, K, *S') of x (N, C, *S) for the K scores of a target."""


@runtime_checkable
class Resolving(Method, Protocol):
    """A method that states how fine a thing its map can show, as every method of the catalogue does."""

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return the least size that the map of one image x (1, C, *S) can show, in elements of x for each axis.

        It follows from the method's fields, the layers that it watches, and the parting of the image: a window, a cell
        of a mask or a layer, a segment, or one element. A map that is put together from several has a size for each.
        """


@runtime_checkable
class Kernel(Method, Protocol):
    """A method that needs one probe of one layer: many share one forward run."""

    @property
    def layer(self) -> str:
        """Return the dotted name of the watched layer, or `INPUT`, or "auto"."""

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') from activation and gradient, both (N, C, *S')."""


@runtime_checkable
class Beside(Method, Protocol):
    """A method with more than its map: maps beside it, such as a variance, and what it measured on the way."""

    #: The names of the maps beside its own, and of quantities that only the run which made the map can measure.
    beside: ClassVar[tuple[str, ...]]
    measures: ClassVar[tuple[str, ...]]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> Mapping[str, Tensor]:
        """Return the method's own map (N, K, *S') under "map", and what else it names.

        That is one map of the same shape for each name of `beside`, and one tensor (N, K) for each of `measures`.
        """


@runtime_checkable
class Diagnosing(Method, Protocol):
    """A method that can measure, from the map alone, how well one of its own kept what the paper promises."""

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return named quantities (N, K), such as the completeness gap, of an attribution (N, K, *S)."""
