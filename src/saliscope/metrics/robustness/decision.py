"""What a network decided of each copy of an image, and whether a change of the image changed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.target import ProbabilityTarget, Target

if TYPE_CHECKING:
    from torch import Tensor


def changed(output: Tensor, target: Target, threshold: float | None) -> tuple[Tensor, str]:
    """Return for each copy (N, K, bool) whether its decision differs from that of the first, and the rule in words.

    With a threshold the decision is on which side of it the score lies. Without one it is the class with the largest
    logit where classes exclude each other, the sign of the logit (probability 0.5) where each stands alone, and there
    is none of a regression, of a segmentation or of a target made of a function.
    """
    scores = target.scores(output).detach()
    kind = getattr(target, "kind", "")
    if threshold is None and kind == "multi-class":
        same = (output.argmax(1) == output[:1].argmax(1))[:, None].expand(scores.shape)
        return ~same, "the decision is the class with the largest logit"
    if threshold is None and kind not in ("multi-label", "binary"):
        return scores.new_zeros(scores.shape).bool(), "no decision is known of this target: none can have changed"
    limit = threshold if threshold is not None else 0.5 if isinstance(target, ProbabilityTarget) else 0.0
    return (scores > limit) != (scores[:1] > limit), f"the decision is whether the score exceeds {limit:g}"
