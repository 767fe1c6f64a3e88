"""Erasing what stands in a breast ultrasound picture, and what the network says then; and sheets of the marks found."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import busi_marks
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from saliscope.core.image import MedicalImage
from saliscope.model.network import Network

if TYPE_CHECKING:
    from busi_pictures import Picture

Mask = npt.NDArray[np.bool_]
Grey = npt.NDArray[np.float64]

LABELS = ("normal", "benign", "malignant")
#: Places where the same shape is erased for comparison.
PLACES = 4
#: How far "a little off" is, in elements.
NEAR = (8, 24)
#: So much of a shape may fall on other marks, and is then left out: crossed lines cross themselves wherever they go.
CROSSING = 0.15
#: The pictures to read by eye: the finder was made while looking at the first 80 of this order, and is judged on these.
SHEET_SEED, SHEET = 1, slice(80, 120)


@dataclass(frozen=True)
class ErasedRow:
    """What erasing does to what the network says of a held-out picture.

    `what` is the lesion or a kind of mark ("text pasted": put in, not erased), `elsewhere` whether the same shape was
    erased in other places instead (the mean of up to PLACES); `area` is its share of the picture. `logit` is the change
    of the logit of the picture's own label, `malignant` that of the probability of "malignant"; `turned` says how often
    the class called changed.
    """

    picture: str
    label: str
    group: int
    what: str
    elsewhere: int
    area: float
    logit: float
    malignant: float
    turned: float


def erased(picture: Picture, network: Network) -> Iterator[ErasedRow]:
    """Give the rows of a picture: for the lesion and each kind of mark that it has, there and elsewhere."""
    lesion = ndimage.binary_dilation(picture.lesion, iterations=2)
    marks = {kind: mask for kind, mask in picture.marks.items() if mask.any()}
    every = np.logical_or.reduce([np.zeros_like(lesion), *marks.values()])
    parts = {"lesion": (lesion, lesion)} if lesion.any() else {}
    # Text and calipers are erased with their dark rim. Elsewhere no mark may be touched, nor, for the lesion, itself.
    parts |= {kind: (ndimage.binary_dilation(mask), every) for kind, mask in marks.items()}
    before = logits(network, [picture.image])[0]
    for what, (mask, avoid) in parts.items():
        for elsewhere in (False, True):
            masks = moved(mask, avoid, near=what != "lesion") if elsewhere else [mask]
            if masks:
                after = logits(network, [without(picture.image, m) for m in masks])
                yield _row(picture, what, masks, before, after, elsewhere=elsewhere)


def _row(
    picture: Picture,
    what: str,
    masks: list[Mask],
    before: torch.Tensor,
    after: torch.Tensor,
    *,
    elsewhere: bool = False,
) -> ErasedRow:
    own = LABELS.index(picture.label)
    return ErasedRow(
        picture.name, picture.label, picture.group, what, int(elsewhere),
        area=float(np.mean([m.mean() for m in masks])),
        logit=float((after - before)[:, own].mean()),
        malignant=float((after.softmax(1) - before.softmax(0))[:, 2].mean()),
        turned=float((after.argmax(1) != before.argmax()).double().mean()),
    )  # fmt: skip


def pasted(picture: Picture, donors: Sequence[Picture], network: Network) -> Iterator[ErasedRow]:
    """Give the row of a picture without text for letters of up to PLACES others put into it, where they stood there."""
    rng = np.random.default_rng(len(picture.name))
    made: list[MedicalImage] = []
    masks: list[Mask] = []
    for donor in [donors[i] for i in rng.permutation(len(donors)) if donors[i].group != picture.group]:
        row, column = np.nonzero(donor.marks["text"])
        if row.max() < picture.lesion.shape[0] and column.max() < picture.lesion.shape[1] and len(made) < PLACES:
            shown = picture.image.display.copy()
            shown[:, row, column] = donor.image.display[:, row, column]
            made.append(replace(picture.image, display=shown))
            masks.append(shown[0] != picture.image.display[0])
    before = logits(network, [picture.image])[0]
    yield _row(picture, "text pasted", masks, before, logits(network, made))


def logits(network: Network, images: list[MedicalImage]) -> torch.Tensor:
    """Return the logits (n, K) of images."""
    with network.opened() as opened:
        return opened(torch.cat([network.viewing(image).tensor for image in images])).double()


def without(image: MedicalImage, mask: Mask) -> MedicalImage:
    """Return the picture with a mask (row, column) filled from what surrounds it."""
    shown = np.stack([filled(channel.astype(np.float64), mask) for channel in image.display])
    return replace(image, display=shown.round().clip(0, 255).astype(np.uint8))


def filled(values: Grey, mask: Mask) -> Grey:
    """Return values with each element of a mask the mean of its neighbours (the discrete Laplace equation).

    A mask that is the whole picture has no surroundings and is refused (ValueError).
    """
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import spsolve

    if mask.all():
        raise ValueError("a mask without surroundings")
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    inside, outside = np.pad(number, 1, constant_values=-2), np.pad(values, 1)
    neighbours, known = np.zeros(int(mask.sum())), np.zeros(int(mask.sum()))
    pairs = []
    for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        there = np.roll(inside, step, (0, 1))[1:-1, 1:-1][mask]
        neighbours += there > -2  # beyond the edge of the picture there is none
        known += np.where(there == -1, np.roll(outside, step, (0, 1))[1:-1, 1:-1][mask], 0)
        pairs.append(np.stack([np.flatnonzero(there >= 0), there[there >= 0]]))
    rows, columns = np.concatenate(pairs, axis=1)
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(known),) * 2)
    result = values.copy()
    result[mask] = spsolve((diags(neighbours) - links).tocsc(), known)
    return result


def moved(mask: Mask, avoid: Mask, *, near: bool) -> list[Mask]:
    """Return the shape of a mask at up to PLACES other places, clear of `avoid`; the same ones every time."""
    rng = np.random.default_rng(int(mask.sum()))
    row, column = np.nonzero(mask)
    found: list[Mask] = []
    for _ in range(400):
        if near:
            length, angle = rng.uniform(*NEAR), rng.uniform(0, 2 * math.pi)
            down, right = round(length * math.sin(angle)), round(length * math.cos(angle))
        else:
            down = int(rng.integers(-row.min(), mask.shape[0] - row.max()))
            right = int(rng.integers(-column.min(), mask.shape[1] - column.max()))
        r, c = row + down, column + right
        if min(r.min(), c.min()) < 0 or r.max() >= mask.shape[0] or c.max() >= mask.shape[1]:
            continue
        if avoid[r, c].mean() > (CROSSING if near else 0):
            continue
        other = np.zeros_like(mask)
        other[r, c] = ~avoid[r, c]
        found.append(other)
        if len(found) == PLACES:
            break
    return found


def sheets(folder: Path, out: Path, side: int = 512) -> None:
    """Draw the pictures to read by eye with the outlines of what was found: 20 to a sheet, four in a row."""
    from PIL import Image

    every = [p for label in LABELS for p in sorted((folder / label / "images").glob("*.jpg"))]
    order = np.random.default_rng(SHEET_SEED).permutation(len(every))[SHEET]
    colours = {"corner": (255, 0, 255), "text": (255, 220, 0), "calipers": (0, 255, 255), "frame": (255, 0, 0)}
    out.mkdir(parents=True, exist_ok=True)
    sheet = Image.new("RGB", (4 * side, 5 * side))
    for n, path in enumerate(every[i] for i in order):
        picture = Image.open(path).convert("L")
        wide, high = (round(v * side / max(picture.size)) for v in picture.size)
        shown = np.array(picture.convert("RGB").resize((wide, high), Image.Resampling.BICUBIC))
        for kind, mask in busi_marks.marks(np.asarray(picture, np.float32)).items():
            large = np.asarray(Image.fromarray(mask).resize((wide, high), Image.Resampling.NEAREST))
            shown[large & ~ndimage.binary_erosion(large)] = colours[kind]
        sheet.paste(Image.fromarray(shown), (n % 4 * side, n % 20 // 4 * side))
        sys.stderr.write(f"{n} {path.stem}\n")
        if n % 20 == 19:
            sheet.save(out / f"marks-{n // 20}.png")
            sheet = Image.new("RGB", sheet.size)
