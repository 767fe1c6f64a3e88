"""adebayo2018, the edge detector, which looks like an explanation and knows no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Edges:
    """How steep the image itself is, after a Gaussian of `sigma` elements; channels joined by the root of squares."""

    sigma: float = 1.0

    traits: ClassVar[Traits] = Traits(
        family="control",
        signed=False,
        grid="input",
        class_discriminative=False,
        citation="adebayo2018",
        cost="none: the network is not run",
        blind="The network. A map that is no better than this one shows the image, not the model.",
    )

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise MethodError(f"sigma={self.sigma}", expected="above zero", do="Correct the field")

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:  # noqa: ARG002 - the contract of a method
        """Return (N, K, *S), in units of the view per element, equal for all K."""
        import numpy as np
        import torch
        from scipy.ndimage import gaussian_gradient_magnitude

        images = x.detach().to("cpu", torch.float64).numpy()
        squares = [sum(gaussian_gradient_magnitude(c, self.sigma) ** 2 for c in image) for image in images]
        maps = torch.from_numpy(np.sqrt(np.stack(squares))).to(device=x.device, dtype=x.dtype)
        return maps[:, None].repeat(1, len(target.labels), *[1] * (x.ndim - 2))

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the Gaussian's sigma, and no less than one element, for x (1, C, *S)."""
        return ((max(1.0, self.sigma),) * (x.ndim - 2),)
