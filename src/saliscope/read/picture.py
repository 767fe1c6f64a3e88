"""PNG, JPEG, TIFF and BMP by Pillow: pixels without a place or a size."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.read.guard import Guard
from saliscope.read.item import Item
from saliscope.read.limits import Limits
from saliscope.read.pixels import without_padding
from saliscope.read.showing import between

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_ORIENTATION = 0x0112
_PNG = b"\x89PNG"
_PNG_COLOUR = (2, 4, 6)  # colour types that Pillow holds in 8 bits only


def load_picture(item: Item, name: str, limits: Limits) -> MedicalImage:
    """Return the image of a picture file, its spacing unknown; raises InputError in one of its kinds."""
    data = item.read(limits)
    notes: list[str] = []
    with Guard(item.label, "opening it as a picture"):
        # Pillow's own limit is lower than ours may be set, and only warns at first; ours refuses.
        image = _opened(data)
        limits.check_shape((image.height, image.width, len(image.getbands())), item.label)
        pages = int(getattr(image, "n_frames", 1))
        if pages > 1:
            notes.append(f"{pages} pages in the file; the first is read")
        image.load()
        if data.startswith(_PNG) and data[24] == 16 and data[25] in _PNG_COLOUR:
            notes.append("sixteen-bit colour or alpha was read in eight bits")
        turned = _upright(image, notes)
        array = _array(turned, notes)
    values = np.moveaxis(array, -1, 0).astype(np.float32) if array.ndim == 3 else array[None].astype(np.float32)
    nowhere: npt.NDArray[np.bool_] = np.asarray(~np.isfinite(values).all(axis=0))
    values[:, nowhere] = 0
    filled, padding, said = without_padding(values, nowhere, item.label)
    display, shown = _display(array, filled, padding)
    grid = Geometry.of_picture(values.shape[1:])
    notes += ["pixel spacing, orientation and position in the patient are unknown: a picture does not say", *said]
    digest = hashlib.sha256(data).hexdigest()
    return MedicalImage(filled, display, grid, "", "", digest, name, (*notes, *shown), padding)


def _opened(data: bytes) -> Image:
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    finally:
        Image.MAX_IMAGE_PIXELS = before


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


def _display(
    array: npt.NDArray[Any], values: npt.NDArray[np.float32], padding: Any
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    if array.dtype == np.uint8:
        return np.moveaxis(array, -1, 0).copy() if array.ndim == 3 else array[None].copy(), []
    valid = values if padding is None else values[:, ~padding]
    low, high = float(valid.min()), float(valid.max())
    shown = np.rint(255 * np.clip(between(low, high)(values), 0, 1)).astype(np.uint8)
    return shown, [f"shown over the whole used range, {low:g} to {high:g}"]
