"""TIFF by tifffile and by the file's own tags: what kind its values are, how they are stored, whether all are there."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from io import BytesIO
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import UnreadableFile
from saliscope.core.geometry import Geometry
from saliscope.read.codestream import size_of
from saliscope.read.guard import Guard
from saliscope.read.limits import Limits
from saliscope.read.stored_bytes import opened
from saliscope.read.tiff_scale import scale_of

Array = npt.NDArray[Any]
MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_PHOTOMETRIC = {4: "a transparency mask", 5: "CMYK", 8: "CIELab", 32803: "a camera's raw mosaic"}
_NONE, _LZW, _JPEG, _PACKBITS, _LZMA, _ZSTD, _DEFLATE = 1, 5, 7, 32773, 34925, 50000, (8, 32946)
#: Those that Pillow's libtiff decodes and that end in an error when a part holds too little; fax compressions do not.
_LIBTIFF = (_NONE, _LZW, _JPEG, _PACKBITS, _LZMA, _ZSTD, *_DEFLATE)
#: How often each compression can repeat a byte at most; those that are not here have no bound.
_MOST = {_NONE: 1, _PACKBITS: 64, _LZW: 2600, _JPEG: 4096, 8: 1040, 32946: 1040}
#: The mode in which Pillow holds what its libtiff decodes, by (photometric, bits, samples).
_BY_PILLOW = {
    (0, 1, 1): "1", (1, 1, 1): "1", (0, 8, 1): "L", (1, 8, 1): "L", (1, 16, 1): "I;16", (2, 8, 3): "RGB",
    (3, 8, 1): "P", (6, 8, 3): "RGB",
}  # fmt: skip
_SLIDES = ("svs", "ndpi", "scn", "bif", "philips", "qpi", "indica", "avs")


def load_tiff(data: bytes, label: str, limits: Limits) -> tuple[Array, Geometry | None, list[str]]:
    """Return the pixels (C, *S) of a TIFF, its grid where the file gives one, and what is to be said.

    One channel holds the stored values, white-is-zero turned; three are colour from 0 to 255. Raises UnreadableFile for
    a kind of TIFF that is not read and for a file that holds less than it promises, TooLarge beyond the limits.
    """
    import tifffile

    with Guard(label, "reading its tags"), tifffile.TiffFile(BytesIO(data), _multifile=False) as tiff:
        pages = tiff.pages
        page = pages.first
        count = len(pages)
        _refuse_kinds(tiff, page, label)
        scale = scale_of(tiff, page, count)
        depth = scale.planes if scale else 0
        limits.check_slices(max(depth, 1), label)
        limits.check_shape((max(depth, 1), page.imagelength, page.imagewidth, page.samplesperpixel), label)
        used = [pages.get(i, aspage=True) for i in range(depth)] if depth else [page]
        if any(_kind(p) != _kind(page) for p in used):
            raise _unread(f"{label}: a TIFF whose planes differ in size or kind")
        for one in used:
            _check_stored(one, data, label)
        notes = [f"{scale.by} in the file gives its lengths"] if scale else []
        if count > 1 and not depth:
            notes.append(f"{count} pages in the file; the first is read")
        if page.subifds:
            notes.append("smaller copies of the image in the file; the full resolution is read")
        with Guard(label, "decoding its pixels"):
            arrays = [_oriented(_plane(one, data, label, notes), one, notes) for one in used]
    channels = np.stack(arrays, axis=1) if depth else arrays[0]
    return channels, scale.grid(channels.shape[1:]) if scale else None, list(dict.fromkeys(notes))


def _kind(page: Any) -> tuple[Any, ...]:
    return page.imagelength, page.imagewidth, page.samplesperpixel, page.dtype, page.photometric, page.planarconfig


def _unread(got: str) -> UnreadableFile:
    return UnreadableFile(
        got,
        expected="one picture of 1 to 64 bits, grey, RGB or with a palette",
        do="The file may be whole: save it as a plain TIFF, PNG or NIfTI in the program that made it",
    )


def _refuse_kinds(tiff: Any, page: Any, label: str) -> None:
    """Raise UnreadableFile for the kinds of TIFF that are not read, by what they are."""
    slide = next((k for k in _SLIDES if getattr(tiff, f"is_{k}")), "")
    if slide:
        raise UnreadableFile(
            f"{label}: a whole-slide image ({slide.upper()}), in copies of several resolutions",
            expected="one picture",
            do="Export the region and the resolution that the network takes, as TIFF or PNG",
        )
    if page.dtype is None:
        raise _unread(f"{label}: a TIFF of {page.bitspersample} bits in sample format {page.sampleformat}")
    bits, kind = page.bitspersample, page.dtype.kind
    colour = page.photometric in (_RGB, _PALETTE, _YCBCR)
    if page.imagedepth > 1:
        raise _unread(f"{label}: a TIFF of {page.imagedepth} planes in one page")
    if kind not in "buif" or bits != (1 if kind == "b" else page.dtype.itemsize * 8):
        raise _unread(f"{label}: a TIFF of samples of {bits} bits ({page.dtype})")
    if page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR):
        what = _PHOTOMETRIC.get(int(page.photometric), f"photometric interpretation {int(page.photometric)}")
        raise _unread(f"{label}: a TIFF of {what}")
    if (colour or page.photometric == _WHITE_IS_ZERO) and kind not in "bu":
        what = "colour" if colour else "white-is-zero values"
        raise _unread(f"{label}: a TIFF of {what} in {page.dtype}, whose range the file does not give")
    if colour and bits != 8 and (bits == 1 or page.photometric != _RGB):
        raise _unread(f"{label}: a TIFF of colour in {bits} bits")
    extra = tuple(int(e) for e in page.extrasamples)
    plain = page.samplesperpixel - len(extra)
    if plain != (3 if page.photometric in (_RGB, _YCBCR) else 1) or len(extra) > 1 or extra not in ((), (1,), (2,)):
        raise _unread(f"{label}: a TIFF of {page.samplesperpixel} samples a pixel that are not grey, RGB or alpha")


def _plane(page: Any, data: bytes, label: str, notes: list[str]) -> Array:
    """Return one page as (C, row, column): the stored grey values, or colour from 0 to 255."""
    stored = _decoded(page, data, label)
    samples = stored if stored.ndim == 3 else stored[None]
    full = 1 if page.bitspersample == 1 else int(np.iinfo(page.dtype).max) if page.dtype.kind in "iu" else 0
    if page.photometric == _PALETTE:
        table = np.asarray(page.colormap)
        deep = table if table.max() < 256 else table >> 8  # some writers leave eight bits in the table
        return _grey_if_equal(deep.astype(np.uint8)[:, samples[0]])
    if page.photometric == _WHITE_IS_ZERO:
        grey = samples[:1]
        samples = np.concatenate([~grey if grey.dtype == bool else full - grey, samples[1:]])
    alpha = samples[-1] / full if page.extrasamples else None
    plain = samples[:-1] if page.extrasamples else samples
    if len(plain) == 3 and page.bitspersample > 8:
        notes.append(f"colour of {page.bitspersample} bits, scaled to 0 to 255")
        plain = plain * (255.0 / full)
    if alpha is None:
        return plain
    notes.append("transparent parts are laid over black")
    laid = plain if int(page.extrasamples[0]) == 1 else plain * alpha  # 1: the colour is multiplied already
    return _grey_if_equal(np.rint(laid).astype(np.uint8) if page.bitspersample == 8 else laid)


def _grey_if_equal(channels: Array) -> Array:
    """Return one channel when all three are the same, as in a grey image saved with a palette or with alpha."""
    return channels[:1] if all(np.array_equal(channels[0], c) for c in channels[1:]) else channels


def _decoded(page: Any, data: bytes, label: str) -> Array:
    """Return the samples (row, column) or (sample, row, column) of a page."""
    compression = int(page.compression)
    if compression in (_NONE, _PACKBITS, _LZMA, *_DEFLATE) and page.photometric != _YCBCR and _undone(page):
        array = np.asarray(page.asarray())
        return np.moveaxis(array, -1, 0) if array.ndim == 3 and page.planarconfig == 1 else array
    return _by_pillow(page, data, label)


def _undone(page: Any) -> bool:
    """Return whether tifffile takes back the differences between neighbours that were stored, without more packages."""
    whole = page.dtype.kind != "f" or page.dtype.isnative
    return bool(page.predictor == 1 or (page.predictor == 2 and whole))


def _by_pillow(page: Any, data: bytes, label: str) -> Array:
    kind = int(page.photometric), page.bitspersample, page.samplesperpixel
    mode = _BY_PILLOW.get(kind) if page.dtype.kind in "bu" else "F" if page.dtype == "f4" and kind[0] == 1 else None
    known = int(page.compression) in _LIBTIFF and (kind[0] != _YCBCR or page.compression == _JPEG)
    chunky = page.samplesperpixel == 1 or page.planarconfig == 1
    if page.index != 0 or mode is None or not known or not chunky:
        raise _unread(
            f"{label}: a TIFF of {page.dtype}, photometric {int(page.photometric)}, compression {_name(page)}, "
            f"predictor {int(page.predictor)}"
        )
    image = opened(_upright(page, data), ("TIFF",))
    got = image.mode.removesuffix("B").removesuffix("L") if image.mode.startswith("I;16") else image.mode
    if got != mode or (image.height, image.width) != (page.imagelength, page.imagewidth):
        raise _unread(f"{label}: a TIFF of {page.dtype}, compression {_name(page)}")
    array = np.asarray(image)
    if mode in ("1", "L") and kind[0] == _WHITE_IS_ZERO:  # Pillow turned it; the caller does so for all
        array = ~array
    return np.moveaxis(array, -1, 0) if array.ndim == 3 else array


def _upright(page: Any, data: bytes) -> bytes:
    """Return the file with its Orientation tag set to "as stored": Pillow turns by itself, and some wrongly."""
    tag = page.tags.get(274)
    if tag is None or tag.valuebytecount != 2:
        return data
    one = (1).to_bytes(2, "little" if page.parent.byteorder == "<" else "big")
    return data[: tag.valueoffset] + one + data[tag.valueoffset + 2 :]


def _name(page: Any) -> str:
    return str(getattr(page.compression, "name", int(page.compression)))


def _oriented(channels: Array, page: Any, notes: list[str]) -> Array:
    """Return (C, row, column) turned as the Orientation tag asks: where the first row and column are."""
    tag = page.tags.get(274)
    asked = int(tag.value) if tag is not None and isinstance(tag.value, int) else 1
    turns: dict[int, Callable[[Array], Array]] = {
        2: lambda a: a[:, :, ::-1], 3: lambda a: a[:, ::-1, ::-1], 4: lambda a: a[:, ::-1],
        5: lambda a: a.transpose(0, 2, 1), 6: lambda a: a.transpose(0, 2, 1)[:, :, ::-1],
        7: lambda a: a.transpose(0, 2, 1)[:, ::-1, ::-1], 8: lambda a: a.transpose(0, 2, 1)[:, ::-1],
    }  # fmt: skip
    if asked not in turns:
        return channels
    notes.append("turned as its EXIF orientation asks")
    return turns[asked](channels)


def _check_stored(page: Any, data: bytes, label: str) -> None:
    """Raise UnreadableFile when the strips or tiles do not hold all that the tags promise, before any is decoded."""
    needs = _needed(page)
    offsets, counts = page.dataoffsets, page.databytecounts
    held = [(o, c) for o, c in zip(offsets, counts, strict=False) if 0 < o <= len(data) and 0 < c <= len(data) - o]
    compression, promised = int(page.compression), sum(needs)
    short = len(held) < len(needs) or len(held) != len(offsets)
    short = short or promised > _MOST.get(compression, promised) * len(data)
    parts = list(zip(needs, held, strict=False))
    if not short and compression == _NONE:
        short = any(c < n for n, (_, c) in parts)
    if not short and compression == _JPEG:
        rows = [page.tilelength if page.is_tiled else _rows(page, i) for i in range(len(parts))]
        sizes = [size_of(data[o : o + c]) or (0, 0, 0) for _, (o, c) in parts]
        short = any(size[0] < r for size, r in zip(sizes, rows, strict=True))
    if not short and compression in (_LZMA, *_DEFLATE):
        with Guard(label, "inflating it"):
            short = any(_inflates_to(data[o : o + c], n, compression) < n for n, (o, c) in parts)
    if short:
        raise UnreadableFile(
            f"{label}: the tags promise {promised:,} bytes of pixels in {len(needs)} part(s), and the file holds less",
            expected="a whole file",
            do="Copy or export the file again",
        )


def _rows(page: Any, index: int) -> int:
    """Return how many rows a strip has."""
    high = min(page.rowsperstrip, page.imagelength)
    return int(min(high, page.imagelength - index % ceil(page.imagelength / high) * high))


def _needed(page: Any) -> list[int]:
    """Return how many bytes each strip or tile has, decoded."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    parts = 1 if page.planarconfig == 1 else page.samplesperpixel
    if page.is_tiled:
        row = ceil(page.tilewidth * samples * page.bitspersample / 8)
        across, down = ceil(page.imagewidth / page.tilewidth), ceil(page.imagelength / page.tilelength)
        return [row * page.tilelength] * (across * down * parts)
    row = ceil(page.imagewidth * samples * page.bitspersample / 8)
    if page.photometric == _YCBCR:  # two channels may be stored at a quarter of the resolution
        row = ceil(row / 2)
    high = min(page.rowsperstrip, page.imagelength)
    full, rest = divmod(page.imagelength, high)
    return ([row * high] * full + ([row * rest] if rest else [])) * parts


def _inflates_to(packed: bytes, wanted: int, compression: int) -> int:
    """Return how many bytes a part inflates to, at most a little more than wanted."""
    inflater: Any = lzma.LZMADecompressor() if compression == _LZMA else zlib.decompressobj()
    return len(inflater.decompress(packed, wanted + 1))
