"""bach2015, eq. 56 to 60, with the rules of montavon2019, table 1, and composites of them by kohlbrenner2020."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, gaps
from saliscope.methods.propagation.rules import Rules
from saliscope.methods.propagation.run import run_with, unchanged

if TYPE_CHECKING:
    from torch import Tensor

Composite = Literal[
    "epsilon",
    "epsilon-plus",
    "epsilon-plus-flat",
    "epsilon-gamma-box",
    "epsilon-alpha-beta",
    "epsilon-alpha-beta-flat",
    "z-plus",
    "z-plus-box",
    "z-plus-w-square",
]

#: composite -> rules of convolutions, of other linear layers, and of those that have no linear layer before them.
COMPOSITES: dict[str, tuple[str, str, str | None]] = {
    "epsilon": ("epsilon", "epsilon", None),
    "epsilon-plus": ("z-plus", "epsilon", None),
    "epsilon-plus-flat": ("z-plus", "epsilon", "flat"),
    "epsilon-gamma-box": ("gamma", "epsilon", "box"),
    "epsilon-alpha-beta": ("alpha-beta", "epsilon", None),
    "epsilon-alpha-beta-flat": ("alpha-beta", "epsilon", "flat"),
    "z-plus": ("z-plus", "z-plus", None),
    "z-plus-box": ("z-plus", "z-plus", "box"),
    "z-plus-w-square": ("z-plus", "z-plus", "w-square"),
}


@dataclass(frozen=True)
class LRP:
    """The score, sent back layer by layer in shares of what each input added, summed over channels with its sign.

    `composite` says which rule is whose; "z-plus-box" and "z-plus-w-square" are deep Taylor decomposition. `epsilon`
    is in units of a layer's output, `gamma` how much more the supporting terms count, beta is `alpha` - 1. The box
    reaches from `low` to `high` in units of what the first layer sees, by default over each channel of the image. A
    normalisation is merged into the linear layer before it, or is a linear layer of its own; activations hand
    relevance on. Biases keep their share, so the map sums to the score only where they are zero; `diagnose` measures
    that.
    """

    composite: Composite = "epsilon-gamma-box"
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    low: float | None = None
    high: float | None = None

    traits: ClassVar[Traits] = Traits(
        family="propagation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="bach2015",
        cost="1 forward, K backward of 2 to 6 times a gradient's",
        blind="Two networks of one function can have two maps. With z-plus or alpha-beta rules the map depends little "
        "on the weights of later layers (sixt2020).",
    )

    def __post_init__(self) -> None:
        if self.composite not in COMPOSITES:
            raise MethodError(
                f"composite {self.composite!r}", expected=f"one of {', '.join(COMPOSITES)}", do="Choose one of these"
            )
        ordered = self.low is None or self.high is None or self.low < self.high
        if self.epsilon < 0 or self.gamma < 0 or self.alpha < 1 or not ordered:
            raise MethodError(
                f"epsilon={self.epsilon}, gamma={self.gamma}, alpha={self.alpha}, low={self.low}, high={self.high}",
                expected="epsilon and gamma not negative, alpha at least 1, low below high",
                do="Correct the fields",
            )
        if COMPOSITES[self.composite][0] in ("z-plus", "alpha-beta"):
            object.__setattr__(self, "traits", replace(type(self).traits, fails_randomisation=True))

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score; raises MethodError for an operation without a rule."""
        import torch

        from saliscope.methods.propagation.relevance import Relevance
        from saliscope.model.rewrite import Rewriting, seeded

        rules = Rules(self.epsilon, self.gamma, self.alpha, self.low, self.high)
        relevance = Relevance(rules, *COMPOSITES[self.composite])
        mode = Rewriting(relevance, relevance.after)
        probe, gradients = run_with(mode, model, x, target, INPUT, seeded)
        relevance.check(probe.output)
        for note in sorted(relevance.notes):
            model.note(f"LRP: {note}")
        return torch.stack([at_least_single(g[INPUT]).sum(dim=1) for g in gradients], dim=1)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus the score, and that as a share of the larger of the two."""
        return gaps("conservation", attribution.flatten(2).sum(dim=2), unchanged(model, x, target)[0])
