"""Scores of a place in an output over space: a mask, a connected component, a point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.errors import OutputError, TargetError
from saliscope.core.target_contract import Target

if TYPE_CHECKING:
    from torch import Tensor

#: From an output (N, classes, *S) to one value for each column and element (N, K, *S).
Quantity = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True, eq=False)
class RegionTarget:
    """The mean logit of some classes over a fixed mask (N or 1, K or 1, *S) of True and False.

    An empty mask stands for everything. `quantity` puts another value of each element in place of the logit; `size`
    (N or 1, K) is what the sum over the mask is divided by where that is not the number of its elements.
    """

    indices: tuple[int, ...]
    labels: tuple[str, ...]
    mask: Tensor
    quantity: Quantity | None = None
    size: Tensor | None = None

    def __post_init__(self) -> None:
        import torch

        if self.mask.dtype != torch.bool or self.mask.ndim < 3:
            raise TargetError(
                f"a mask of shape {tuple(self.mask.shape)} and type {self.mask.dtype}",
                expected="True and False, (N or 1, K or 1, *S)",
                do="For example mask[None, None] > 0",
            )

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, K) scores of an output (N, classes, *S); raises TargetError for one on another grid."""
        values = self.quantity(output) if self.quantity is not None else classes_of(output, self.indices)
        if values.shape[2:] != self.mask.shape[2:] or len(self.mask) not in (1, len(values)):
            raise TargetError(
                f"a mask of shape {tuple(self.mask.shape)} for an output of shape {tuple(output.shape)}",
                expected="(1, K, *S) or (N, K, *S) on the grid of the output",
                do="Give the mask on the grid of the network's output",
            )
        # In half precision the sum over a region would overflow.
        values = values.float() if values.element_size() < 4 else values
        mask = self.mask.to(values.device)
        axes = tuple(range(2, values.ndim))
        if self.size is not None:
            return (values * mask).sum(axes) / self.size.to(values.device)
        weight = filled(mask).to(values.dtype)
        return (values * weight).sum(axes) / weight.sum(axes)

    def of(self, n: int) -> Target:
        """Return the target with the mask of image n, where each image has its own."""
        if len(self.mask) == 1:
            return self
        size = None if self.size is None else self.size[n : n + 1]
        return RegionTarget(self.indices, self.labels, self.mask[n : n + 1], self.quantity, size)

    def cropped(self, box: Sequence[slice], shape: Sequence[int]) -> Target | None:
        """Return the mask's part in a box, still divided by the size of the whole; None where no part of it lies."""
        if tuple(self.mask.shape[2:]) != tuple(shape):
            raise TargetError(
                f"a mask of {tuple(self.mask.shape[2:])} for windows of {tuple(shape)}",
                expected="a network whose output lies on the grid of its input",
                do="Explain the whole image at once",
            )
        mask = filled(self.mask)
        part = mask[(slice(None), slice(None), *box)]
        size = self.size if self.size is not None else mask.flatten(2).sum(-1)
        return RegionTarget(self.indices, self.labels, part, self.quantity, size) if part.any() else None


