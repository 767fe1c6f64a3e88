"""bach2015, eq. 56 to 60, with the rules of montavon2019, table 1, and composites of them by kohlbrenner2020."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, held
from saliscope.methods.propagation.layer_rules import LayerRules, Pairs, pairs_of
from saliscope.methods.propagation.ledger import Ledger
from saliscope.methods.propagation.rules import Rules
from saliscope.methods.propagation.run import run_with, unchanged
from saliscope.methods.resolution import layer_cells, one_element

if TYPE_CHECKING:
    from torch import Tensor, nn

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

    `composite` says which rule is whose; "z-plus-box" and "z-plus-w-square" are deep Taylor decomposition. `rules` are
    pairs of a pattern of layer names and a rule, such as (("layer4.*", "epsilon"),); the last that matches stands above
    the composite. `epsilon` is in units of a layer's output, `gamma` how much more the supporting terms count, beta is
    `alpha` - 1. The box reaches from `low` to `high` in units of what the first layer sees, by default over each
    channel of the image. A normalisation by fixed statistics is merged into the linear layer before it, or is a linear
    layer of its own; one by the image's own keeps its scale and sends through its mean (ali2022). Activations hand
    relevance on; of a product the signal takes all and the gate nothing (arras2019); attention is shared as
    achtibat2024 do.

    Biases, epsilon and the hidden terms of softmax absorb relevance. `diagnose` counts what they absorb, and measures
    the gap of map and absorbed to the score. A map whose gap is a larger share than `gap_limit` is not to be read.
    """

    composite: Composite = "epsilon-gamma-box"
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    low: float | None = None
    high: float | None = None
    rules: Pairs = ()
    gap_limit: float = 0.1

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
        object.__setattr__(self, "rules", pairs_of(self.rules))
        if not self.gap_limit > 0:
            raise MethodError(f"gap_limit={self.gap_limit}", expected="a share above 0", do="Correct the field")
        if COMPOSITES[self.composite][0] in ("z-plus", "alpha-beta"):
            object.__setattr__(self, "traits", replace(type(self).traits, fails_randomisation=True))

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score; raises MethodError for an operation without a rule."""
        import torch

        notes: set[str] = set()
        maps = list(self._maps(model, x, target, None, notes))
        for note in sorted(notes):
            model.note(f"LRP: {note}")
        return torch.stack(maps, dim=1)

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return one element of x (1, C, *S); of flat shares, which know no element, the cell of the first grid."""
        first = model.stages(x)[:1] if COMPOSITES[self.composite][2] == "flat" else ()
        return layer_cells(model, x, first) or one_element(self, model, x)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): what was absorbed, and by how much map and absorbed miss the score, also as a share.

        The share is of the larger of the two; where terms cancel to less than half of the digits, of that much of them.
        """
        import torch

        absorbed, size = (torch.zeros_like(attribution.flatten(2).sum(2), dtype=torch.float64) for _ in range(2))
        for n, image in enumerate(x.detach()):
            ledger = Ledger()
            for k, _ in enumerate(self._maps(model, image[None], held(model, image[None], target, n), ledger, set())):
                absorbed[n, k], size[n, k] = ledger.take()
        total = attribution.flatten(2).double().sum(2) + absorbed
        score = unchanged(model, x, target)[0].double()
        terms = (size + attribution.flatten(2).double().abs().sum(2)) * torch.finfo(attribution.dtype).eps ** 0.5
        gap, larger = total - score, total.abs().maximum(score.abs()).maximum(terms)
        share = (gap.abs() / larger).where(larger > 0, 0)
        found = {"conservation_gap": gap, "conservation_relative_gap": share, "absorbed": absorbed}
        return {name: values.to(attribution.dtype) for name, values in found.items()}

    def _maps(
        self, model: Model, x: Tensor, target: Target, ledger: Ledger | None, notes: set[str]
    ) -> Iterator[Tensor]:
        """Give for each of K scores its map (N, *S); what is absorbed on the way goes to the ledger."""
        import torch

        from saliscope.methods.propagation.moves import check
        from saliscope.methods.propagation.relevance import Relevance
        from saliscope.model.calls import innermost
        from saliscope.model.rewrite import Rewriting, seeded

        rules = Rules(self.epsilon, self.gamma, self.alpha, self.low, self.high, ledger)
        with ExitStack() as hooks:
            layers = None
            if self.rules:
                layers = LayerRules(self.rules, hooks.enter_context(innermost(_module(model))))
            relevance = Relevance(rules, *COMPOSITES[self.composite], layers)
            mode = Rewriting(relevance, relevance.after)
            probe, gradients = run_with(mode, model, x, target, INPUT, seeded)
        check(probe.output)
        if layers is not None:
            layers.check()
        notes |= relevance.notes
        try:
            for gradient in gradients:
                yield at_least_single(gradient[INPUT]).sum(dim=1)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = str(error).partition("\n")[0].partition(". ")[0]
            raise MethodError(
                f"a network through which relevance cannot be sent back ({reason})",
                expected="one that keeps what it computed until the way back has ended",
                do="Use occlusion, which needs no way back; switch checkpointing off",
            ) from error


def _module(model: Model) -> nn.Module:
    """Return the network, whose layers are named; raises MethodError for a model that is no opened network."""
    module: nn.Module | None = getattr(model, "module", None)
    if module is None:
        raise MethodError(
            f"rules for layers of a {type(model).__name__}",
            expected="an opened network",
            do="Leave the field rules empty",
        )
    return module
