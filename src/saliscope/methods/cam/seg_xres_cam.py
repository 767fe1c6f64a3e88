"""hasany2023, eq. 5: a region of a segmentation explained with gradients pooled over windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import one_cell
from saliscope.perturb.window import per_axis

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SegXResCAM:
    """The activation of a layer times the gradient of the logits of a region, pooled over windows and spread again.

    Between Seg-HiResCAM, which a `window` of 1 cell is, and Seg-Grad-CAM, which with the mean one as large as the
    layer is. `pool` is "mean" or "max", the paper's two. Where the window does not divide an axis, windows overlap
    evenly, so that a mirrored image has a mirrored map, and a cell takes the mean of those that hold it.
    """

    layer: str = "auto"
    window: int | tuple[int, ...] = 2
    pool: Literal["mean", "max"] = "mean"
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="hasany2023",
        cost="1 forward, K backward from the layer",
        blind="The window is a choice that the map depends on; with the maximum, evidence against is mostly dropped.",
    )
    resolution = one_cell

    def __post_init__(self) -> None:
        sizes = self.window if isinstance(self.window, tuple) else (self.window,)
        if not sizes or min(sizes) < 1 or self.pool not in ("mean", "max"):
            raise MethodError(
                f"window={self.window}, pool={self.pool!r}",
                expected="a window of at least one cell, and mean or max",
                do="Correct the fields",
            )

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S'): sum of up(pool(g)) A."""
        shape = gradient.shape[2:]
        widths = per_axis("window", self.window, shape, shape)
        holds = [_windows(size, width, gradient) for size, width in zip(shape, widths, strict=True)]
        for axis, window in enumerate(holds, start=2):
            moved = gradient.movedim(axis, -1)
            if self.pool == "mean":
                pooled = moved @ (window / window.sum(dim=1, keepdim=True)).T
            else:
                pooled = moved[..., None, :].where(window > 0, gradient.new_full((), -float("inf"))).amax(dim=-1)
            gradient = pooled.movedim(-1, axis)
        for axis, window in enumerate(holds, start=2):
            gradient = (gradient.movedim(axis, -1) @ (window / window.sum(dim=0))).movedim(-1, axis)
        found = (gradient * activation).sum(dim=1)
        return found.relu() if self.relu else found

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid."""
        return kernel_maps(model, x, target, [self])[0]


def _windows(size: int, width: int, like: Tensor) -> Tensor:
    """Return (windows, size), one where a window holds a cell: as many windows as it takes, laid evenly."""
    import torch

    count = -(-size // width)
    window = torch.arange(count, device=like.device)[:, None]
    cell = torch.arange(size, device=like.device)
    return ((cell >= window * size // count) & (cell < -(-(window + 1) * size // count))).to(like.dtype)
