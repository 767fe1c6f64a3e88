"""What the folder of a case says of itself: of which image it is, what was asked of it, and one row for each map."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from saliscope.core.errors import WriteError, did_you_mean
from saliscope.core.protocols import Method
from saliscope.study.asking import described
from saliscope.write.record import csv_bytes, json_bytes, plain

#: What is written of each map: a row of a table; its record and NIfTI files too; its pictures and pages too.
Write = Literal["table", "maps", "pages"]
WRITES: tuple[Write, ...] = get_args(Write)
FILE, TABLE = "case.json", "maps.csv"
#: The columns of the table; lengths are in mm, areas in mm² and volumes in ml where the spacing is known.
COLUMNS = (
    "case", "image", "target", "method", "layer", "probability", "logit", "called", "state", "regions", "place",
    "x_mm", "y_mm", "z_mm", "size", "size_unit", "share", "coverage", "negative", "outside_body",
    "prediction", "sentence",
    "folder",
)  # fmt: skip


def write_of(word: str) -> Write:
    """Return what is to be written, by its name; raises WriteError for another."""
    for one in WRITES:
        if one == word:
            return one
    raise WriteError(f"--write {word!r}", expected=", ".join(WRITES), do=did_you_mean(word, WRITES))


@dataclass(frozen=True)
class CaseRecord:
    """A case as its folder tells it: its image's digest, a keyed hash of where that lay, what was written, its maps.

    `asked` holds the targets that were asked by each method, a method being its name and fields as JSON; `maps` one
    row for each map, with the fields of its method, so that the same map is not made twice.
    """

    image: str
    source: str = ""
    write: Write = "pages"
    asked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    maps: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return what a folder says of itself, or None where it is not that of a complete case."""
        try:
            told = json.loads((folder / FILE).read_text(encoding="utf-8"))
            write = write_of(told["write"])
            return cls(told["image"], told["source"], write, told["asked"], tuple(told["maps"]))
        except (OSError, ValueError, KeyError, TypeError, WriteError):
            return None

    def file(self) -> bytes:
        """Return it as the bytes of its file."""
        return json_bytes(asdict(self))

    @property
    def sentence(self) -> str:
        """Return in words what was predicted."""
        return "; ".join(dict.fromkeys(str(row["prediction"]) for row in self.maps))

    @property
    def folders(self) -> tuple[str, ...]:
        """Return the folders of the maps, or what they would be called."""
        return tuple(str(row["folder"]) for row in self.maps)

    def missing(
        self, methods: Mapping[str, Method], targets: Sequence[str]
    ) -> dict[tuple[str, ...], dict[str, Method]]:
        """Return which methods have yet to be asked for which targets."""
        found: dict[tuple[str, ...], dict[str, Method]] = {}
        for name, method in methods.items():
            rest = tuple(t for t in targets if t not in self.asked.get(key_of(name, method), ()))
            if rest:
                found.setdefault(rest, {})[name] = method
        return found

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return whether the map of a row is among the maps."""
        same = ("target", "method", "fields", "layer")
        return any(all(own[key] == row[key] for key in same) for own in self.maps)


def asked_too(
    earlier: Mapping[str, Sequence[str]], methods: Mapping[str, Method], targets: Sequence[str]
) -> dict[str, list[str]]:
    """Return what was asked of a case, with what is asked now."""
    found = {key: list(words) for key, words in earlier.items()}
    for name, method in methods.items():
        words = found.setdefault(key_of(name, method), [])
        words += [t for t in targets if t not in words]
    return found


def key_of(name: str, method: Method) -> str:
    """Return what makes two methods the same: name and fields, as they were asked."""
    return json.dumps(plain({"name": name, "fields": described(method)}), sort_keys=True)


def row_of(record: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the row of a map from its record, as plain data."""
    said, reading = record["prediction"], record["reading"]
    at = said["labels"].index(record["target"]) if record["target"] in said["labels"] else None
    region = reading["regions"][0] if reading["regions"] else {}
    x, y, z = region.get("centre_mm") or (None,) * 3
    shares, focus = reading["shares"] or {}, reading["focus"] or {}
    row = {
        "image": record["image"]["sha256"],
        "target": record["target"],
        "method": record["method"]["name"],
        "fields": record["method"]["fields"],
        "layer": record["layer"]["name"],
        "probability": said["probabilities"][at] if at is not None and said["probabilities"] else None,
        "logit": said["logits"][at] if at is not None else None,
        "called": None if at is None else record["target"] in said["called"],
        "state": reading["state"],
        "regions": len(reading["regions"]),
        "place": region.get("place"),
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "size": region.get("size"),
        "size_unit": region.get("size_unit"),
        "share": region.get("share"),
        "coverage": focus.get("coverage_of_seen"),
        "negative": shares.get("negative"),
        "outside_body": shares.get("outside_body"),
        "sentence": reading["sentences"][0],
        "prediction": said["sentence"],
        "folder": folder,
    }
    made: dict[str, Any] = plain(row)
    return made


def table_bytes(cases: Iterable[tuple[str, CaseRecord]]) -> bytes:
    """Return the table of all maps of some cases as CSV."""
    return csv_bytes(COLUMNS, ({"case": name, **row} for name, case in cases for row in case.maps))
