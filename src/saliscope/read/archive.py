"""The members of a zip, once the archive as a whole is found safe to open."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from saliscope.core.errors import TooLarge, UnreadableFile
from saliscope.read.guard import Guard
from saliscope.read.item import Item
from saliscope.read.limits import Limits


def members(path: Path, limits: Limits) -> list[Item]:
    """Return the files of a zip in order of name; raises UnreadableFile or TooLarge, nothing is extracted."""
    with Guard(path.name, "reading the zip's directory"), zipfile.ZipFile(path) as archive:
        entries = [e for e in archive.infolist() if not e.is_dir()]
    if len(entries) > limits.max_zip_entries:
        raise TooLarge(
            f"{path.name}: a zip of {len(entries):,} files",
            expected=f"at most {limits.max_zip_entries:,}",
            do="Raise max_zip_entries, or unpack it",
        )
    for entry in entries:
        _refuse_unsafe(entry, path)
    inflated = sum(e.file_size for e in entries)
    packed = sum(e.compress_size for e in entries)
    limits.check_inflated(inflated, path.name)
    limits.check_ratio(inflated, packed, path.name, "a zip")
    return sorted(Item(path, e.filename) for e in entries)


def _refuse_unsafe(entry: zipfile.ZipInfo, path: Path) -> None:
    pure = PurePosixPath(entry.filename)
    outside = pure.is_absolute() or ".." in pure.parts or PureWindowsPath(entry.filename).drive != ""
    link = stat.S_ISLNK(entry.external_attr >> 16)
    if outside or link or entry.flag_bits & 0x1:
        what = "is encrypted" if entry.flag_bits & 0x1 else "is a link" if link else "points outside the archive"
        raise UnreadableFile(
            f"{path.name}: a zip with a member that {what}", expected="plain files", do="Unpack it yourself, with care"
        )
