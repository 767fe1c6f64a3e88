"""NIfTI by nibabel: values, RAS+ grid, and what its two orientation fields leave open."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import UnreadableFile
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.read.guard import Guard
from saliscope.read.item import Item
from saliscope.read.limits import Limits
from saliscope.read.pixels import without_padding
from saliscope.read.showing import SOFT_TISSUE, between
from saliscope.read.sniff import inflated_head

#: Largest distance between the corners by sform and by qform that is not worth a word, in mm.
_CONFLICT = 0.01
_TO_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def load_nifti(item: Item, name: str, limits: Limits) -> MedicalImage:
    """Return the image or volume of a .nii or .nii.gz file; raises InputError in one of its kinds."""
    data = item.read(limits)
    digest = hashlib.sha256(data).hexdigest()
    header = _header(inflated_head(data, 4096) if data.startswith(b"\x1f\x8b") else data[:4096], item.label)
    sizes = [int(n) for n in header.get_data_shape()]
    grid, rest = sizes[:3], sizes[3:]
    if len(grid) < 2 or min(sizes) < 1:
        raise UnreadableFile(f"{item.label}: a NIfTI of shape {sizes}", expected="2 or 3 axes", do="Export it again")
    rgb = header.get_data_dtype().names is not None
    limits.check_shape((*grid, 3 if rgb else 1), item.label)
    data = _whole(data, header, prod(grid), item.label, limits)
    array, notes = _first_volume(data, rest, item.label)
    geometry, placed = _geometry(header, grid)
    axes = tuple(reversed(range(array.ndim - 1)))
    values = np.ascontiguousarray(np.transpose(array, (array.ndim - 1, *axes)))
    values = values.reshape(len(values), *geometry.shape)
    nowhere: npt.NDArray[np.bool_] = np.asarray(~np.isfinite(values).all(axis=0))
    if nowhere.any():
        notes.append(f"{int(nowhere.sum()):,} elements are NaN or infinite; they count as padding")
        values[:, nowhere] = 0
    filled, padding, said = without_padding(values, nowhere, item.label)
    display, shown = _display(filled, padding)
    notes = [*notes, *placed, *said, *shown]
    return MedicalImage(filled, display, geometry, "", "", digest, name, tuple(notes), padding)


def _header(start: bytes, label: str) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    with Guard(label, "reading its header"):
        kind = Nifti2Header if start[4:7] == b"n+2" else Nifti1Header
        return kind.from_fileobj(BytesIO(start), check=True)


def _whole(data: bytes, header: Any, elements: int, label: str, limits: Limits) -> bytes:
    """Return the file inflated as far as the first volume reaches; raises UnreadableFile when it holds less."""
    offset = float(header["vox_offset"])
    if not 0 <= offset <= limits.max_inflated_bytes:
        raise UnreadableFile(f"{label}: its data start at byte {offset:g}", expected="inside the file", do="Export it")
    wanted = int(offset) + elements * header.get_data_dtype().itemsize
    limits.check_inflated(wanted, label)
    held = _inflated(data, wanted, label) if data.startswith(b"\x1f\x8b") else data
    if len(held) < wanted:
        raise UnreadableFile(
            f"{label}: the header promises {wanted:,} bytes and the file holds {len(held):,}",
            expected="a whole file",
            do="Copy or export the file again",
        )
    return held


def _inflated(data: bytes, wanted: int, label: str) -> bytes:
    """Return the first bytes of a gzip file of one or more members, never more than wanted."""
    parts: list[bytes] = []
    have, rest = 0, data
    with Guard(label, "inflating it"):
        while rest and have < wanted:
            inflater = zlib.decompressobj(31)
            parts.append(inflater.decompress(rest, wanted - have))
            have += len(parts[-1])
            if not inflater.eof:
                break
            rest = inflater.unused_data
    return b"".join(parts)


def _first_volume(data: bytes, rest: list[int], label: str) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return (i, j[, k], C) values of the first volume, scaled, and what was left out."""
    import nibabel

    with Guard(label, "reading its values"):
        kind = nibabel.Nifti2Image if data[4:7] == b"n+2" else nibabel.Nifti1Image
        proxy = kind.from_bytes(data).dataobj
        array = np.asarray(proxy[(..., *[0] * len(rest))] if rest else proxy)
        if array.dtype.names is not None:  # RGB24 and RGBA32
            array = np.stack([array[c] for c in ("R", "G", "B")], axis=-1)
        elif np.iscomplexobj(array):
            raise UnreadableFile(f"{label}: complex values", expected="real ones", do="Give the magnitude")
        else:
            array = array[..., None]
        values = array.astype(np.float32)
    count = prod(rest)
    return values, [f"{count} volumes in the file; the first is read"] if count > 1 else []


