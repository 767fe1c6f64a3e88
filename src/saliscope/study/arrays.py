"""The images that a caller has in memory: pictures of Pillow, arrays, tensors as a network sees them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.errors import GeometryError, InputError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.view import View
from saliscope.study.explain import Case
from saliscope.study.present import Showing

if TYPE_CHECKING:
    from torch import Tensor

#: Modes of Pillow that a PNG keeps; a TIFF keeps deep ones, all else is read as RGB.
PNG_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16")

#: So many channels has a colour picture.
RGB = 3


def images_of(x: Any, spacing_mm: Sequence[float] | None = None) -> Any:
    """Return x with pictures of Pillow and arrays of one image as MedicalImage, and arrays of several as a tensor.

    An array (row, column), (row, column, 3) of bytes, or (plane, row, column) is an image; one (N, C, *S) of floats is
    what the network sees. Whatever else comes back as it is. Raises InputError for another array.
    """
    import torch

    if isinstance(x, list | tuple) and x and not isinstance(x[0], str | Path | MedicalImage):
        made = [images_of(one, spacing_mm) for one in x]
        return made if all(isinstance(one, MedicalImage) for one in made) else x
    if _is_picture(x):
        return _of_picture(x, spacing_mm)
    if not isinstance(x, np.ndarray):
        return x
    if x.ndim in (4, 5) and x.dtype.kind == "f":
        return torch.from_numpy(np.array(x))
    picture = x.ndim == 3 and x.dtype == np.uint8 and x.shape[-1] == 3
    if not (picture or x.ndim in (2, 3)) or x.dtype.kind not in "fiu" or not x.size:
        raise InputError(
            f"an array of shape {x.shape} and type {x.dtype}",
            expected="an image (row, column), (row, column, 3) of bytes or (plane, row, column), or floating "
            "(N, C, *S) as the network sees it",
            do="Turn it into one of these: x[None, None] adds the axes of the batch and of the channels",
        )
    return _of_array(np.moveaxis(x, -1, 0) if picture else x[None], spacing_mm)


def _of_array(values: Any, spacing_mm: Sequence[float] | None) -> MedicalImage:
    """Return the image of values (C, *S)."""
    floats = np.array(values, dtype=np.float32, order="C")
    shown = values if values.dtype == np.uint8 else shown_from_lowest(floats)
    note = "An array, shown from its lowest to its highest value." if shown is not values else "An array of bytes."
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    geometry = Geometry.of_picture(floats.shape[1:], spacing_mm)
    return MedicalImage(floats, np.array(shown, order="C"), geometry, "", "", digest, "array", (note,))


def _of_picture(picture: Any, spacing_mm: Sequence[float] | None) -> MedicalImage:
    from PIL import ImageOps

    from saliscope.read.limits import Limits
    from saliscope.read.picture import load_picture

    upright = ImageOps.exif_transpose(picture)
    deep = upright.mode in ("F", "I")
    kept = upright if deep or upright.mode in PNG_MODES else upright.convert("RGB")
    data = BytesIO()
    kept.save(data, "TIFF" if deep else "PNG")
    name = Path(getattr(picture, "filename", "") or "picture").stem
    image = load_picture(_PictureBytes(data.getvalue()), name, Limits())  # type: ignore[arg-type]
    if spacing_mm is None:
        return image
    return replace(image, geometry=Geometry.of_picture(image.geometry.shape, spacing_mm))


class _PictureBytes:
    """The bytes of a picture that lies in memory, read like a file."""

    label = "the picture"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, limits: Any) -> bytes:
        limits.check_file(len(self._data), self.label)
        return self._data


def plain(x: Any) -> Any:
    """Return a tensor without what a library adds to it, which no run of a network should carry; else x as it is."""
    import torch

    return x.as_subclass(torch.Tensor) if isinstance(x, torch.Tensor) and type(x) is not torch.Tensor else x


def grids_of(x: Any, spacing_mm: Sequence[float] | None) -> list[Geometry]:
    """Return the grid of each image of a tensor (N, C, *S): by the affine of a MetaTensor, else of unknown place.

    None for what is no such tensor.
    """
    import torch

    if not isinstance(x, torch.Tensor) or unusable(x):
        return []
    unknown = [Geometry.of_picture(x.shape[2:], spacing_mm)] * len(x)
    affine = getattr(x, "affine", None)
    if spacing_mm is not None or affine is None:
        return unknown
    every = np.asarray(affine.detach().cpu() if hasattr(affine, "detach") else affine, dtype=np.float64)
    every = np.broadcast_to(every, (len(x), *every.shape[-2:])) if every.ndim == 2 or len(every) == 1 else every
    if len(every) != len(x):
        return unknown
    axes = x.ndim - 2
    left = str((getattr(x, "meta", None) or {}).get("space", "RAS")).upper().endswith("LPS")
    return [_grid_of(one, axes, x.shape[2:], left=left) or unknown[0] for one in every]


def _grid_of(affine: Any, axes: int, shape: Sequence[int], *, left: bool) -> Geometry | None:
    """Return the grid of an affine (A + 1, A + 1); None for the identity, which says nothing, and for no grid."""
    rows = affine.shape[0] - 1
    if rows < axes or np.array_equal(affine, np.eye(len(affine))):
        return None
    columns = np.zeros((3, axes + 1))
    columns[:rows, :axes], columns[:rows, axes] = affine[:rows, :axes], affine[:rows, -1]
    if left:
        columns[:2] *= -1
    try:
        return Geometry.of_affine(shape, columns)
    except GeometryError:
        return None


def shown_from_lowest(values: Any) -> Any:
    """Return values (C, *S) as bytes from their lowest to their highest, RGB where there are three channels."""
    grey = np.nan_to_num(values if len(values) == RGB else values[:1])
    low, high = float(grey.min()), float(grey.max())
    return np.round((grey - low) / ((high - low) or 1.0) * 255).astype(np.uint8)


def cases_of(x: Tensor, grids: Sequence[Geometry] = ()) -> list[Case]:
    """Return a case for each image of a tensor (N, C, *S) that is already as the network sees it, on its grid if known.

    Raises InputError for a tensor that is no image.
    """
    if reason := unusable(x):
        raise InputError(
            f"a tensor of shape {tuple(x.shape)} and type {x.dtype}",
            expected="floating (N, C, row, column) or (N, C, plane, row, column)",
            do=reason,
        )
    if len(grids) != len(x) or grids[0].shape != x.shape[2:]:
        grids = [Geometry.of_picture(x.shape[2:])] * len(x)
    x = x.detach()
    cases = []
    for n, one in enumerate(x.resolve_neg().cpu().float().numpy()):
        digest = hashlib.sha256(np.ascontiguousarray(one).tobytes()).hexdigest()
        note = "A tensor as the network sees it; shown from its lowest to its highest value."
        shown = shown_from_lowest(one)
        image = MedicalImage(one.copy(), shown, grids[n], "", "", digest, f"tensor-{n}", (note,))
        cases.append(Case(image, View(x[n : n + 1], grids[n]), Showing))
    return cases


def unusable(x: Tensor) -> str:
    """Return what to do with a tensor that is no image as a network sees it; nothing for one that is."""
    import torch

    if x.is_nested or x.layout != torch.strided or x.is_quantized:
        return "Give a plain tensor: x.to_dense(), x.dequantize(), or the images of a nested tensor one by one"
    if x.is_meta:
        return "Give a tensor with content: a meta tensor has none"
    if x.is_complex():
        return "Give real values, such as x.abs()"
    if x.numel() == 0:
        return "Give at least one image with at least one element"
    if x.ndim not in (4, 5):
        return "Add the axis of the batch or of the channels: x[None]"
    return "" if x.is_floating_point() else "Give floating values as the network was taught with: x.float()"


def _is_picture(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)
