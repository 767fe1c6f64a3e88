"""What was asked of a network: words that become indices when its first output is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saliscope.core.target import CallableTarget, Holding, Target, choose
from saliscope.model.network import Network

if TYPE_CHECKING:
    from torch import Tensor

Word = str | int
Asked = Word | Target | Callable[["Tensor"], "Tensor"] | Sequence[Word]


@dataclass(eq=False)
class Question:
    """A target that settles on the first output it scores, so that asking for "top" costs no run of its own.

    Keeps that output, from which the prediction is read.
    """

    asked: Asked
    network: Network
    output: Tensor | None = None
    _target: Target | None = field(default=None, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels that were settled on."""
        return self._target.labels if self._target is not None else ()

    def scores(self, output: Tensor) -> Tensor:
        """Return the scores (N, K) of an output; raises TargetError for a target that the network does not have."""
        if self._target is None:
            self.output = output.detach()
            self._target = self._settled(self.output)
        return self._target.scores(output)

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the settled target with the region of a segmentation fixed by the output that `run` returns."""
        return self._target.held(run) if isinstance(self._target, Holding) else self

    def _settled(self, output: Tensor) -> Target:
        if isinstance(self.asked, Target):
            return self.asked
        if callable(self.asked):
            return CallableTarget(self.asked)
        words = [self.asked] if isinstance(self.asked, str | int) else list(self.asked)
        labels = self.network.labels_for(output)
        return choose(words, labels, self.network.kind, [self._top(output)])

    def _top(self, output: Tensor) -> int:
        said = self.network.predictions(output)[0]
        if said.kind == "segmentation" and said.probabilities is not None:
            # The background fills most of an image: the strongest class is the largest one that is not it.
            shares = said.probabilities[1:] or said.probabilities
            return len(said.labels) - len(shares) + max(range(len(shares)), key=shares.__getitem__)
        return max(range(len(said.logits)), key=said.logits.__getitem__)


def asks_for_top(asked: Asked) -> bool:
    """Return whether the answer to what was asked may differ between the images of a batch."""
    return asked == "top" or (isinstance(asked, list | tuple) and "top" in asked)
