"""Explanations of an earlier run shown again: with their image as before, without it as far as the folder goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.errors import CardError, GeometryError, InputError
from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.core.placed import Grid, PlacedMap
from saliscope.model.view import View, Viewing
from saliscope.study.present import Showing, placed_on
from saliscope.study.stored import Stored, grid_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from saliscope.core.explanation import Source
    from saliscope.figures.gallery import Tile


@dataclass(frozen=True, eq=False)
class Reopened:
    """Who shows an explanation without its image: on any grid, by the picture that was saved, and as heat alone."""

    folder: Path
    record: Mapping[str, Any]
    card: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """Return the name of the image."""
        return str(self.record["image"]["name"])

    def placed(self, explanation: Explanation, grid: Grid) -> PlacedMap:
        """Return the map on the grid of the image, or of what the network saw of it."""
        return placed_on(explanation, grid_of(self.record["map"]["grid"]) if grid == "image" else explanation.seen)

    def overlay(self, explanation: Explanation, most: int | None = None) -> Image:  # noqa: ARG002 - as it was saved
        """Return the picture that was saved, shrunk so that no side is longer than twice `most`."""
        from PIL import Image

        if self.record["map"]["picture"] is None:
            raise InputError(
                f"{self.folder.name}, which was written without pictures",
                expected="the image, to draw one",
                do="Load it with its image: Explanation.load(folder, image=...)",
            )
        with Image.open(self.folder / self.record["map"]["picture"]) as file:
            picture = file.convert("RGB")
        if most is not None:
            picture.thumbnail((2 * most, 2 * most))
        return picture

    def tile(self, explanation: Explanation, most: int) -> Tile:
        """Return a small picture of the heat alone; nothing of a map that its card hides."""
        from saliscope.figures.gallery import Tile, tile
        from saliscope.figures.reading import interpret

        if self.card is not None and self.card["map_hidden"]:
            return Tile(None, "Hidden: its card says that the map should not be read.")
        blank = self._blank()
        alone = tile(blank, interpret(explanation, blank), most, alone=True)
        return replace(alone, said=f"{alone.said} The image is not loaded.".strip())

    def gallery(self, explanations: Sequence[Explanation]) -> str:
        """Return small pictures of explanations as HTML."""
        from saliscope.study.notebook import gallery_of

        return gallery_of(explanations)

    def save(self, explanations: Sequence[Explanation], folder: Path) -> Path:
        """Write those whose image is at hand; raises WriteError that says what to do where it is not."""
        from saliscope.study.saving import save_all

        return save_all(explanations, folder)

    def _blank(self) -> MedicalImage:
        grid, told = grid_of(self.record["map"]["grid"]), self.record["image"]
        black = np.broadcast_to(np.uint8(0), (1, *grid.shape))
        nothing = np.broadcast_to(np.float32(0), (1, *grid.shape))
        return MedicalImage(nothing, black, grid, told["modality"], told["units"], told["sha256"], told["name"])


def shown_again(found: Sequence[Stored], image: Source) -> list[Explanation]:
    """Return stored explanations with their images beside them; raises InputError for one whose image is not given."""
    from torch import Tensor

    given = list(image) if isinstance(image, list | tuple) else [image]
    tensors = [one for one in given if isinstance(one, Tensor)]
    images = {i.digest: i for i in (_read(one) for one in given if not isinstance(one, Tensor))}
    again = []
    for one in found:
        digest = one.explanation.provenance.image
        known = images.get(digest)
        showing = _of_image(known, one) if known is not None else _of_tensor(tensors, one)
        if showing is None:
            raise InputError(
                f"another image than the one that was explained in {one.folder.name}",
                expected=f"the very image with the SHA-256 {digest[:12]}..., unchanged",
                do="Give the file, MedicalImage or tensor that was explained, or load without an image",
            )
        again.append(replace(one.explanation, presenter=showing))
    return again


def _read(one: Any) -> MedicalImage:
    if isinstance(one, MedicalImage):
        return one
    if not isinstance(one, str | Path):
        raise InputError(
            f"an image of type {type(one).__name__}",
            expected="a path, a MedicalImage, a tensor (N, C, *S), or a list of these",
            do="Give what was explained",
        )
    from saliscope.read import read

    return read(one)


def _of_image(image: MedicalImage, one: Stored) -> Showing:
    """Return who shows a map on its image, under the name that the image had among others."""
    told, p = one.record["image"], one.explanation.provenance
    view = None
    if p.viewing:
        try:
            viewing = Viewing.of(p.viewing)
            view = viewing(image) if viewing.digest == p.view else None
        except (CardError, GeometryError, KeyError, TypeError):
            view = None  # a step that is no longer known: the page does without the view
    return Showing(replace(image, name=told["name"], notes=tuple(told["notes"])), view)


def _of_tensor(tensors: Sequence[Any], one: Stored) -> Showing | None:
    from saliscope.study.arrays import cases_of, grids_of, plain

    grid, told = grid_of(one.record["map"]["grid"]), one.record["image"]
    for x in tensors:
        for case in cases_of(plain(x), grids_of(x, grid.spacing if grid.unit == "mm" else None)):
            if case.image.digest == one.explanation.provenance.image:
                return Showing(replace(case.image, name=told["name"]), View(case.view.tensor, case.view.geometry))
    return None
