"""Networks whose truth is known, and how planned metrics are run on them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from saliscope.core.score import Score
from saliscope.core.target import LogitTarget
from saliscope.metrics import METRICS
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.plan import PerturbationPlan, run

ZERO = BaselineFill("zero")
ORDERED = ("deletion", "insertion")
OF_SUBSETS = ("mu-fidelity", "faithfulness-correlation", "sensitivity-n")
ALL = (*ORDERED, *OF_SUBSETS, "infidelity", "completeness", "average-drop", "average-increase")
SHAPE = {2: (16, 16), 3: (8, 8, 8)}


class Weighted(nn.Module):
    """Scores (N, K): each the sum of the image, all channels, times weights (K, *S); it keeps what it was given."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights, self.given = weights.double(), []

    def forward(self, x: Tensor) -> Tensor:
        self.given += list(x.detach().double())
        return torch.einsum("nc...,k...->nk...", x.double(), self.weights).flatten(2).sum(2)


def drawn(axes: int, seed: int = 0, channels: int = 1) -> Tensor:
    """Return an image (1, C, *S) of values between 0.5 and 1.5."""
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + torch.rand((1, channels, *SHAPE[axes]), generator=generator, dtype=torch.float64)


def noise(axes: int, seed: int) -> Tensor:
    """Return a map (*S) of standard normal noise."""
    return torch.randn(SHAPE[axes], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lesion(axes: int) -> Tensor:
    """Return weights (*S): one in a corner of 4 elements along each axis, zero elsewhere."""
    weights = torch.zeros(SHAPE[axes], dtype=torch.float64)
    weights[(slice(0, 4),) * axes] = 1
    return weights


def planned(x: Tensor, net: nn.Module, *asked: tuple[Any, Tensor, int], memory_mb: float = 1024) -> list[Score]:
    """Return the scores of (metric, map, k) on one plan."""
    plan = PerturbationPlan(x)
    waiting = [metric.ask(plan, attribution, k) for metric, attribution, k in asked]
    ks = max(k for _, _, k in asked) + 1
    target = LogitTarget(tuple(range(ks)), tuple(f"label {k}" for k in range(ks)))
    run([plan], net, [target], memory_mb)
    return [score() for score in waiting]


def one(metric: Any, x: Tensor, net: nn.Module, attribution: Tensor, k: int = 0) -> Score:
    """Return one score."""
    return planned(x, net, (metric, attribution, k))[0]


def made(name: str, **fields: Any) -> Any:
    """Return a metric that fills with zero, and parts small images into few boxes."""
    if name in (*OF_SUBSETS, "infidelity"):
        fields = {"segments": 27, "partition": "grid", "samples": 40} | fields
    return METRICS.make(name, **{"fill": ZERO} | fields)