@dataclass(frozen=True)
class ComponentTarget:
    """The mean logit of a class over one connected component of the region where it is predicted, held fixed.

    The largest one, or that which holds the element `at` (plane, row, column) of the output. Elements are connected
    by their faces. A class that is predicted nowhere is scored everywhere.
    """

    index: int
    name: str
    at: tuple[int, ...] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what the column is called."""
        if self.at is None:
            return (f"largest component of {self.name}",)
        return (f"component of {self.name} at {place(self.at)}",)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, 1) scores of an output (N, classes, *S), each over its own component."""
        return self._region(output).scores(output)

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the target with the component of the output that `run` returns."""
        return self._region(run())

    def _region(self, output: Tensor) -> RegionTarget:
        import torch

        masks = predicted(output, (self.index,))
        within(self.at, masks.shape[2:])
        found = torch.stack([self._component(mask) for mask in masks[:, 0]])
        return RegionTarget((self.index,), self.labels, found[:, None])

    def _component(self, mask: Tensor) -> Tensor:
        import numpy as np
        import torch
        from scipy.ndimage import label

        components, count = label(mask.cpu().numpy())
        sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
        wanted = int(components[self.at]) if self.at is not None else 1 + int(sizes.argmax()) if count else 1
        if not wanted:
            raise TargetError(
                f"element {self.at}, where {self.name!r} is not predicted",
                expected=f"an element inside a region of {self.name!r}",
                do="Choose another element, or the largest component",
            )
        return torch.from_numpy(components == wanted).to(mask.device)


@dataclass(frozen=True)
class PointTarget:
    """The logit of a class at one element `at` (plane, row, column) of the output."""

    index: int
    name: str
    at: tuple[int, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what the column is called."""
        return (f"{self.name} at {place(self.at)}",)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, 1) scores of an output (N, classes, *S)."""
        within(self.at, output.shape[2:])
        found = classes_of(output, (self.index,))
        for a in self.at:
            found = found[:, :, a]
        return found

    def cropped(self, box: Sequence[slice], shape: Sequence[int]) -> Target | None:
        """Return the same point counted from the corner of a box; None where it lies outside."""
        within(self.at, shape)
        ends = [b.indices(n)[:2] for b, n in zip(box, shape, strict=True)]
        if not all(low <= a < high for a, (low, high) in zip(self.at, ends, strict=True)):
            return None
        moved = tuple(a - low for a, (low, _) in zip(self.at, ends, strict=True))
        return _Moved(self.labels, PointTarget(self.index, self.name, moved))


@dataclass(frozen=True)
class _Moved:
    """A target under the name that it had before it was counted from another corner."""

    labels: tuple[str, ...]
    target: Target

    def scores(self, output: Tensor) -> Tensor:
        return self.target.scores(output)


def classes_of(output: Tensor, indices: tuple[int, ...]) -> Tensor:
    """Return the channels (N, K, ...) of some classes; raises TargetError for one that the output has not."""
    classes = output.shape[1] if output.ndim > 1 else 0
    if not classes or max(indices) >= classes or min(indices) < 0:
        raise TargetError(
            f"target index {max(indices)} of an output of shape {tuple(output.shape)}",
            expected=f"0 to {classes - 1}",
            do="Choose a class that the network has.",
        )
    return output[:, list(indices)]


def predicted(output: Tensor, indices: tuple[int, ...]) -> Tensor:
    """Return the fixed masks (N, K, *S) where each class is predicted; one channel means a single logit."""
    if output.ndim < 3:
        raise OutputError(
            f"an output of shape {tuple(output.shape)}",
            expected="classes over space (N, classes, *S)",
            do="Ask for a region, a component or a point only of a network that segments",
        )
    fixed = classes_of(output.detach(), tuple(range(output.shape[1])))
    if fixed.shape[1] == 1:
        return fixed > 0
    winner = fixed.argmax(dim=1, keepdim=True)
    return winner == winner.new_tensor(indices).reshape(1, -1, *[1] * (fixed.ndim - 2))


def filled(mask: Tensor) -> Tensor:
    """Return masks (N, K, *S) in which an empty one, which has no mean, is full."""
    empty = ~mask.flatten(2).any(-1)
    return mask | empty.reshape(*empty.shape, *[1] * (mask.ndim - 2))


def within(at: tuple[int, ...] | None, shape: Sequence[int]) -> None:
    """Raise TargetError for an element that a grid does not have."""
    if at is not None and (len(at) != len(shape) or not all(0 <= a < n for a, n in zip(at, shape, strict=True))):
        raise TargetError(
            f"element {at} of an output over {tuple(shape)}",
            expected=f"{len(shape)} numbers, each at least 0 and below the size of its axis",
            do="Give (plane,) row, column in elements of what the network sees",
        )


def place(at: tuple[int, ...]) -> str:
    """Return an element as it is written: plane/row/column."""
    return "/".join(map(str, at))
