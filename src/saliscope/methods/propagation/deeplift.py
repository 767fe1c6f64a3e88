"""shrikumar2017, section 3.5.2 (the rescale rule), under the chain rule for multipliers, eq. 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, gaps
from saliscope.methods.propagation.run import listed, run_with, unchanged
from saliscope.perturb.baseline import Baseline, absent, check_baseline

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DeepLIFT:
    """What each element adds to score(x) - score(x'), where every activation's slope is its rise between x' and x.

    The map sums to that difference unless a product or a normalisation by what the image holds stands between, which
    is noted. A max pool gives its rise to the places of the two maxima. `baseline` x' is a name or a number in units
    of the view.
    """

    baseline: Baseline = "min"

    traits: ClassVar[Traits] = Traits(
        family="propagation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="shrikumar2017",
        cost="1 forward and K backward, of the image and its baseline together",
        blind="Whatever looks like the baseline gets nothing. Two networks of one function can have two maps.",
    )

    def __post_init__(self) -> None:
        check_baseline(self.baseline)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        import torch

        from saliscope.methods.propagation.rescale import Rescale
        from saliscope.model.rewrite import Rewriting

        x = x.detach()
        start = absent(x, self.baseline)
        rule = Rescale()
        both = torch.cat([x, start])
        probe, gradients = run_with(Rewriting(rule), model, both, target, INPUT, lambda logits: logits[: len(x)])
        if kept := rule.kept(probe.output):
            model.note(
                f"DeepLIFT has no rescale rule for {listed(kept)}: there the map need not sum to the difference."
            )
        way = x - start
        return torch.stack([(at_least_single(g[INPUT][: len(x)]) * way).sum(dim=1) for g in gradients], dim=1)

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus score(x) - score(x'), and that as a share of the larger of the two."""
        image, start = unchanged(model, x, target, absent(x.detach(), self.baseline))
        return gaps("completeness", attribution.flatten(2).sum(dim=2), image - start)
