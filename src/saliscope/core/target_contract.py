"""What a target is to those who use it: the contracts, without one target of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

#: multi-class: softmax over (N, K); multi-label: a sigmoid each; binary: one logit, class 0 is its negative;
#: regression: the value itself; segmentation: classes over space (N, K, *S).
OutputKind = Literal["multi-class", "multi-label", "binary", "regression", "segmentation"]


@runtime_checkable
class Target(Protocol):
    """From an output (N, ...) to differentiable scores (N, K), one column for each label."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of the K columns."""

    def scores(self, output: Tensor) -> Tensor:
        """Return scores (N, K) of an output; raises TargetError or OutputError if it does not fit."""


@runtime_checkable
class Holding(Target, Protocol):
    """A target with a part that must stay as it is for the unchanged input while methods change the input."""

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the target with that part fixed by the output that `run` returns, called only where it is needed."""


@runtime_checkable
class Indexed(Target, Protocol):
    """A target that asks another question of each image of a batch."""

    def of(self, n: int) -> Target:
        """Return the target of image n, for a method that runs changed copies of that image alone."""


@runtime_checkable
class Cropping(Target, Protocol):
    """A target with a place in the output, of which a window of the input sees only a part."""

    def cropped(self, box: Sequence[slice], shape: Sequence[int]) -> Target | None:
        """Return the part inside a box of an output (N, classes, *S) of this shape S, or None where there is none.

        The parts of windows that do not overlap add up to the whole, in its own units.
        Raises TargetError for a place on a grid of another shape.
        """
