"""Anterior and posterior hippocampus on small MR volumes, from scratch, in about fifteen minutes on one core.

    python recipes/hippocampus_segmentation.py --data DATA/hippocampus-mr [--out DIR] [--evaluate-only]

DATA/hippocampus-mr holds images/NAME.nii.gz and labels/NAME.nii.gz (0 background, 1 anterior, 2 posterior). The 120
volumes are split into 72 for training, 18 for validation and 30 for the test. The settings below are chosen on
validation; then the network is trained again, in the same way, on training and validation together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from training import Floats, Ints, Options, add_numbers, measured, options, split_by_group, train, write_card

from saliscope.model.card import Card, find
from saliscope.model.load import build, load
from saliscope.model.network import Network
from saliscope.model.steps import Orient, Pad
from saliscope.model.view import Viewing
from saliscope.read import read

NAME = "hippocampus-segmentation"
PARTS = ("anterior", "posterior")
SHARES = (0.6, 0.15, 0.25)
SPLIT_SEED, SEED, EPOCHS, BATCH, RATE = 0, 0, 25, 4, 5e-3
WINDOW = (32, 48, 32)  # what training sees of a moved view (48, 56, 48): less padding, and faster
TURN, ZOOM, SHIFT_MM = 0.26, 0.15, 4.0


@dataclass(frozen=True)
class Data:
    """Views (n, 1, *S), labels (n, *S), the names of the volumes, and the numbers of the three parts."""

    views: Tensor
    labels: Tensor
    names: tuple[str, ...]
    training: Ints
    validation: Ints
    test: Ints


def gathered(folder: Path, card: Card) -> Data:
    """Return all volumes as the network will see them, and split; raises ValueError for labels on another grid."""
    paths = sorted((folder / "images").glob("*.nii.gz"))
    numbers = np.arange(len(paths))
    parts = split_by_group(np.zeros(len(paths), np.int64), numbers, SHARES, SPLIT_SEED)
    moves = Viewing(tuple(step for step in card.view.steps if isinstance(step, Orient | Pad)), "values")
    views, labels = [], []
    for path in paths:
        view, mask = card.view(read(path)), moves(read(folder / "labels" / path.name))
        same = mask.geometry.shape == view.geometry.shape
        if not same or not np.allclose(mask.geometry.affine, view.geometry.affine, atol=1e-3):
            raise ValueError(f"{path.name}: the labels do not lie on the grid of the view")
        views.append(view.tensor)
        labels.append(mask.tensor[:, 0].long())
    return Data(torch.cat(views), torch.cat(labels), tuple(p.name for p in paths), *parts)


def moved(x: Tensor) -> Tensor:
    """Return volumes (N, C, *S) turned, zoomed, shifted and mirrored, each in its own way, inside WINDOW."""
    n = len(x)
    matrix = torch.eye(3).repeat(n, 1, 1)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        angle = (torch.rand(n) * 2 - 1) * TURN
        turn = torch.eye(3).repeat(n, 1, 1)
        turn[:, a, a], turn[:, a, b] = angle.cos(), -angle.sin()
        turn[:, b, a], turn[:, b, b] = angle.sin(), angle.cos()
        matrix = matrix @ turn
    scale = 1 + (torch.rand(n, 1, 3) * 2 - 1) * ZOOM
    # Both sides of the head are in the data: a mirrored left hippocampus is a plausible right one.
    scale[:, 0, 2] *= torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    whole, window = (torch.tensor(size, dtype=torch.float32) for size in (x.shape[2:], WINDOW))
    theta = torch.zeros(n, 3, 4)
    theta[:, :, :3] = matrix * scale * window / whole[:, None]
    theta[:, :, 3] = (torch.rand(n, 3) * 2 - 1) * SHIFT_MM * 2 / whole
    # torch counts the axes of a grid from the last.
    theta = torch.cat([theta[:, :, :3].flip(1, 2), theta[:, :, 3:].flip(1)], dim=2).to(x.device)
    grid = nn.functional.affine_grid(theta, [n, x.shape[1], *WINDOW], align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False)


def overlap_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return cross-entropy plus one minus the mean soft Dice of the two parts; truth (N, K, *S) holds shares."""
    shares = logits.softmax(1)
    axes = (0, *range(2, logits.ndim))
    common, total = (shares * truth).sum(axes), (shares + truth).sum(axes)
    return nn.functional.cross_entropy(logits, truth) + 1 - (2 * common[1:] / total[1:].clamp(min=1)).mean()


