"""judd2009, the centre prior: what one looks for tends to lie in the middle, and a map may only say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Centre:
    """A Gaussian around the middle of the image; `width` is its sigma as a share of half of each axis."""

    width: float = 0.5

    traits: ClassVar[Traits] = Traits(
        family="control",
        signed=False,
        grid="input",
        class_discriminative=False,
        citation="judd2009",
        cost="none: the network is not run",
        blind="Image and network. A map that localises no better found where findings lie on average.",
    )

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise MethodError(f"width={self.width}", expected="above zero", do="Correct the field")

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:  # noqa: ARG002 - the contract of a method
        """Return (N, K, *S) between 0 and 1, equal for all N and K."""
        import torch

        found = x.new_ones(())
        for size in x.shape[2:]:
            # Element i has its middle at i + 1/2: the prior lies evenly between the outer edges.
            at = (torch.arange(size, device=x.device, dtype=x.dtype) + 0.5) * 2 / size - 1
            found = found[..., None] * torch.exp(-((at / self.width) ** 2) / 2)
        return found.expand(len(x), len(target.labels), *x.shape[2:]).clone()

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the width of the Gaussian between its steepest places, two sigma, for x (1, C, *S)."""
        return (tuple(min(n, self.width * n) for n in x.shape[2:]),)
