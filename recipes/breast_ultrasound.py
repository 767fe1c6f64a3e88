"""Normal, benign or malignant on breast ultrasound (BUSI), from scratch, in about twenty minutes on one core.

    python recipes/breast_ultrasound.py --data DATA/breast-ultrasound-busi [--out DIR] [--evaluate-only]

DATA/breast-ultrasound-busi holds {normal,benign,malignant}/images/NAME.jpg and .../masks/NAME.png. Near-duplicate
frames are grouped and the groups split into 62.5 % training, 12.5 % validation and 25 % test. The settings below and
the threshold are chosen on validation; then the network is trained again, in the same way, on training and
validation together. Lesion masks guide its last spatial layer; what is shipped has no part that knows of masks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from near_duplicates import groups as grouped
from torch import Tensor, nn
from training import (
    Floats,
    Ints,
    Options,
    add_numbers,
    auc,
    measured,
    moved,
    options,
    split_by_group,
    train,
    write_card,
)

from saliscope.model.card import Card, find
from saliscope.model.load import load
from saliscope.model.network import Network
from saliscope.model.steps import Pad, Resize
from saliscope.model.view import Viewing
from saliscope.model.zoo.residual_net import ResidualNet
from saliscope.read import read

NAME = "breast-ultrasound"
LABELS = ("normal", "benign", "malignant")
ALIKE = 0.6  # pictures that correlate above this are one group; chosen by eye, false joins rather than missed twins
SHARES = (0.625, 0.125, 0.25)
SPLIT_SEED, SEED, EPOCHS, BATCH, RATE = 0, 0, 100, 16, 2e-3
MASK_WEIGHT = 1.0


@dataclass(frozen=True)
class Data:
    """Views (n, 1, row, column), lesion masks likewise, labels and groups (n,), and the numbers of the three parts."""

    views: Tensor
    masks: Tensor
    labels: Ints
    groups: Ints
    training: Ints
    validation: Ints
    test: Ints


def gathered(folder: Path, card: Card) -> Data:
    """Return all pictures as the network will see them, grouped and split."""
    moves = tuple(step for step in card.view.steps if isinstance(step, Pad | Resize))
    spatial = Viewing(moves, "values")
    pictures, views, masks, labels = [], [], [], []
    for number, label in enumerate(LABELS):
        for path in sorted((folder / label / "images").glob("*.jpg")):
            image, drawn = read(path), read(folder / label / "masks" / f"{path.stem}.png")
            pictures.append(image.display[0])
            views.append(card.view(image).tensor)
            masks.append(spatial(replace(drawn, values=(drawn.display[:1] > 0).astype(np.float32))).tensor)
            labels.append(number)
    numbers = np.array(labels)
    own = grouped(pictures, ALIKE)
    return Data(torch.cat(views), torch.cat(masks), numbers, own, *split_by_group(numbers, own, SHARES, SPLIT_SEED))


class Guided(nn.Module):
    """The network with a second head, in training only: which cells of the last spatial layer hold a lesion."""

    def __init__(self, net: ResidualNet, channels: int) -> None:
        super().__init__()
        self.net, self.guide = net, nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, K) and lesion logits (N, 1, *S') of x (N, C, *S)."""
        spatial = self.net.features(x)
        return self.net.classify(spatial), self.guide(spatial)


