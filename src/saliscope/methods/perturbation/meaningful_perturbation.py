"""fong2017, section 4: the smallest smooth part of the image whose removal takes the score away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.perturbation.descent import mask_gradient, over_targets
from saliscope.methods.resolution import even
from saliscope.perturb.baseline import Baseline, check_baseline
from saliscope.perturb.masks import enlarged
from saliscope.perturb.window import per_axis

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MeaningfulPerturbation:
    """One minus the mask that Adam finds at a `rate`: 1 where `baseline` had to stand for the score to fall.

    It lessens `size` · mean(1 - m) + `roughness` · Σ |∇m|^`power` / cells + score, the score as a share of its fall
    from the image to the baseline, so that one setting does for logits of any size; the paper's is a probability.
    The mask has `cells` per axis (without them an eighth of the axis, the paper's 28 of 224) and is enlarged linearly.
    Without the paper's random jitter it is deterministic. A target whose score the baseline does not lower has no map:
    zero, which is noted. `memory_mb` bounds how many targets run at once and changes no value.
    """

    steps: int = 150
    rate: float = 0.1
    size: float = 2.0
    roughness: float = 1.0
    power: float = 3.0
    cells: int | tuple[int, ...] | None = None
    baseline: Baseline = "blur"
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="fong2017",
        cost="2 + K x `steps` forward, K x `steps` backward",
        blind="Evidence that another part of the image can stand in for. A mask can fool the model as well as inform.",
    )

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rate <= 0 or self.size < 0 or self.roughness < 0 or self.power < 1:
            raise MethodError(
                f"steps={self.steps}, rate={self.rate}, size={self.size}, roughness={self.roughness}, "
                f"power={self.power}",
                expected="one step or more, a positive rate, weights that are not negative, a power of one or more",
                do="Correct the fields",
            )
        check_baseline(self.baseline)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), between 0 and 1."""
        return over_targets(model, x, target, self.baseline, self.memory_mb, self._of_some)

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the cell of the mask, for x (1, C, *S)."""
        return (even(x.shape[2:], self._cells(x.shape[2:])),)

    def _cells(self, shape: Sequence[int]) -> list[int]:
        return per_axis("cells", self.cells, [-(-n // 8) for n in shape], shape)

    def _of_some(self, model: Model, image: Tensor, without: Tensor, target: Target, fall: Tensor) -> Tensor:
        """Return (k, *S) for the k scores of a target, found together and independently of each other."""
        import torch

        shape = image.shape[1:]
        cells = self._cells(shape)
        mask = image.new_ones(len(fall), *cells)
        first, second = torch.zeros_like(mask), torch.zeros_like(mask)
        for step in range(1, self.steps + 1):
            with torch.enable_grad():
                root = mask.clone().requires_grad_()
                large = enlarged(root, shape)
                slope = mask_gradient(model, image, without, large.detach(), target)
                slope = slope / fall.reshape(-1, *[1] * len(shape))
                loss = (large * slope).sum() + self._penalty(root).sum()
                (gradient,) = torch.autograd.grad(loss, root)
            # Adam as it is always set: 0.9, 0.999, 1e-8.
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient.square()
            move = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            mask = (mask - self.rate * move).clamp(0, 1)
        return 1 - enlarged(mask, shape)

    def _penalty(self, mask: Tensor) -> Tensor:
        """Return (k,): how much a mask (k, *cells) takes away, and how rough it is."""
        axes = tuple(range(1, mask.ndim))
        rough = sum(mask.diff(dim=a).abs().pow(self.power).sum(dim=axes) for a in axes) / mask[0].numel()
        return self.size * (1 - mask).mean(dim=axes) + self.roughness * rough
