"""A map as NIfTI: float32, raw and signed, with the affine of its grid."""

from __future__ import annotations

import gzip

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import WriteError
from saliscope.core.geometry import Geometry

#: NIfTI codes of what the affine means: the scanner's own space, or aligned with something else.
SCANNER, ALIGNED = 1, 2
#: Level of compression: maps of floats gain little from more.
LEVEL = 4


def map_nifti(values: npt.NDArray[np.float32], geometry: Geometry) -> bytes:
    """Return values (*S) on a grid as the bytes of a .nii.gz, the same bytes for the same map.

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
    stored = np.asarray(values, dtype=np.float32)
    stored = stored.T if geometry.ndim == 3 else stored.T[..., None]
    affine = nifti_affine(geometry)
    image = nib.Nifti1Image(stored, affine, dtype=np.float32)
    code = SCANNER if (geometry.frame, geometry.unit) == ("patient", "mm") else ALIGNED
    image.set_sform(affine, code)
    image.set_qform(affine, code if _rigid(affine) else 0)
    image.header.set_xyzt_units("mm" if geometry.unit == "mm" else "unknown")
    return gzip.compress(image.to_bytes(), compresslevel=LEVEL, mtime=0)


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
