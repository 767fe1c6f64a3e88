"""cai2025, the weights of ShapleyCAM: channels weighed by the mean of the gradient less half the curvature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import LayerError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, check_named, held, on_grid
from saliscope.methods.resolution import one_cell

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ShapleyCAM:
    """The activation A of a layer, each channel weighed by the mean over space of g - H A / 2.

    g and H are the gradient and the Hessian of the score at the layer: the Shapley values of a second-order expansion
    of the score. H A is one further backward pass of what comes after the layer; H itself is never made. Where that
    is made of ReLUs, poolings and linear layers, H is zero and the map is Grad-CAM's. The paper's utility adds
    the logarithm of the probability to the logit; here the target is what was asked for.
    """

    layer: str = "auto"
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="cai2025",
        cost="1 forward, 2 K backward from the layer",
        blind="As Grad-CAM; and where the score is not near its second-order expansion, its weights mean little.",
    )
    resolution = one_cell

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid."""
        import torch

        check_named(self, self.layer)
        return torch.stack([self._of_one(model, image[None], target, n) for n, image in enumerate(x.detach())])

    def _of_one(self, model: Model, image: Tensor, target: Target, n: int) -> Tensor:
        """Return the map (K, *S') of one image (1, C, *S).

        Raises LayerError for a score without the layer, and MethodError for one without a second derivative.
        """
        import torch

        from saliscope.model.curvature import twice_differentiable

        target = held(model, image, target, n)
        suffix = model.suffix(image, self.layer)
        activation = on_grid(self.layer, suffix.activation, image)
        with torch.enable_grad(), twice_differentiable():
            root = suffix.activation.clone().requires_grad_()
            scores = target.scores(suffix(root))[0]
            if not scores.requires_grad:
                raise LayerError(
                    f"a target that does not depend on {self.layer!r}",
                    expected="a layer between the input and the target",
                    do="Choose another layer",
                )
            weights = torch.stack([_weights(score, root) for score in scores])
        found = torch.einsum("kc,c...->k...", weights, activation[0])
        return found.relu() if self.relu else found


def _weights(score: Tensor, root: Tensor) -> Tensor:
    """Return the weights (C,) of a score's gradient and curvature at an activation (1, C, *S')."""
    import torch

    (gradient,) = torch.autograd.grad(score, root, create_graph=True)
    curved = None
    # A gradient that does not depend on the activation has no curvature.
    if gradient.requires_grad:
        (curved,) = torch.autograd.grad(
            gradient, root, grad_outputs=root.detach(), retain_graph=True, allow_unused=True
        )
    values = at_least_single(gradient.detach())
    if curved is not None:
        values = values - at_least_single(curved.detach()) / 2
    return values[0].flatten(1).mean(dim=1)
