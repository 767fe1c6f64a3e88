"""Pneumonia or normal on chest pictures of 28 x 28 (PneumoniaMNIST), from scratch, in a few minutes on one core.

    python recipes/chest_pneumonia_28.py --data DATA/pneumoniamnist/pneumoniamnist.npz [--out DIR] [--evaluate-only]

The official split is used: 4,708 training, 524 validation and 624 test pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from training import Floats, Options, add_numbers, auc, measured, moved, options, train, write_card

from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.card import Card, find
from saliscope.model.load import build, load
from saliscope.model.network import Network

NAME = "chest-pneumonia-28"
SEED, EPOCHS, BATCH, RATE = 0, 20, 32, 3e-3


@dataclass(frozen=True)
class Part:
    """Views (n, 1, 28, 28) and which of them show pneumonia (n,)."""

    views: Tensor
    ill: npt.NDArray[np.bool_]


def read(path: Path, name: str, card: Card) -> Part:
    """Return one official part, "train", "val" or "test", as the network will see it."""
    with np.load(path) as arrays:
        pictures, labels = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    return Part(torch.cat([card.view(image(p)).tensor for p in pictures]), labels.reshape(-1) == 1)


def image(picture: npt.NDArray[np.uint8]) -> MedicalImage:
    """Return a grey picture (row, column) as an image of unknown spacing."""
    grid = Geometry.of_picture(picture.shape)
    return MedicalImage(picture[None].astype(np.float32), picture[None].copy(), grid, "CR", "grey", "", "picture")


def trained(part: Part, card: Card, device: str) -> nn.Module:
    """Return the trained network."""
    torch.manual_seed(SEED)
    net = build(card.architecture, card.arguments).to(device)
    truth = torch.from_numpy(part.ill).float()[:, None]
    weight = torch.tensor([(1 - part.ill.mean()) / part.ill.mean()], dtype=torch.float32, device=device)

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        x = part.views[batch].to(device)
        # No left-right flip: the heart lies on one side.
        x = moved(x, turn=0.15, zoom=0.12, shift=0.1, flip=False)(x)
        x = x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1, device=device))
        x = x + 0.4 * torch.rand(len(x), 1, 1, 1, device=device) - 0.2
        return nn.functional.binary_cross_entropy_with_logits(module(x), truth[batch].to(device), pos_weight=weight)

    return train(net, np.arange(len(part.ill)), loss, epochs=EPOCHS, size=BATCH, rate=RATE, seed=SEED).cpu()


def probability(network: Network, views: Tensor) -> Floats:
    """Return the probability (n,) of pneumonia."""
    with network.opened() as opened:
        logits = torch.cat([opened(part.to(network.device)).cpu() for part in views.split(256)])
    return np.asarray(logits[:, 0].double().sigmoid().numpy(), np.float64)


def operating_point(part: Part, network: Network) -> float:
    """Return the probability that parts the validation pictures best: largest sensitivity + specificity."""
    p = probability(network, part.views)
    candidates = np.unique(p)
    gain = [(p[part.ill] >= c).mean() - (p[~part.ill] >= c).mean() for c in candidates]
    return float(np.floor(candidates[int(np.argmax(gain))] * 1e4) / 1e4)


def numbers(part: Part, network: Network) -> dict[str, Any]:
    """Return the numbers of one part, with intervals over images."""
    p, ill = probability(network, part.views), part.ill
    called = p >= (network.thresholds[1] or 0.5)
    each = np.arange(len(ill))
    return {
        "images": len(ill),
        "per_class": {"normal": int((~ill).sum()), "pneumonia": int(ill.sum())},
        "auc": measured(lambda i: auc(ill[i], p[i]), each),
        "accuracy": measured(lambda i: float((called[i] == ill[i]).mean()), each),
        "sensitivity": measured(lambda i: float(called[i][ill[i]].mean()), each),
        "specificity": measured(lambda i: float((~called[i][~ill[i]]).mean()), each),
    }


def published(card: Card, path: Path, device: str) -> dict[str, Any]:
    """Return the numbers of the card, from its weights on disk."""
    return {
        "data": "PneumoniaMNIST, official split",
        "part": "test: used for nothing else",
        "interval": "95 %, bootstrap over images (patients are not identified in the data), 2000 draws",
        **numbers(read(path, "test", card), load(card, device=device)),
    }


def main(asked: Options) -> None:
    """Train unless told otherwise, then print the numbers of the card."""
    card = find(NAME)
    if not asked.evaluate_only:
        net = trained(read(asked.data, "train", card), card, asked.device)
        card = write_card(NAME, net, asked.out, {})
        limit = operating_point(read(asked.data, "val", card), load(card))
        card = write_card(NAME, net, asked.out, {"pneumonia": limit})
    found = published(card, asked.data, asked.device)
    if not asked.evaluate_only:
        add_numbers(card, found)
    for key, value in found.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main(options(NAME, __doc__))
