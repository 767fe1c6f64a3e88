"""The pictures of BUSI with what is known of them, parted as the recipe of `breast-ultrasound` parts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import breast_ultrasound as recipe
import busi_marks
import numpy as np
import numpy.typing as npt
from busi_erasing import moved

from saliscope.core.image import MedicalImage
from saliscope.model.card import find
from saliscope.read import read

Mask = npt.NDArray[np.bool_]
#: How many pictures of either kind of lesion are drawn, and from which seed.
EACH, SEED = 20, 0


@dataclass(frozen=True)
class MarkRow:
    """How much of a picture (a share of its elements) the marks of each kind cover."""

    picture: str
    label: str
    part: str
    group: int
    corner: float
    text: float
    calipers: float
    frame: float


@dataclass(frozen=True)
class Picture:
    """A picture with what is known of it."""

    path: Path
    label: str
    part: str
    group: int

    @property
    def name(self) -> str:
        """Return the name within the data set."""
        return f"{self.label}/{self.path.stem}"

    @cached_property
    def image(self) -> MedicalImage:
        """Return the picture as read."""
        return read(self.path)

    @cached_property
    def lesion(self) -> Mask:
        """Return the outlined lesion (row, column)."""
        drawn: Mask = read(self.path.parents[1] / "masks" / f"{self.path.stem}.png").display[0] > 0
        return drawn

    @cached_property
    def marks(self) -> dict[str, Mask]:
        """Return what the finder of marks found."""
        return busi_marks.marks(self.image.display[0].astype(np.float32))

    @cached_property
    def beside(self) -> dict[str, list[Mask]]:
        """Return the shapes of the marks a little off them."""
        every = np.logical_or.reduce(list(self.marks.values()))
        return {kind: moved(mask, every, near=True) if mask.any() else [] for kind, mask in self.marks.items()}


def gathered(folder: Path) -> tuple[list[Picture], recipe.Data]:
    """Return all pictures, in the order of the recipe, and what the recipe makes of them."""
    data = recipe.gathered(folder, find(recipe.NAME))
    paths = [(p, label) for label in recipe.LABELS for p in sorted((folder / label / "images").glob("*.jpg"))]
    part = {int(n): name for name in ("training", "validation", "test") for n in getattr(data, name)}
    return [Picture(p, label, part[n], int(data.groups[n])) for n, (p, label) in enumerate(paths)], data


def chosen(pictures: Sequence[Picture]) -> list[Picture]:
    """Return EACH malignant and benign held-out pictures, in turn, of different groups as long as these last.

    Half of either are drawn from those in which text or calipers were found, as long as these last.
    """
    rng = np.random.default_rng(SEED)
    drawn: list[list[Picture]] = []
    for label in ("malignant", "benign"):
        own = [p for p in pictures if p.part == "test" and p.label == label]
        order = [own[i] for i in rng.permutation(len(own))]
        first = {p.group: p for p in reversed(order)}
        order.sort(key=lambda p: first[p.group] is not p)
        marked = [p for p in order if p.marks["text"].any() or p.marks["calipers"].any()][: EACH // 2]
        others = [p for p in order if p not in marked and not (p.marks["text"].any() or p.marks["calipers"].any())]
        drawn.append(sorted([*marked, *others[: EACH - len(marked)]], key=order.index))
    return [p for pair in zip(*drawn, strict=True) for p in pair]


def mark_row(picture: Picture) -> MarkRow:
    """Return how much marks cover of a picture."""
    cover = {kind: float(mask.mean()) for kind, mask in picture.marks.items()}
    return MarkRow(picture.name, picture.label, picture.part, picture.group, **cover)
