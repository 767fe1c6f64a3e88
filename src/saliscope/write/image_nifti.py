"""An image or a mask as NIfTI: whole numbers as such, and 2D images in two axes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import WriteError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.write.nifti import LEVEL, SCANNER, nifti_affine

#: Types of whole numbers, the smallest first.
WHOLE = (np.uint8, np.int16, np.uint16, np.int32)


def image_nifti(image: MedicalImage) -> bytes:
    """Return the values of an image of one channel as the bytes of a .nii.gz; raises WriteError for several."""
    if len(image.values) != 1:
        raise WriteError(
            f"{image.name!r} of {len(image.values)} channels as NIfTI", expected="one channel", do="Choose png."
        )
    return array_nifti(image.values[0], image.geometry)


def array_nifti(values: npt.NDArray[Any], geometry: Geometry) -> bytes:
    """Return values (*S) as the bytes of a .nii.gz, whole numbers in the smallest type that holds them.

    Where the orientation in the patient is unknown both forms of the header are left unset, and only the spacing is
    stored. The header holds a place as float32: to about 1e-5 mm.
    """
    return gzip.compress(_nifti(values, geometry).to_bytes(), compresslevel=LEVEL, mtime=0)


def save_nifti(values: npt.NDArray[Any], geometry: Geometry, path: Path) -> None:
    """Write values (*S) as a .nii that is not compressed, as `array_nifti` lays them out."""
    _nifti(values, geometry).to_filename(path)


def _nifti(values: npt.NDArray[Any], geometry: Geometry) -> Any:
    import nibabel as nib

    stored = values.astype(_type_of(values)).T
    if geometry.frame == "patient":
        affine = nifti_affine(geometry)
        image = nib.Nifti1Image(stored, affine)
        image.set_sform(affine, SCANNER)
        image.set_qform(affine, SCANNER)
    else:
        image = nib.Nifti1Image(stored, None)
        image.header.set_zooms(geometry.spacing[::-1])
    image.header.set_xyzt_units("mm" if geometry.unit == "mm" else "unknown")
    return image


def _type_of(values: npt.NDArray[Any]) -> type[np.generic]:
    if np.array_equal(values, np.rint(values)):
        for kind in WHOLE:
            if np.iinfo(kind).min <= values.min() and values.max() <= np.iinfo(kind).max:
                return kind
    return np.float32
