"""The size that a compressed frame gives for itself: codecs believe it, so it is compared with the header first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.errors import UnreadableFile
from saliscope.read.header import Pixels

if TYPE_CHECKING:
    from pydicom import Dataset

_J2K = b"\xff\x4f\xff\x51"
_JPEG = b"\xff\xd8"
#: Start-of-frame markers of JPEG and JPEG-LS; the others of the range C0 to CF are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}


def check_frame_size(ds: Dataset, facts: Pixels, index: int, label: str) -> None:
    """Raise UnreadableFile when a compressed frame claims another size than the header, before it is decoded."""
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    from pydicom.encaps import get_frame

    stream = get_frame(ds.PixelData, index, number_of_frames=facts.frames)
    size = size_of(stream)
    if size is not None and size != (facts.rows, facts.columns):
        raise UnreadableFile(
            f"{label}: the header says {facts.rows} x {facts.columns} pixels and the compressed frame "
            f"{size[0]} x {size[1]}",
            expected="one size",
            do="Export the file again",
        )


def size_of(stream: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) of a JPEG, JPEG-LS or JPEG 2000 stream, or None where it does not say."""
    start = stream.find(_J2K, 0, 512)
    if start >= 0 and len(stream) >= start + 24:
        right, down, left, top = (int.from_bytes(stream[start + at : start + at + 4], "big") for at in (8, 12, 16, 20))
        return down - top, right - left
    if not stream.startswith(_JPEG):
        return None
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker in _FRAMES:
            return int.from_bytes(stream[at + 5 : at + 7], "big"), int.from_bytes(stream[at + 7 : at + 9], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None
