"""RISE beside its authors' procedure at equal masks and equal networks: time, memory, and what bfloat16 costs.

The peer is written here after the authors' repository, since no package of it is kept up: every mask by skimage's
resize, all of them in memory, the network in batches, one matrix product at the end. Both run the same masks' number
and the same network; the masks themselves differ, so maps are compared with a run of ours on the peer's recipe.
"""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import skimage
import torch
from measure import QUICK, Row, Run, correlation, fresh, interleaved, peak_added, relative, row
from peers import torchvision
from skimage.transform import resize
from torch import Tensor, nn
from torch.nn import functional

from saliscope import load
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.perturb.masks import ShiftedMasks, blended
from saliscope.perturb.stream import scored
from saliscope.study.drawing import lesion_in_speckle

CELLS, KEEP, BATCH = 8, 0.5, 16
#: For the masks alone, and for whole runs: there the check of bfloat16, of 32 copies both ways, is to weigh little.
MASKS, RUN = (32, 32) if QUICK else (128, 384)
TARGET = LogitTarget((0,), ("first",))
VERSION = f"after eclique/RISE, with scikit-image {skimage.__version__}"


def picture(axes: int = 2, size: int = 224, channels: int = 3) -> Tensor:
    """Return a seeded image (1, C, *S)."""
    return torch.randn(1, channels, *[size] * axes, generator=torch.Generator().manual_seed(1))


