"""One case that was found: known by its headers, decoded when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from saliscope.core.errors import InputError
from saliscope.core.image import MedicalImage
from saliscope.read.guard import Guard
from saliscope.read.item import Item
from saliscope.read.limits import Limits

SourceKind = Literal["dicom", "dicom-series", "nifti", "picture"]


@dataclass(frozen=True)
class Source:
    """One case: its kind, its files, and a name that holds no identifier and is unique among those found with it.

    `frame` chooses, from 0, among frames that make no volume; `members` are the files inside a zip, if `paths` is one.
    """

    kind: SourceKind
    paths: tuple[Path, ...]
    name: str
    frame: int = 0
    members: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """Return the files, on disk or in the zip."""
        if self.members:
            return tuple(Item(self.paths[0], m) for m in self.members)
        return tuple(Item(p) for p in self.paths)

    def load(self, limits: Limits = Limits()) -> MedicalImage:  # noqa: B008  (frozen)
        """Return the image; raises InputError in one of its kinds."""
        with Guard(self.items[0].label, "reading it"):
            image = _load(self, limits)
        return replace(image, notes=(*self.notes, *image.notes)) if self.notes else image


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, and why."""

    path: Path
    error: InputError


def _load(source: Source, limits: Limits) -> MedicalImage:
    if source.kind == "dicom-series":
        from saliscope.read.series import load_series

        return load_series(source.items, source.name, limits)
    if source.kind == "dicom":
        from saliscope.read.dicom import load_dicom

        return load_dicom(source.items[0], source.name, source.frame, limits)
    if source.kind == "nifti":
        from saliscope.read.nifti import load_nifti

        return load_nifti(source.items[0], source.name, limits)
    from saliscope.read.picture import load_picture

    return load_picture(source.items[0], source.name, limits)
