"""The DICOM images that an explanation is of: what results refer to, and whose patient and study they bear."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from saliscope.core.errors import WriteError
from saliscope.write.dicom.identity import put_right

if TYPE_CHECKING:
    from pydicom import Dataset

#: PS3.5 9.1: what a unique identifier looks like; anything else never reaches a file, a reference or a name.
UID = re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
#: Type 2 attributes of patient and study: they must be there, and may be empty.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "Manufacturer",
)  # fmt: skip
_IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True, eq=False)
class DicomSource:
    """Headers without pixels, and for each plane of the image its header and frame, both counted from 0.

    Type 2 attributes that a header lacks are added, empty; patient and study of the first, which all results bear, are
    put right (`identity`). Raises WriteError for headers of several studies, for identifiers that are missing or no
    UID, for a kind of image that is retired or private, and for a patient's name that cannot be read.
    """

    headers: tuple[Dataset, ...] = field(repr=False)
    planes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        put_right(self.first)
        for header in self.headers:
            for keyword in _IDENTIFIERS:
                if not UID.fullmatch(str(header.get(keyword, "") or "")):
                    raise WriteError(
                        f"a source whose {keyword} is missing or no UID",
                        expected="digits and dots, at most 64",
                        do="Export the image again from the system that it comes from",
                    )
            for keyword in _MAY_BE_EMPTY:
                if keyword not in header:
                    setattr(header, keyword, "")
        if len({str(h.StudyInstanceUID) for h in self.headers}) > 1:
            raise WriteError("slices of several studies", expected="one study", do="Give one series at a time")
        _refuse_unknown(str(self.first.SOPClassUID))

    @property
    def first(self) -> Dataset:
        """Return the header whose patient and study all results bear."""
        return self.headers[0]

    def of_plane(self, plane: int) -> Dataset:
        """Return the header of a plane."""
        return self.headers[self.planes[plane][0]]

    @cached_property
    def multiframe(self) -> bool:
        """Return whether the source counts its frames: then references name them."""
        return int(self.first.get("NumberOfFrames", 1) or 1) > 1

    @property
    def frame_of_reference(self) -> str:
        """Return the UID of the source's own frame of reference, "" where it has none."""
        found = str(self.first.get("FrameOfReferenceUID", "") or "")
        return found if UID.fullmatch(found) else ""

    def reference(self, plane: int) -> Dataset:
        """Return the item that refers to the source of a plane (PS3.3 10.3, Image SOP Instance Reference)."""
        from pydicom import Dataset

        header, item = self.of_plane(plane), Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        if self.multiframe:
            item.ReferencedFrameNumber = self.planes[plane][1] + 1
        return item


def _refuse_unknown(sop_class: str) -> None:
    """Raise WriteError for a kind of image whose attributes of patient and study no standard of today lists."""
    from pydicom import uid

    kind = uid.UID(sop_class)
    if kind.is_private or kind.is_retired:
        raise WriteError(
            f"a source of a kind of image that DICOM {'has retired' if kind.is_retired else 'does not know'}",
            expected="a kind of image of the current standard, such as CT, MR, DX, CR or US",
            do="Let the system that it comes from convert it, or leave --dicom out",
        )
