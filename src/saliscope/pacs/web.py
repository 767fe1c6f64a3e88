"""DICOMweb: QIDO to search, WADO to fetch, STOW to store (PS3.18 sections 10.4 to 10.6).

Plain requests and not dicomweb-client: that one follows redirects, holds a whole study in memory, writes objects
anew instead of sending their own bytes, and logs UIDs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from saliscope.core.errors import PacsError, TooLarge
from saliscope.pacs import http
from saliscope.pacs.find import CRITERIA, StudyFound, clean, number
from saliscope.pacs.libraries import requests
from saliscope.pacs.multipart import Piece, boundary_of, pieces
from saliscope.pacs.peers import WebPeer
from saliscope.pacs.records import UID, without_uids
from saliscope.pacs.send import identity
from saliscope.pacs.status import Outcome, State, meaning, outcome

_JSON = {"Accept": "application/dicom+json"}
_CHUNK = 2**18


@dataclass(frozen=True)
class FetchLimits:
    """The most that one fetch may bring: objects, bytes in all, and seconds."""

    objects: int = 5000
    size: int = 4 * 2**30
    seconds: float = 1800.0


def find_studies(peer: WebPeer, criteria: Mapping[str, str], most: int = 100) -> tuple[StudyFound, ...]:
    """Return at most so many studies that match all criteria (those of CRITERIA); raises PacsError if it cannot ask."""
    for keyword in criteria:
        if keyword not in CRITERIA:
            raise PacsError(f"a search by {keyword}", expected=", ".join(CRITERIA), do="Search by one of these")
    fields = ["00081030", "00080061", "00201206", "00201208"]
    found = _searched(peer, "/studies", {**criteria, "limit": str(most), "includefield": fields})
    return tuple(_study(row) for row in found[:most])


def holds(peer: WebPeer, sop_uid: str, study_uid: str, series_uid: str) -> bool | None:
    """Return whether a peer holds an object; None where it cannot be asked or gives no answer."""
    if not peer.can_find or not all(UID.fullmatch(uid) for uid in (sop_uid, study_uid, series_uid)):
        return None
    try:
        found = _searched(peer, f"/studies/{study_uid}/series/{series_uid}/instances", {"SOPInstanceUID": sop_uid})
    except PacsError:
        return None
    return any(http.value(row, "00080018") == sop_uid for row in found)


def fetch_study(peer: WebPeer, study_uid: str, folder: Path, limits: FetchLimits | None = None) -> tuple[Path, ...]:
    """Return the objects of a study, each as it is stored there, in new files of a folder; all of them or none.

    Raises PacsError where it cannot be fetched whole, and TooLarge beyond the limits; both leave no file behind.
    """
    limits = limits or FetchLimits()
    if not UID.fullmatch(study_uid):
        raise PacsError("a study that is not a UID", expected="digits and dots, at most 64", do="Check it")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made: list[Path] = []
    kind = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    try:
        with http.session(peer) as opened, _answered(peer, opened, f"/studies/{study_uid}", headers=kind) as answer:
            boundary = boundary_of(answer.headers.get("Content-Type", ""))
            _kept(pieces(_bounded(answer, limits), boundary), folder, made, limits)
        if not made:
            raise PacsError("an answer without objects", expected="the objects of a study", do="Check the UID")
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return tuple(made)


def store(
    peer: WebPeer,
    files: Sequence[Path],
    told: Callable[[int, Outcome], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Outcome, ...]:
    """Return what became of each file, in their order: each goes by a request of its own, its bytes as they are.

    Raises PacsError where the extra or the login is missing; what a peer or a file does wrong is an Outcome.
    """
    outcomes: list[Outcome] = []
    with http.session(peer) as opened:
        for place, path in enumerate(files):
            found = Outcome("stopped", "stopped before it was sent") if stop() else _stored(peer, opened, path)
            outcomes.append(found)
            if told is not None:
                told(place, found)
    return tuple(outcomes)


def _searched(peer: WebPeer, path: str, words: Mapping[str, str | list[str]]) -> list[Mapping[str, Any]]:
    # Some servers say 404 where nothing matches, of a study that they have never seen.
    with http.session(peer) as opened, _answered(peer, opened, path, (404,), headers=_JSON, params=words) as answer:
        return http.rows(answer) if answer.status_code == 200 else []


@contextmanager
def _answered(peer: WebPeer, opened: Any, path: str, also: Sequence[int] = (), **words: Any) -> Iterator[Any]:
    """Yield the answer to a GET that succeeded, or of a status that is also good; raises PacsError for all else."""
    try:
        with http.asked(opened, "GET", f"{peer.url}{path}", **words) as answer:
            if answer.status_code not in (200, 204, *also):
                raise http.refused(peer, answer.status_code)
            yield answer
    except requests().RequestException as error:
        # Not chained: the text of the cause holds the address, and that the UIDs.
        raise http.unreachable(peer, error) from None


def _bounded(answer: Any, limits: FetchLimits) -> Iterator[bytes]:
    size, until = 0, time.monotonic() + limits.seconds
    for chunk in answer.iter_content(_CHUNK):
        size += len(chunk)
        if size > limits.size or time.monotonic() > until:
            raise TooLarge(
                "a study beyond the limits of a fetch",
                expected=f"at most {limits.size} bytes in {limits.seconds:g} s",
                do="Fetch a smaller one, or raise the limits",
            )
        yield chunk


def _kept(found: Iterator[Piece], folder: Path, made: list[Path], limits: FetchLimits) -> None:
    stream: IO[bytes] | None = None
    try:
        for what, data in found:
            if what == "start":
                if len(made) >= limits.objects:
                    raise TooLarge("a study of too many objects", expected=f"at most {limits.objects}", do="Raise it")
                path = folder / f"{len(made) + 1:06d}.dcm"
                stream = path.open("xb")
                made.append(path)
            elif stream is not None and what == "data":
                stream.write(data)
            elif stream is not None:
                stream.close()
    except OSError as error:
        if isinstance(error, requests().RequestException):
            raise
        raise PacsError(f"a file that cannot be written ({error.strerror})", do="Give an empty folder") from error
    finally:
        if stream is not None:
            stream.close()


def _stored(peer: WebPeer, opened: Any, path: Path) -> Outcome:
    library = requests()
    try:
        one = identity(path)
        with path.open("rb") as stream:
            sent = _Body(stream, path.stat().st_size, uuid4().hex)
            headers = {**_JSON, "Content-Type": f'multipart/related; type="application/dicom"; boundary={sent.mark}'}
            with http.asked(opened, "POST", f"{peer.url}/studies", data=sent, headers=headers) as answer:
                return _judged(peer, answer, one.sop_uid)
    except (library.ConnectTimeout, library.exceptions.SSLError) as error:
        return Outcome("retry", str(http.unreachable(peer, error)))
    except library.ConnectionError as error:
        begun = "NewConnectionError" not in repr(error)
        return Outcome("unsure" if begun else "retry", str(http.unreachable(peer, error)))
    except library.RequestException as error:
        return Outcome("unsure", str(http.unreachable(peer, error)))
    except PacsError as error:
        return Outcome("failed", without_uids(str(error)))


def _judged(peer: WebPeer, answer: Any, sop_uid: str) -> Outcome:
    """Return what the answer to STOW says of the one object (PS3.18 section 10.5.3)."""
    status = int(answer.status_code)
    if status in (200, 202, 409):
        try:
            said = http.rows(answer)
        except PacsError:
            said = []
        for row in said:
            for item in _items(row, "00081198"):
                return outcome(int(http.value(item, "00081197") or 0x0110))
            for item in _items(row, "00081199"):
                if http.value(item, "00081155") == sop_uid:
                    return Outcome("sent", "", 0) if status == 200 else _warned(item)
        return Outcome("sent", "", 0) if status == 200 and not said else Outcome("unsure", "the peer names no outcome")
    state: State = "failed"
    if status in (401, 403, 408, 425, 429):
        state = "retry"
    elif status >= 500:
        state = "unsure"
    return Outcome(state, str(http.refused(peer, status)))


def _warned(item: Mapping[str, Any]) -> Outcome:
    return Outcome("warned", meaning(int(http.value(item, "00081196") or 0xB000)), 0xB000)


def _items(row: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _study(row: Mapping[str, Any]) -> StudyFound:
    element = row.get("00080061")
    modalities = element.get("Value") if isinstance(element, dict) else None
    return StudyFound(
        clean(http.value(row, "0020000D")),
        clean(http.value(row, "00080020")),
        tuple(clean(m) for m in modalities) if isinstance(modalities, list) else (),
        clean(http.value(row, "00081030")),
        number(http.value(row, "00201206")),
        number(http.value(row, "00201208")),
    )


@dataclass(frozen=True)
class _Body:
    """The body of a STOW request with one object, read while it is sent."""

    stream: IO[bytes]
    size: int
    mark: str

    def _head(self) -> bytes:
        return f"--{self.mark}\r\nContent-Type: application/dicom\r\n\r\n".encode()

    def _tail(self) -> bytes:
        return f"\r\n--{self.mark}--\r\n".encode()

    def __len__(self) -> int:
        """Return its length in bytes."""
        return len(self._head()) + self.size + len(self._tail())

    def __iter__(self) -> Iterator[bytes]:
        """Yield it piece by piece."""
        yield self._head()
        while chunk := self.stream.read(_CHUNK):
            yield chunk
        yield self._tail()
