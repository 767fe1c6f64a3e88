"""The images of an audit with what a table says of each, and the mask drawn for it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saliscope.core.errors import InputError
from saliscope.core.image import MedicalImage
from saliscope.model.network import Network
from saliscope.read import Limits, Source
from saliscope.study.explain import Case
from saliscope.study.present import Showing

#: The column that names an image's file (or its folder), and those with a meaning of their own; others are metadata.
IMAGE, PATIENT, LABEL = "image", "patient", "label"
MOST_ROWS = 1_000_000
#: What is known of the images: a CSV, or its rows by column.
Table = Path | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class InMemory:
    """An image that need not be read, in the place of a file."""

    image: MedicalImage

    @property
    def name(self) -> str:
        """Return the name of the image."""
        return self.image.name

    def load(self, limits: Limits) -> MedicalImage:  # noqa: ARG002 - it is there already
        """Return the image."""
        return self.image


@dataclass(frozen=True)
class Member:
    """One image of a cohort, loaded when it is needed: `row` is what the table says of it, `mask` a file."""

    source: Source | InMemory
    row: Mapping[str, str] = field(default_factory=dict)
    mask: Path | None = None

    @property
    def patient(self) -> str:
        """Return the patient, or the image where none is named, so that each stands for itself."""
        return self.row.get(PATIENT) or self.source.name

    @property
    def label(self) -> str:
        """Return the label of the table; empty where it names none."""
        return self.row.get(LABEL, "")

    @property
    def metadata(self) -> Mapping[str, str]:
        """Return what else the table says."""
        return {k: v for k, v in self.row.items() if k not in (IMAGE, PATIENT, LABEL)}

    def case(self, network: Network, limits: Limits) -> Case:
        """Return the image with the view of it that a network sees; raises InputError."""
        image = self.source.load(limits)
        return Case(image, network.viewing(image), Showing)


@dataclass(frozen=True)
class Group:
    """The members of a cohort, where it is from in words, and what was left out by reason."""

    members: tuple[Member, ...]
    source: str
    excluded: Mapping[str, int] = field(default_factory=dict)

    @property
    def patients(self) -> int | None:
        """Return how many patients there are; None where the table names none for some image."""
        named = [m.row.get(PATIENT) for m in self.members]
        return len(set(named)) if all(named) else None


def group(sources: Sequence[Source | InMemory], table: Table | None, masks: Path | None) -> Group:
    """Return the cohort of some images; a table is a CSV, or its rows.

    With a table those without a row are left out and counted. Raises InputError for a table without the column
    "image", with two rows of one image, or with a row for none of the images, and for masks that fit no image.
    """
    rows = {} if table is None else _rows(table) if isinstance(table, Path) else _of_rows("the table", table)
    named = table.name if isinstance(table, Path) else "the table"
    drawn = _masks(masks) if masks is not None else {}
    members = []
    for source in sources:
        names = _names(source)
        row = next((rows[name] for name in names if name in rows), None)
        if table is not None and row is None:
            continue
        mask = next((drawn[name] for name in names if name in drawn), None)
        members.append(Member(source, row or {}, mask))
    if table is not None and not members:
        raise _none_fits(named, "a row", 'the file names of the images in the column "image"')
    if masks is not None and not any(m.mask for m in members):
        raise _none_fits(masks, "a file", "masks named like their images")
    left = len(sources) - len(members)
    excluded = {"no row in the table": left} if left else {}
    return Group(tuple(members), named if table is not None else "the images named", excluded)


def _names(source: Source | InMemory) -> tuple[str, ...]:
    """Return what an image may be called in a table: its file, the file without its endings, its folder, its case."""
    if isinstance(source, InMemory):
        return (source.name,)
    first = Path(source.items[0].label) if source.members else source.paths[0]
    own = (first.name, _stem(first)) if len(source.paths) == 1 else ()
    return (*own, first.parent.name, source.name) if len(source.paths) > 1 else (*own, source.name)


def _rows(table: Path) -> dict[str, dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            read = csv.DictReader(file)
            if IMAGE not in (read.fieldnames or ()):
                raise _without_image(str(table), read.fieldnames or ())
            return _of_rows(str(table), read)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{table}, which cannot be read ({error})", expected="a CSV in UTF-8", do="Check it."
        ) from error


def _of_rows(table: str, rows: Iterable[Mapping[Any, Any]]) -> dict[str, dict[str, str]]:
    """Return the rows of a table by image; the first row of a CSV, its names, is number 1."""
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        if not isinstance(row, Mapping) or IMAGE not in row:
            raise _without_image(table, row if isinstance(row, Mapping) else ())
        name = Path(str(row[IMAGE] or "")).name
        if not name or name in found or number > MOST_ROWS or None in row:
            raise InputError(
                f"{table}, row {number}, for the image {name!r}",
                expected="one row for each image, no longer than the first",
                do="Correct the table.",
            )
        found[name] = {str(k): "" if v is None else str(v).strip() for k, v in row.items()}
    return found


def _without_image(table: str, columns: Iterable[Any]) -> InputError:
    return InputError(
        f"{table} with the columns {', '.join(map(str, columns)) or 'none'}",
        expected='a column "image" with the file names of the images',
        do='Name the columns in the first row; "patient" and "label" have a meaning of their own.',
    )


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}", expected="a folder of masks", do="Check the path.")
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return {name: path for path in files for name in (path.name, _stem(path))}


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _none_fits(path: Path | str, what: str, expected: str) -> InputError:
    return InputError(f"{path}, which has {what} for none of the images", expected=expected, do="Check the names.")
