"""Objects on their way in: spooled to the disk within bounds, identified, put in their place, recorded.

They lie there as they came, under a name that says nothing, behind an empty preamble and file meta information of ours.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from saliscope.core.errors import PacsError
from saliscope.pacs.queue import Received
from saliscope.pacs.records import UID

#: Encodings that `read` decodes; Deflated Explicit VR is not offered, as nothing tells how far it inflates.
SYNTAXES = (
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
)  # fmt: skip
#: Status of a C-STORE response (PS3.4 table B.2-1, PS3.7 annex C).
SUCCESS, DUPLICATE, OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD = 0x0000, 0x0111, 0xA700, 0xA900, 0xC000
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_PIXEL_WORDS = ("FloatPixelData", "DoubleFloatPixelData", "PixelData")
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
#: Values longer than this are passed over when an object is identified.
_DEFER = 4096
INCOMING, OBJECTS = "incoming", "objects"
#: Bytes of disk that are never filled, so that the queue can still write.
FLOOR = 64 * 2**20
PART = ".part"


class Keeper(Protocol):
    """Where what was received is recorded."""

    def received(self, one: Received) -> bool:
        """Record an object; False where it is known; raises PacsError where its UID is known with other bytes."""


class Refused(Exception):
    """An object that is not taken: the status to answer, why in words without identifiers, whether that may pass."""

    def __init__(self, status: int, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.status, self.why, self.passing = status, why, passing


@dataclass(frozen=True)
class Identity:
    """What an object says of itself: its class, itself, its study and series."""

    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str


class Spool:
    """One object on its way to the disk: its part of a file, its size, its SHA-256, and why it cannot be kept."""

    def __init__(self, folder: Path, head: bytes, limit: int, failure: str = "") -> None:
        self.path = folder / f"{secrets.token_hex(16)}{PART}"
        self.size, self.failure = 0, failure
        self._limit, self._hash = limit, hashlib.sha256()
        self._file: BinaryIO | None = None
        if failure:
            return
        try:
            if shutil.disk_usage(folder).free < limit + FLOOR:
                self.failure = "disk"
            else:
                self._file = self.path.open("xb")
                self._file.write(head)
        except OSError:
            self._fail("disk")

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the data set as it came."""
        return self._hash.hexdigest()

    def add(self, data: bytes) -> None:
        """Write a piece of the data set, or drop it once the object cannot be kept."""
        self.size += len(data)
        if self._file is None:
            return
        if self.size > self._limit:
            self._fail("size")
            return
        try:
            self._file.write(data)
        except OSError:
            self._fail("disk")
        self._hash.update(data)

    def close(self) -> None:
        """Bring the file to the disk."""
        if self._file is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
        except OSError:
            self._fail("disk")

    def discard(self) -> None:
        """Remove the part, if it is still there."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _fail(self, why: str) -> None:
        self.failure = why
        self.discard()


@dataclass(frozen=True)
class Intake:
    """Takes objects into a node's folder and its queue: none larger than `limit` bytes, none under a known UID."""

    folder: Path
    limit: int
    queue: Keeper

    def open(self) -> None:
        """Make the folders, and remove the parts that a kill left."""
        for name in (INCOMING, OBJECTS):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in (self.folder / INCOMING).iterdir():
            left.unlink()

    def spool(self, sop_class: str, sop_uid: str, syntax: str) -> Spool:
        """Return a spool for the data set of an object; one that must be refused takes nothing in and says why."""
        if not (UID.fullmatch(sop_class) and UID.fullmatch(sop_uid)):
            return Spool(self.folder / INCOMING, b"", 0, "uid")
        if syntax not in SYNTAXES:
            return Spool(self.folder / INCOMING, b"", 0, "syntax")
        return Spool(self.folder / INCOMING, head_of(sop_class, sop_uid, syntax), self.limit)

    def keep(self, spool: Spool, sop_class: str, sop_uid: str, caller: str) -> None:
        """Put a full spool in its place and record it, both on the disk at the return; raises Refused."""
        spool.close()
        if spool.failure:
            raise _refusal(spool.failure, self.limit)
        found = identified(spool.path)
        if (found.sop_class, found.sop_uid) != (sop_class, sop_uid):
            raise Refused(MISMATCH, "it is another object than its command says")
        path = self.folder / OBJECTS / spool.sha256[:2] / f"{spool.sha256}.dcm"
        try:
            _moved(spool.path, path)
        except OSError:
            raise _refusal("disk", 0) from None
        one = Received(found.sop_uid, found.sop_class, found.study_uid, found.series_uid, path, spool.sha256, caller)
        try:
            self.queue.received(one)
        except PacsError as error:
            if error.__cause__ is not None:  # not what was sent is at fault, but the disk under the queue
                raise _refusal("disk", 0) from None
            path.unlink(missing_ok=True)
            raise Refused(DUPLICATE, "its UID is known with other contents") from None


def head_of(sop_class: str, sop_uid: str, syntax: str) -> bytes:
    """Return an empty preamble and file meta information of our own (PS3.10 7.1)."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import UID

    meta, file = FileMetaDataset(), BytesIO()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(sop_uid)
    meta.TransferSyntaxUID = UID(syntax)
    file.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(file, meta, enforce_standard=True)  # type: ignore[arg-type]
    return file.getvalue()


def identified(path: Path) -> Identity:
    """Return what a received file says it is, without taking its pixels into memory."""
    from pydicom import dcmread

    try:
        ds = dcmread(path, defer_size=_DEFER, specific_tags=[*_UIDS, "Rows", "Columns", *_PIXEL_WORDS])
        words = [str(ds.get(tag, "") or "") for tag in _UIDS]
        pictured = int(ds.get("Rows", 0) or 0) > 0 and int(ds.get("Columns", 0) or 0) > 0
        held = [element for element in ds.values() if element.tag in _PIXELS]  # as found, not read
        whole = all(_ends(element) <= path.stat().st_size for element in held)
    except Exception:  # noqa: BLE001 - whatever a stranger's bytes do to the parser, they are not understood
        raise Refused(NOT_UNDERSTOOD, "it cannot be read as DICOM") from None
    if not all(UID.fullmatch(word) for word in words):
        raise Refused(NOT_UNDERSTOOD, "a UID is missing, or none")
    if not (pictured and held):
        raise Refused(NOT_UNDERSTOOD, "it holds no pixels")
    if not whole:
        raise Refused(NOT_UNDERSTOOD, "it ends before its pixels do")
    return Identity(*words)


def _ends(element: Any) -> int:
    """Return where in its file an element that was not read ends; 0 where its length is not defined, or it was read."""
    length = getattr(element, "length", 0xFFFFFFFF)
    return 0 if length == 0xFFFFFFFF else int(element.value_tell) + int(length)


def _refusal(failure: str, limit: int) -> Refused:
    status, why = {
        "uid": (NOT_UNDERSTOOD, "a UID is missing, or none"),
        "syntax": (NOT_UNDERSTOOD, "it is in a transfer syntax that is not taken"),
        "size": (OUT_OF_RESOURCES, f"it is larger than {limit / 2**20:g} MB"),
        "disk": (OUT_OF_RESOURCES, "the disk is full or cannot be written"),
    }[failure]
    return Refused(status, why, passing=failure == "disk")


def _moved(part: Path, path: Path) -> None:
    """Put a synced file in its place and sync the folders that name it."""
    made = not path.parent.exists()
    path.parent.mkdir(exist_ok=True, mode=0o700)
    part.replace(path)
    for folder in (path.parent, *([path.parent.parent] if made else [])):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
