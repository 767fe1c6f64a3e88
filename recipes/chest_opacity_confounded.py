"""Finding or none on chest radiographs from text-mined labels with the view NOT controlled: right for the wrong reason.

    python recipes/chest_opacity_confounded.py --data DATA/chest-xray-nih [--out DIR] [--evaluate-only]

In this part of NIH ChestX-ray14 "No Finding" is mostly AP and findings are mostly PA; among the radiologists' classes
it is the other way round. Brightness, which goes with the labels as well, is controlled, so that the view alone
misleads. It takes about two minutes on one core.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from chest_nih import (
    HELD_OUT,
    NORMAL,
    OPACITY,
    Data,
    boxes_hit,
    carried_out,
    independent,
    retoned,
    scores,
    separation,
    varied,
)
from torch import Tensor, nn
from training import Floats, Ints, auc, measured, options, train

from saliscope.model.card import Card
from saliscope.model.load import build, load

NAME = "chest-opacity-confounded"
SEED, EPOCHS, BATCH, RATE = 0, 12, 32, 2e-3


def trained(data: Data, card: Card, device: str) -> nn.Module:
    """Return the network trained on the patients that are not held out."""
    torch.manual_seed(SEED)
    net = build(card.architecture, card.arguments).to(device)
    part = data.part(held_out=False)
    weights = torch.from_numpy(tone_weights(data, part)).float()[:, None].to(device)
    ill = torch.from_numpy(data.ill).float()[:, None].to(device)

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        x, _ = varied(retoned(data.views[batch].to(device)))
        with torch.autocast(x.device.type, torch.bfloat16):  # faster where the processor has it; weights stay float32
            logits = module(x.contiguous(memory_format=torch.channels_last)).float()
        return nn.functional.binary_cross_entropy_with_logits(logits, 0.9 * ill[batch] + 0.05, weights[batch])

    return train(net, part, loss, epochs=EPOCHS, size=BATCH, rate=RATE, seed=SEED).cpu()


def tone_weights(data: Data, part: Ints) -> Floats:
    """Return weights (n,) under which label and brightness are independent in each view, for the pictures of `part`."""
    weights = np.zeros(len(data.names))
    for ap in (False, True):
        own = part[data.ap[part] == ap]
        weights[own] = independent(data.ill[own], data.tones(own)[own])
    return weights


def published(card: Card, data: Data, device: str) -> dict[str, Any]:
    """Return the numbers of the card, from its weights on disk."""
    network = load(card, device=device)
    score = scores(network, data.views)
    held = data.part(held_out=True)
    judged = held[np.isin(data.rsna[held], (NORMAL, OPACITY))]
    together, view = np.zeros(len(score), np.int64), data.ap.astype(np.int64)
    text = {"auc_text_labels": together, "auc_text_labels_within_view": view}
    rsna = {"auc_radiologists": together, "auc_radiologists_within_view": view}
    ill, opaque = data.ill.astype(np.int64), data.rsna == OPACITY
    # A positive logit says "finding", which here is mostly PA: the score tells PA, so PA is the positive of these two.
    ways = {"auc_tells_pa_from_ap": together, "auc_tells_pa_from_ap_within_label": ill}
    return {
        "data": "NIH ChestX-ray14, 1605 pictures of 1198 patients",
        "part": f"fold {HELD_OUT} of five by patient: never trained on, and nothing was chosen by it",
        "interval": "95 %, bootstrap over patients, 2000 draws; within: only pairs of one view (or label) are compared",
        "images": len(held),
        "patients": len(np.unique(data.patients[held])),
        "per_class": {"no_finding": int((~data.ill[held]).sum()), "finding": int(data.ill[held].sum())},
        "per_radiologists_class": {"normal": int((~opaque[judged]).sum()), "lung_opacity": int(opaque[judged].sum())},
        **separation(data, score, held, data.ill, text),
        **{f"auc_text_labels_{k}": _one(data, score, held[data.ap[held] == v]) for k, v in (("ap", 1), ("pa", 0))},
        **separation(data, score, judged, opaque, rsna),
        **separation(data, score, held, ~data.ap, ways),
        **boxes_hit(network, data, held),
        "mean_logit": _means(data, score, held),
    }


def _one(data: Data, score: Any, part: Any) -> dict[str, float]:
    """Return the AUC for the text-mined labels in one view."""
    return measured(lambda i: auc(data.ill[part][i], score[part][i]), data.patients[part])


def _means(data: Data, score: Any, part: Any) -> dict[str, float]:
    """Return the mean logit by view and text-mined label."""
    cells = {(v, k): part[(data.ap[part] == v) & (data.ill[part] == k)] for v in (0, 1) for k in (0, 1)}
    words = (("pa", "ap"), ("no_finding", "finding"))
    return {f"{words[0][v]}_{words[1][k]}": round(float(score[own].mean()), 3) for (v, k), own in cells.items()}


if __name__ == "__main__":
    carried_out(NAME, options(NAME, __doc__), trained, published)
