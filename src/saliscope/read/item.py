"""One file to read: on disk, or inside a zip."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from saliscope.read.guard import Guard
from saliscope.read.limits import Limits


@dataclass(frozen=True, order=True)
class Item:
    """A file, or the member of a zip; `where` is how failures name it."""

    path: Path
    member: str = ""

    @property
    def where(self) -> Path:
        """Return the path, with the member's own path behind that of its zip."""
        return self.path / self.member if self.member else self.path

    @property
    def label(self) -> str:
        """Return the file name for messages."""
        return self.where.name

    def head(self, size: int = 4096) -> bytes:
        """Return the first bytes; raises UnreadableFile."""
        with Guard(self.label, "opening it"):
            if self.member:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                    return file.read(size)
            with self.path.open("rb") as file:
                return file.read(size)

    def size(self) -> int:
        """Return the number of bytes; raises UnreadableFile."""
        with Guard(self.label, "opening it"):
            if self.member:
                with zipfile.ZipFile(self.path) as archive:
                    return archive.getinfo(self.member).file_size
            return self.path.stat().st_size

    def read(self, limits: Limits) -> bytes:
        """Return all bytes; raises UnreadableFile or TooLarge."""
        size = self.size()
        limits.check_file(size, self.label)
        # Never more than was said and checked: a zip's directory may lie about a member's size.
        return self.head(size)
