"""The maps of a network and of copies whose weights were drawn anew, stage by stage, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from saliscope.core.protocols import Method
from saliscope.core.target import Target
from saliscope.metrics.remade import held_for, maps_of

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.network import Network


class Made:
    """The maps (N, K, *S') of one network, of images x (N, C, *S), on their own grid, and the samples they cost.

    A region that a target takes from the prediction is that of the network as trained, in every map.
    """

    def __init__(self, network: Network, method: Method, x: Tensor, target: Target, memory_mb: float) -> None:
        self.network, self.method, self.x, self.memory_mb = network, method, x, memory_mb
        self.samples = 0
        with network.opened() as model:
            self.target = held_for(model, x, target)
            self.samples += model.counts.forward_samples
        self.trained = self.of(network)

    def of(self, network: Network) -> Tensor:
        """Return the maps (N, K, *S') that the method makes of a network."""
        with network.opened() as model:
            maps = maps_of(model, self.method, self.x, self.target, self.memory_mb)
            self.samples += model.counts.samples
        return maps

    def drawn_anew(self, stages: tuple[tuple[str, ...], ...], seed: int) -> Iterator[tuple[str, Tensor]]:
        """Give for each stage the last of its layers, and the maps with all layers down to it drawn anew."""
        from saliscope.model.randomised import cascade

        for layer, network in cascade(self.network, stages, seed):
            yield layer, self.of(network)
