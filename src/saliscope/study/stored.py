"""An explanation read back from the folder that an earlier run wrote: nothing is computed anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import SaliscopeError, UnreadableFile
from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Traits
from saliscope.core.provenance import Provenance
from saliscope.study.present import RECORD, cards_in
from saliscope.write.record import SCHEMA_VERSION, seal

if TYPE_CHECKING:
    from saliscope.core.explanation import Source


@dataclass(frozen=True, eq=False)
class Stored:
    """One map of a run: its folder, its record, the explanation, and its card if it has one."""

    folder: Path
    record: Mapping[str, Any]
    explanation: Explanation
    card: Mapping[str, Any] | None

    @property
    def case(self) -> str:
        """Return the name of its case."""
        return self.folder.parent.name


def load(folder: Path, image: Source | None, *, only: bool) -> list[Explanation]:
    """Return the explanations below a folder, each with who can show it; with `only` there must be one.

    Raises UnreadableFile for what no run wrote, and InputError for an image that was not explained there.
    """
    from saliscope.study.reopening import Reopened, shown_again

    paths = _records(folder)
    if only and len(paths) > 1:
        raise UnreadableFile(
            f"{folder.name}: {len(paths)} maps below it",
            expected="the folder of one map",
            do=f"Name one, such as {paths[0].parent.name}, or load all: saliscope.Explanations.load(folder)",
        )
    found = [_stored(path.parent) for path in paths]
    if image is None:
        return [replace(one.explanation, presenter=Reopened(one.folder, one.record, one.card)) for one in found]
    return shown_again(found, image)


def stored(folder: Path) -> list[Stored]:
    """Return all maps below the folder of a run, of a case or of a map; raises UnreadableFile."""
    return [_stored(path.parent) for path in _records(folder)]


def _records(folder: Path) -> list[Path]:
    records = sorted({*folder.glob(RECORD), *folder.glob(f"*/{RECORD}"), *folder.glob(f"*/*/{RECORD}")})
    if not records:
        raise UnreadableFile(
            f"{folder.name}: no {RECORD} below it",
            expected="the folder of saliscope explain or check",
            do="Explain the images first, or check the path",
        )
    return records


def _stored(folder: Path) -> Stored:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if str(record["schema_version"]).split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise UnreadableFile(
                f"{folder.name}: a record of layout {record['schema_version']}",
                expected=SCHEMA_VERSION,
                do="Explain the image again with this version",
            )
        _check_unchanged(record, folder)
        explanation = explanation_of(record, folder)
    except UnreadableFile:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, SaliscopeError) as error:
        raise UnreadableFile(
            f"{folder.name}: a record or map that is broken (a {type(error).__name__})",
            do="Explain the image again",
        ) from None
    card = next(iter(cards_in(folder.parent, [folder.name])), None)
    return Stored(folder, record, explanation, card)


def _check_unchanged(record: Mapping[str, Any], folder: Path) -> None:
    """Raise UnreadableFile where the record or a file beside it is not what was written; 1.0 had nothing to tell by."""
    if record["schema_version"] == "1.0" and not {"digest", "files"} & set(record):
        return
    changed = [RECORD] if seal(record) != record["digest"] else []
    for name, digest in () if changed else record["files"].items():
        path = _inside(folder, name)
        if not path.is_file():
            raise UnreadableFile(f"{folder.name}: {name} is missing", do="Explain the image again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            changed.append(name)
    if changed:
        raise UnreadableFile(
            f"{folder.name}: {' and '.join(changed)} changed since it was written",
            expected="the files as saliscope wrote them",
            do="Explain the image again, or restore the folder",
        )


def explanation_of(record: Mapping[str, Any], folder: Path) -> Explanation:
    """Return the explanation of a record (explanation.json) and the maps beside it."""
    told, p = record["prediction"], record["provenance"]
    prediction = Prediction(
        tuple(told["labels"]),
        tuple(told["logits"]),
        None if told["probabilities"] is None else tuple(told["probabilities"]),
        told["kind"],
        tuple(told.get("own_thresholds", told["thresholds"])),
        tuple(told["rescaled"]),
    )
    provenance = Provenance(
        image=p["image_sha256"],
        weights=p["weights_sha256"],
        view=p["view_sha256"],
        model=p["model"],
        method=record["method"]["name"],
        fields=record["method"]["fields"],
        target=p["target"],
        layer=record["layer"]["name"],
        layer_reason=record["layer"]["reason"],
        versions=p["versions"],
        device=p["device"],
        diagnostics=p["diagnostics"],
        notes=tuple(p["notes"]),
        view_steps=tuple(p["view_steps"]),
        warning=p["warning"],
        viewing=p.get("viewing", {}),
    )
    places = record["map"]
    grid = grid_of(places["native_grid"])
    beside = {name: _values(_inside(folder, file), grid) for name, file in places["beside"].items()}
    return Explanation(
        _values(_inside(folder, places["native_file"]), grid),
        grid,
        grid_of(places["seen"]),
        record["target"],
        prediction,
        Traits(**record["method"]["traits"]),
        provenance,
        beside,
        # Of a map that was written before methods stated it, it is not known.
        resolution=tuple(tuple(size) for size in places.get("resolution", ())),
    )


def grid_of(record: Mapping[str, Any]) -> Geometry:
    """Return the grid that a record describes."""
    if "direction" not in record:
        grid = Geometry.of_affine(record["shape"], record["affine"], record["unit"])
        return replace(grid, frame=record["frame"])
    x, y, z = record["origin"]
    axes = tuple((a, b, c) for a, b, c in record["direction"])
    return Geometry(tuple(record["shape"]), tuple(record["spacing"]), (x, y, z), axes, record["unit"], record["frame"])


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file beside a record; raises ValueError for a name that leads elsewhere."""
    path = folder / name
    if path.parent.resolve() != path.resolve().parent or path.name != Path(path.name).name or name != path.name:
        raise ValueError(name)
    return path


def _values(path: Path, grid: Geometry) -> npt.NDArray[np.float32]:
    """Return a map as it was written: NIfTI stores (column, row, plane)."""
    import nibabel as nib

    found = np.asarray(nib.Nifti1Image.from_filename(path).dataobj, dtype=np.float32)
    return np.ascontiguousarray(found.T if grid.ndim == 3 else found[..., 0].T)
