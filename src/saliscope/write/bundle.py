"""The folder of one explanation: its map twice, its picture, its record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import WriteError
from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.write.atomic import new_folder
from saliscope.write.nifti import PLACED_BITS, map_nifti
from saliscope.write.record import beside_file, explanation_record, sealed


def explanation_files(
    explanation: Explanation,
    placed: npt.NDArray[np.float32],
    image: MedicalImage,
    picture: bytes | None,
    reading: Mapping[str, Any],
) -> dict[str, bytes]:
    """Return the files of an explanation by name, the same bytes for the same explanation.

    `placed` (*S) is the map on the image's own grid, `picture` the PNG of it over the image, if there is to be one,
    and `reading` what was read on it, as plain data.
    """
    record = explanation_record(explanation, image, reading)
    if picture is None:
        record["map"]["picture"] = None
    files = {
        "map.nii.gz": map_nifti(placed, image.geometry, PLACED_BITS),
        "map_native.nii.gz": map_nifti(explanation.values, explanation.geometry),
        **({} if picture is None else {"overlay.png": picture}),
        **{beside_file(name): map_nifti(v, explanation.geometry) for name, v in explanation.beside.items()},
    }
    return {"explanation.json": sealed(record, files), **files}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder that is being made, by names that may hold one folder of their own.

    Raises WriteError for a name that leads out of the folder.
    """
    for name, data in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or path == folder:
            raise WriteError(f"a file named {name!r}", expected="a name inside the folder", do="Choose a plain name.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def save(path: str | Path, files: Mapping[str, bytes], overwrite: bool = False) -> Path:
    """Write a new folder of files, whole or not at all, and return its path; raises WriteError."""
    with new_folder(path, overwrite) as folder:
        write_files(folder, files)
    return Path(path)


def safe_name(text: str) -> str:
    """Return text as one part of a path on any system: letters, digits, dot, dash and underscore, never empty.

    Two texts that differ may become one name; whoever makes several beside each other numbers them.
    """
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text.strip())
    name = kept.strip(".-")[:80] or "unnamed"
    reserved = {"CON", "PRN", "AUX", "NUL", *(f"{d}{i}" for d in ("COM", "LPT") for i in range(10))}
    return f"{name}_" if name.split(".")[0].upper() in reserved else name
