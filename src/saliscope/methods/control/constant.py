"""hooker2019, the control in its barest form: a map that prefers nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Constant:
    """One everywhere: what any measure of localisation gives by area alone."""

    traits: ClassVar[Traits] = Traits(
        family="control",
        signed=False,
        grid="input",
        class_discriminative=False,
        citation="hooker2019",
        cost="none: the network is not run",
        blind="Everything. A metric that ranks this map high rewards area.",
    )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:  # noqa: ARG002 - the contract of a method
        """Return (N, K, *S) of ones."""
        return x.new_ones(len(x), len(target.labels), *x.shape[2:])

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the whole image, for x (1, C, *S): nothing smaller is shown."""
        return (tuple(float(n) for n in x.shape[2:]),)
