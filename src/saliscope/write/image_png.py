"""What a clinician sees, as PNG."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import WriteError
from saliscope.core.image import MedicalImage


def image_png(image: MedicalImage) -> bytes:
    """Return the display of a 2D image as PNG; raises WriteError for a volume."""
    if image.geometry.ndim != 2:
        raise WriteError(
            f"volume {image.name!r} of shape {image.geometry.shape} as PNG",
            expected="a 2D image",
            do="Choose nifti or dicom for volumes.",
        )
    return array_png(image.display)


def array_png(shown: npt.NDArray[np.uint8]) -> bytes:
    """Return a grey (1, row, column) or colour (3, row, column) array as PNG."""
    from PIL import Image

    out = BytesIO()
    Image.fromarray(np.ascontiguousarray(shown[0] if len(shown) == 1 else np.moveaxis(shown, 0, -1))).save(out, "PNG")
    return out.getvalue()
