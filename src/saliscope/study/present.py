"""Shows and stores explanations: hands what figures draws to what writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.placed import Grid, PlacedMap
from saliscope.core.region import Mask
from saliscope.model.view import View

if TYPE_CHECKING:
    from PIL.Image import Image

    from saliscope.figures.gallery import Tile
    from saliscope.study.dicom import DicomCase

PAGE, THUMBNAIL, RECORD = "page.html", "thumbnail.png", "explanation.json"


@dataclass(frozen=True, eq=False)
class Showing:
    """The presenter of one case: the image and the view of it that the network saw, None where that is not at hand."""

    image: MedicalImage
    view: View | None

    @property
    def name(self) -> str:
        """Return the name of the image."""
        return self.image.name

    def placed(self, explanation: Explanation, grid: Grid) -> PlacedMap:
        """Return the map on the grid of the image, or of what the network saw of it."""
        return placed_on(explanation, self.image.geometry if grid == "image" else explanation.seen)

    def overlay(self, explanation: Explanation, most: int | None = None) -> Image:
        """Return the picture (RGB) of the map over its image, with its legend."""
        from saliscope.figures.overlay import overlay
        from saliscope.figures.reading import interpret

        return overlay(self.image, interpret(explanation, self.image), most)

    def tile(self, explanation: Explanation, most: int) -> Tile:
        """Return a small picture of the map over its image, with the colours' ends."""
        from saliscope.figures.gallery import tile
        from saliscope.figures.reading import interpret

        return tile(self.image, interpret(explanation, self.image), most)

    def gallery(self, explanations: Sequence[Explanation]) -> str:
        """Return small pictures of explanations as HTML."""
        from saliscope.study.notebook import gallery_of

        return gallery_of(explanations)

    def save(self, explanations: Sequence[Explanation], folder: Path) -> Path:
        """Write page, overlay, maps and record into a new folder, whole or not at all; return its path."""
        from saliscope.study.saving import save_all

        return save_all(explanations, folder)

    def write_case(
        self,
        found: Sequence[Explanation],
        folder: Path,
        *,
        overwrite: bool = False,
        cards: Sequence[Mapping[str, Any]] = (),
        dicom: DicomCase | None = None,
    ) -> tuple[str, ...]:
        """Write the folder of a case with all its explanations; return the names of theirs.

        `cards` are explanation cards as plain data, one for each explanation or none at all; `dicom` writes objects.
        Raises WriteError when the folder is there already or cannot be written; nothing is left then.
        """
        from saliscope.figures.card_page import card_page, card_picture, hidden_png
        from saliscope.figures.overlay import overlay_png
        from saliscope.figures.page import page, thumbnail
        from saliscope.figures.reading import interpret
        from saliscope.write import explanation_files, new_folder, write_files
        from saliscope.write.card_files import CARD_PAGE, card_files

        names = folder_names(found)
        with new_folder(folder, overwrite) as place:
            readings = [interpret(explanation, self.image) for explanation in found]
            hidden = [bool(card["map_hidden"]) for card in cards] or [False] * len(found)
            for name, explanation, reading, closed in zip(names, found, readings, hidden, strict=True):
                picture = hidden_png(self.image, reading) if closed else overlay_png(self.image, reading)
                files = explanation_files(explanation, reading.values, self.image, picture, reading.record())
                write_files(place, {f"{name}/{file}": data for file, data in files.items()})
            for name, card, reading in zip(names, cards, readings, strict=True) if cards else ():
                view = self.view if _hid_areas(card) else None
                areas = outlined(reading.explanation, view, self.image) if view is not None else []
                html = card_page(card, card_picture(self.image, reading, areas), f"../{PAGE}")
                write_files(place, {f"{name}/{file}": data for file, data in card_files(card, html).items()})
            for name, objects in zip(names, dicom.objects(self.image, readings, cards), strict=True) if dicom else ():
                write_files(place, {f"{name}/{file}": data for file, data in objects.files.items()})
            shown = self.view.tensor[0].detach().cpu().float().numpy() if self.view is not None else None
            linked = [(card, f"{name}/{CARD_PAGE}") for card, name in zip(cards, names, strict=True)] if cards else []
            whole = {
                PAGE: page(self.image, readings, shown, linked).encode(),
                THUMBNAIL: thumbnail(self.image, readings[0], heat=not hidden[0]),
            }
            write_files(place, whole)
        return names


def placed_on(explanation: Explanation, grid: Geometry) -> PlacedMap:
    """Return a map on another grid; on its own it keeps every value."""
    from saliscope.figures.place import placed

    if grid == explanation.geometry:
        return PlacedMap(explanation.values, grid)
    return PlacedMap(placed(explanation.values, explanation.geometry, grid, explanation.seen), grid)


def outlined(explanation: Explanation, view: View, image: MedicalImage) -> list[Mask]:
    """Return the areas (*S) on the image's grid that a card numbers: those that its checks hid one by one."""
    from saliscope.trust.checks.region import SPOTS
    from saliscope.trust.claim import claim
    from saliscope.trust.regions.onto import onto
    from saliscope.trust.subject import on_view

    values = on_view(explanation, view)
    found = claim(values) if np.isfinite(values).all() else None
    spots = found.spots[:SPOTS] if found is not None else ()
    return [onto(spot.mask, view.geometry, image.geometry) for spot in spots]


def _hid_areas(card: Mapping[str, Any]) -> bool:
    return any(c["check"] == "islands" and c["outcome"] != "not-run" for c in card["checks"])


@dataclass(frozen=True)
class Kept:
    """What an earlier run wrote of a case."""

    sentence: str
    folders: tuple[str, ...]


def written_before(folder: Path, image: str) -> Kept | None:
    """Return what a complete case folder holds, or None where there is none of this image."""
    paths = sorted(folder.glob(f"*/{RECORD}"))
    read = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    if not read or any(r["provenance"]["image_sha256"] != image for r in read):
        return None
    said = dict.fromkeys(r["prediction"]["sentence"] for r in read)
    return Kept("; ".join(said), tuple(p.parent.name for p in paths))


def cards_in(folder: Path, explanations: Sequence[str]) -> list[dict[str, Any]]:
    """Return the explanation cards, as plain data, in the folders of a case's explanations."""
    from saliscope.write.card_files import CARD

    paths = [folder / name / CARD for name in explanations]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def folder_names(found: Sequence[Explanation]) -> tuple[str, ...]:
    """Return "<target>.<method>" for each explanation, in characters that every file system takes, each one once."""
    from saliscope.write import safe_name

    names: dict[str, None] = {}
    for e in found:
        name = stem = f"{safe_name(e.target)}.{safe_name(e.provenance.method)}"
        number = 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names[name] = None
    return tuple(names)