def trained(data: Data, part: Ints, card: Card, device: str) -> nn.Module:
    """Return the network trained on some images."""
    torch.manual_seed(SEED)
    both = Guided(ResidualNet(**card.arguments), card.arguments["widths"][-1]).to(device)
    share = torch.from_numpy(np.bincount(data.labels[part], minlength=len(LABELS)) / len(part))
    weight = (1 / share / (1 / share).mean()).float().to(device)
    truth = torch.from_numpy(data.labels)

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        x, mask = data.views[batch].to(device), data.masks[batch].to(device)
        move = moved(x, turn=0.17, zoom=0.2, shift=0.1, flip=True)
        x = move(x) * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1, device=device))
        x = x + 0.4 * torch.rand(len(x), 1, 1, 1, device=device) - 0.2
        logits, guess = module(x.contiguous(memory_format=torch.channels_last))  # the faster layout on CPUs
        kind = nn.functional.cross_entropy(logits, truth[batch].to(device), weight, label_smoothing=0.05)
        covered = nn.functional.adaptive_avg_pool2d(move(mask), guess.shape[-2:])
        where = nn.functional.binary_cross_entropy_with_logits(guess, covered.clamp(0, 1))
        return kind + MASK_WEIGHT * where

    best = train(both, part, loss, epochs=EPOCHS, size=BATCH, rate=RATE, seed=SEED)
    return best.get_submodule("net").cpu()


def probabilities(network: Network, views: Tensor) -> Floats:
    """Return softmax probabilities (n, K)."""
    with network.opened() as opened:
        logits = torch.cat([opened(part.to(network.device)).cpu() for part in views.split(32)])
    return np.asarray(logits.double().softmax(1).numpy(), np.float64)


def operating_point(data: Data, network: Network) -> float:
    """Return the highest probability of "malignant" that finds 90 % of the malignant validation images."""
    p = probabilities(network, data.views[data.validation])[:, 2]
    positive = np.sort(p[data.labels[data.validation] == 2])
    return float(np.floor(positive[int(0.1 * len(positive))] * 1e4) / 1e4)


def numbers(data: Data, network: Network, part: Ints) -> dict[str, Any]:
    """Return the numbers of one part, with intervals over groups."""
    p, y, groups = probabilities(network, data.views[part]), data.labels[part], data.groups[part]
    lesion, malignant = y > 0, y == 2
    limit = network.thresholds[2] or 0.5
    called = p[:, 2] >= limit
    return {
        "images": len(part),
        "groups": len(np.unique(groups)),
        "per_class": {label: int((y == k).sum()) for k, label in enumerate(LABELS)},
        "auc_malignant": measured(lambda i: auc(malignant[i], p[i, 2]), groups),
        "auc_any_lesion": measured(lambda i: auc(lesion[i], 1 - p[i, 0]), groups),
        "accuracy": measured(lambda i: float((p[i].argmax(1) == y[i]).mean()), groups),
        "sensitivity_malignant": measured(lambda i: float(called[i][malignant[i]].mean()), groups),
        "specificity_malignant": measured(lambda i: float((~called[i][~malignant[i]]).mean()), groups),
    }


def published(card: Card, data: Data, device: str) -> dict[str, Any]:
    """Return the numbers of the card, from its weights on disk."""
    total = len(np.unique(data.groups))
    return {
        "data": f"BUSI, {len(data.labels)} images in {total} groups of near-duplicates",
        "part": "test: 25 % of the groups, never trained on; see limits for how often it was looked at",
        "interval": "95 %, bootstrap over groups, 2000 draws",
        **numbers(data, load(card, device=device), data.test),
    }


def main(asked: Options) -> None:
    """Train unless told otherwise, then print the numbers of the card; those of validation come first."""
    card = find(NAME)
    data = gathered(asked.data, card)
    if not asked.evaluate_only:
        net = trained(data, data.training, card, asked.device)
        limit = operating_point(data, load(write_card(NAME, net, asked.out, {})))
        trial = write_card(NAME, net, asked.out, {"malignant": limit})
        for key, value in numbers(data, load(trial), data.validation).items():
            print(f"validation {key}: {value}")
        both = np.concatenate([data.training, data.validation])
        card = write_card(NAME, trained(data, both, card, asked.device), asked.out, {"malignant": limit})
    found = published(card, data, asked.device)
    if not asked.evaluate_only:
        add_numbers(card, found)
    for key, value in found.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main(options(NAME, __doc__))
