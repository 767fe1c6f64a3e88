"""zeiler2014, section 4.2: how much the score falls when a window of the image is taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar, get_args

from saliscope.core.errors import MethodError, did_you_mean
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.core.windows import WindowEngine, Windows
from saliscope.methods.kernel import at_least_single, held
from saliscope.perturb.baseline import INPAINT, Baseline, absent, check_baseline
from saliscope.perturb.inpaint import inpainted
from saliscope.perturb.stream import FORWARD, batch_size, scored
from saliscope.perturb.window import per_axis, spread, starts

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Occlusion:
    """The drop score(x) - score(x without the window), at each element the mean over the windows that cover it.

    `window` and `stride` are in elements of the view, one number or one for each axis; without them an eighth of
    each axis, and half a window. What stands in the window is `baseline`, a name or a number in units of the view:
    by default each channel's mean, the paper's grey square; "inpaint" fills each window smoothly from what surrounds
    it. All windows have the full size, also at the edge.
    Windows whose content already equals the baseline are not run: their drop is zero. `memory_mb` bounds how many
    windows run at once and changes no value.

    `engine` "exact" runs of each map of the network only what a window changes (nakandala2019), which gives the same
    drops as "full" runs of the whole network; "auto" does so where that saves time. "approximate" cuts these regions
    as far as the drops keep a Pearson correlation of `fidelity` with the exact ones, with 95 % confidence from windows
    of the same image that are run both ways, and is exact where that cannot be had. Which way was taken stands in the
    record.
    """

    window: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    baseline: Baseline = "mean"
    memory_mb: float = 1024
    engine: WindowEngine = "auto"
    fidelity: float = 0.995

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="zeiler2014",
        cost="1 + windows forward (225 in 2D, 3,375 in 3D by default), whatever K",
        blind="Evidence that stands in two places: without one, the other suffices. No finer than the window.",
    )

    def __post_init__(self) -> None:
        for name, value in (("window", self.window), ("stride", self.stride)):
            if value is not None and min((value,) if isinstance(value, int) else value, default=0) < 1:
                raise MethodError(f"{name}={value}", expected="one element or more", do="Correct the field")
        check_baseline(self.baseline, windows=True)
        if self.engine not in get_args(WindowEngine):
            names = get_args(WindowEngine)
            raise MethodError(f"engine {self.engine!r}", expected=", ".join(names), do=did_you_mean(self.engine, names))
        if not 0 < self.fidelity <= 1:
            raise MethodError(f"fidelity={self.fidelity}", expected="above 0, at most 1", do="Correct the field")

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score.

        Raises MethodError where window or stride has another number of axes than the image, or where the stride is
        larger than the window, which leaves elements that no window covers, or "inpaint" has nothing around a window.
        """
        import torch

        shape = x.shape[2:]
        window = self._window(shape)
        stride = per_axis("stride", self.stride, [-(-w // 2) for w in window], shape)
        if any(s > w for s, w in zip(stride, window, strict=True)):
            raise MethodError(
                f"stride {stride} with window {window}",
                expected="a stride no larger than the window",
                do="Lower the stride, or some elements are never covered",
            )
        begins = [starts(n, w, s) for n, w, s in zip(shape, window, stride, strict=True)]
        grid = (begins, window)
        x = x.detach()
        withouts = x if self.baseline == INPAINT else absent(x, self.baseline)
        drops = [
            self._of_one(model, image, without, held(model, image[None], target, n), grid)
            for n, (image, without) in enumerate(zip(x, withouts, strict=True))
        ]
        return torch.stack([spread(d, begins, window, shape) for d in drops])

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the window, for x (1, C, *S): no place is told of by itself."""
        return (tuple(float(w) for w in self._window(x.shape[2:])),)

    def _window(self, shape: Sequence[int]) -> list[int]:
        return per_axis("window", self.window, [-(-n // 8) for n in shape], shape)

    def _of_one(
        self,
        model: Model,
        image: Tensor,
        without: Tensor,
        target: Target,
        grid: tuple[Sequence[Sequence[int]], Sequence[int]],
    ) -> Tensor:
        """Return the drops (K, *windows) of one image (C, *S)."""
        begins, window = grid
        full = at_least_single(target.scores(model(image[None])))[0]
        drops = full.new_zeros(len(full), prod(len(b) for b in begins))
        inpaints = self.baseline == INPAINT

        def content(box: Box) -> Tensor:
            return inpainted(image, box[1:]) if inpaints else without[box]

        boxes = {i: box for i, box in enumerate(_boxes(*grid)) if not image[box].equal(content(box))}
        changed = list(boxes)
        own = (lambda i: content(boxes[i])) if inpaints else None
        windows = Windows(window, begins, changed, self.engine, self.fidelity, self.memory_mb, own)
        found = None
        if self.engine != "full":
            found = model.window_drops(image[None], without[None], target, windows)
        drops[:, changed] = (self._in_full(model, image, content, target, boxes, full) if found is None else found).T
        return drops.reshape(len(full), *[len(b) for b in begins])

    def _in_full(
        self,
        model: Model,
        image: Tensor,
        content: Callable[[Box], Tensor],
        target: Target,
        boxes: Mapping[int, Box],
        full: Tensor,
    ) -> Tensor:
        """Return the drops (n, K) of the windows in `boxes` by full runs."""
        import torch

        wanted = list(boxes.values())

        def copies(some: range) -> Tensor:
            made = image[None].repeat(len(some), *[1] * image.ndim)
            for copy, box in zip(made, wanted[some.start : some.stop], strict=True):
                copy[box] = content(box)
            return made

        size = batch_size(image[None], self.memory_mb, FORWARD)
        found = [full - scores for _, scores in scored(model, target, copies, len(wanted), size)]
        return torch.cat(found) if found else full.new_zeros(0, len(full))


def _boxes(begins: Sequence[Sequence[int]], window: Sequence[int]) -> Iterator[Box]:
    """Give the slices (C, *S) of every window, the last axis fastest."""
    for corner in product(*begins):
        yield (slice(None), *[slice(b, b + w) for b, w in zip(corner, window, strict=True)])
