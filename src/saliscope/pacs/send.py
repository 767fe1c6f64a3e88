"""C-STORE to a peer: each file's own bytes, in its own transfer syntax, many over one association (PS3.4 Annex B)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saliscope.core.errors import PacsError
from saliscope.pacs.association import WAITS, Waits, associated
from saliscope.pacs.libraries import pynetdicom
from saliscope.pacs.node import Node
from saliscope.pacs.peers import DicomPeer
from saliscope.pacs.records import without_uids
from saliscope.pacs.status import Outcome, outcome

#: PS3.8 section 9.3.2.2: presentation context IDs are the odd numbers of a byte.
_MOST_CONTEXTS = 128
_MOST_BREAKS = 3
Told = Callable[[int, Outcome], None]


@dataclass(frozen=True)
class Identity:
    """What the header of a DICOM file says: whose bytes these are, and how they are written."""

    sop_uid: str
    sop_class: str
    study_uid: str
    series_uid: str
    syntax: str


def identity(path: Path) -> Identity:
    """Return what a DICOM file is; raises PacsError for a file that cannot be sent as it is."""
    import pydicom

    words = ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"]
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=words)
        meta = ds.file_meta
        sop_uid, sop_class, study_uid, series_uid = (str(ds[word].value) for word in words)
        found = Identity(sop_uid, sop_class, study_uid, series_uid, str(meta.TransferSyntaxUID))
        same = (meta.MediaStorageSOPInstanceUID, meta.MediaStorageSOPClassUID) == (found.sop_uid, found.sop_class)
    except Exception as error:  # pydicom raises of many kinds on a broken file
        raise PacsError(
            f"a file that cannot be sent ({type(error).__name__})",
            expected="a DICOM file with UIDs",
            do="Make it again",
        ) from error
    if not same:
        raise PacsError("a file whose meta information names another object", expected="one object", do="Make it again")
    return found


def send(
    node: Node,
    peer: DicomPeer,
    files: Sequence[Path],
    told: Told | None = None,
    *,
    waits: Waits = WAITS,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Outcome, ...]:
    """Return what became of each file, in their order; `told` hears of each at once, `stop` ends before the next.

    An association that breaks costs the one file that was on its way; the rest goes over a new one, at most three
    times. Raises PacsError only where the extra is missing; what a peer or a file does wrong is an Outcome.
    """
    pynetdicom()
    outcomes: dict[int, Outcome] = {}

    def keep(place: int, found: Outcome) -> None:
        outcomes[place] = found
        if told is not None:
            told(place, found)

    for group in _groups(files, keep):
        for _ in range(_MOST_BREAKS):
            left = {place: one for place, one in group.items() if place not in outcomes}
            if not left or stop():
                break
            try:
                _over_one(node, peer, files, left, keep, waits, stop)
            except PacsError as error:
                why = Outcome("retry", without_uids(str(error)))
                for place in left.keys() - outcomes.keys():
                    keep(place, why)
    for place in range(len(files)):
        if place not in outcomes:
            stopped = Outcome("stopped", "stopped before it was sent")
            keep(place, stopped if stop() else Outcome("retry", "the association kept breaking"))
    return tuple(outcomes[place] for place in range(len(files)))


def _groups(files: Sequence[Path], keep: Told) -> Iterator[dict[int, Identity]]:
    """Yield files by place, such that each group needs no more presentation contexts than fit an association."""
    group: dict[int, Identity] = {}
    pairs: set[tuple[str, str]] = set()
    for place, path in enumerate(files):
        try:
            one = identity(path)
        except PacsError as error:
            keep(place, Outcome("failed", str(error)))
            continue
        pair = (one.sop_class, one.syntax)
        if pair not in pairs and len(pairs) == _MOST_CONTEXTS:
            yield group
            group, pairs = {}, set()
        group[place] = one
        pairs.add(pair)
    yield group


def _over_one(
    node: Node,
    peer: DicomPeer,
    files: Sequence[Path],
    left: dict[int, Identity],
    keep: Told,
    waits: Waits,
    stop: Callable[[], bool],
) -> None:
    """Send over one association until all is told, it breaks, or somebody says stop."""
    build = pynetdicom().build_context
    pairs = dict.fromkeys((one.sop_class, one.syntax) for one in left.values())
    with associated(node, peer, [build(*pair) for pair in pairs], waits, or_empty=True) as association:
        accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
        for number, (place, one) in enumerate(left.items()):
            if (one.sop_class, one.syntax) not in accepted:
                keep(place, Outcome("failed", "the peer does not accept its SOP class in its transfer syntax"))
                continue
            if stop():
                return
            found = _store(association, files[place], number)
            keep(place, found)
            if found.state == "unsure":
                return


def _store(association: Any, path: Path, number: int) -> Outcome:
    try:
        answer = association.send_c_store(path, msg_id=number % 65535 + 1)
    except RuntimeError:  # it had ended before
        return Outcome("unsure", "the association ended")
    except (OSError, ValueError, AttributeError) as error:
        association.abort()
        return Outcome("unsure", f"it could not be sent ({type(error).__name__})")
    if "Status" not in answer:
        return Outcome("unsure", "the peer ended the association, or did not answer in time")
    return outcome(int(answer.Status))
