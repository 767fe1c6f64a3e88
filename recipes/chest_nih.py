"""The chest radiographs that three recipes share (NIH ChestX-ray14, a part): pictures, labels, boxes, folds, numbers.

DATA/chest-xray-nih holds images-256/NAME.jpg, labels.csv and expert_boxes.csv. Two things confound here. The view:
among the text-mined labels "No Finding" is mostly AP, among the radiologists' classes opacities are mostly AP. And the
tone: most pictures with "No Finding" are of patients 1500 to 4000 and brighter than all others, in either view; among
the radiologists' classes, opacities and normals are much more alike in tone.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from training import Floats, Ints, Options, add_numbers, auc, measured, moved, write_card

from saliscope.model.card import Card, find
from saliscope.model.network import Network
from saliscope.model.steps import Pad, Resize
from saliscope.model.view import Viewing
from saliscope.read import read

Bools = npt.NDArray[np.bool_]

FOLDS, HELD_OUT = 5, 0
TONES = 8
# Of the first 1,000 salts the one whose folds are most alike in views, labels, classes and boxes; no network was asked.
SALT = "371"
CLASSES = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
NORMAL, OTHER, OPACITY = range(3)
FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis"),
    *("Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"),
)
#: Expert boxes that mean an opacity of the lung: RSNA's own, and NIH's of these names.
OPACITIES = ("Lung Opacity", "Pneumonia", "Infiltrate")
BOX_FRAME = 1024  # boxes are given in pixels of the original pictures


@dataclass(frozen=True)
class Data:
    """Views (n, 1, row, column), masks of boxed opacities likewise, and what is known of each of the n pictures.

    `findings` (n, 14) are text-mined, `rsna` is the number of the radiologists' class or -1, `boxed` says whether
    radiologists looked for opacities to box, found or not; `brightness` is the mean of the picture as shown, 0..255.
    """

    names: tuple[str, ...]
    views: Tensor
    masks: Tensor
    patients: Ints
    folds: Ints
    ap: Bools
    findings: Bools
    rsna: Ints
    boxed: Bools
    brightness: Floats

    @property
    def ill(self) -> Bools:
        """Return which pictures have any text-mined finding (n,)."""
        return np.asarray(self.findings.any(1))

    def tones(self, part: Ints) -> Ints:
        """Return the eighth of brightness (n,), 0 to 7, by the limits that part the pictures of `part` evenly."""
        limits = np.quantile(self.brightness[part], np.arange(1, TONES) / TONES)
        return np.asarray(np.searchsorted(limits, self.brightness), np.int64)

    def part(self, *, held_out: bool) -> Ints:
        """Return the numbers of the pictures held out from all three networks, or of the others."""
        return np.flatnonzero((self.folds == HELD_OUT) == held_out)


def fold(patient: int) -> int:
    """Return the fold of a patient, by a hash of the number alone; fold 0 is held out from every shipped network."""
    return int(sha256(f"{SALT}:{patient}".encode()).hexdigest(), 16) % FOLDS


def gathered(folder: Path, card: Card, only: Ints | None = None) -> Data:
    """Return the pictures as the network will see them; with `only`, those whose fold is among these."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if only is None or fold(int(r["patient_id"])) in only]
    boxes = _boxes(folder)
    spatial = Viewing(tuple(step for step in card.view.steps if isinstance(step, Pad | Resize)), "values")
    views, masks, brightness = [], [], []
    for row in rows:
        image = read(folder / "images-256" / f"{row['image']}.jpg")
        views.append(card.view(image).tensor)
        brightness.append(float(image.display[0].mean()))
        drawn = _painted(boxes.get(row["image"], []), image.geometry.shape)
        masks.append(spatial(replace(image, values=drawn)).tensor)
    patients = np.array([int(r["patient_id"]) for r in rows])
    found = [set(r["finding_labels"].split("|")) for r in rows]
    rsna = np.array([CLASSES.index(r["rsna_class"]) if r["rsna_class"] else -1 for r in rows])
    return Data(
        names=tuple(r["image"] for r in rows),
        views=torch.cat(views),
        masks=torch.cat(masks),
        patients=patients,
        folds=np.array([fold(int(p)) for p in patients]),
        ap=np.array([r["view"] == "AP" for r in rows]),
        findings=np.array([[f in own for f in FINDINGS] for own in found]),
        rsna=rsna,
        boxed=(rsna >= 0) | np.array([r["image"] in boxes for r in rows]),
        brightness=np.array(brightness),
    )


