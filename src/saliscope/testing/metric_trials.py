"""What metrics are tried on: fixed maps with a mask, a small network with a plan, and the gradient as a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saliscope.core.geometry import Geometry
from saliscope.core.metric import Metric, OfMap, OfMethod, OfNetwork, OfPair, OfPlace, Planned
from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.score import Score
from saliscope.core.target import LogitTarget, Target
from saliscope.model.network import Network
from saliscope.perturb.plan import PerturbationPlan, run
from saliscope.testing.contract import LABELS, TARGET, ContractViolation
from saliscope.testing.networks import SmallNet

SIZES = {2: (12, 10), 3: (8, 7, 9)}


@dataclass(frozen=True, eq=False)
class Given:
    """What a metric of maps is given: two maps (*S) without ties, a mask, and the grid they all lie on."""

    first: npt.NDArray[Any]
    second: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    geometry: Geometry

    def each(self, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Given:
        """Return the same with each array changed."""
        return Given(change(self.first), change(self.second), change(self.mask), self.geometry)


def given(axes: int) -> Given:
    """Return maps that are signed and read-only, and a mask off the middle."""
    rng = np.random.default_rng(axes)
    first = rng.normal(size=SIZES[axes])
    second = first + rng.normal(size=SIZES[axes])
    mask = np.zeros(SIZES[axes], bool)
    mask[tuple(slice(1, 4) for _ in range(axes))] = True
    for array in (first, second, mask):
        array.setflags(write=False)
    return Given(first, second, mask, Geometry.of_picture(SIZES[axes], (0.5, 0.75, 1.25)[:axes]))


@dataclass(frozen=True)
class Gradient:
    """A method to try metrics with: the gradient of the score, summed over channels."""

    traits: ClassVar[Traits] = Traits(
        family="gradient",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="simonyan2013",
        cost="one run",
        blind="curvature",
    )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return the map (N, K, *S)."""
        with torch.enable_grad():
            probe = model.probe(x, [INPUT])
            return torch.stack([g[INPUT].sum(1) for g in probe.gradients(target.scores(probe.output))], 1)


def of_maps(metric: Metric, own: Given) -> list[Score]:
    """Return the scores that a metric of maps, with a mask or another map, gives; none for another kind."""
    found = []
    if isinstance(metric, OfMap):
        found.append(metric.of_map(own.first))
    if isinstance(metric, OfPlace):
        found.append(metric.of_place(own.first, own.mask, own.geometry))
    if isinstance(metric, OfPair):
        found.append(metric.of_pair(own.first, own.second))
    return found


def planned(metric: Planned, x: Tensor, k: int) -> list[Score]:
    """Return the scores of a fixed map for each image of x (N, C, *S), the plans of all being run together."""
    maps = torch.from_numpy(np.random.default_rng(4).normal(size=x.shape[2:]))
    kept = maps.clone()
    plans = [PerturbationPlan(x[n : n + 1]) for n in range(len(x))]
    asked = [metric.ask(plan, maps, k) for plan in plans]
    with Network(_small(x.ndim - 2), LABELS).opened() as model:
        run(plans, model, [TARGET] * len(plans))
    found = [score() for score in asked]
    if not torch.equal(maps, kept):
        refuse(metric, "changes the map of its caller")
    if [score() for score in asked] != found:
        refuse(metric, "gives another score when it is asked twice of one plan")
    return found


def of_method(metric: OfMethod, x: Tensor) -> list[list[Score]]:
    """Return the scores [N][3] that a metric gives of the gradient; refuse one that leaves a trace."""
    network, kept = _small(x.ndim - 2), x.clone()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with Network(network, LABELS).opened() as model:
        found = metric.of_method(model, Gradient(), x, LogitTarget((0, 1, 2), LABELS))
    if [len(row) for row in found] != [len(LABELS)] * len(x):
        refuse(metric, f"does not give {len(LABELS)} scores for each of {len(x)} images")
    if not torch.equal(x, kept) or any(not torch.equal(v, before[n]) for n, v in network.state_dict().items()):
        refuse(metric, "leaves a trace on the image or on the network")
    return found


def of_network(metric: OfNetwork, x: Tensor) -> list[Score]:
    """Return the scores [3] that a metric gives of the gradient over images; refuse one that leaves a trace."""
    module, kept = _small(x.ndim - 2), x.clone()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = metric.scores_of_network(Network(module, LABELS), Gradient(), x, LogitTarget((0, 1, 2), LABELS))
    if len(found) != len(LABELS):
        refuse(metric, f"does not give {len(LABELS)} scores")
    if not torch.equal(x, kept) or any(not torch.equal(v, before[n]) for n, v in module.state_dict().items()):
        refuse(metric, "leaves a trace on the images or on the network")
    return found


def _small(axes: int) -> SmallNet:
    # Its layers draw weights, before they get others, from the generator of the caller.
    with torch.random.fork_rng(devices=[]):
        return SmallNet(axes)


def refuse(metric: Metric, sentence: str) -> None:
    """Say what a metric does that no metric may do; raises ContractViolation."""
    raise ContractViolation(f"{type(metric).__name__} {sentence}")
