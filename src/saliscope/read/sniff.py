"""What a file is, by its first bytes and never by its name."""

from __future__ import annotations

import zlib
from typing import Literal

Kind = Literal["dicom", "nifti", "picture", "zip"]

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+", b"BM")
_NIFTI = {b"n+1\x00": 344, b"n+2\x00": 4}
#: Starts of a DICOM data set without preamble: group 2 or 8, little or big endian, element 0, 1, 5, 8 or 16.
_BARE = tuple(
    group + element
    for group, element in (
        *((g, e) for g in (b"\x02\x00", b"\x08\x00") for e in (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00")),
        *((g, e) for g in (b"\x02\x00", b"\x08\x00") for e in (b"\x10\x00", b"\x12\x00", b"\x16\x00")),
        *((b"\x00\x08", e) for e in (b"\x00\x00", b"\x00\x01", b"\x00\x05", b"\x00\x08", b"\x00\x16")),
    )
)
#: What a name promises; a file in a folder that breaks such a promise is a failure and not clutter.
IMAGE_SUFFIXES = frozenset(
    (".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".zip")
)


def kind_of(head: bytes) -> Kind | None:
    """Return what the first 4096 bytes say, or None for nothing that is read here."""
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(_PICTURES):
        return "picture"
    start = inflated_head(head) if head.startswith(b"\x1f\x8b") else head
    if any(start[at : at + 4] == magic for magic, at in _NIFTI.items()):
        return "nifti"
    return "dicom" if head.startswith(_BARE) else None


def inflated_head(data: bytes, size: int = 1024) -> bytes:
    """Return the first bytes of a gzip stream, or nothing if it is broken."""
    try:
        return zlib.decompressobj(31).decompress(data, size)
    except zlib.error:
        return b""
