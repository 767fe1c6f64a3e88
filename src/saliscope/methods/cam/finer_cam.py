"""zhang2025, the difference of logits that Finer-CAM explains: Grad-CAM of a class against those most like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.kernel import at_least_single, check_named, on_grid
from saliscope.methods.resolution import one_cell

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FinerCAM:
    """Grad-CAM of y_c - gamma * mean(y_d) over the `references` classes d whose logits are nearest to y_c.

    The classes are chosen anew for each image and target; with fewer others than `references`, all are taken. So
    does torchcam; pytorch-grad-cam weighs the classes by their probabilities, through which a gradient then flows.
    """

    layer: str = "auto"
    gamma: float = 0.6
    references: int = 3
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="zhang2025",
        cost="1 forward, K backward from the layer",
        blind="What a class shares with those most like it, however much it counts. Else as Grad-CAM.",
    )
    resolution = one_cell

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf") or self.references < 1:
            raise MethodError(
                f"gamma={self.gamma}, references={self.references}",
                expected="a finite gamma, not negative, and one class or more",
                do="Correct the fields",
            )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid.

        Raises MethodError unless every score is the logit of one class among several.
        """
        import torch

        check_named(self, self.layer)
        with torch.enable_grad():
            probe = model.probe(x, [self.layer])
            chosen = self._nearest(probe.output.detach(), target)
            others = torch.stack([probe.output.gather(1, c).mean(dim=1) for c in chosen], dim=1)
            gradients = probe.gradients(target.scores(probe.output) - self.gamma * others)
        activation = on_grid(self.layer, probe.activations[self.layer], x)
        plain = GradCAM(self.layer, self.relu)
        return torch.stack([plain.combine(activation, at_least_single(g[self.layer])) for g in gradients], dim=1)

    def _nearest(self, output: Tensor, target: Target) -> list[Tensor]:
        """Return for each of the K scores the indices (N, references) of the classes nearest to it."""
        import torch

        if output.ndim != 2 or output.shape[1] < 2:
            raise MethodError(
                f"FinerCAM for an output of shape {tuple(output.shape)}",
                expected="(N, classes) with two classes or more",
                do="Use grad-cam, whose score needs no other class",
            )
        root = output.clone().requires_grad_()
        scores = target.scores(root)
        chosen = []
        for score in scores.unbind(dim=1):
            own = torch.autograd.grad(score.sum(), root, retain_graph=True)[0] != 0
            away = (output - score.detach()[:, None]).abs()
            if not (own.sum(dim=1) == 1).all() or away[own].any():
                raise MethodError(
                    "FinerCAM for a score that is not the logit of one class",
                    expected="the logit of a class, which others can be near to",
                    do="Ask for a class by its label or index, or use grad-cam",
                )
            count = min(self.references, output.shape[1] - 1)
            chosen.append(away.masked_fill(own, float("inf")).topk(count, dim=1, largest=False).indices)
        return chosen
