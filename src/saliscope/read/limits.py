"""How much a file may ask for, checked from its header before anything is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from saliscope.core.errors import TooLarge, UnreadableFile

GIB = 2**30
#: What inflates to no more than this is never refused for its ratio.
RATIO_FROM = 16 * 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds on what is read: bytes of one file, elements of one image, bytes after inflation, slices, zip entries.

    `max_zip_ratio` is inflated to packed bytes of a whole archive, or of a deflated DICOM file, looked at once that
    inflates to over 16 MiB. `max_slices` counts the frames of a volume in one file too.
    """

    max_file_bytes: int = 2 * GIB
    max_elements: int = 2**29
    max_inflated_bytes: int = 4 * GIB
    max_slices: int = 4096
    max_zip_entries: int = 20_000
    max_zip_ratio: float = 200.0

    def check_file(self, size: int, label: str) -> None:
        """Raise UnreadableFile for an empty file and TooLarge for one of too many bytes."""
        if size == 0:
            raise UnreadableFile(f"{label}: an empty file", expected="an image", do="Copy or export it again")
        if size > self.max_file_bytes:
            raise TooLarge(
                f"{label}: {size:,} bytes",
                expected=f"at most {self.max_file_bytes:,}",
                do="Raise max_file_bytes if you trust the file",
            )

    def check_shape(self, shape: Sequence[int], label: str) -> None:
        """Raise UnreadableFile for a shape with nothing in it and TooLarge for one of too many elements."""
        said = " x ".join(str(n) for n in shape)
        if min(shape) < 1:
            raise UnreadableFile(
                f"{label}: the header says {said} elements", expected="at least one", do="Export the file again"
            )
        if prod(shape) > self.max_elements:
            raise TooLarge(
                f"{label}: the header says {said} elements",
                expected=f"at most {self.max_elements:,}",
                do="Raise max_elements if you trust the file and have the memory",
            )

    def check_inflated(self, size: int, label: str) -> None:
        """Raise TooLarge when decompression goes beyond the limit."""
        if size > self.max_inflated_bytes:
            raise TooLarge(
                f"{label}: inflates to more than {self.max_inflated_bytes:,} bytes",
                expected="less",
                do="Raise max_inflated_bytes if you trust the file",
            )

    def check_ratio(self, inflated: int, packed: int, label: str, what: str) -> None:
        """Raise TooLarge for what inflates too many times, unless it stays small."""
        if inflated > RATIO_FROM and inflated / max(1, packed) > self.max_zip_ratio:
            raise TooLarge(
                f"{label}: {what} that inflates {inflated // max(1, packed)}-fold",
                expected=f"at most {self.max_zip_ratio:g}-fold",
                do="Raise max_zip_ratio if you trust the file",
            )

    def check_slices(self, count: int, label: str) -> None:
        """Raise TooLarge for a series of too many slices."""
        if count > self.max_slices:
            raise TooLarge(
                f"{label}: {count} slices",
                expected=f"at most {self.max_slices}",
                do="Raise max_slices if this is one series",
            )
