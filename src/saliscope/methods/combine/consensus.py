"""krishna2022, on rank correlation: how far several methods agree on what matters, at each place of the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Kernel, Method, Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.combine.inner import joint, made, on_input
from saliscope.methods.combine.ranks import ranked
from saliscope.methods.kernel import at_least_single, kernel_maps
from saliscope.methods.resolution import resolution_of, together

if TYPE_CHECKING:
    from torch import Tensor

Part = Literal["signed", "positive", "magnitude"]


@dataclass(frozen=True)
class Consensus:
    """The mean over `methods` of the rank that each gives to every element, from 0 (last) to 1 (first).

    Maps of a layer are interpolated onto the input first; then each map's values are ranked over the image, equal
    ones (within 2^-16 of the largest magnitude) sharing their mean rank, so that no method's units or outliers count.
    `part` says what is ranked: the value with its sign, its "positive" part (all evidence against the target shares
    the last place), or its "magnitude". Beside it stands the disagreement: the standard deviation of the ranks over
    the methods, 0 where all agree, at most 0.5. Measured for the record: the mean Spearman correlation of all pairs.
    """

    methods: tuple[str | Method, ...] = ("grad-cam", "occlusion", "integrated-gradients")
    part: Part = "signed"

    traits: ClassVar[Traits] = Traits(
        family="combine",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="krishna2022",
        cost="the methods' together; those that weigh a layer share one forward",
        blind="Whether what the methods agree on is right: they may be wrong alike. How strong the evidence is: ranks "
        "are relative to the image, and some element always comes first. 0.5 is the middle rank, not zero evidence.",
        quantity="rank",
    )
    beside: ClassVar[tuple[str, ...]] = ("disagreement",)
    measures: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        several = tuple(made(m) for m in (self.methods if isinstance(self.methods, tuple) else (self.methods,)))
        if len(several) < 2 or self.part not in get_args(Part):
            raise MethodError(
                f"methods={self.methods!r}, part={self.part!r}",
                expected=f"two methods or more, and part {', '.join(get_args(Part))}",
                do="Name methods of different families, such as grad-cam, occlusion, integrated-gradients",
            )
        object.__setattr__(self, "methods", several)
        together = joint([m.traits for m in several])
        own = type(self).traits
        found = replace(
            own,
            class_discriminative=together.class_discriminative,
            fails_randomisation=together.fails_randomisation,
            cost=f"together: {'; '.join(m.traits.cost for m in several)}",
        )
        object.__setattr__(self, "traits", found)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return the mean rank (N, K, *S)."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map", the mean rank, and "disagreement", the standard deviation of ranks; both (N, K, *S)."""
        import torch

        methods = [made(m) for m in self.methods]
        if self.part == "signed" and len({m.traits.signed for m in methods}) > 1:
            model.note(
                "The last ranks mean evidence against the target in maps with a sign, no evidence in the others."
            )
        ranks = torch.stack([ranked(self._part(m)) for m in self._maps(model, x, target, methods)])
        return {"map": ranks.mean(dim=0), "disagreement": ranks.std(dim=0, correction=0)}

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Return "mean_spearman" (N, K) of an attribution (N, K, *S): the mean rank correlation of all pairs.

        Follows from the variance of the mean rank (Kendall's W). Ties, of which a constant map is made, are counted
        as no agreement.
        """
        flat = at_least_single(attribution).flatten(2)
        elements, count = flat.shape[2], len(self.methods)
        # The variance of ranks without ties, 0 to 1 in equal steps.
        one = (elements + 1) / (12 * max(1, elements - 1))
        return {"mean_spearman": (count * flat.var(dim=2, correction=0) / one - 1) / (count - 1)}

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return the methods', for one image x (1, C, *S)."""
        return together([resolution_of(made(m), model, x) for m in self.methods])

    def _maps(self, model: Model, x: Tensor, target: Target, methods: list[Method]) -> list[Tensor]:
        """Return the map (N, K, *S) of each method on the input's grid."""
        kernels = [m for m in methods if isinstance(m, Kernel)]
        shared = dict(zip(kernels, kernel_maps(model, x, target, kernels), strict=True)) if kernels else {}
        return [
            on_input(model, shared[m] if isinstance(m, Kernel) else m.attribute(model, x, target), x, m)
            for m in methods
        ]

    def _part(self, values: Tensor) -> Tensor:
        return values.relu() if self.part == "positive" else values.abs() if self.part == "magnitude" else values
