"""Shows and stores explanations: hands what figures draws to what writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.view import View

if TYPE_CHECKING:
    from PIL.Image import Image

    from saliscope.figures.reading import Reading
    from saliscope.model.card import Card


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

    def write_case(self, found: Sequence[Explanation], folder: Path, card: Card | None = None) -> list[str]:
        """Write the folder of a case with all its explanations; return the names of theirs.

        Raises WriteError when the folder is there already or cannot be written; nothing is left then.
        """
        from saliscope.figures.overlay import overlay_png
        from saliscope.figures.page import page, thumbnail
        from saliscope.figures.reading import interpret
        from saliscope.write.bundle import write_explanation
        from saliscope.write.folder import new_folder

        names = folder_names(found)
        with new_folder(folder) as place:
            readings = []
            for name, explanation in zip(names, found, strict=True):
                reading = interpret(explanation, self.image)
                picture = overlay_png(self.image, reading)
                record = {"image": described_image(self.image), **described(explanation, reading, card)}
                write_explanation(place / name, explanation, reading.values, self.image.geometry, picture, record)
                readings.append(reading)
            view = self.view.tensor[0].detach().cpu().float().numpy()
            (place / "page.html").write_text(page(self.image, readings, view), encoding="utf-8")
            (place / "thumbnail.png").write_bytes(thumbnail(self.image, readings[0]))
        return names


@dataclass(frozen=True)
class Kept:
    """What an earlier run wrote of a case."""

    sentence: str
    folders: tuple[str, ...]


def written_before(folder: Path, image: str) -> Kept | None:
    """Return what a complete case folder holds, or None where there is none of this image."""
    records = sorted(folder.glob("*/explanation.json"))
    read = [json.loads(path.read_text(encoding="utf-8")) for path in records]
    if not read or any(r["provenance"]["image"] != image for r in read):
        return None
    return Kept(
        "; ".join(dict.fromkeys(r["prediction"]["sentence"] for r in read)), tuple(p.parent.name for p in records)
    )


def folder_names(found: Sequence[Explanation]) -> list[str]:
    """Return "<target>.<method>" for each explanation, in characters that every file system takes."""
    return [f"{_plain(e.target)}.{_plain(e.provenance.method)}" for e in found]


def described(explanation: Explanation, reading: Reading, card: Card | None) -> dict[str, Any]:
    """Return all that is known of an explanation as plain data."""
    prediction = explanation.prediction
    said = {**asdict(prediction), "sentence": prediction.sentence(explanation.target)}
    model = {} if card is None else {"title": card.title, "intended": card.intended, "limits": list(card.limits)}
    return {
        "target": explanation.target,
        "prediction": said,
        "traits": asdict(explanation.traits),
        "model": model,
        "native_grid": described_geometry(explanation.geometry),
        "seen_grid": described_geometry(explanation.seen),
        "provenance": _plain_provenance(explanation),
        "reading": reading.record(),
    }


def described_image(image: MedicalImage) -> dict[str, Any]:
    """Return what is known of an image, without its values, as plain data."""
    return {
        "name": image.name,
        "digest": image.digest,
        "modality": image.modality,
        "units": image.units,
        "notes": list(image.notes),
        "grid": described_geometry(image.geometry),
    }


def described_geometry(geometry: Geometry) -> dict[str, Any]:
    """Return a grid as plain data."""
    return asdict(geometry)


def _plain_provenance(explanation: Explanation) -> dict[str, Any]:
    fields = vars(explanation.provenance)
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in fields.items()}


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "+-_") else "-" for c in text).strip("-") or "unnamed"
