"""A map as NIfTI: float32, raw and signed, with the affine of its grid."""

from __future__ import annotations

import gzip
from io import BytesIO

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import WriteError
from saliscope.core.geometry import Geometry

#: NIfTI codes of what the affine means: the scanner's own space, or aligned with something else.
SCANNER, ALIGNED = 1, 2
#: Level of compression: maps of floats gain nothing from more.
LEVEL = 1
#: Significant bits of a map that was interpolated: within 1/60,000 of each value; the native map beside it is exact.
PLACED_BITS = 16


def map_nifti(values: npt.NDArray[np.float32], geometry: Geometry, bits: int | None = None) -> bytes:
    """Return values (*S) on a grid as the bytes of a .nii.gz, the same bytes for the same map.

    The values are float32, exact, or with `bits` rounded to so many significant bits, which compress better.

    Array axes are stored as (column, row, plane), so a map on the grid of a NIfTI has that file's shape and affine;
    a picture becomes (columns, rows, 1), its third axis the normal with a step of 1. The affine is declared as the
    scanner's only where the place in the patient is known, and its unit only where it is millimetres.
    Raises WriteError when values and grid do not fit.
    """
    import nibabel as nib

    if values.shape != geometry.shape:
        raise WriteError(
            f"a map of shape {values.shape} on a grid of {geometry.shape}",
            expected="one value for each element",
            do="Store a map with its own grid.",
        )
    affine = nifti_affine(geometry)
    # The header is made without the values, which are compressed plane by plane: a volume has no copy made of it.
    image = nib.Nifti1Image(np.zeros((1, 1, 1), np.float32), affine, dtype=np.float32)
    code = SCANNER if (geometry.frame, geometry.unit) == ("patient", "mm") else ALIGNED
    image.set_sform(affine, code)
    image.set_qform(affine, code if _rigid(affine) else 0)
    image.header.set_xyzt_units("mm" if geometry.unit == "mm" else "unknown")
    start = image.to_bytes()
    header = nib.Nifti1Header(start[:348])
    header.set_data_shape((*geometry.shape[::-1], 1)[:3])
    out = BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=LEVEL, mtime=0) as file:
        file.write(header.binaryblock + start[348:352])
        for plane in values:
            stored = np.ascontiguousarray(plane, dtype="<f4")
            file.write((stored if bits is None else _rounded(stored, bits)).data)
    return out.getvalue()


def _rounded(values: npt.NDArray[np.float32], bits: int) -> npt.NDArray[np.float32]:
    """Return values rounded to so many significant bits; what is not finite stays as it is."""
    dropped = np.uint32(24 - bits)
    raw = values.view(np.uint32)
    kept = (raw + (np.uint32(1) << (dropped - np.uint32(1)))) >> dropped << dropped
    found: npt.NDArray[np.float32] = np.where(np.isfinite(values), kept, raw).view(np.float32)
    return found


def nifti_affine(geometry: Geometry) -> npt.NDArray[np.float64]:
    """Return the (4, 4) RAS+ affine of indices (column, row, plane)."""
    affine = np.eye(4)
    own = geometry.affine
    affine[:, : geometry.ndim] = own[:, : geometry.ndim][:, ::-1]
    if geometry.ndim == 2:
        affine[:3, 2] = geometry.normal
    affine[:, 3] = own[:, -1]
    return affine


def _rigid(affine: npt.NDArray[np.float64]) -> bool:
    """Return whether the axes are at right angles: only such a grid has a qform."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))
