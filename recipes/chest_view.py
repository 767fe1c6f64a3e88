"""AP or PA on a frontal chest radiograph (NIH), from scratch, in about four minutes on one core.

    python recipes/chest_view.py --data DATA/chest-xray-nih [--out DIR] [--evaluate-only]

Patients of fold 0 (see chest_nih.py) are held out; all others train. Nothing was chosen by looking at fold 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from chest_nih import HELD_OUT, OPACITY, Data, carried_out, scores, varied
from torch import Tensor, nn
from training import auc, measured, options, train

from saliscope.model.card import Card
from saliscope.model.load import build, load

NAME = "chest-view"
SEED, EPOCHS, BATCH, RATE = 0, 30, 32, 2e-3


def trained(data: Data, card: Card, device: str) -> nn.Module:
    """Return the network trained on the patients that are not held out."""
    torch.manual_seed(SEED)
    net = build(card.architecture, card.arguments).to(device)
    ap = torch.from_numpy(data.ap).float()[:, None].to(device)

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        x, _ = varied(data.views[batch].to(device))
        logits = module(x.contiguous(memory_format=torch.channels_last))  # the faster layout on CPUs
        return nn.functional.binary_cross_entropy_with_logits(logits, 0.9 * ap[batch] + 0.05)

    return train(net, data.part(held_out=False), loss, epochs=EPOCHS, size=BATCH, rate=RATE, seed=SEED).cpu()


def published(card: Card, data: Data, device: str) -> dict[str, Any]:
    """Return the numbers of the card, from its weights on disk."""
    part = data.part(held_out=True)
    score, ap, patients = scores(load(card, device=device), data.views[part]), data.ap[part], data.patients[part]
    opaque = data.rsna[part] == OPACITY
    return {
        "data": "NIH ChestX-ray14, 1605 pictures of 1198 patients",
        "part": f"fold {HELD_OUT} of five by patient: never trained on, and nothing was chosen by it",
        "interval": "95 %, bootstrap over patients, 2000 draws",
        "images": len(part),
        "patients": len(np.unique(patients)),
        "per_class": {"PA": int((~ap).sum()), "AP": int(ap.sum())},
        "auc": measured(lambda i: auc(ap[i], score[i]), patients),
        "accuracy": measured(lambda i: float(((score[i] >= 0) == ap[i]).mean()), patients),
        "sensitivity_ap": measured(lambda i: float((score[i] >= 0)[ap[i]].mean()), patients),
        "specificity_ap": measured(lambda i: float((score[i] < 0)[~ap[i]].mean()), patients),
        "auc_among_opacities": measured(lambda i: auc(ap[i][opaque[i]], score[i][opaque[i]]), patients),
    }


if __name__ == "__main__":
    carried_out(NAME, options(NAME, __doc__), trained, published)
