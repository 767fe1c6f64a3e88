"""What is true of each case and network of docs/make_card_study.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.core.target import Target
from saliscope.model.network import Network
from saliscope.phantom.case import Case
from saliscope.phantom.effects.counterfactual import case_effects
from saliscope.phantom.effects.effect import Effects


@dataclass(frozen=True, eq=False)
class Truth:
    """What each element of a case does to the score, the spread of the score over cases, and what was predicted."""

    effects: Effects
    spread: float
    prediction: Prediction


def truths(cases: Sequence[tuple[str, Case, MedicalImage]], network: Network, target: Target) -> list[Truth]:
    """Return the truth of each case; the spread is that of the score over the cases given."""
    found = case_effects([case for _, case, _ in cases], network, target)
    spread = float(np.std([e.everything[0] for e in found]))
    with network.opened() as model, torch.no_grad():
        output = model(torch.cat([network.viewing(image).tensor for _, _, image in cases]))
    return [Truth(e, spread, p) for e, p in zip(found, network.predictions(output), strict=True)]
