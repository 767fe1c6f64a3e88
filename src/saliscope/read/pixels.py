"""From stored pixels to values and to what the clinician sees, by pydicom's own pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import MissingCodec, UnreadableFile
from saliscope.read.apart import decoded_apart
from saliscope.read.codestream import check_frame_size
from saliscope.read.guard import Guard
from saliscope.read.header import PIXELS, Pixels

if TYPE_CHECKING:
    from pydicom import Dataset

Values = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
#: Codecs in the order of trust: gdcm ends the whole process on some broken frames, and is kept apart.
_CODECS = ("pylibjpeg", "pyjpegls", "pillow", "pydicom", "gdcm")
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


@dataclass(frozen=True, eq=False)
class Slice:
    """One frame after the modality transform: values (1 or 3, row, column) and what is padding (row, column)."""

    values: Values
    padding: Mask


def check_codec(ds: Dataset, facts: Pixels, label: str) -> None:
    """Raise MissingCodec when nothing that is installed decodes this transfer syntax."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = ds.file_meta.TransferSyntaxUID
    # Only names of the standard's own dictionary: the element itself may hold anything.
    name = syntax.name if syntax.is_transfer_syntax and syntax.name != str(syntax) else "a private or unknown syntax"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise MissingCodec(
            f"{label}: pixels in {name}, which pydicom does not decode",
            do="Convert it to an uncompressed transfer syntax, for example by dcmtk or gdcmconv --raw",
        ) from None
    if not decoder.is_available:
        packages = "pylibjpeg pylibjpeg-openjpeg pylibjpeg-rle pyjpegls python-gdcm"
        raise MissingCodec(
            f"{label}: pixels in {name}, and no installed codec decodes it", do=f"Run: pip install {packages}"
        )
    # gdcm and Pillow take this syntax, but its eight-bit form only.
    if syntax == _JPEG_EXTENDED and facts.bits_stored > 8 and "pylibjpeg" not in decoder.available_plugins:
        raise MissingCodec(
            f"{label}: pixels in {name} of {facts.bits_stored} bits, and no installed codec decodes it",
            do="Run: pip install pylibjpeg-libjpeg (under the GPL), or convert the file by dcmtk's dcmdjpeg",
        )


def decoded(ds: Dataset, header: Dataset, facts: Pixels, index: int, label: str) -> Slice:
    """Return one frame with the modality transform of its header applied; raises UnreadableFile."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    with Guard(label, "decoding its pixels"):
        check_frame_size(ds, facts, index, label)
        plugin = _plugin(ds)
        if plugin == "gdcm":
            stored = decoded_apart(ds, index, facts.frames, label)
        else:
            stored = pixel_array(ds, index=index, decoding_plugin=plugin)
        if facts.photometric == "PALETTE COLOR":
            stored = apply_color_lut(stored, ds)[..., :3]
            return _colour(stored, int(ds.RedPaletteColorLookupTableDescriptor[2]))
        if stored.ndim == 3:
            return _colour(stored, facts.bits_stored)
        padding = _padding(stored, ds)
        values = np.asarray(_modality(stored, header, label), dtype=np.float32)
    nowhere = ~np.isfinite(values)
    padding |= nowhere
    values[nowhere] = 0
    return Slice(values[None], padding)


def without_padding(values: Values, padding: Mask, label: str) -> tuple[Values, Mask | None, list[str]]:
    """Return values (C, *S) with the lowest valid value where padding (*S) is, the mask or None, and what to say."""
    if not padding.any():
        return values, None, []
    if padding.all():
        raise UnreadableFile(
            f"{label}: every pixel is padding or not a number", expected="an image", do="Export the file again"
        )
    lowest = values[:, ~padding].min()
    values[:, padding] = lowest
    share = padding.mean()
    return values, padding, [f"{share:.1%} of the image is padding or not a number; set to the lowest valid value"]


def modality_units(header: Dataset, modality: str) -> str:
    """Return "HU" for a CT that is rescaled, else ""."""
    rescaled = numbers_of(header, "RescaleSlope") is not None
    said = str(header.get("RescaleType", "") or "HU")
    return "HU" if modality == "CT" and rescaled and said in ("HU", "HU_MOD") else ""


def numbers_of(header: Dataset, keyword: str) -> float | None:
    """Return one finite number of an element (the first, of several), or None."""
    value = header.get(keyword)
    if value is None or value == "":
        return None
    first = value[0] if not isinstance(value, str) and hasattr(value, "__len__") and len(value) else value
    try:
        number = float(first)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _plugin(ds: Dataset) -> str:
    """Return the codec for a data set: always one, for pydicom would go on to the next with a frame that is broken."""
    from pydicom.pixels.decoders.base import get_decoder

    available = get_decoder(ds.file_meta.TransferSyntaxUID).available_plugins
    return next((name for name in _CODECS if name in available), "")


def _colour(stored: npt.NDArray[Any], bits: int) -> Slice:
    values = np.moveaxis(stored, -1, 0).astype(np.float32)
    if bits != 8:
        values *= np.float32(255.0 / (2.0**bits - 1))
    return Slice(values, np.zeros(stored.shape[:2], dtype=bool))


def _modality(stored: npt.NDArray[Any], header: Dataset, label: str) -> npt.NDArray[Any]:
    from pydicom.pixels.processing import apply_modality_lut

    if not header.get("ModalityLUTSequence") and "RescaleSlope" in header and "RescaleIntercept" in header:
        slope, intercept = numbers_of(header, "RescaleSlope"), numbers_of(header, "RescaleIntercept")
        if not slope or intercept is None:
            raise UnreadableFile(
                f"{label}: a rescale slope or intercept that is zero or not a number",
                expected="finite numbers, the slope not zero",
                do="Export the file again",
            )
    result: npt.NDArray[Any] = apply_modality_lut(stored, header)
    return result


def _padding(stored: npt.NDArray[Any], ds: Dataset) -> Mask:
    """Return where stored pixels have the padding value, or lie in the padding range."""
    low = numbers_of(ds, "PixelPaddingValue")
    if low is None or not np.issubdtype(stored.dtype, np.integer) or PIXELS[0] not in ds:
        return np.zeros(stored.shape, dtype=bool)
    high = numbers_of(ds, "PixelPaddingRangeLimit")
    ends = sorted(_as_stored(v, stored.dtype) for v in (low, low if high is None else high))
    mask: Mask = (stored >= ends[0]) & (stored <= ends[1])
    return mask


def _as_stored(value: float, dtype: np.dtype[Any]) -> int:
    """Return a padding value in the pixels' own type: writers mix up signed and unsigned."""
    info = np.iinfo(dtype)
    wrapped = int(value)
    if not info.min <= wrapped <= info.max:
        wrapped = (wrapped - info.min) % (int(info.max) - int(info.min) + 1) + info.min
    return wrapped
