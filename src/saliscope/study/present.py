"""Shows and stores explanations: hands what figures draws to what writes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.placed import Grid, PlacedMap
from saliscope.core.region import Mask
from saliscope.model.view import View
from saliscope.study.case_record import FILE, CaseRecord, Write, row_of
from saliscope.write.record import exact, sealed

if TYPE_CHECKING:
    from PIL.Image import Image

    from saliscope.figures.gallery import Tile
    from saliscope.figures.page import CasePage
    from saliscope.figures.reading import Reading
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
        write: Write = "pages",
        earlier: CaseRecord | None = None,
        asked: Mapping[str, Sequence[str]] | None = None,
        source: str = "",
    ) -> CaseRecord:
        """Write the folder of a case with all its explanations, one after another; return what it says of itself.

        `cards` are explanation cards as plain data, one for each explanation or none at all; `dicom` writes objects.
        The maps of an `earlier` record of the folder stay, those among `found` that it holds are not written again.
        Raises WriteError when the folder is there already or cannot be written; nothing is left then.
        """
        from saliscope.write import new_folder, write_files

        with new_folder(folder, overwrite) as place:
            case = _CaseFolder(self, place, dicom, write)
            none: list[Mapping[str, Any] | None] = [None] * len(found)
            rows = earlier.maps if earlier is not None else ()
            for row in rows:
                case.keep(folder / str(row["folder"]))
            for explanation, card in zip(found, cards or none, strict=True):
                case.add(explanation, card)
            case.rows += [row for row in rows if not case.record.holds(row)]
            record = replace(case.record, source=source, asked=asked or {})
            write_files(place, {**case.whole(), FILE: record.file()})
        return record


@dataclass(eq=False)
class _CaseFolder:
    """The folder of a case while it is written: of each map, one at a time, its files, and its part of the page."""

    showing: Showing
    place: Path
    dicom: DicomCase | None
    write: Write
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    page: CasePage | None = None
    small: bytes = b""

    @property
    def record(self) -> CaseRecord:
        """Return what the folder says of itself so far."""
        return CaseRecord(self.showing.image.digest, write=self.write, maps=tuple(self.rows))

    def add(self, explanation: Explanation, card: Mapping[str, Any] | None) -> None:
        """Write the files of a map that is not there yet."""
        from saliscope.figures.reading import interpret
        from saliscope.write import explanation_files, explanation_record, write_files

        image = self.showing.image
        reading = interpret(explanation, image)
        name = folder_name(explanation, [str(row["folder"]) for row in self.rows])
        row = row_of(explanation_record(explanation, image, reading.record()), name)
        if self.record.holds(row):
            return
        files: dict[str, bytes] = {}
        if self.write != "table":
            picture = self._picture(reading, card)
            files |= explanation_files(explanation, reading.values, image, picture, reading.record())
        files |= self._card(reading, card)
        if self.dicom is not None:
            files |= self.dicom.objects_of(image, reading, len(self.rows), card).files
        write_files(self.place, {f"{name}/{file}": data for file, data in files.items()})
        self._shown(reading, card, row)

    def keep(self, folder: Path) -> None:
        """Take over a map that an earlier run wrote, if it wrote its files; its part of the page is drawn again."""
        from saliscope.figures.reading import interpret
        from saliscope.study.stored import explanation_of

        if not (folder / RECORD).is_file():
            return
        into = self.place / folder.name
        shutil.copytree(folder, into, copy_function=_linked)
        record = json.loads((into / RECORD).read_text(encoding="utf-8"))
        reading = interpret(explanation_of(record, into), self.showing.image)
        card = next(iter(cards_in(self.place, [folder.name])), None)
        picture = self._picture(reading, card)
        if picture is not None and record["map"]["picture"] is None:
            for file, data in {"overlay.png": picture, **self._card(reading, card)}.items():
                _replace(into / file, data)
            record["map"]["picture"] = "overlay.png"
            files = {name: (into / name).read_bytes() for name in (*record.pop("files"), "overlay.png")}
            _replace(into / RECORD, sealed(exact(record), files))
        self._shown(reading, card, row_of(record, folder.name))

    def _picture(self, reading: Reading, card: Mapping[str, Any] | None) -> bytes | None:
        """Return the map over the image, the image alone where its card hides the map, None where none is written."""
        from saliscope.figures.card_page import hidden_png
        from saliscope.figures.overlay import overlay_png

        if self.write != "pages":
            return None
        draw = hidden_png if card is not None and card["map_hidden"] else overlay_png
        return draw(self.showing.image, reading)

    def _card(self, reading: Reading, card: Mapping[str, Any] | None) -> dict[str, bytes]:
        """Return the files of a map's card, with a picture where pages are written."""
        from saliscope.figures.card_page import card_page, card_picture
        from saliscope.write.card_files import card_files

        if card is None:
            return {}
        if self.write != "pages":
            return card_files(card, card_page(card, None, ""))
        image, view = self.showing.image, self.showing.view if _hid_areas(card) else None
        areas = outlined(reading.explanation, view, image) if view is not None else []
        return card_files(card, card_page(card, card_picture(image, reading, areas), f"../{PAGE}"))

    def _shown(self, reading: Reading, card: Mapping[str, Any] | None, row: dict[str, Any]) -> None:
        from saliscope.figures.page import CasePage, thumbnail
        from saliscope.write.card_files import CARD_PAGE

        if self.write == "pages":
            if self.page is None:
                view = self.showing.view
                seen = None if view is None else view.tensor[0].detach().cpu().float().numpy()
                self.page = CasePage(self.showing.image, seen)
                self.small = thumbnail(self.showing.image, reading, heat=card is None or not card["map_hidden"])
            self.page.add(reading, None if card is None else (card, f"{row['folder']}/{CARD_PAGE}"))
        self.rows.append(row)

    def whole(self) -> dict[str, bytes]:
        """Return the files that tell of all maps."""
        return {} if self.page is None else {PAGE: self.page.html().encode(), THUMBNAIL: self.small}


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _replace(path: Path, data: bytes) -> None:
    """Write a file anew where it may be one with that of the earlier folder, which must stay as it is."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


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


def cards_in(folder: Path, explanations: Sequence[str]) -> list[dict[str, Any]]:
    """Return the explanation cards, as plain data, in the folders of a case's explanations."""
    from saliscope.write.card_files import CARD

    paths = [folder / name / CARD for name in explanations]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def folder_names(found: Sequence[Explanation]) -> tuple[str, ...]:
    """Return "<target>.<method>" for each explanation, in characters that every file system takes, each one once."""
    names: list[str] = []
    for e in found:
        names.append(folder_name(e, names))
    return tuple(names)


def folder_name(explanation: Explanation, taken: Collection[str]) -> str:
    """Return the folder of an explanation among others that are taken."""
    from saliscope.write import safe_name

    name = stem = f"{safe_name(explanation.target)}.{safe_name(explanation.provenance.method)}"
    number = 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name
