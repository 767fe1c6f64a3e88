"""erion2021, expected gradients: integrated gradients, averaged over baselines that are real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.slopes import FIRST, slopes
from saliscope.methods.gradient.stratified import Stratified, drawn
from saliscope.methods.kernel import held
from saliscope.methods.resolution import one_element
from saliscope.methods.sampling import ERROR, MAP, MEASURES, Drawn, Running, Sampling
from saliscope.perturb.baseline import absent, check_baseline
from saliscope.perturb.reference import References
from saliscope.perturb.stream import GRAPH, batch_size

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ExpectedGradients:
    """The mean over references x' and places on the line to each of (x - x') times the gradient, summed over channels.

    `references` are images as the network sees them, or the name of a baseline as the only one; there is no default,
    because no made-up image stands for other patients. Every reference serves equally often, and the places are drawn
    one from each of `samples` equal parts of the line. Beside the map stand its standard error, as these draws make it
    (wolter2007, `stratified.py`), and the variance that it would have were all draws independent, which is larger. The
    error is that of this choice of references. Where there are about as many of them as samples, their own differences
    cannot be told from it and are in it, and it is too large. With a `tolerance`, rounds of draws, each as large as all
    before it, are added, up to `samples`, until the error is below that share of the map's largest magnitude at every
    element. `memory_mb` bounds how many samples run at once and changes no value.
    """

    references: References | str | None = None
    samples: int = 64
    seed: int = 0
    memory_mb: float = 1024
    tolerance: float | None = None

    traits: ClassVar[Traits] = Traits(
        family="path",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="erion2021",
        cost="at most `samples` forward, K x `samples` backward",
        blind="What all references share with the image gets nothing. Another choice of references is another map.",
    )
    resolution = one_element
    beside: ClassVar[tuple[str, ...]] = ("error", "variance")
    measures: ClassVar[tuple[str, ...]] = MEASURES

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise MethodError(f"samples={self.samples}", expected="at least two", do="Correct the field")
        if isinstance(self.references, str):
            check_baseline(self.references)
        self._sampling(1)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score. Raises MethodError without references, or for another shape."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map", "error", "variance" (N, K, *S), the last in the map's squared units, and `measures` (N, K)."""
        if self.references is None:
            raise MethodError(
                "expected gradients without references",
                expected="images of other patients, as the network sees them",
                do="Give references=References.of(tensor) with a tensor (M, C, *S), or use integrated-gradients",
            )
        images = x.detach().split(1)
        several = [self._of_one(model, i, self._starts(i), held(model, i, target, n)) for n, i in enumerate(images)]
        return self._sampling(1).told(model, several)

    def _sampling(self, references: int) -> Sampling:
        # Fewer than four draws for each reference hardly tell what is theirs.
        return Sampling(self.samples, self.tolerance, max(FIRST, 4 * references), "samples")

    def _starts(self, image: Tensor) -> Tensor:
        """Return the references (M, C, *S) for an image (1, C, *S)."""
        chosen = self.references
        return chosen.like(image) if isinstance(chosen, References) else absent(image, str(chosen))

    def _of_one(self, model: Model, image: Tensor, starts: Tensor, target: Target) -> Drawn:
        """Return the maps (K, *S) of one image (1, C, *S)."""
        import torch

        size, generator = batch_size(image, self.memory_mb, GRAPH), torch.Generator().manual_seed(self.seed)
        sums, square = Running(), torch.zeros(())

        def grow(stage: range) -> dict[str, Tensor]:
            nonlocal square
            which, places = drawn(len(stage), len(starts), generator)
            spread = Stratified(which, len(starts))
            start, share = starts[which.to(image.device)], _column(places, image)

            def copies(some: range) -> Tensor:
                part = slice(some.start, some.stop)
                return image - (1 - share[part]) * (image - start[part])

            for s in slopes(model, target, copies, len(stage), size):
                found = [((image - start[s.some.start : s.some.stop]) * g).sum(dim=1) for g in s.gradients]
                sums.add(found)
                spread.add(found)
            # Rounds are independent, and count by their size.
            square = square + len(stage) ** 2 * spread.square()
            maps = sums.maps()
            error = (square.sqrt() / sums.count).to(maps[MAP].dtype)
            return {MAP: maps[MAP], ERROR: error, "variance": maps["variance"] / (sums.count - 1)}

        return self._sampling(len(starts)).drawn(grow)


def _column(values: Tensor, image: Tensor) -> Tensor:
    return values.to(image.device, image.dtype).reshape(-1, *[1] * (image.ndim - 1))
