"""petsiuk2018, eq. 1 and 6, section 3.2: the score that goes with an element's being visible, over random masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, held
from saliscope.methods.perturbation.weighted import Weighted
from saliscope.methods.sampling import ERROR, MAP, MEASURES, Drawn, Sampling
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.masks import ShiftedMasks, blended
from saliscope.perturb.precision import Precision, at_precision, check_precision
from saliscope.perturb.stream import FORWARD, batch_size, scored
from saliscope.perturb.window import per_axis

if TYPE_CHECKING:
    from torch import Tensor

#: After how many masks the standard error is looked at first; then at each doubling.
FIRST = 256


@dataclass(frozen=True)
class RISE:
    """The mean score of the copies in which an element is visible, less the mean score of all copies.

    Eq. 6 divides by the masks' expected value; here by their sum at each element (Monte Carlo with counted weights).
    The mean of all copies is taken off so that zero says "no matter"; `centred=False` is the paper's map, which
    differs by one number for the whole map. Each of `cells` per axis is kept with probability `keep`; what is not
    visible is `baseline`. With a `tolerance`, a target's map is done when its standard error is below that share of the
    map's largest magnitude at every element (without centring, of the largest distance to the score of an evenly faded
    image), looked at after 256 masks and at each doubling; None or 0 always runs all `samples`. Beside the map stand
    the standard error of each element, and its square, the variance of the estimate. With `precision` "bfloat16" a
    reduced copy of the network runs where a check finds it as good. `memory_mb` bounds the copies at once and changes
    no value.
    """

    samples: int = 4096
    cells: int | tuple[int, ...] = 8
    keep: float = 0.5
    baseline: Baseline = "mean"
    tolerance: float | None = 0.05
    centred: bool = True
    seed: int = 0
    precision: Precision = "float32"
    memory_mb: float = 1024

    beside: ClassVar[tuple[str, ...]] = ("error", "variance")
    measures: ClassVar[tuple[str, ...]] = MEASURES
    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="petsiuk2018",
        cost="1 + at most `samples` forward, whatever K",
        blind="Evidence in two places, and whatever is much smaller than a cell. Grainy where masks are few.",
    )

    def __post_init__(self) -> None:
        least = min(self.cells) if isinstance(self.cells, tuple) else self.cells
        if self.samples < 2 or least < 1 or not 0 < self.keep < 1:
            raise MethodError(
                f"samples={self.samples}, cells={self.cells}, keep={self.keep}",
                expected="two samples or more, a cell or more, keep between 0 and 1",
                do="Correct the fields",
            )
        check_baseline(self.baseline)
        check_precision(self.precision)
        self._sampling()

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> Mapping[str, Tensor]:
        """Return "map", "error", "variance" (N, K, *S), the last in the score squared, and `measures` (N, K)."""
        pairs = enumerate(zip(x.detach(), absent(x.detach(), self.baseline), strict=True))
        several = [self._of_one(model, image, out, held(model, image[None], target, n)) for n, (image, out) in pairs]
        return self._sampling().told(model, several)

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the cell of the masks, before they are moved, for x (1, C, *S)."""
        shape = x.shape[2:]
        return (tuple(float(-(-n // g)) for n, g in zip(shape, per_axis("cells", self.cells, [], shape), strict=True)),)

    def _sampling(self) -> Sampling:
        return Sampling(self.samples, self.tolerance, FIRST, "masks")

    def _of_one(self, model: Model, image: Tensor, without: Tensor, target: Target) -> Drawn:
        shape = image.shape[1:]
        cells = per_axis("cells", self.cells, [], shape)
        masks = ShiftedMasks.drawn(image, cells, self.keep, self.samples, self.seed)
        size = batch_size(image[None], self.memory_mb, FORWARD)
        run = at_precision(
            model, target, lambda r: blended(image, without, masks(r)), self.samples, size, self.precision
        )
        # Scores are counted from that of the evenly faded image: sums of large numbers would lose small differences.
        even = blended(image, without, image.new_full((1, *shape), self.keep))
        middle = at_least_single(target.scores(run(even)))[0]
        sums = Weighted.empty(image, len(middle))

        def grow(stage: range) -> dict[str, Tensor]:
            latest: dict[range, Tensor] = {}

            def copies(some: range) -> Tensor:
                latest.clear()
                latest[some] = masks(range(stage.start + some.start, stage.start + some.stop))
                return blended(image, without, latest[some])

            for some, scores in scored(run, target, copies, len(stage), size):
                sums.add(latest[some], scores - middle)
            found, variance = sums.estimate(centred=self.centred)
            maps = {MAP: found, ERROR: variance.sqrt(), "variance": variance}
            return {name: values.to(middle.dtype) for name, values in maps.items()}

        found = self._sampling().drawn(grow)
        return found if self.centred else found.moved(middle.reshape(-1, *[1] * len(shape)))
