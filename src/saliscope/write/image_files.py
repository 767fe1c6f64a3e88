"""An image as files that any reader of images takes: PNG, NIfTI or DICOM; the same bytes for the same image."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from saliscope.core.errors import WriteError, did_you_mean
from saliscope.core.image import MedicalImage
from saliscope.core.region import Region
from saliscope.write.bundle import safe_name
from saliscope.write.image_dicom import dicom_files
from saliscope.write.image_nifti import array_nifti, image_nifti
from saliscope.write.image_png import array_png, image_png

Format = Literal["png", "nifti", "dicom"]
FORMATS: tuple[str, ...] = get_args(Format)


def image_files(image: MedicalImage, kind: str, name: str | None = None) -> dict[str, bytes]:
    """Return the files of an image by name; a DICOM volume is a folder of slices.

    PNG holds what a clinician sees, NIfTI and DICOM hold the values and where they lie. Raises WriteError for a
    format that is not there, or that cannot hold the image.
    """
    stem = safe_name(image.name if name is None else name)
    if kind == "png":
        return {f"{stem}.png": image_png(image)}
    if kind == "nifti":
        return {f"{stem}.nii.gz": image_nifti(image)}
    if kind == "dicom":
        return dicom_files(image, stem)
    raise WriteError(f"format {kind!r}", expected=", ".join(FORMATS), do=did_you_mean(kind, FORMATS))


def region_files(region: Region, kind: str, name: str | None = None) -> dict[str, bytes]:
    """Return a region by name: as PNG, 255 inside, beside PNG images; as NIfTI, 1 inside, beside all others."""
    stem = safe_name(region.label if name is None else name)
    inside = region.mask.astype(np.uint8)
    if kind == "png":
        return {f"{stem}.png": array_png(255 * inside[None])}
    return {f"{stem}.nii.gz": array_nifti(inside, region.geometry)}
