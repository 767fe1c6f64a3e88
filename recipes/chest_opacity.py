"""Lung opacity or none on chest radiographs, on the radiologists' classes (RSNA) and with the view controlled.

    python recipes/chest_opacity.py --data DATA/chest-xray-nih [--out DIR] [--evaluate-only]

Five networks are trained in the same way, each without the patients of one fold (see chest_nih.py), which takes about
eight minutes on one core; every picture is scored by the one that never saw its patient. The network without fold 0
ships, beside the scores of all five. The view is controlled three times: by weights under which view and class are
independent in training, by telling the view to the head of the text-mined labels, so that features need not carry
it, and by comparing only pairs of pictures of one view where the result is measured. Expert boxes teach where the
evidence of the logit should lie; what ships has no part that knows of text or of the view.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chest_nih import (
    FINDINGS,
    FOLDS,
    HELD_OUT,
    NORMAL,
    OPACITY,
    OTHER,
    Data,
    boxes_hit,
    gathered,
    independent,
    retoned,
    scores,
    separation,
    varied,
)
from torch import Tensor, nn
from training import Floats, Ints, Options, add_numbers, measured, options, train, write_card

from saliscope.model.card import Card, find
from saliscope.model.load import load
from saliscope.model.zoo.residual_net import ResidualNet

NAME = "chest-opacity"
OPAQUE = "opacity"
COUNTED = ("normal", "other", "lung_opacity")
SCORES = "cross_validation.csv"
SEED, EPOCHS, BATCH, RATE = 0, 12, 32, 2e-3
JUDGED_TWICE = 2  # how often a picture with a radiologists' class comes for each other one
OTHER_WEIGHT = 0.25  # of the middle class, which is negative here
TEXT_WEIGHT, MASK_WEIGHT = 1.0, 4.0


class Guided(nn.Module):
    """The network with what it has in training only: a scale for the evidence of each cell, and a head for the text.

    The network's logit is the mean of the evidence of the cells of its last spatial layer: its own head, cell by cell.
    """

    def __init__(self, net: ResidualNet, channels: int) -> None:
        super().__init__()
        self.net, self.scale = net, nn.Parameter(torch.tensor([0.5, -2.0]))
        self.text, self.told = nn.Linear(channels, len(FINDINGS)), nn.Embedding(2, len(FINDINGS))

    def forward(self, x: Tensor, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (N, 1), box logits (N, 1, *S') and finding logits (N, 14) of x (N, C, *S) and view (N,)."""
        spatial = self.net.features(x)
        evidence = self.net.head(spatial.movedim(1, -1)).movedim(-1, 1)
        boxes = self.scale[0] * evidence + self.scale[1]
        return self.net.classify(spatial), boxes, self.text(spatial.mean((2, 3))) + self.told(view)


def class_weights(data: Data, part: Ints) -> Floats:
    """Return the weight (n,) of every picture's radiologists' class; 0 for pictures of others or without a class."""
    weight = np.zeros(len(data.rsna))
    own = part[data.rsna[part] >= 0]
    weight[own] = independent(data.ap[own], data.rsna[own]) * np.where(data.rsna[own] == OTHER, OTHER_WEIGHT, 1)
    return np.asarray(weight / weight[own].mean())


def trained(data: Data, held_out: int, card: Card, device: str) -> nn.Module:
    """Return the network trained on all patients but those of one fold.

    Pictures with neither a finding nor a class are left out: nearly all are of another tone than all others.
    """
    torch.manual_seed(SEED + held_out)
    both = Guided(ResidualNet(**card.arguments), card.arguments["widths"][-1]).to(device)
    part = np.flatnonzero((data.folds != held_out) & (data.ill | data.boxed))
    weight = torch.from_numpy(class_weights(data, part)).float().to(device)
    opaque = torch.from_numpy(data.rsna == OPACITY).float().to(device)
    view = torch.from_numpy(data.ap).long().to(device)
    findings = torch.from_numpy(data.findings).float().to(device)
    boxed = torch.from_numpy(data.boxed).to(device)

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        x, move = varied(retoned(data.views[batch].to(device)))
        x = x.contiguous(memory_format=torch.channels_last)  # the faster layout on CPUs
        with torch.autocast(x.device.type, torch.bfloat16):  # faster on many processors; weights stay float32
            logits, guess, named = (out.float() for out in module(x, view[batch]))
        entropy = nn.functional.binary_cross_entropy_with_logits
        each = entropy(logits[:, 0], 0.9 * opaque[batch] + 0.05, reduction="none")
        kind = (each * weight[batch]).sum() / (weight[batch] > 0).sum().clamp(min=1)
        looked = boxed[batch]
        covered = nn.functional.adaptive_avg_pool2d(move(data.masks[batch].to(device)), guess.shape[-2:]).clamp(0, 1)
        where = entropy(guess[looked], covered[looked]) if looked.any() else guess.sum() * 0
        return kind + TEXT_WEIGHT * entropy(named, findings[batch]) + MASK_WEIGHT * where

    numbers = np.concatenate([part, *[part[data.boxed[part]]] * (JUDGED_TWICE - 1)])
    best = train(both, numbers, loss, epochs=EPOCHS, size=BATCH, rate=RATE, seed=SEED + held_out)
    return best.get_submodule("net").cpu()


