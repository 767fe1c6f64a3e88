"""Sources whose identifiers were emptied, as those of files for research often are: what stands in for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saliscope.write.image_dicom import uid

if TYPE_CHECKING:
    from pydicom import Dataset

#: What is said where a source names no study, no series, or neither.
SAID = "the source names no {what}: results bear one made for it, and a PACS will not file the two together"


def named(headers: Sequence[Dataset]) -> tuple[str, ...]:
    """Give headers that lack identifiers those of their file, or ones that hang on them, and return what is to be said.

    Class and instance stand in the file's own meta information too (PS3.10 7.1). What is there and no UID is left, and
    refused later: only what was emptied is filled.
    """
    from pydicom import DataElement
    from pydicom.config import IGNORE

    for header in headers:
        for keyword in ("SOPClassUID", "SOPInstanceUID"):
            meta = str(header.file_meta.get(f"MediaStorage{keyword}", "") or "")
            if not header.get(keyword) and meta:
                # Not by setattr: what is no UID would be quoted in a warning of pydicom's.
                header[keyword] = DataElement(keyword, "UI", meta, validation_mode=IGNORE)
    instances = sorted(str(header.get("SOPInstanceUID", "") or "") for header in headers)
    said = []
    for what, keyword in (("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID")):
        lacking = [header for header in headers if not header.get(keyword)]
        if lacking and instances[0]:
            for header in lacking:
                setattr(header, keyword, uid("unnamed", what, *instances))
            said.append(what)
    return (SAID.format(what=" and no ".join(said)),) if said else ()