def _boxes(folder: Path) -> Mapping[str, list[tuple[float, ...]]]:
    """Return the boxes (x, y, width, height) of opacities of each picture that has some, in the original frame."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with (folder / "expert_boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["label"] in OPACITIES:
                found.setdefault(row["image"], []).append(tuple(float(row[k]) for k in ("x", "y", "width", "height")))
    return found


def _painted(boxes: list[tuple[float, ...]], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    mask = np.zeros((1, *shape), np.float32)
    down, right = shape[0] / BOX_FRAME, shape[1] / BOX_FRAME
    for x, y, width, height in boxes:
        rows = slice(round(y * down), round((y + height) * down))
        mask[0, rows, round(x * right) : round((x + width) * right)] = 1
    return mask


def independent(*columns: npt.NDArray[Any]) -> Floats:
    """Return weights (n,) of mean 1 under which two columns of labels (n,) are independent, with their shares kept."""
    a, b = columns
    weight = np.zeros(len(a))
    for one in np.unique(a):
        for other in np.unique(b):
            both = (a == one) & (b == other)
            if both.any():
                weight[both] = (a == one).mean() * (b == other).mean() / both.mean()
    return np.asarray(weight / weight.mean())


def retoned(x: Tensor) -> Tensor:
    """Return views with a gamma from 0.5 to 2 each, of mean 0 and deviation 1 again."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    gamma = torch.exp((torch.rand(len(x), 1, 1, 1, device=x.device) * 2 - 1) * 0.7)
    x = ((x - low) / (high - low)).pow(gamma)
    deviation, mean = torch.std_mean(x, (1, 2, 3), keepdim=True)
    return (x - mean) / deviation


def varied(x: Tensor) -> tuple[Tensor, Any]:
    """Return views moved and with other brightness and contrast, and the function that moved them.

    Left and right are never exchanged: the heart lies on one side.
    """
    move = moved(x, turn=0.12, zoom=0.12, shift=0.08, flip=False)
    x = move(x) * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1, device=x.device))
    return x + 0.4 * torch.rand(len(x), 1, 1, 1, device=x.device) - 0.2, move


def scores(network: Network, views: Tensor) -> Floats:
    """Return the logit (n,) of the second label."""
    with network.opened() as opened:
        logits = torch.cat([opened(part.to(network.device)).cpu() for part in views.split(64)])
    return np.asarray(logits[:, 0].double().numpy(), np.float64)


def boxes_hit(network: Network, data: Data, part: Ints) -> dict[str, Any]:
    """Return how often the cell with the most evidence for the second label lies in a box, where there are boxes.

    The logit is the mean over cells of a linear head, so that evidence is the class activation map of Zhou et al. 2016.
    `by_area` is how often a cell drawn at random would lie there.
    """
    own = part[(data.masks[part] > 0).flatten(1).any(1).numpy()]
    net = network.module
    with torch.inference_mode():
        spatial = net.get_submodule("stages")(net.get_submodule("stem")(data.views[own].to(network.device)))
        evidence = net.get_submodule("head")(spatial.movedim(1, -1))[..., 0].cpu()
    covered = nn.functional.adaptive_avg_pool2d(data.masks[own], evidence.shape[-2:])[:, 0].flatten(1) >= 0.5
    hit = covered.gather(1, evidence.flatten(1).argmax(1, keepdim=True))[:, 0].double().numpy()
    return {
        "boxed_images": len(own),
        "peak_in_box": measured(lambda i: float(hit[i].mean()), data.patients[own]),
        "peak_in_box_by_area": round(float(covered.double().mean()), 4),
    }


def auc_within(truth: Bools, score: Floats, strata: Ints) -> float:
    """Return the share of pairs (one of each kind) in the right order, only pairs inside one stratum compared."""
    right, pairs = 0.0, 0
    for stratum in np.unique(strata):
        own = strata == stratum
        count = int(truth[own].sum()) * int((~truth[own]).sum())
        if count:
            right += auc(truth[own], score[own]) * count
            pairs += count
    return right / pairs if pairs else float("nan")


def separation(data: Data, score: Floats, part: Ints, positive: Bools, strata: Mapping[str, Ints]) -> dict[str, Any]:
    """Return for each name the AUC within its strata of some pictures, with intervals over patients."""
    return {
        name: measured(
            lambda i, own=own: auc_within(positive[part][i], score[part][i], own[part][i]),  # type: ignore[misc]
            data.patients[part],
        )
        for name, own in strata.items()
    }


def carried_out(
    name: str,
    asked: Options,
    trained: Callable[[Data, Card, str], nn.Module],
    published: Callable[[Card, Data, str], dict[str, Any]],
) -> None:
    """Train a network unless told otherwise, then print the numbers of its card."""
    card = find(name)
    data = gathered(asked.data, card, np.array([HELD_OUT]) if asked.evaluate_only else None)
    if not asked.evaluate_only:
        card = write_card(name, trained(data, card, asked.device), asked.out, {})
    found = published(card, data, asked.device)
    if not asked.evaluate_only:
        add_numbers(card, found)
    for key, value in found.items():
        print(f"{key}: {value}")
