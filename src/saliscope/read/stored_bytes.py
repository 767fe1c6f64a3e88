"""Whether a picture's file holds what its header promises, looked at before memory is taken for it where that can be.

Pillow leaves what is missing black in a PNG and grey in a JPEG, and says nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.errors import UnreadableFile

if TYPE_CHECKING:
    from PIL.Image import Image

_PNG, _JPEG = b"\x89PNG", b"\xff\xd8"
#: How many pixels a byte can stand for at most: a bit of a deflated line 1032 lines of one bit each, two bits a JPEG
#: block of 64, and half that in a progressive scan; two bytes a run of 255 in a BMP.
_MOST = {_PNG: 8 * 1040, _JPEG: 4096, b"BM": 128}
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG, by its colour type
#: First row and column, and the steps, of the passes of an interlaced PNG (Adam7).
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_PIECE = 2**20
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_INTERVAL = re.compile(rb"\xff\xdd\x00\x04(?!\x00\x00)")


def opened(data: bytes, formats: tuple[str, ...]) -> Image:
    """Return a picture with its header read and no pixels, however large it says it is."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(BytesIO(data), formats=formats)
    finally:
        Image.MAX_IMAGE_PIXELS = before


def check_stored(image: Image, data: bytes, label: str) -> None:
    """Raise UnreadableFile for a PNG, JPEG or BMP that holds less than its header promises; decodes a JPEG, once more.

    A JPEG with something put in behind its data decodes to other pixels if, and only if, its data ended too soon.
    """
    most = next(n for start, n in _MOST.items() if data.startswith(start))
    short = image.height * image.width > most * len(data)
    if not short and data.startswith(_PNG):
        short = not _png_is_whole(data)
    if not short and data.startswith(_JPEG):
        longer = opened(_with_more(data), ("JPEG",))
        short = not np.array_equal(np.asarray(image), np.asarray(longer))
    if short:
        raise UnreadableFile(
            f"{label}: the header promises {image.height} x {image.width} pixels, and the file holds less",
            expected="a whole file",
            do="Copy or export the file again",
        )


def _png_is_whole(data: bytes) -> bool:
    """Return whether the lines of a PNG are all there, without keeping any."""
    wide, high = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    bits = data[24] * _SAMPLES.get(data[25], 1)
    passes = _PASSES if data[28] else ((0, 0, 1, 1),)
    wanted = 0
    for top, left, down, across in passes:
        rows, columns = ceil(max(high - top, 0) / down), ceil(max(wide - left, 0) / across)
        wanted += rows * (1 + ceil(columns * bits / 8)) if columns else 0
    inflater, held = zlib.decompressobj(), 0
    for chunk in _image_chunks(data):
        rest = chunk
        while rest and held < wanted and not inflater.eof:
            held += len(inflater.decompress(rest, _PIECE))
            rest = inflater.unconsumed_tail
    return held + len(inflater.flush() if held < wanted and not inflater.eof else b"") >= wanted


def _image_chunks(data: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            yield data[at + 8 : at + 8 + size]
        at += 12 + size


def _with_more(data: bytes) -> bytes:
    """Return a JPEG with bytes of no meaning behind the data of its first scan, where a whole one is not read."""
    scan = _first_scan(data)
    end = _MARKER.search(data, scan)
    stop = end.start() if end else len(data)
    noise = np.random.default_rng(0).integers(0, 255, 256, dtype=np.uint8).tobytes()  # never 0xff, which marks
    more = noise
    if _INTERVAL.search(data, 0, scan):
        first = len(_RESTART.findall(data, scan, stop))
        more += b"".join(bytes((0xFF, 0xD0 + (first + i) % 8)) + noise for i in range(8))
    return data[:stop] + more + data[stop:]


def _first_scan(data: bytes) -> int:
    """Return where the data of the first scan begin, by the lengths of the segments before it."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0xFF, 0x00, 0x01):
            at += 1
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            return at + 2 + size
        at += 2 + size
    return len(data)