def write_scores(path: Path, data: Data, score: Floats) -> None:
    """Write the scores (n,) of the pictures with a class, each from a network that never saw its patient."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("image", "patient", "fold", "logit"))
        for i in np.flatnonzero(data.rsna >= 0):
            out.writerow((data.names[i], data.patients[i], data.folds[i], f"{score[i]:.4f}"))


def read_scores(path: Path, data: Data) -> Floats:
    """Return the scores (n,) of such a file, NaN for pictures that it does not hold."""
    with path.open(encoding="utf-8", newline="") as file:
        found = {row["image"]: float(row["logit"]) for row in csv.DictReader(file)}
    return np.array([found.get(name, np.nan) for name in data.names])


def operating_point(data: Data, score: Floats) -> float:
    """Return the probability of largest sensitivity + specificity against normals, views weighted alike.

    It is chosen on the pictures that are not held out, each scored by a network that never saw its patient.
    """
    part = data.part(held_out=False)
    part = part[np.isin(data.rsna[part], (NORMAL, OPACITY))]
    opaque, candidates = data.rsna[part] == OPACITY, np.unique(score[part])
    weight = independent(data.ap[part], opaque)
    called = score[part] >= candidates[:, None]
    gain = [
        np.average(c[opaque], weights=weight[opaque]) - np.average(c[~opaque], weights=weight[~opaque]) for c in called
    ]
    best = candidates[int(np.argmax(gain))]
    return float(np.floor(1e4 / (1 + np.exp(-best))) / 1e4)


def numbers(data: Data, score: Floats, part: Ints) -> dict[str, Any]:
    """Return the numbers of some pictures with a radiologists' class, with intervals over patients.

    Only pairs of one fold are compared: each fold is scored by another network.
    """
    rsna, view = data.rsna[part], data.ap.astype(np.int64)
    opaque = data.rsna == OPACITY
    normal, other = part[np.isin(rsna, (NORMAL, OPACITY))], part[np.isin(rsna, (OTHER, OPACITY))]
    strata = {"": data.folds, "_within_view": data.folds + FOLDS * view}
    against = {f"auc_normal{k}": v for k, v in strata.items()}
    middle = {f"auc_other{k}": v for k, v in strata.items()}
    every = {f"auc_all{k}": v for k, v in strata.items()}
    found = {
        "images": len(part),
        "patients": len(np.unique(data.patients[part])),
        "per_class": {f"{c}_{v}": _count(data, part, k, v) for k, c in enumerate(COUNTED) for v in ("ap", "pa")},
        **separation(data, score, normal, opaque, against),
        **separation(data, score, normal[data.ap[normal]], opaque, {"auc_normal_ap": data.folds}),
        **separation(data, score, normal[~data.ap[normal]], opaque, {"auc_normal_pa": data.folds}),
        **separation(data, score, other, opaque, middle),
        **separation(data, score, part, opaque, every),
    }
    # What is left of the view: 0.5 is none. Classes are kept apart, for an opacity is AP more often in truth.
    ways = {"auc_tells_ap_from_pa_within_class": data.folds + FOLDS * data.rsna}
    return {**found, **separation(data, score, part, data.ap, ways)}


def called(data: Data, score: Floats, part: Ints, limit: float) -> dict[str, Any]:
    """Return sensitivity, and specificity among normals, at a probability."""
    above = 1 / (1 + np.exp(-score)) >= limit
    found = {}
    for name, label, right in (("sensitivity", OPACITY, above), ("specificity_normal", NORMAL, ~above)):
        own = part[data.rsna[part] == label]
        found[name] = measured(lambda i, own=own, right=right: float(right[own][i].mean()), data.patients[own])  # type: ignore[misc]
    return found


def _count(data: Data, part: Ints, label: int, view: str) -> int:
    return int(((data.rsna[part] == label) & (data.ap[part] == (view == "ap"))).sum())


def published(card: Card, data: Data, device: str) -> dict[str, Any]:
    """Return the numbers of the card: of its weights on the held-out fold, and of the scores of all five networks."""
    held = data.part(held_out=True)
    held = held[data.rsna[held] >= 0]
    shipped, five = np.full(len(data.names), np.nan), read_scores(card.path.parent / SCORES, data)
    network = load(card, device=device)
    shipped[held] = scores(network, data.views[held])
    judged = np.flatnonzero(data.rsna >= 0)
    return {
        "data": "NIH ChestX-ray14 with RSNA classes: 548 of 1605 pictures, 484 of 1198 patients",
        "part": f"shipped: this network on fold {HELD_OUT} of five by patient, which it never saw; "
        "cross_validation: five networks, each on the fold that it never saw; the four others do not ship",
        "interval": "95 %, bootstrap over patients, 2000 draws; within view: only pairs of one view are compared",
        "shipped": {
            **numbers(data, shipped, held),
            **called(data, shipped, held, network.thresholds[1] or 0.5),
            **boxes_hit(network, data, held),
        },
        "cross_validation": numbers(data, five, judged),
    }


def main(asked: Options) -> None:
    """Train unless told otherwise, then print the numbers of the card."""
    card = find(NAME)
    data = gathered(asked.data, card)
    if not asked.evaluate_only:
        five = np.full(len(data.names), np.nan)
        # The one that ships comes last, so that `net` is that one.
        for held_out in sorted(range(FOLDS), key=lambda k: k == HELD_OUT):
            net = trained(data, held_out, card, asked.device)
            own = np.flatnonzero(data.folds == held_out)
            five[own] = scores(load(write_card(NAME, net, asked.out, {})), data.views[own])
            print(f"fold {held_out} is scored", flush=True)
        write_scores(asked.out / SCORES, data, five)
        card = write_card(NAME, net, asked.out, {OPAQUE: operating_point(data, five)})
    found = published(card, data, asked.device)
    if not asked.evaluate_only:
        add_numbers(card, found)
    for key, value in found.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main(options(NAME, __doc__))
