"""The network, images and noise that Quantus and ours are both given."""

import torch
from frozen_nets import filled

from saliscope.core.target import LogitTarget
from saliscope.metrics.robustness.max_sensitivity import MaxSensitivity
from saliscope.model.network import Network
from saliscope.model.randomised import cascade, layers_with_weights
from saliscope.testing.networks import SmallNet, image

SEED, BINS = 5, 100
X = image(2, batch=3)
TARGET = LogitTarget((0,), ("a",))
NOISE = MaxSensitivity(radius=0.05, samples=6, seed=2)


def network(classes: int = 2) -> Network:
    """Return a small network of frozen weights."""
    return Network(filled(SmallNet(2, classes=classes), seed=7), tuple("abcdefgh"[:classes]))


def drawn():
    """Yield each layer, from the last, and the module with all layers down to it drawn anew."""
    own = network()
    for layer, other in cascade(own, tuple((name,) for name in layers_with_weights(own, X)), SEED):
        yield layer, other.module


def weights() -> torch.Tensor:
    """Return all weights of the network drawn anew, so that a change of torch's own drawing is seen."""
    *_, (_, module) = drawn()
    return torch.cat([p.detach().flatten() for p in module.parameters()])
