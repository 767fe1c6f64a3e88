"""What `view=` may be: steps, or any function of an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from saliscope.core.errors import InputError, ModelError
from saliscope.core.image import MedicalImage
from saliscope.model.callable_view import CallableViewing
from saliscope.model.discs import Array
from saliscope.model.steps import STEPS, make_step
from saliscope.model.view import ToView, Viewing
from saliscope.write.image_nifti import save_nifti
from saliscope.write.image_png import array_png


def viewing_of(view: Any) -> ToView:
    """Return the view that a caller means: steps, tables of steps, one of them, or a function of an image.

    Raises ModelError for what is none of these.
    """
    if isinstance(view, Viewing | CallableViewing):
        return view
    if isinstance(view, Mapping) or type(view) in STEPS.values():
        view = [view]
    if callable(view):
        return CallableViewing(view, store=stored)
    made = [make_step(s) if isinstance(s, Mapping) else s for s in view] if isinstance(view, list | tuple) else None
    if made is None or not all(type(s) in STEPS.values() for s in made):
        raise ModelError(
            f"view={view!r}",
            expected="a function of an image, or a list of steps or of their tables as in a model card",
            do="For example view=[{'step': 'resize', 'shape': [224, 224]}]; make one function of a list of transforms, "
            "as torchvision's and MONAI's Compose do",
        )
    return Viewing(tuple(made))


def stored(values: Array, image: MedicalImage, folder: Path) -> Path:
    """Return the path of a file with values (C, *S) of an image: PNG for a picture of 8 bits, else NIfTI."""
    if image.geometry.ndim == 2 and np.array_equal(image.values, image.display):
        path = folder / "image.png"
        path.write_bytes(array_png(values.astype(np.uint8)))
        return path
    if len(values) != 1:
        raise InputError(f"an image of {len(values)} channels as a file", expected="one channel", do="Take an array")
    path = folder / "image.nii"
    save_nifti(values[0], image.geometry, path)
    return path
