"""Maps as DICOM objects: what was read, drawn and judged, handed to the room that writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.image import MedicalImage
from saliscope.read import Limits, Source, headers
from saliscope.write.dicom.kinds import KINDS, ObjectKind, chosen, refuse_unfit
from saliscope.write.record import json_bytes

if TYPE_CHECKING:
    from saliscope.figures.reading import Reading
    from saliscope.write.dicom.result import Outline, Result
    from saliscope.write.dicom.source import DicomSource

#: The folder of the objects of a map, within that of the map, and the file that says what is in it.
FOLDER, LIST = "dicom", "objects.json"
#: Objects that show the pixels of the source, and with them whatever is written in these.
PICTURES = ("secondary-capture", "pdf")


@dataclass(frozen=True)
class DicomPlan:
    """Which objects are written of every map: profiles and kinds joined by "+"; with pseudonyms, or the names as sent.

    Raises WriteError for a word that is neither a profile nor a kind.
    """

    words: str
    pseudonymise: bool = False

    def __post_init__(self) -> None:
        chosen(self.words)

    @property
    def kinds(self) -> tuple[ObjectKind, ...]:
        """Return the kinds of object, in the order of making."""
        return chosen(self.words)

    @property
    def asked(self) -> Mapping[str, Any]:
        """Return what makes two plans the same, as plain data."""
        return {"profile": self.words, "pseudonymise": self.pseudonymise}

    def opened(self, source: Source, limits: Limits) -> DicomCase:
        """Return the case that results are written of; raises InputError for what is no DICOM, and WriteError."""
        from saliscope.write.dicom.source import DicomSource
        from saliscope.write.dicom.unnamed import named

        read, planes = headers(source, limits)
        said = named(read)
        return DicomCase(self, DicomSource(tuple(read), tuple(planes)), datetime.now(UTC), said)


@dataclass(frozen=True)
class MapObjects:
    """The objects of one map: files by name, with the list of them, and why others were left out."""

    files: Mapping[str, bytes]
    kinds: tuple[str, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Return in words what was written and what was not."""
        return _said(self.kinds, self.left_out, self.notes)


@dataclass(frozen=True, eq=False)
class DicomCase:
    """The DICOM side of a case: its source, when its results are made, and what is to be said of the source."""

    plan: DicomPlan
    source: DicomSource
    time: datetime
    notes: tuple[str, ...] = ()

    def check(self, image: MedicalImage) -> None:
        """Raise WriteError for an image that the profile is not for, before anything is explained."""
        refuse_unfit(self.plan.words, "volume" if image.geometry.ndim == 3 else "2D")

    @cached_property
    def _kinds(self) -> tuple[tuple[ObjectKind, ...], dict[str, str]]:
        """Return the kinds to be written, and why others are not."""
        if not self.plan.pseudonymise:
            return self.plan.kinds, {}
        from saliscope.write.dicom.pseudonyms import pixels_may_name

        why = pixels_may_name(self.source)
        kept = tuple(k for k in self.plan.kinds if not (why and k.name in PICTURES))
        return kept, {k.name: why for k in self.plan.kinds if k not in kept}

    def objects(
        self, image: MedicalImage, readings: Iterable[Reading], cards: Sequence[Mapping[str, Any] | None] = ()
    ) -> Iterator[MapObjects]:
        """Give the objects of the maps, one map at a time, because those of a volume are large; raises WriteError."""
        for number, reading in enumerate(readings):
            yield self.objects_of(image, reading, number, cards[number] if cards else None)

    def objects_of(
        self, image: MedicalImage, reading: Reading, number: int, card: Mapping[str, Any] | None = None
    ) -> MapObjects:
        """Return the objects of one map, which is that `number` (from 0) of its case; raises WriteError."""
        from saliscope.write.dicom.objects import dicom_files
        from saliscope.write.dicom.stamp import Stamp

        kinds, without = self._kinds
        stamp = Stamp(self.time, number=number, after=self._after)
        written = dicom_files(result_of(image, reading, card), self.source, kinds, stamp)
        left_out = {**without, **written.left_out}
        names = tuple(name.removesuffix(".dcm") for name in written.files)
        listed = {
            "profile": self.plan.words,
            "pseudonymised": self.plan.pseudonymise,
            "objects": {name: hashlib.sha256(data).hexdigest() for name, data in written.files.items()},
            "left_out": left_out,
            "notes": self.notes,
        }
        files = {**written.files, LIST: json_bytes(listed)}
        placed = {f"{FOLDER}/{name}": data for name, data in files.items()}
        return MapObjects(placed, names, left_out, self.notes)

    @cached_property
    def _after(self) -> Any:
        if not self.plan.pseudonymise:
            return None
        from saliscope.read.naming import case_key
        from saliscope.write.dicom.pseudonyms import Pseudonyms

        return Pseudonyms(case_key())


def objects_in(folder: Path, explanations: Sequence[str]) -> tuple[str, ...]:
    """Return in words what DICOM lies in the folders of a case's explanations, each sentence once."""
    paths = [folder / name / FOLDER / LIST for name in explanations]
    listed = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
    said = [_said([n.removesuffix(".dcm") for n in one["objects"]], one["left_out"], one["notes"]) for one in listed]
    return tuple(dict.fromkeys(said))


def _said(kinds: Sequence[str], left_out: Mapping[str, str], notes: Sequence[str]) -> str:
    in_order = [kind for kind in KINDS if kind in kinds]
    rest = "; ".join((*(f"no {kind}: {why}" for kind, why in left_out.items()), *notes))
    return f"DICOM: {', '.join(in_order)}" + (f" ({rest})" if rest else "")


def result_of(image: MedicalImage, reading: Reading, card: Mapping[str, Any] | None = None) -> Result:
    """Return a map with all that DICOM objects say of it; pictures are drawn when they are asked for."""
    from saliscope.write.dicom.result import Result

    focus = reading.focus
    labels = focus.labels if focus is not None else np.zeros(image.geometry.shape, np.uint8)

    def capture() -> Any:
        from saliscope.figures.capture import capture

        return capture(image, reading, card)

    def report() -> bytes:
        from saliscope.figures.report import report

        return report(image, reading, card)

    def lines() -> tuple[Outline, ...]:
        from saliscope.figures.outlines import outlines
        from saliscope.write.dicom.result import Outline

        return tuple(Outline(plane, region, points) for plane, region, points in outlines(image, reading))

    return Result(reading.explanation, image, reading.values, labels, reading.record(), card, capture, lines, report)
