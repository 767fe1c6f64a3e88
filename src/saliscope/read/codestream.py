"""The size that a compressed frame gives for itself: codecs believe it, so it is compared with the header first.

A codec takes memory for what the frame says, and some end the whole process on samples that they did not expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.errors import UnreadableFile
from saliscope.read.header import Pixels

if TYPE_CHECKING:
    from pydicom import Dataset

_J2K = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_BOXES = 64
_JPEG = b"\xff\xd8"
_RLE = "1.2.840.10008.1.2.5"
#: Start-of-frame markers of JPEG and JPEG-LS; the others of the range C0 to CF are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}


def check_frame_size(ds: Dataset, facts: Pixels, index: int, label: str) -> None:
    """Raise UnreadableFile when a compressed frame claims another size than the header, before it is decoded.

    So it does for one that says no size where its encoding has one (PS3.5 8.2).
    """
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    from pydicom.encaps import get_frame

    stream = get_frame(ds.PixelData, index, number_of_frames=facts.frames)
    if syntax == _RLE:
        return  # it has no size of its own, and its decoder takes memory for that of the header
    size = size_of(stream)
    if size is None:
        raise UnreadableFile(
            f"{label}: a compressed frame that does not say its size", expected="one", do="Export the file again"
        )
    if size != (facts.rows, facts.columns, facts.samples):
        raise UnreadableFile(
            f"{label}: the header says {facts.rows} x {facts.columns} pixels and the compressed frame "
            f"{size[0]} x {size[1]}, of {facts.samples} and {size[2]} sample(s)",
            expected="one size",
            do="Export the file again",
        )


def size_of(stream: bytes) -> tuple[int, int, int] | None:
    """Return (rows, columns, samples) of a JPEG, JPEG-LS or JPEG 2000 stream, or None where it does not say one."""
    start = _codestream(stream)
    if stream.startswith(_J2K, start) and len(stream) >= start + 42:
        right, down, left, top = (int.from_bytes(stream[start + at : start + at + 4], "big") for at in (8, 12, 16, 20))
        return down - top, right - left, int.from_bytes(stream[start + 40 : start + 42], "big")
    if not stream.startswith(_JPEG):
        return None
    found, at = None, 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xDA:  # the scan: what follows is no marker
            return found
        if marker in _FRAMES:
            if found is not None:
                return None
            high, wide = (int.from_bytes(stream[at + i : at + i + 2], "big") for i in (5, 7))
            found = high, wide, stream[at + 9]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return found


def _codestream(stream: bytes) -> int:
    """Return where a JPEG 2000 codestream begins: at once, or in the box for it of a JP2 file (ISO 15444-1 I.4)."""
    at = 0
    for _ in range(_BOXES if stream.startswith(_JP2) else 0):
        length, kind, head = int.from_bytes(stream[at : at + 4], "big"), stream[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(stream[at + 8 : at + 16], "big"), 16
        if kind == b"jp2c":
            return at + head
        at += max(length, 8)
    return 0
