"""A DICOM file opened: its data set, and the facts about its pixels that are believed before decoding."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from saliscope.core.errors import UnreadableFile
from saliscope.read.guard import Guard
from saliscope.read.limits import Limits

if TYPE_CHECKING:
    from pydicom import Dataset

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIECE = 2**24
#: How a preamble (PS3.10 7.1) begins that makes of a DICOM file a program too: Windows, Linux, macOS, a script.
_PROGRAMS = (
    b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)  # fmt: skip
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT_LITTLE, _EXPLICIT_LITTLE, _EXPLICIT_BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
#: Objects that carry pixels, or look as if, but are no image of a patient.
_NO_IMAGE = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.5": "a surface segmentation",
    "1.2.840.10008.5.1.4.1.1.481.2": "a radiotherapy dose",
    "1.2.840.10008.5.1.4.1.1.77.1.6": "a tiled microscopy slide",
    "1.2.840.10008.1.3.10": "a DICOMDIR (a table of contents)",
}
#: Storage classes without pixels, by the start of their UID.
_NO_PIXELS = {
    "1.2.840.10008.5.1.4.1.1.88.": "a structured report",
    "1.2.840.10008.5.1.4.1.1.11.": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.481.": "a radiotherapy object",
    "1.2.840.10008.5.1.4.1.1.9.": "a waveform",
    "1.2.840.10008.5.1.4.1.1.104.": "an encapsulated document",
    "1.2.840.10008.5.1.4.1.1.66": "raw or registration data",
}
_RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"


@dataclass(frozen=True)
class Pixels:
    """What a header says of its pixels, checked to make sense."""

    rows: int
    columns: int
    samples: int
    frames: int
    photometric: str
    bits_stored: int

    @property
    def colour(self) -> bool:
        """Return whether the result has three channels."""
        return self.samples == 3 or self.photometric == "PALETTE COLOR"


def open_dicom(
    source: bytes | Path, label: str, limits: Limits, tags: Sequence[str | int] | None = None
) -> tuple[Dataset, list[str]]:
    """Return the data set of these bytes or this file and what had to be assumed; with tags, only those, no pixels.

    Raises UnreadableFile for what is no DICOM and TooLarge for one that inflates beyond the limit.
    """
    from pydicom import dcmread
    from pydicom.uid import UID

    notes: list[str] = []
    with Guard(label, "reading its header"), source.open("rb") if isinstance(source, Path) else BytesIO(source) as file:
        bare = file.read(132)[128:] != b"DICM"
        file.seek(0)
        _check_deflated(file, label, limits)
        file.seek(0)
        wanted: Any = None if tags is None else list(tags)
        ds = dcmread(file, force=bare, stop_before_pixels=tags is not None, specific_tags=wanted)
        if not ds.file_meta.get("TransferSyntaxUID"):
            ds.file_meta.TransferSyntaxUID = UID(_guessed_syntax(ds))
            notes.append("the file does not say how it is encoded; the encoding was worked out from its first element")
        elif bare:
            notes.append("the file has no DICOM preamble; it was read as DICOM all the same")
        elif (ds.preamble or b"").startswith(_PROGRAMS):
            notes.append("the file begins like a program that a computer can run; only its image was read")
    if bare and "SOPClassUID" not in ds:
        raise UnreadableFile(f"{label}: no DICOM file", expected="an image", do="Check that it is the right file")
    return ds, notes


def refused_object(ds: Dataset) -> str:
    """Return in words what a data set is if it is no image, else ""."""
    sop = str(ds.get("SOPClassUID", "") or ds.file_meta.get("MediaStorageSOPClassUID", "") or "")
    if sop in _NO_IMAGE:
        return _NO_IMAGE[sop]
    if sop == _RT_IMAGE:
        return ""
    return next((what for start, what in _NO_PIXELS.items() if sop.startswith(start)), "")


def pixel_facts(ds: Dataset, label: str) -> Pixels:
    """Return the facts of the pixel module; raises UnreadableFile for what is no image or makes no sense."""
    what = refused_object(ds)
    if what:
        raise UnreadableFile(f"{label}: {what}, not an image", do="Give the image that it was made from")
    if "Rows" not in ds or "Columns" not in ds:
        raise UnreadableFile(f"{label}: a DICOM file without an image", do="Give a file that holds pixels")
    with Guard(label, "reading the size of its image"):
        facts = Pixels(
            rows=int(ds.Rows),
            columns=int(ds.Columns),
            samples=int(ds.get("SamplesPerPixel", 1) or 1),
            frames=int(ds.get("NumberOfFrames", 1) or 1),
            photometric=str(ds.get("PhotometricInterpretation", "") or ""),
            bits_stored=int(ds.get("BitsStored", 0) or ds.get("BitsAllocated", 0) or 0),
        )
    if min(facts.rows, facts.columns, facts.frames) < 1 or facts.samples not in (1, 3):
        raise UnreadableFile(
            f"{label}: the header says {facts.frames} frames of {facts.rows} x {facts.columns} x {facts.samples}",
            expected="at least one element, in 1 or 3 samples",
            do="Export the file again",
        )
    return facts


def check_pixels(ds: Dataset, facts: Pixels, label: str, limits: Limits) -> None:
    """Raise UnreadableFile or TooLarge before decoding when the header asks for too much or more than there is."""
    limits.check_shape((facts.frames, facts.rows, facts.columns, facts.samples), label)
    name = next((p for p in PIXELS if p in ds), None)
    if name is None:
        raise UnreadableFile(
            f"{label}: an image header without pixel data", expected="pixels", do="Copy or export the file again"
        )
    with Guard(label, "measuring its pixel data"):
        held = len(ds[name].value or b"")
        encapsulated = ds.file_meta.TransferSyntaxUID.is_encapsulated
        promised = 1 if encapsulated else _promised(ds, name, facts)
    if held < promised:
        raise UnreadableFile(
            f"{label}: the header promises {promised:,} bytes of pixels and the file holds {held:,}",
            expected="a whole file",
            do="Copy or export the file again",
        )


def _promised(ds: Dataset, name: str, facts: Pixels) -> int:
    if name != "PixelData":
        return facts.rows * facts.columns * facts.frames * (4 if name == "FloatPixelData" else 8)
    from pydicom.pixels.utils import get_expected_length

    return int(get_expected_length(ds))


def _guessed_syntax(ds: Any) -> str:
    implicit, little = ds.original_encoding
    return _IMPLICIT_LITTLE if implicit else _EXPLICIT_LITTLE if little else _EXPLICIT_BIG


def _check_deflated(file: BinaryIO, label: str, limits: Limits) -> None:
    """Raise TooLarge for a deflated data set beyond the limit; pydicom itself inflates without one."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    read_preamble(file, force=True)
    if _read_file_meta_info(file).get("TransferSyntaxUID") != _DEFLATED:
        return
    inflater, size, start = zlib.decompressobj(-zlib.MAX_WBITS), 0, file.tell()
    whole = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    while not inflater.eof:
        packed = inflater.unconsumed_tail or file.read(_PIECE)
        if not packed:
            return
        size += len(inflater.decompress(packed, _PIECE))
        limits.check_inflated(size, label)
        limits.check_ratio(size, whole, label, "a data set")
