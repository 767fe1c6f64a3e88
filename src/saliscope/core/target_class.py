"""Scores of classes: the logit, the probability, one class against others; of a segmentation, over a region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.errors import OutputError, TargetError
from saliscope.core.target_contract import OutputKind, Target
from saliscope.core.target_region import RegionTarget, classes_of, predicted

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LogitTarget:
    """The logits of some classes: the default, because a softmax mixes classes and saturates.

    With `kind` "binary" class 0 is minus the single logit; with "segmentation" the score is the mean logit of the
    class over the elements where it is predicted, the mask held fixed (Vinogradova 2020, eq. 2), or over
    everything when it is predicted nowhere.
    """

    indices: tuple[int, ...]
    labels: tuple[str, ...]
    kind: OutputKind = "multi-class"

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) scores of an output (N, classes) or (N, classes, *S)."""
        if self.kind == "segmentation":
            return _over_prediction(self.indices, self.labels, self.values, output).scores(output)
        return self.values(_of_classes(output, self.kind))

    def values(self, output: Tensor) -> Tensor:
        """Return the logits (N, K, ...) of an output (N, classes, ...)."""
        return _logits(output, self.indices, self.kind)

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the target with the region of a segmentation fixed as predicted in the output that `run` returns.

        Without it the region would move with every change of the input, and a score would not be of one thing.
        """
        return self if self.kind != "segmentation" else _over_prediction(self.indices, self.labels, self.values, run())


@dataclass(frozen=True)
class ProbabilityTarget:
    """The probabilities of some classes: a softmax over all (multi-class), or a sigmoid of each.

    The gradient of a sure prediction is near zero, and a softmax also moves when another class does: the logit is the
    better question unless the probability itself is meant. Of a segmentation it is the mean probability over the
    elements where the class is predicted, held fixed.
    """

    indices: tuple[int, ...]
    names: tuple[str, ...]
    kind: OutputKind = "multi-class"

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what the columns are called."""
        return tuple(f"probability of {name}" for name in self.names)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) probabilities of an output (N, classes) or (N, classes, *S) of logits."""
        if self.kind == "regression":
            raise TargetError(
                "the probability of a value", expected="an output of classes", do="Ask for the value itself"
            )
        if self.kind == "segmentation":
            return _over_prediction(self.indices, self.labels, self.values, output).scores(output)
        return self.values(_of_classes(output, self.kind))

    def values(self, output: Tensor) -> Tensor:
        """Return the probabilities (N, K, ...) of an output (N, classes, ...)."""
        if self.kind == "multi-class" or (self.kind == "segmentation" and output.shape[1] > 1):
            return classes_of(output.softmax(dim=1), self.indices)
        return _logits(output, self.indices, self.kind).sigmoid()

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the target with the region of a segmentation fixed as predicted in the output that `run` returns."""
        return self if self.kind != "segmentation" else _over_prediction(self.indices, self.labels, self.values, run())


@dataclass(frozen=True)
class ContrastTarget:
    """The logit of one class minus the mean logit of others: why this class and not those.

    With `kind` "binary" the single logit is itself the logarithm of the odds of one class against the other, so the
    contrast is that logit with its sign, once. Of a segmentation it is the mean over the elements where the first
    class is predicted, held fixed.
    """

    index: int
    against: tuple[int, ...]
    name: str
    other: str
    kind: OutputKind = "multi-class"

    def __post_init__(self) -> None:
        if not self.against or self.index in self.against:
            raise TargetError(
                f"{self.name!r} against {self.other!r}",
                expected="one class, and one or more others",
                do="Name two classes that differ",
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what the column is called."""
        return (f"{self.name} against {self.other}",)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, 1) scores of an output (N, classes) or (N, classes, *S)."""
        if self.kind == "segmentation":
            return _over_prediction((self.index,), self.labels, self.values, output).scores(output)
        return self.values(_of_classes(output, self.kind))

    def values(self, output: Tensor) -> Tensor:
        """Return the difference (N, 1, ...) of an output (N, classes, ...)."""
        own = _logits(output, (self.index,), self.kind)
        if self.kind == "binary":
            return own
        return own - _logits(output, self.against, self.kind).mean(dim=1, keepdim=True)

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the target with the region of a segmentation fixed as predicted in the output that `run` returns."""
        if self.kind != "segmentation":
            return self
        return _over_prediction((self.index,), self.labels, self.values, run())


def _logits(output: Tensor, indices: tuple[int, ...], kind: OutputKind) -> Tensor:
    if kind != "binary":
        return classes_of(output, indices)
    return output.reshape(len(output), 1) * output.new_tensor([1.0 if i == 1 else -1.0 for i in indices])


def _of_classes(output: Tensor, kind: OutputKind) -> Tensor:
    if kind != "binary" and output.ndim > 2:
        raise OutputError(
            f"an output of shape {tuple(output.shape)}",
            expected="(N, classes)",
            do="Say kind='segmentation' for a map of classes, or pass a callable target.",
        )
    return output


def _over_prediction(
    indices: tuple[int, ...], labels: tuple[str, ...], values: Callable[[Tensor], Tensor], output: Tensor
) -> RegionTarget:
    """Return the mean of values over the regions predicted in an output (N, classes, *S)."""
    return RegionTarget(indices, labels, predicted(output, indices), values)
