"""Targets made of functions or of other targets: any callable, the opposite, several at once, one for each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from saliscope.core.errors import SaliscopeError, TargetError
from saliscope.core.target_contract import Cropping, Holding, Indexed, Target

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CallableTarget:
    """Any function from an output to scores (N,) or (N, K).

    It sees only the output of the input as a method changed it. Where a part of the score, such as a mask, must stay
    as it is for the unchanged input, use `AnchoredTarget`.
    """

    function: Callable[[Tensor], Tensor]
    labels: tuple[str, ...] = ("callable",)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) scores; raises TargetError if the function returns another shape."""
        try:
            scores = self.function(output)
        except SaliscopeError:
            raise
        except Exception as error:
            raise TargetError(
                f"a target function that raised {type(error).__name__} ({error}) on an output of shape "
                f"{tuple(output.shape)}",
                expected="a function from the output (N, ...) to scores (N,)",
                do="Call it yourself on an output of this shape",
            ) from error
        return _columns(scores, len(output), self.labels)


@dataclass(frozen=True, eq=False)
class AnchoredTarget:
    """Any function of an output (N, ...) and of that of the unchanged input, (N or 1, ...), to scores (N,) or (N, K).

    What the function takes from the second, such as a mask, stays fixed while methods change the input.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    labels: tuple[str, ...] = ("callable",)
    anchor: Tensor | None = None

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) scores; raises TargetError if the function returns another shape."""
        anchor = output.detach() if self.anchor is None else self.anchor
        return _columns(self.function(output, anchor), len(output), self.labels)

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the target with the output that `run` returns as that of the unchanged input."""
        return self if self.anchor is not None else replace(self, anchor=run().detach())

    def cropped(self, box: Sequence[slice], shape: Sequence[int]) -> Target | None:
        """Return the function of a box of the output; raises TargetError for one on another grid."""
        if self.anchor is None:
            return self
        if tuple(self.anchor.shape[2:]) != tuple(shape):
            raise TargetError(
                f"an output over {tuple(self.anchor.shape[2:])} for windows of {tuple(shape)}",
                expected="a network whose output lies on the grid of its input",
                do="Explain the whole image at once",
            )
        return replace(self, anchor=self.anchor[(slice(None), slice(None), *box)])


@dataclass(frozen=True)
class Opposite:
    """Minus the scores of another target: what speaks for a lower value of a regression, or against a class."""

    target: Target

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what the columns are called."""
        return tuple(f"minus {label}" for label in self.target.labels)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) scores of an output (N, ...)."""
        return -self.target.scores(output)

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the target with what the other one holds fixed."""
        return Opposite(_held(self.target, run))

    def of(self, n: int) -> Target:
        """Return the target of image n."""
        return Opposite(_of(self.target, n))

    def cropped(self, box: Sequence[slice], shape: Sequence[int]) -> Target | None:
        """Return the part inside a box of the output."""
        part = _cropped(self.target, box, shape)
        return None if part is None else Opposite(part)


@dataclass(frozen=True)
class Together:
    """The columns of several targets, of whatever kinds, one after the other: all from one forward run."""

    targets: tuple[Target, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what the columns are called."""
        return tuple(label for target in self.targets for label in target.labels)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) scores of an output (N, ...)."""
        import torch

        return torch.cat([target.scores(output) for target in self.targets], dim=1)

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the targets with what each holds fixed; `run` is called once at most."""
        once = cache(run)
        return Together(tuple(_held(target, once) for target in self.targets))

    def of(self, n: int) -> Target:
        """Return the targets of image n."""
        return Together(tuple(_of(target, n) for target in self.targets))

    def cropped(self, box: Sequence[slice], shape: Sequence[int]) -> Target | None:
        """Return the parts inside a box of the output; a column without a part there is zero."""
        parts = [_cropped(target, box, shape) for target in self.targets]
        if all(part is None for part in parts):
            return None
        pairs = zip(parts, self.targets, strict=True)
        return Together(tuple(_Nothing(t.labels) if part is None else part for part, t in pairs))


@dataclass(frozen=True)
class PerImage:
    """Another target for each image of a batch, all with as many columns.

    In place of targets there may be the words that `saliscope.explain` takes, which become targets there.
    Raises TargetError where the targets have not as many columns.
    """

    targets: tuple[Target | str | int, ...]

    def __post_init__(self) -> None:
        counts = [len(target.labels) for target in self.targets if isinstance(target, Target)]
        if not self.targets or len(set(counts)) > 1:
            raise TargetError(
                f"targets of {', '.join(map(str, counts)) or 'no'} columns",
                expected="one target for each image, all of as many columns",
                do="Ask as many questions of each image",
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what the columns are called, the names of the images with commas; those of one image: `of(n)`."""
        rows = zip(*(self.of(n).labels for n in range(len(self.targets))), strict=True)
        return tuple(", ".join(dict.fromkeys(row)) for row in rows)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K), row n being the score of target n; raises TargetError for another number of images."""
        import torch

        if len(output) != len(self.targets):
            raise TargetError(
                f"{len(self.targets)} targets for {len(output)} images",
                expected="one target for each image",
                do="Give one for each image",
            )
        return torch.cat([self.of(n).scores(output[n : n + 1]) for n in range(len(output))])

    def of(self, n: int) -> Target:
        """Return the target of image n; raises TargetError for an image without one, or a word."""
        target = self.targets[n] if 0 <= n < len(self.targets) else None
        if not isinstance(target, Target):
            raise TargetError(
                f"target {target!r} of image {n}",
                expected=f"a target, and an image from 0 to {len(self.targets) - 1}",
                do="Give one target for each image; words become targets in saliscope.explain",
            )
        return target


@dataclass(frozen=True)
class _Nothing:
    """Columns of zero, with a graph to the output: a window without any part of a target."""

    labels: tuple[str, ...]

    def scores(self, output: Tensor) -> Tensor:
        return output.flatten(1)[:, :1] * output.new_zeros(len(self.labels))


def _columns(got: Tensor, count: int, labels: tuple[str, ...]) -> Tensor:
    import torch

    if not isinstance(got, torch.Tensor):
        raise TargetError(
            f"a target function that returned {type(got).__name__}",
            expected="a tensor of scores (N,) or (N, K), made of the output by torch",
            do="Compute it without NumPy, so that gradients pass",
        )
    columns = got[:, None] if got.ndim == 1 else got
    if columns.ndim != 2 or columns.shape != (count, len(labels)):
        raise TargetError(
            f"a target function that returned shape {tuple(got.shape)} for {count} images and {len(labels)} labels",
            expected="(N,) or (N, K)",
            do="Return one score for each image and label.",
        )
    return columns


def _held(target: Target, run: Callable[[], Tensor]) -> Target:
    return target.held(run) if isinstance(target, Holding) else target


def _of(target: Target, n: int) -> Target:
    return target.of(n) if isinstance(target, Indexed) else target


def _cropped(target: Target, box: Sequence[slice], shape: Sequence[int]) -> Target | None:
    return target.cropped(box, shape) if isinstance(target, Cropping) else target
