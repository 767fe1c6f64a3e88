"""C-FIND to a peer: what it holds, by study or by one object (PS3.4 section C.6.2, Study Root)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saliscope.core.errors import PacsError
from saliscope.pacs.association import WAITS, Waits, associated
from saliscope.pacs.libraries import pynetdicom
from saliscope.pacs.node import Node
from saliscope.pacs.peers import DicomPeer
from saliscope.pacs.status import meaning

_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = (0xFF00, 0xFF01)
#: What may narrow a search for studies, by keyword of PS3.6.
CRITERIA = ("StudyInstanceUID", "StudyDate", "ModalitiesInStudy", "StudyDescription", "PatientID", "AccessionNumber")


@dataclass(frozen=True)
class StudyFound:
    """A study that a peer holds: its UID and what says what it is, without the patient."""

    study_uid: str
    date: str
    modalities: tuple[str, ...]
    description: str
    series: int
    objects: int


def find_studies(
    node: Node, peer: DicomPeer, criteria: Mapping[str, str], most: int = 100, waits: Waits = WAITS
) -> tuple[StudyFound, ...]:
    """Return at most so many studies that match all criteria (those of CRITERIA, wildcards as the peer knows them).

    Raises PacsError for a peer that cannot be reached or refuses.
    """
    query = _query("STUDY", {**criteria})
    for keyword in ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", *CRITERIA[:4]):
        if keyword not in query:
            setattr(query, keyword, "")
    return tuple(study_found(ds) for ds in _found(node, peer, query, most, waits))


def holds(
    node: Node, peer: DicomPeer, sop_uid: str, study_uid: str, series_uid: str, waits: Waits = WAITS
) -> bool | None:
    """Return whether a peer holds an object; None where it cannot be asked or gives no answer."""
    if not peer.can_find:
        return None
    words = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": sop_uid}
    try:
        rows = _found(node, peer, _query("IMAGE", words), 2, waits)
    except PacsError:
        return None
    # A peer that ignores a key returns all that it has: only our own UID counts.
    return any(str(ds.get("SOPInstanceUID", "")) == sop_uid for ds in rows)


def study_found(ds: Any) -> StudyFound:
    """Return a study from the data set of a C-FIND or QIDO answer, made safe to print."""
    modalities = ds.get("ModalitiesInStudy") or ()
    return StudyFound(
        clean(ds.get("StudyInstanceUID")),
        clean(ds.get("StudyDate")),
        tuple(clean(m) for m in ([modalities] if isinstance(modalities, str) else modalities)),
        clean(ds.get("StudyDescription")),
        number(ds.get("NumberOfStudyRelatedSeries")),
        number(ds.get("NumberOfStudyRelatedInstances")),
    )


def clean(value: Any) -> str:
    """Return a value that a peer gave, safe to print."""
    return "".join(c for c in str(value or "") if c.isprintable())[:256]


def number(value: Any) -> int:
    """Return a count that a peer gave, 0 where it is none."""
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return 0


def _query(level: str, words: Mapping[str, str]) -> Any:
    from pydicom import Dataset

    query = Dataset()
    query.QueryRetrieveLevel = level
    query.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in words.items():
        if level == "STUDY" and keyword not in CRITERIA:
            raise PacsError(f"a search by {keyword}", expected=", ".join(CRITERIA), do="Search by one of these")
        setattr(query, keyword, value)
    return query


def _found(node: Node, peer: DicomPeer, query: Any, most: int, waits: Waits) -> list[Any]:
    library = pynetdicom()
    rows: list[Any] = []
    with associated(node, peer, [library.build_context(_STUDY_ROOT_FIND)], waits) as association:
        for status, ds in association.send_c_find(query, _STUDY_ROOT_FIND):
            if "Status" not in status:
                raise PacsError(f"the peer {peer.name} did not answer C-FIND", do="Look into its log")
            if status.Status in _PENDING:
                if ds is not None and len(rows) < most:
                    rows.append(ds)
                if len(rows) >= most:
                    association.abort()
                    break
            elif status.Status != 0:
                raise PacsError(f"the peer {peer.name} answered C-FIND with {meaning(status.Status)}", do="See its log")
    return rows
