"""petsiuk2018, eq. 1 and 6, section 3.2: the score that goes with an element's being visible, over random masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, held
from saliscope.methods.perturbation.weighted import Weighted
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
    visible is `baseline`. With a `tolerance`, a target's map is done when its largest standard error is below that
    share of the map's range, looked at after 256 masks and at each doubling; 0 always runs all `samples`. Beside the
    map stands the variance of the estimate at each element. With `precision` "bfloat16" a reduced
    copy of the network runs where a check finds it as good. `memory_mb` bounds the copies at once and changes no value.
    """

    samples: int = 4096
    cells: int | tuple[int, ...] = 8
    keep: float = 0.5
    baseline: Baseline = "mean"
    tolerance: float = 0.05
    centred: bool = True
    seed: int = 0
    precision: Precision = "float32"
    memory_mb: float = 1024

    beside: ClassVar[tuple[str, ...]] = ("variance",)
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
        if self.samples < 2 or least < 1 or not 0 < self.keep < 1 or not self.tolerance >= 0:
            raise MethodError(
                f"samples={self.samples}, cells={self.cells}, keep={self.keep}, tolerance={self.tolerance}",
                expected="two samples or more, a cell or more, keep between 0 and 1, tolerance not negative",
                do="Correct the fields",
            )
        check_baseline(self.baseline)
        check_precision(self.precision)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> Mapping[str, Tensor]:
        """Return the map and the variance of the estimate, in the score squared, each (N, K, *S)."""
        import torch

        pairs = zip(x.detach(), absent(x.detach(), self.baseline), strict=True)
        found = [
            self._of_one(model, image, out, held(model, image[None], target, n)) for n, (image, out) in enumerate(pairs)
        ]
        return {name: torch.stack([one[i] for one in found]) for i, name in enumerate(("map", *self.beside))}

    def _of_one(self, model: Model, image: Tensor, without: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        import torch

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
        done = torch.zeros(len(middle), dtype=torch.bool)
        maps, variances = (image.new_zeros(len(middle), *shape, dtype=middle.dtype) for _ in range(2))
        for stage in self._stages():
            latest: dict[range, Tensor] = {}

            def copies(some: range, begin: int = stage.start, kept: dict[range, Tensor] = latest) -> Tensor:
                kept.clear()
                kept[some] = masks(range(begin + some.start, begin + some.stop))
                return blended(image, without, kept[some])

            for some, scores in scored(run, target, copies, len(stage), size):
                sums.add(latest[some], scores - middle)
            found, variance = sums.estimate(centred=self.centred)
            now = ~done & (self._settled(found, variance) | (stage.stop == self.samples))
            maps[now], variances[now] = found[now], variance[now]
            done |= now
            if bool(done.all()):
                break
        self._say(model, stage.stop, maps, variances)
        return maps if self.centred else maps + middle.reshape(-1, *[1] * len(shape)), variances

    def _stages(self) -> Iterator[range]:
        begin, end = 0, FIRST if self.tolerance else self.samples
        while begin < self.samples:
            yield range(begin, min(end, self.samples))
            begin, end = end, 2 * end

    def _settled(self, found: Tensor, variance: Tensor) -> Tensor:
        """Return (K,), on the CPU: whether the largest standard error is a small enough share of the map's range."""
        return (_share(found, variance) < self.tolerance).cpu()

    def _say(self, model: Model, used: int, maps: Tensor, variances: Tensor) -> None:
        share = float(_share(maps, variances).max())
        model.note(
            f"{used:,} of at most {self.samples:,} masks: standard error at most {share:.1%} of the map's range."
        )


def _share(found: Tensor, variance: Tensor) -> Tensor:
    flat = found.flatten(1)
    return variance.flatten(1).amax(dim=1).sqrt() / (flat.amax(dim=1) - flat.amin(dim=1)).clamp(min=1e-30)