def trained(data: Data, part: Ints, card: Card, device: str) -> nn.Module:
    """Return the network trained on some volumes."""
    torch.manual_seed(SEED)
    net = build(card.architecture, card.arguments).to(device)
    classes = len(card.labels)

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        truth = nn.functional.one_hot(data.labels[batch], classes).movedim(-1, 1).float()
        both = moved(torch.cat([data.views[batch], truth], dim=1).to(device))
        x, kinds = both[:, :1], both[:, 1:]
        kinds[:, 0] = 1 - kinds[:, 1:].sum(1)  # beyond the volume is background
        one = (len(x), 1, 1, 1, 1)
        x = x * (0.8 + 0.4 * torch.rand(one, device=device)) + 0.4 * torch.rand(one, device=device) - 0.2
        x = x + 0.15 * torch.rand(one, device=device) * torch.randn(x.shape, device=device)
        return overlap_loss(module(x.contiguous(memory_format=torch.channels_last_3d)), kinds)

    best = train(net, part, loss, epochs=EPOCHS, size=BATCH, rate=RATE, seed=SEED)
    return best.cpu()


def predicted(network: Network, views: Tensor) -> Ints:
    """Return the most probable class (n, *S) of every element."""
    with network.opened() as opened:
        found = [opened(view.to(network.device)).argmax(1).cpu() for view in views.split(1)]
    return torch.cat(found).numpy()


def dice(found: Ints, truth: Ints, kind: int) -> float:
    """Return the Dice coefficient of one class; raises ValueError where it is in neither."""
    a, b = found == kind, truth == kind
    if not (a.any() or b.any()):
        raise ValueError(f"class {kind} is neither found nor true: no Dice")
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def surface_distance_95(found: Ints, truth: Ints, kind: int) -> float:
    """Return the 95th percentile of both surfaces' distances to the other, in elements; inf where one is empty."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    masks = [found == kind, truth == kind]
    if not all(m.any() for m in masks):
        return float("inf")
    rims = [m & ~binary_erosion(m) for m in masks]
    to_first, to_second = (distance_transform_edt(~rim) for rim in rims)
    return float(np.percentile(np.concatenate([to_second[rims[0]], to_first[rims[1]]]), 95))


def numbers(data: Data, network: Network, part: Ints) -> dict[str, Any]:
    """Return the numbers of one part, with intervals over volumes."""
    found, truth = predicted(network, data.views[part]), data.labels[part].numpy()
    result: dict[str, Any] = {"volumes": len(part)}
    for kind, name in enumerate(PARTS, start=1):
        overlaps = np.array([dice(f, t, kind) for f, t in zip(found, truth, strict=True)])
        distances = np.array([surface_distance_95(f, t, kind) for f, t in zip(found, truth, strict=True)])
        result[f"dice_{name}"] = _mean(overlaps)
        result[f"lowest_dice_{name}"] = round(float(overlaps.min()), 3)
        result[f"surface_distance_95_mm_{name}"] = _mean(distances)
    return result


def _mean(values: Floats) -> dict[str, float]:
    return measured(lambda i: float(values[i].mean()), np.arange(len(values)))


def published(card: Card, data: Data, device: str) -> dict[str, Any]:
    """Return the numbers of the card, from its weights on disk."""
    return {
        "data": f"Medical Segmentation Decathlon, Task04: {len(data.names)} volumes with labels",
        "part": "test: 25 % of the volumes, never trained on and looked at once",
        "interval": "95 %, bootstrap over volumes, 2000 draws",
        **numbers(data, load(card, device=device), data.test),
    }


def main(asked: Options) -> None:
    """Train unless told otherwise, then print the numbers of the card; those of validation come first."""
    card = find(NAME)
    data = gathered(asked.data, card)
    if not asked.evaluate_only:
        trial = write_card(NAME, trained(data, data.training, card, asked.device), asked.out, {})
        for key, value in numbers(data, load(trial), data.validation).items():
            print(f"validation {key}: {value}")
        both = np.concatenate([data.training, data.validation])
        card = write_card(NAME, trained(data, both, card, asked.device), asked.out, {})
    found = published(card, data, asked.device)
    if not asked.evaluate_only:
        add_numbers(card, found)
    for key, value in found.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main(options(NAME, __doc__))
