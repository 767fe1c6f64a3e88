"""What is explained: from a network's output to one score per target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from saliscope.core.errors import OutputError, TargetError, did_you_mean

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
        if self.kind == "binary":
            signs = output.new_tensor([1.0 if i == 1 else -1.0 for i in self.indices])
            return output.reshape(len(output), 1) * signs
        classes = output.shape[1] if output.ndim > 1 else 0
        if not classes or max(self.indices) >= classes or min(self.indices) < 0:
            raise TargetError(
                f"target index {max(self.indices)} of an output of shape {tuple(output.shape)}",
                expected=f"0 to {classes - 1}",
                do="Choose a class that the network has.",
            )
        chosen = output[:, list(self.indices)]
        if self.kind != "segmentation":
            if output.ndim != 2:
                raise OutputError(
                    f"an output of shape {tuple(output.shape)}",
                    expected="(N, classes)",
                    do="Say output='segmentation' for a map of classes, or pass a callable target.",
                )
            return chosen
        return _region_mean(chosen, _predicted(output, self.indices))

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the target with the region of a segmentation fixed as predicted in the output that `run` returns.

        Without it the region would move with every change of the input, and a score would not be of one thing.
        """
        if self.kind != "segmentation":
            return self
        return RegionTarget(self.indices, self.labels, _predicted(run(), self.indices))


@dataclass(frozen=True, eq=False)
class RegionTarget:
    """The mean logit of some classes over a fixed mask (N or 1, K, *S); an empty one stands for everything."""

    indices: tuple[int, ...]
    labels: tuple[str, ...]
    mask: Tensor

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) scores of an output (N, classes, *S)."""
        return _region_mean(output[:, list(self.indices)], self.mask)


@dataclass(frozen=True)
class CallableTarget:
    """Any function from an output to scores (N,) or (N, K)."""

    function: Callable[[Tensor], Tensor]
    labels: tuple[str, ...] = ("callable",)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) scores; raises TargetError if the function returns another shape."""
        got = self.function(output)
        columns = got[:, None] if got.ndim == 1 else got
        if columns.ndim != 2 or columns.shape[1] != len(self.labels):
            raise TargetError(
                f"a target function that returned shape {tuple(got.shape)} for {len(self.labels)} labels",
                expected="(N,) or (N, K)",
                do="Return one score for each image and label.",
            )
        return columns


def choose(
    wanted: Sequence[str | int], labels: Sequence[str], kind: OutputKind, top: Sequence[int] = (0,)
) -> LogitTarget:
    """Return the target for labels, indices, "top" (the strongest class) or "all".

    Raises TargetError for a name or an index that the network does not have.
    """
    indices: list[int] = []
    for want in wanted:
        if want == "all":
            indices += range(len(labels))
        elif want == "top":
            indices += top
        else:
            indices.append(_index(want, labels))
    unique = tuple(dict.fromkeys(indices))
    return LogitTarget(unique, tuple(labels[i] for i in unique), kind)


def _index(want: str | int, labels: Sequence[str]) -> int:
    if isinstance(want, str) and want in labels:
        return list(labels).index(want)
    try:
        index = int(want)
    except ValueError:
        raise TargetError(
            f"target {want!r}", expected="a label, an index, 'top' or 'all'", do=did_you_mean(str(want), labels)
        ) from None
    if not 0 <= index < len(labels):
        raise TargetError(
            f"target index {index}", expected=f"0 to {len(labels) - 1}", do=f"The labels are: {', '.join(labels)}"
        )
    return index


def _predicted(output: Tensor, indices: tuple[int, ...]) -> Tensor:
    """Return the fixed masks (N, K, *S) where each class is predicted; one channel means a single logit."""
    fixed = output.detach()
    if fixed.shape[1] == 1:
        return fixed > 0
    winner = fixed.argmax(dim=1, keepdim=True)
    return winner == winner.new_tensor(indices).reshape(1, -1, *[1] * (fixed.ndim - 2))


def _region_mean(logits: Tensor, mask: Tensor) -> Tensor:
    axes = tuple(range(2, logits.ndim))
    empty = ~mask.flatten(2).any(-1).reshape(*mask.shape[:2], *[1] * len(axes))
    weight = (mask | empty).to(logits.dtype)
    return (logits * weight).sum(axes) / weight.sum(axes)
