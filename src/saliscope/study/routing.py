"""Which series of a study are explained, by which rule: the first that fits, and never what saliscope itself made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.pacs.config import Rule
from saliscope.pacs.queue import Received, Study
from saliscope.write.dicom.stamp import MANUFACTURER

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = (
    "Modality", "BodyPartExamined", "SeriesDescription", "Manufacturer", "ManufacturerModelName",
    "ContributingEquipmentSequence", "ImageType",
)  # fmt: skip
OURS, NO_RULE, UNREADABLE, LOCALIZER = "made by saliscope", "fits no rule", "cannot be read", "for planning only"


@dataclass(frozen=True)
class Series:
    """One series of a study: what rules ask about, whether saliscope made it or it is a localizer, its files."""

    modality: str
    body_part: str
    description: str
    ours: bool
    localizer: bool
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Task:
    """What is to be done by one rule: all files of the series that it explains."""

    rule: Rule
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Routed:
    """The tasks of a study, and how many series are left, by the reason why."""

    tasks: tuple[Task, ...]
    left: Mapping[str, int]

    @property
    def sentence(self) -> str:
        """Return in words what is left, "" where nothing is."""
        return ", ".join(f"{n} series {why}" for why, n in self.left.items())


def routed(study: Study, rules: Sequence[Rule]) -> Routed:
    """Return what is to be done for the fresh series of a study."""
    tasks: dict[str, tuple[Rule, list[Path]]] = {}
    left: dict[str, int] = {}
    for uid in study.fresh:
        why = _placed(series_of([o for o in study.objects if o.series_uid == uid]), rules, tasks)
        if why:
            left[why] = left.get(why, 0) + 1
    return Routed(tuple(Task(rule, tuple(paths)) for rule, paths in tasks.values()), left)


def series_of(objects: Sequence[Received]) -> Series | None:
    """Return what the first of a series' objects says of it, or None where its header cannot be read."""
    from pydicom import dcmread

    try:
        ds = dcmread(objects[0].path, stop_before_pixels=True, specific_tags=list(_TAGS))
        words = [str(ds.get(tag, "") or "").strip() for tag in _TAGS[:3]]
        ours = made_here(ds)
        kind = ds.get("ImageType")
        localizer = "LOCALIZER" in ([kind] if isinstance(kind, str) else list(kind or ()))  # PS3.3 C.8.2.1.1.1
    except Exception:  # noqa: BLE001 - a header that breaks the parser is one that cannot be read, whatever breaks
        return None
    return Series(words[0], words[1], words[2], ours, localizer, tuple(o.path for o in objects))


def made_here(ds: Dataset) -> bool:
    """Return whether an object is a result of saliscope: its equipment, or one that contributed, says so."""
    if (ds.get("Manufacturer"), ds.get("ManufacturerModelName")) == (MANUFACTURER, MANUFACTURER):
        return True
    items = ds.get("ContributingEquipmentSequence") or ()
    return any(item.get("Manufacturer") == MANUFACTURER for item in items)


def _placed(series: Series | None, rules: Sequence[Rule], tasks: dict[str, tuple[Rule, list[Path]]]) -> str:
    """Add a series to the task of the first rule that fits; return why it is left, or ""."""
    if series is None:
        return UNREADABLE
    if series.ours:
        return OURS
    if series.localizer:
        return LOCALIZER
    for rule in rules:
        if rule.fits(series.modality, series.body_part, series.description):
            tasks.setdefault(rule.name, (rule, []))[1].extend(series.paths)
            return ""
    return NO_RULE
