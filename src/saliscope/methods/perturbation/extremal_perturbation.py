"""fong2019, section 3: the smooth mask of a given area that keeps the score as high as it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single
from saliscope.methods.perturbation.descent import mask_gradient, over_targets
from saliscope.methods.resolution import even
from saliscope.perturb.baseline import Baseline, check_baseline
from saliscope.perturb.masks import blended
from saliscope.perturb.window import per_axis

if TYPE_CHECKING:
    from torch import Tensor

#: The temperature of the smooth maximum, and the width of its bell as a share of the distance between cells.
TEMPERATURE, BELL = 1 / 20, 1.5


@dataclass(frozen=True)
class ExtremalPerturbation:
    """The mean over `areas` (shares of the image) of the masks that keep the score highest with that area visible.

    Ascent of score(m x + (1 - m) x') - `weight` · mean (sorted(m) - ideal)², the score as a share of its fall from
    the image to the `baseline` x', at a `rate`, with momentum 0.9. The mask is the smooth maximum (temperature 1/20)
    of Gaussian bells on `cells` per axis (without them one for seven elements); here one axis after the other, which
    is the same for the true maximum and costs little in 3D. Deterministic. A target whose score the baseline does not
    lower has no map: zero, which is noted. `memory_mb` bounds how many targets run at once and changes no value.

    The bells fall to 0.8 half-way between two cells, so a mask reaches 0.64 at most amid four cells in 2D, 0.51 amid
    eight in 3D, and its mean only comes near the area asked for: the record holds both. It also holds what share of the
    score's fall the masks keep, and what they keep when moved by thirds of the image; where that is as much, the search
    did not reach the evidence (a large `weight` outvotes the score), which is noted.
    """

    areas: tuple[float, ...] = (0.05, 0.1, 0.2)
    steps: int = 100
    rate: float = 0.05
    weight: float = 30.0
    cells: int | tuple[int, ...] | None = None
    baseline: Baseline = "blur"
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="fong2019",
        cost="2 + K x areas x (`steps` + 9) forward (27 for 9 in 3D), K x areas x `steps` backward",
        blind="Evidence beyond what suffices: of two findings one may be left out. It follows areas that were chosen.",
    )
    beside: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ("score_kept", "score_kept_elsewhere")

    def __post_init__(self) -> None:
        if not self.areas or not all(0 < a < 1 for a in self.areas) or self.steps < 1 or self.rate <= 0:
            raise MethodError(
                f"areas={self.areas}, steps={self.steps}, rate={self.rate}",
                expected="areas between 0 and 1, one step or more, a positive rate",
                do="Correct the fields",
            )
        check_baseline(self.baseline)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), between 0 and 1."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" (N, K, *S), and (N, K) what shares of the score's fall its masks keep, here and elsewhere."""
        import torch

        every: list[Tensor] = []

        def search(model: Model, image: Tensor, without: Tensor, target: Target, fall: Tensor) -> Tensor:
            found, kept = self._of_some(model, image, without, target, fall)
            every.append(kept)
            return found

        found = over_targets(model, x, target, self.baseline, self.memory_mb, search)
        # Zero where there is no map.
        kept = torch.cat(every, dim=2) * found.flatten(2).any(dim=2).flatten().to(every[0])
        for area, (own, moved) in zip(self.areas, kept, strict=True):
            for k in (own <= moved).nonzero().flatten().tolist():
                if found.flatten(0, 1)[k].any():
                    model.note(
                        f"a mask of {area:.0%} keeps {float(own[k]):.0%} of the score's fall, moved elsewhere "
                        f"{float(moved[k]):.0%}: it does not show where the evidence is. A smaller weight may."
                    )
        shares = kept.mean(dim=0).reshape(2, *found.shape[:2])
        return {"map": found, "score_kept": shares[0], "score_kept_elsewhere": shares[1]}

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Return (N, K) the area asked for and the mean of the masks."""
        mean = attribution.flatten(2).mean(dim=2)
        asked = mean.new_full(mean.shape, sum(self.areas) / len(self.areas))
        return {"area_asked": asked, "mask_mean": mean}

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the distance between the bells of the mask, for x (1, C, *S)."""
        return (even(x.shape[2:], self._cells(x.shape[2:])),)

    def _cells(self, shape: Sequence[int]) -> list[int]:
        return per_axis("cells", self.cells, [max(1, round(n / 7)) for n in shape], shape)

    def _of_some(
        self, model: Model, image: Tensor, without: Tensor, target: Target, fall: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (k, *S) for the k scores of a target, and (areas, 2, k) the shares kept; each score by itself."""
        import torch

        shape = image.shape[1:]
        cells = self._cells(shape)
        bells = [bell(n, g).to(image) for n, g in zip(shape, cells, strict=True)]
        total, kept = image.new_zeros(len(fall), *shape), []
        for area in self.areas:
            ideal = _ideal(total[0].numel(), area).to(image)
            mask = image.new_full((len(fall), *cells), 0.5)
            speed = torch.zeros_like(mask)
            for _ in range(self.steps):
                with torch.enable_grad():
                    root = mask.clone().requires_grad_()
                    large = smooth_maximum(root, bells)
                    slope = mask_gradient(model, image, without, large.detach(), target)
                    slope = slope / fall.reshape(-1, *[1] * len(shape))
                    gap = (large.flatten(1).sort(dim=1).values - ideal).square().mean(dim=1)
                    loss = self.weight * gap.sum() - (large * slope).sum()
                    (gradient,) = torch.autograd.grad(loss, root)
                speed = 0.9 * speed + gradient
                mask = (mask - self.rate * speed).clamp(0, 1)
            large = smooth_maximum(mask, bells)
            total = total + large
            kept.append(_kept(model, image, without, large, target) / fall)
        return total / len(self.areas), torch.stack(kept)


def _kept(model: Model, image: Tensor, without: Tensor, masks: Tensor, target: Target) -> Tensor:
    """Return (2, k): by how much each mask (k, *S) raises its score, and the most that it does when moved by thirds."""
    import torch

    def scores(some: Tensor) -> Tensor:
        return at_least_single(target.scores(model(blended(image, without, some))))[:, 0]

    axes = tuple(range(1, masks.ndim))
    thirds = product(*[(0, n // 3, 2 * n // 3) for n in masks.shape[1:]])
    own, *moved = [scores(masks.roll(steps, axes)) for steps in thirds]
    nothing = scores(torch.zeros_like(masks))
    return torch.stack([own, torch.stack(moved).amax(dim=0)]) - nothing


def bell(size: int, cells: int) -> Tensor:
    """Return (size, cells) in float64: Gaussians around the centres of cells laid edge to edge over an axis."""
    import torch

    at = (torch.arange(size, dtype=torch.float64) + 0.5) * cells / size - 0.5
    return torch.exp(-((at[:, None] - torch.arange(cells)) ** 2) / (2 * (BELL / 2) ** 2))


def smooth_maximum(mask: Tensor, bells: Sequence[Tensor]) -> Tensor:
    """Return (k, *S): along one axis after the other the smooth maximum of bells (n, g) times the mask (k, *cells)."""
    for axis, one in enumerate(bells, start=1):
        values = mask.movedim(axis, -1)[..., None, :] * one
        mask = ((values / TEMPERATURE).softmax(dim=-1) * values).sum(dim=-1).movedim(-1, axis)
    return mask


def _ideal(size: int, area: float) -> Tensor:
    """Return (size,), sorted: ones for the share of the elements that are to be visible, zeros else."""
    import torch

    return (torch.arange(size) >= size - round(area * size)).double()
