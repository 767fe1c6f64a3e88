"""PNG, JPEG and BMP by Pillow, TIFF by tifffile: pixels without a place and mostly without a size."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import UnreadableFile
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.read.guard import Guard
from saliscope.read.item import Item
from saliscope.read.limits import Limits
from saliscope.read.pixels import without_padding
from saliscope.read.showing import between
from saliscope.read.stored_bytes import check_stored, opened
from saliscope.read.tiff import MAGIC, load_tiff

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP")
Array = npt.NDArray[Any]
_ORIENTATION = 0x0112
_PNG = b"\x89PNG"
_PNG_COLOUR = (2, 4, 6)  # colour types that Pillow holds in 8 bits only


def load_picture(item: Item, name: str, limits: Limits) -> MedicalImage:
    """Return the image of a picture file, its spacing mostly unknown; raises InputError in one of its kinds."""
    data = item.read(limits)
    if data.startswith(MAGIC):
        array, given, notes = load_tiff(data, item.label, limits)
    else:
        array, given, notes = _by_pillow(data, item.label, limits)
    values = _as_float(array, item.label)
    nowhere: npt.NDArray[np.bool_] = np.asarray(~np.isfinite(values).all(axis=0))
    values[:, nowhere] = 0
    filled, padding, said = without_padding(values, nowhere, item.label)
    display, shown = _display(array, filled, padding)
    grid = given or Geometry.of_picture(values.shape[1:])
    what = "orientation" if given else "pixel spacing, orientation"
    notes += [f"{what} and position in the patient are unknown: a picture does not say", *said]
    digest = hashlib.sha256(data).hexdigest()
    return MedicalImage(filled, display, grid, "", "", digest, name, (*notes, *shown), padding)


def _by_pillow(data: bytes, label: str, limits: Limits) -> tuple[Array, None, list[str]]:
    """Return the pixels (C, row, column) of a PNG, JPEG or BMP and what is to be said."""
    notes: list[str] = []
    with Guard(label, "opening it as a picture"):
        # Pillow's own limit is lower than ours may be set, and only warns at first; ours refuses.
        image = opened(data, FORMATS)
        limits.check_shape((image.height, image.width, len(image.getbands())), label)
        check_stored(image, data, label)
        pages = int(getattr(image, "n_frames", 1))
        if pages > 1:
            notes.append(f"{pages} pages in the file; the first is read")
        image.load()
        if data.startswith(_PNG) and data[24] == 16 and data[25] in _PNG_COLOUR:
            notes.append("sixteen-bit colour or alpha was read in eight bits")
        array = _array(_upright(image, notes), notes)
    return np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None], None, notes


def _as_float(array: Array, label: str) -> npt.NDArray[np.float32]:
    """Return values as single precision; raises UnreadableFile for finite ones that it cannot hold."""
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    if array.dtype == np.float64 and (np.isinf(values) & np.isfinite(array)).any():
        raise UnreadableFile(
            f"{label}: values beyond those of single precision", expected="at most 3.4e38", do="Scale them down"
        )
    return values


def _upright(image: Image, notes: list[str]) -> Image:
    from PIL import ImageOps

    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        notes.append("turned as its EXIF orientation asks")
        return ImageOps.exif_transpose(image)
    return image


def _array(image: Image, notes: list[str]) -> npt.NDArray[Any]:
    """Return grey (row, column) of any depth, or RGB (row, column, 3) of 8 bits."""
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.has_transparency_data:
        from PIL import Image

        notes.append("transparent parts are laid over black")
        clear = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
        return np.asarray(_grey_or_rgb(flat.convert("RGB")))
    return np.asarray(image if image.mode == "RGB" else _grey_or_rgb(image.convert("RGB")))


def _grey_or_rgb(image: Image) -> Image:
    """Return one channel when all three are the same, as in a grey image saved with a palette or with alpha."""
    bands = [np.asarray(b) for b in image.split()]
    same = all(np.array_equal(bands[0], b) for b in bands[1:])
    return image.getchannel(0) if same else image


def _display(array: Array, values: npt.NDArray[np.float32], padding: Any) -> tuple[npt.NDArray[np.uint8], list[str]]:
    if array.dtype == np.uint8:
        return array.copy(), []
    if len(values) == 3:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8), []
    valid = values if padding is None else values[:, ~padding]
    low, high = float(valid.min()), float(valid.max())
    shown = np.rint(255 * np.clip(between(low, high)(values), 0, 1)).astype(np.uint8)
    return shown, [f"shown over the whole used range, {low:g} to {high:g}"]
