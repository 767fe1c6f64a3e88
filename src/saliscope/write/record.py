"""An explanation as plain data, and plain data as bytes that are always the same."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from saliscope.core.errors import WriteError
from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.provenance import Provenance
from saliscope.write.nifti import PLACED_BITS

#: Of the layout of explanation.json; the first number changes when a reader of an older file would fail.
#: 1.1: numbers that belong to the explanation itself are exact, and `files` and `digest` say what was written.
SCHEMA_VERSION = "1.1"
#: Digits that are stored of a number: more than float32 holds.
DIGITS = 9


class Exact(float):
    """A number that is stored with all its digits, because the explanation is made of it again."""


def explanation_record(explanation: Explanation, image: MedicalImage, reading: Mapping[str, Any]) -> dict[str, Any]:
    """Return what explanation.json holds; `reading` is what was read on the map placed on the image's grid."""
    p = explanation.provenance
    prediction = explanation.prediction
    return {
        "schema_version": SCHEMA_VERSION,
        "research_use": "Research use, not for diagnosis.",
        "image": {
            "name": image.name,
            "modality": image.modality,
            "units": image.units,
            "notes": image.notes,
            "sha256": image.digest,
        },
        "target": explanation.target,
        "prediction": {
            **exact(dataclasses.asdict(prediction)),
            "thresholds": prediction.limits,
            "own_thresholds": exact(prediction.thresholds),
            "called": [prediction.labels[i] for i in prediction.called] if prediction.labels else [],
            "sentence": prediction.sentence(explanation.target),
        },
        "method": {
            "name": p.method,
            "fields": exact(p.fields),
            "traits": dataclasses.asdict(explanation.traits),
        },
        "layer": {"name": p.layer, "reason": p.layer_reason},
        "map": {
            "file": "map.nii.gz",
            "native_file": "map_native.nii.gz",
            "picture": "overlay.png",
            "beside": {name: beside_file(name) for name in explanation.beside},
            "grid": grid_record(image.geometry),
            "native_grid": grid_record(explanation.geometry),
            "seen": grid_record(explanation.seen),
            "resolution": exact(explanation.resolution),
            "placement": "linear between the centres of the native cells, zero outside what the network saw; "
            f"rounded to {PLACED_BITS} significant bits, where the native file is exact",
            "native_minimum": _finite(explanation.values.min()),
            "native_maximum": _finite(explanation.values.max()),
        },
        "reading": dict(reading),
        "provenance": _provenance(p),
    }


def _provenance(p: Provenance) -> dict[str, Any]:
    return {
        "image_sha256": p.image,
        "weights_sha256": p.weights,
        "view_sha256": p.view,
        "view_steps": list(p.view_steps),
        "viewing": exact(p.viewing),
        "model": p.model,
        "target": p.target,
        "versions": dict(p.versions),
        "device": p.device,
        "diagnostics": exact(p.diagnostics),
        "notes": list(p.notes),
        "warning": p.warning,
    }


def beside_file(name: str) -> str:
    """Return the name of the file of a map that belongs to another, on the same native grid."""
    return f"{name}_native.nii.gz"


def grid_record(geometry: Geometry) -> dict[str, Any]:
    """Return a grid as plain data: the affine takes array indices to RAS+ positions."""
    return {
        "shape": geometry.shape,
        "spacing": exact(geometry.spacing),
        "origin": exact(geometry.origin),
        "direction": exact(geometry.direction),
        "unit": geometry.unit,
        "frame": geometry.frame,
        "axes": ["plane", "row", "column"][-geometry.ndim :],
        "affine": geometry.affine,
        "letters": geometry.letters,
    }


def sealed(record: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """Return a record as JSON with the SHA-256 of the files beside it and its own, so that a change is seen."""
    told = plain({**record, "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}})
    return _json({**told, "digest": seal(told)})


def seal(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record that is plain data, all but its own digest."""
    return hashlib.sha256(_json({k: v for k, v in record.items() if k != "digest"})).hexdigest()


def exact(value: Any) -> Any:
    """Return a value with all its numbers marked to be stored with all their digits."""
    if isinstance(value, float | np.floating):
        return Exact(value)
    if isinstance(value, Mapping):
        return {k: exact(v) for k, v in value.items()}
    return [exact(v) for v in value] if isinstance(value, list | tuple) else value


def json_bytes(record: Any) -> bytes:
    """Return plain data as JSON: sorted keys, numbers of nine digits, no NaN; raises WriteError for what is not plain.

    A number that is not finite becomes null, which every reader of JSON understands.
    """
    return _json(plain(record))


def _json(told: Any) -> bytes:
    text = json.dumps(told, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    # What is no character, as in the name of a file in another encoding, becomes JSON's own escape.
    return (text + "\n").encode("utf-8", "backslashreplace")


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV; a cell that a spreadsheet would run as a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(c, "")) for c in columns] for row in rows)
    return out.getvalue().encode("utf-8", "backslashreplace")


def plain(value: Any) -> Any:
    """Return a value made of dict, list, str, int, float, bool and None only; raises WriteError if it cannot be."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Exact):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, float | np.floating):
        return _finite(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(v) for v in value), key=str)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, PurePath):
        # Where a file lay is the user's own affair, and differs from machine to machine.
        return value.name
    raise WriteError(
        f"a {type(value).__name__} in a record", expected="plain data", do="Turn it into numbers and text."
    )


def _finite(value: Any) -> float | None:
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    # A number is no formula, whatever its sign.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and isinstance(value, str) else text
