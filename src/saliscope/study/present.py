"""Shows and stores explanations: hands what figures draws to what writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.model.view import View

if TYPE_CHECKING:
    from PIL.Image import Image

PAGE, THUMBNAIL, RECORD = "page.html", "thumbnail.png", "explanation.json"


@dataclass(frozen=True, eq=False)
class Showing:
    """The presenter of one case: the image and the view of it that the network saw."""

    image: MedicalImage
    view: View

    def overlay(self, explanation: Explanation) -> Image:
        """Return the picture (RGB) of the map over its image, with its legend."""
        from saliscope.figures.overlay import overlay
        from saliscope.figures.reading import interpret

        return overlay(self.image, interpret(explanation, self.image))

    def save(self, explanation: Explanation, folder: Path) -> Path:
        """Write page, overlay, maps and record into a new folder, whole or not at all; return its path."""
        self.write_case([explanation], folder)
        return folder

    def write_case(self, found: Sequence[Explanation], folder: Path, *, overwrite: bool = False) -> tuple[str, ...]:
        """Write the folder of a case with all its explanations; return the names of theirs.

        Raises WriteError when the folder is there already or cannot be written; nothing is left then.
        """
        from saliscope.figures.overlay import overlay_png
        from saliscope.figures.page import page, thumbnail
        from saliscope.figures.reading import interpret
        from saliscope.write import explanation_files, new_folder, write_files

        names = folder_names(found)
        with new_folder(folder, overwrite) as place:
            readings = [interpret(explanation, self.image) for explanation in found]
            for name, explanation, reading in zip(names, found, readings, strict=True):
                picture = overlay_png(self.image, reading)
                files = explanation_files(explanation, reading.values, self.image, picture, reading.record())
                write_files(place, {f"{name}/{file}": data for file, data in files.items()})
            view = self.view.tensor[0].detach().cpu().float().numpy()
            whole = {PAGE: page(self.image, readings, view).encode(), THUMBNAIL: thumbnail(self.image, readings[0])}
            write_files(place, whole)
        return names


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