def resized_masks(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return all masks (count, *S), each enlarged by skimage and cut where a draw says."""
    random = np.random.RandomState(0)
    cell = [math.ceil(n / CELLS) for n in shape]
    masks = np.empty((count, *shape), np.float32)
    for i in range(count):
        kept = (random.rand(*[CELLS] * len(shape)) < KEEP).astype(np.float32)
        large = resize(kept, [(CELLS + 1) * c for c in cell], order=1, mode="reflect", anti_aliasing=False)
        at = [random.randint(0, c) for c in cell]
        masks[i] = large[tuple(slice(a, a + n) for a, n in zip(at, shape, strict=True))]
    return masks


def interpolated_masks(count: int, shape: tuple[int, ...]) -> Tensor:
    """Return all masks, each enlarged by torch's interpolate: the fastest loop that users write."""
    generator = torch.Generator().manual_seed(0)
    cell = [math.ceil(n / CELLS) for n in shape]
    masks = torch.empty(count, *shape)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    for i in range(count):
        kept = (torch.rand(1, 1, *[CELLS] * len(shape), generator=generator) < KEEP).float()
        large = functional.interpolate(kept, [(CELLS + 1) * c for c in cell], mode=mode)[0, 0]
        at = [int(torch.randint(0, c, (1,), generator=generator)) for c in cell]
        masks[i] = large[tuple(slice(a, a + n) for a, n in zip(at, shape, strict=True))]
    return masks


def authors(net: nn.Module, x: Tensor, count: int) -> Tensor:
    """Return the map (K, *S) of the authors' procedure."""
    masks = torch.from_numpy(resized_masks(count, tuple(x.shape[2:])))
    with torch.no_grad():
        scores = torch.cat([net(masks[i : i + BATCH, None] * x) for i in range(0, count, BATCH)])
    return (scores.T @ masks.flatten(1)).reshape(-1, *x.shape[2:]) / count / KEEP


def ours(net: nn.Module, x: Tensor, count: int, precision: str = "float32") -> tuple[Tensor, list[str]]:
    """Return our map (*S) of the first class, without its mean taken off, and what was noted."""
    budget = BATCH * x.numel() * 4 * 136 / 2**20 * 1.01
    fields = {"baseline": "zero", "tolerance": 0, "centred": False, "precision": precision, "memory_mb": budget}
    with Network(net).opened() as model:
        method = METHODS.make("rise", samples=count, cells=CELLS, keep=KEEP, **fields)
        return method.attribute(model, x, TARGET)[0, 0], model.notes


def of_masks(net: nn.Module, x: Tensor, masks: Tensor) -> Tensor:
    """Return the map (*S) of the first class by the formula, from masks that are all in memory."""
    with torch.no_grad():
        scores = torch.cat([net(one * x)[:, 0] for one in masks])
    return (scores @ masks.flatten(1) / masks.flatten(1).sum(0)).reshape(masks.shape[1:])


def whole() -> list[Row]:
    """Compare whole runs, the network's included."""
    torch.manual_seed(0)
    net, x = torchvision.models.resnet18().eval(), picture()
    runs: dict[str, Run] = {
        "ours": lambda: ours(net, x, RUN),
        "bfloat16": lambda: ours(net, x, RUN, "bfloat16"),
        "authors": lambda: authors(net, x, RUN),
    }
    times = interleaved(runs, 3)
    right, (found, notes) = ours(net, x, RUN)[0], ours(net, x, RUN, "bfloat16")
    error = relative(
        ours(net, x, 32)[0], of_masks(net, x, ShiftedMasks.drawn(x[0], [CELLS] * 2, KEEP, 32, 0)(range(32)))
    )
    what = f"RISE, {RUN} masks, ResNet-18 2D 224"
    said = f"32 of the copies are run both ways for the check; correlation of maps {correlation(found, right):.4f}"
    return [
        row(
            f"{what}, {who}",
            times.median(key),
            times.median("authors"),
            **times.ratio("authors", key),
            error=off,
            goal=goal,
            peer_version=VERSION,
            note=note,
        )
        for who, key, off, goal, note in (
            (
                "float32",
                "ours",
                error,
                1.2,
                "nearly all of it is the network, the same for both; error on 32 equal masks",
            ),
            (
                "bfloat16",
                "bfloat16",
                relative(found - found.mean(), right - right.mean()),
                2.0,
                "; ".join([said, *notes]),
            ),
        )
    ]


def masks_alone(axes: int, size: int) -> list[Row]:
    """Compare the making of masks, without a network."""
    shape, count = (size,) * axes, MASKS

    def mine() -> None:
        masks = ShiftedMasks.drawn(torch.empty(1, *shape), [CELLS] * axes, KEEP, count, 0)
        for start in range(0, count, BATCH):
            masks(range(start, start + BATCH))

    runs: dict[str, Run] = {
        "ours": mine,
        "skimage": lambda: resized_masks(count, shape),
        "torch": lambda: interpolated_masks(count, shape),
    }
    times = interleaved(runs, 3)
    return [
        row(
            f"{count} masks of {axes}D {size}, beside a loop of {peer}",
            times.median("ours"),
            times.median(peer),
            **times.ratio(peer, "ours"),
            goal=goal,
            peer_version=VERSION if peer == "skimage" else f"torch {torch.__version__}",
        )
        for peer, goal in (("skimage", 5.0), ("torch", 1.5))
    ]


def stopped() -> Row:
    """Compare how many masks are run until the error is small, with a fixed number."""
    network = load("breast-ultrasound")
    # As the network's view makes it: between 0 and 1, less the mean of its training images, in their deviations.
    x = (torch.from_numpy(lesion_in_speckle(160)).float()[None, None] / 255 - 0.26) / 0.23
    count = 512 if QUICK else 4096
    target = LogitTarget((2,), ("malignant",))
    with network.opened() as model:
        found = METHODS.make("rise", samples=count).attribute(model, x, target)[0, 0]
        used = model.counts.forward_samples - 1
        right = METHODS.make("rise", samples=count, tolerance=0).attribute(model, x, target)[0, 0]
    return row(
        "RISE, masks until the standard error is 5 % of the range, breast network",
        used,
        count,
        ratio=count / used,
        error=relative(found, right),
        goal=3.0,
        unit="masks",
        note=f"error beside all {count} masks; correlation {correlation(found, right):.4f}",
    )


def stream() -> list[Row]:
    """Compare the deletion curves of some images, streamed, with a run for every step."""
    torch.manual_seed(0)
    net, x = torchvision.models.resnet18().eval(), picture()[0]
    steps, images = (16, 1) if QUICK else (64, 4)
    order = (
        torch.rand(x[0].numel(), generator=torch.Generator().manual_seed(2)).argsort().argsort().reshape(x.shape[1:])
    )
    without = torch.zeros_like(x)

    def copies(some: range) -> Tensor:
        left = torch.stack([(order >= order.numel() * (i + 1) / steps) for i in some]).to(x)
        return blended(x, without, left)

    def mine(precision: str) -> Tensor:
        with Network(net).opened() as model:
            few = copies(range(3))
            run = (model.frozen(few) or model) if precision == "float32" else model.reduced(torch.bfloat16)
            curves = [torch.cat([s for _, s in scored(run, TARGET, copies, steps, BATCH)]) for _ in range(images)]
            return curves[0][:, 0]

    def one_by_one() -> Tensor:
        with torch.no_grad():
            curves = [torch.cat([net(copies(range(i, i + 1))) for i in range(steps)]) for _ in range(images)]
            return curves[0][:, 0]

    times = interleaved(
        {"float32": lambda: mine("float32"), "bfloat16": lambda: mine("bfloat16"), "peer": one_by_one}, 3
    )
    right = one_by_one()
    return [
        row(
            f"deletion curves of {steps} steps, {images} images, ResNet-18 2D 224, {precision}",
            times.median(precision),
            times.median("peer"),
            **times.ratio("peer", precision),
            error=relative(mine(precision) - right.mean(), right - right.mean()),
            goal=goal,
            peer_version=f"torch {torch.__version__}, a run for every step",
        )
        for precision, goal in (("float32", 1.2), ("bfloat16", 1.5))
    ]


class Mean(nn.Module):
    """The cheapest network: what is left of memory is the masks'."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean (N, 1)."""
        return x.flatten(1).mean(1, keepdim=True)


def memory(who: str) -> float:
    """Return MiB added by RISE with 256 masks of a volume of 64."""
    x = picture(3, 64, 1)
    return peak_added(lambda: ours(Mean(), x, 256) if who == "ours" else authors(Mean(), x, 256))


def rows() -> list[Row]:
    """Return all rows."""
    added = {who: fresh(__file__, "memory", who) for who in ("ours", "authors")}
    bounded = row(
        "RISE, memory added by 256 masks of 3D 64",
        added["ours"],
        added["authors"],
        ratio=added["authors"] / added["ours"],
        goal=2.0,
        unit="MiB",
        peer_version=VERSION,
        note="ours does not grow with the masks",
    )
    return [*whole(), *masks_alone(2, 224), *masks_alone(3, 64), stopped(), *stream(), bounded]


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        print(json.dumps(memory(sys.argv[2])))
    else:
        print(json.dumps(rows(), indent=1))
