"""An explanation read back from the folder that an earlier run wrote: nothing is computed anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import UnreadableFile
from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Traits
from saliscope.core.provenance import Provenance
from saliscope.study.present import RECORD, cards_in
from saliscope.write.record import SCHEMA_VERSION


@dataclass(frozen=True, eq=False)
class Stored:
    """One map of a run: its folder, the explanation, and its card if it has one."""

    folder: Path
    explanation: Explanation
    card: Mapping[str, Any] | None

    @property
    def case(self) -> str:
        """Return the name of its case."""
        return self.folder.parent.name


def stored(folder: Path) -> list[Stored]:
    """Return all maps below the folder of a run, of a case or of a map; raises UnreadableFile."""
    records = sorted({*folder.glob(RECORD), *folder.glob(f"*/{RECORD}"), *folder.glob(f"*/*/{RECORD}")})
    if not records:
        raise UnreadableFile(
            f"{folder.name}: no {RECORD} below it",
            expected="the folder of saliscope explain or check",
            do="Explain the images first, or check the path",
        )
    return [_stored(path.parent) for path in records]


def _stored(folder: Path) -> Stored:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if str(record["schema_version"]).split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise UnreadableFile(
                f"{folder.name}: a record of layout {record['schema_version']}",
                expected=SCHEMA_VERSION,
                do="Explain the image again with this version",
            )
        explanation = explanation_of(record, folder)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UnreadableFile(
            f"{folder.name}: a record or map that is broken (a {type(error).__name__})",
            do="Explain the image again",
        ) from None
    card = next(iter(cards_in(folder.parent, [folder.name])), None)
    return Stored(folder, explanation, card)


def explanation_of(record: Mapping[str, Any], folder: Path) -> Explanation:
    """Return the explanation of a record (explanation.json) and the maps beside it."""
    told, p = record["prediction"], record["provenance"]
    prediction = Prediction(
        tuple(told["labels"]),
        tuple(told["logits"]),
        None if told["probabilities"] is None else tuple(told["probabilities"]),
        told["kind"],
        tuple(told["thresholds"]),
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
    )
    places = record["map"]
    grid = _grid(places["native_grid"])
    beside = {name: _values(folder / file, grid) for name, file in places["beside"].items()}
    return Explanation(
        _values(folder / places["native_file"], grid),
        grid,
        _grid(places["seen"]),
        record["target"],
        prediction,
        Traits(**record["method"]["traits"]),
        provenance,
        beside,
        # Of a map that was written before methods stated it, it is not known.
        resolution=tuple(tuple(size) for size in places.get("resolution", ())),
    )


def _grid(record: Mapping[str, Any]) -> Geometry:
    grid = Geometry.of_affine(record["shape"], record["affine"], record["unit"])
    return replace(grid, frame=record["frame"])


def _values(path: Path, grid: Geometry) -> npt.NDArray[np.float32]:
    """Return a map as it was written: NIfTI stores (column, row, plane)."""
    import nibabel as nib

    if path.parent.resolve() != path.resolve().parent or path.name != Path(path.name).name:
        raise ValueError(path.name)
    found = np.asarray(nib.Nifti1Image.from_filename(path).dataobj, dtype=np.float32)
    return np.ascontiguousarray(found.T if grid.ndim == 3 else found[..., 0].T)