def _geometry(header: Any, sizes: list[int]) -> tuple[Geometry, list[str]]:
    shape = tuple(reversed(sizes))
    unit = header.get_xyzt_units()[0]
    to_mm = _TO_MM.get(unit, 1.0)
    notes = [] if unit == "mm" else [_unit_said(unit)]
    sform, s_code = header.get_sform(coded=True)
    qform, q_code = _qform(header, notes)
    if s_code > 0 and q_code > 0:
        notes += _conflict(sform, qform, sizes, to_mm)
    for affine, code in ((sform, s_code), (qform, q_code)):
        if code > 0 and affine is not None and _believable(affine[:3, : len(sizes)]):
            columns = [affine[:3, i] * to_mm for i in reversed(range(len(sizes)))]
            return Geometry.of_affine(shape, np.column_stack([*columns, affine[:3, 3] * to_mm])), notes
    if s_code > 0 or q_code > 0:
        notes.append("the orientation in the header is degenerate and was not believed")
    notes.append("orientation and position in the patient are unknown: sform and qform are both unset")
    zooms = np.array(header.get_zooms()[: len(sizes)], dtype=np.float64)[::-1] * to_mm
    if not np.isfinite(zooms).all() or zooms.min() <= 0 or (unit == "unknown" and np.allclose(zooms, 1)):
        notes.append("voxel spacing unknown; lengths are in pixels")
        return Geometry.of_picture(shape), notes
    return replace(Geometry.of_picture(shape, tuple(zooms)), frame="image"), notes


def _unit_said(unit: str) -> str:
    if unit == "unknown":
        return "the header does not give the unit of length; millimetres are assumed"
    return f"lengths in the header are in {unit}s and were converted to millimetres"


def _qform(header: Any, notes: list[str]) -> tuple[npt.NDArray[np.float64] | None, int]:
    """Return the qform and its code; a quaternion longer than one is not believed."""
    try:
        affine, code = header.get_qform(coded=True)
    except ValueError:
        notes.append("the qform in the header is no rotation and was not believed")
        return None, 0
    return affine, int(code)


def _conflict(sform: Any, qform: Any, sizes: list[int], to_mm: float) -> list[str]:
    if qform is None:
        return []
    ends = np.array([[0, n - 1] for n in (*sizes, 1, 1)[:3]])
    corners = np.stack(np.meshgrid(*ends, [1], indexing="ij")).reshape(4, -1)
    apart = float(np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max()) * to_mm
    if not apart > _CONFLICT:
        return []
    return [f"sform and qform place the image up to {apart:.2f} mm apart; the sform is used"]


def _believable(columns: npt.NDArray[np.float64]) -> bool:
    lengths = np.linalg.norm(columns, axis=0)
    if not (np.isfinite(columns).all() and lengths.min() > 0):
        return False
    return bool(np.linalg.svd(columns / lengths, compute_uv=False)[-1] > 1e-3)


def _display(values: npt.NDArray[np.float32], padding: Any) -> tuple[npt.NDArray[np.uint8], list[str]]:
    if len(values) == 3:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8), []
    valid = values.reshape(-1) if padding is None else values[:, ~padding].reshape(-1)
    lowest, highest = float(valid.min()), float(valid.max())
    if -5000 <= lowest < -500 and 200 < highest <= 40_000:
        (low, high), said = SOFT_TISSUE, "values look like HU: shown from -160 to 240 HU"
    else:
        low, high = (float(v) for v in np.percentile(valid, [0.5, 99.5]))
        said = f"shown from percentile 0.5 to 99.5 ({low:.4g} to {high:.4g})"
    display, look = np.empty(values.shape, dtype=np.uint8), between(low, high)
    rows = values.reshape(-1, *values.shape[-2:])
    for shown, plane in zip(display.reshape(rows.shape), rows, strict=True):  # a volume has no copy made of it
        shown[...] = np.rint(255 * np.clip(look(plane), 0, 1)).astype(np.uint8)
    if padding is not None:
        display[:, padding] = 0
    return display, [said]
