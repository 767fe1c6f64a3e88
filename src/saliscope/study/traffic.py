"""What a person asks of a peer: does it answer, what does it hold, give it, take these."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saliscope.core.errors import PacsError
from saliscope.pacs import find, web
from saliscope.pacs.config import Config
from saliscope.pacs.echo import echo
from saliscope.pacs.find import StudyFound
from saliscope.pacs.peers import DicomPeer, Peer
from saliscope.pacs.queue import Noted, Queue
from saliscope.pacs.queue_file import FILE
from saliscope.pacs.send import send
from saliscope.pacs.status import Outcome


@dataclass(frozen=True)
class Sent:
    """What became of files that were sent to a peer: how many arrived, and why how many others did not."""

    peer: str
    arrived: int
    failures: Mapping[str, int]

    @property
    def exit_code(self) -> int:
        """Return 0 when all arrived, 2 when none did, 3 when part failed."""
        if not self.failures:
            return 0
        return 3 if self.arrived else 2

    def sentence(self) -> str:
        """Return in words what became of them."""
        failed = sum(self.failures.values())
        return f"{self.arrived} sent to {self.peer}" + (f", {failed} not." if failed else ".")

    def described(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "exit_code": self.exit_code}


@dataclass(frozen=True)
class State:
    """How a node's queue stands: counts by name, and the newest of what went wrong."""

    counts: Mapping[str, int]
    errors: tuple[Noted, ...]

    @property
    def given_up(self) -> int:
        """Return how many studies and objects wait for a person."""
        return self.counts["studies_failed"] + self.counts["owed_given_up"]

    def described(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"counts": dict(self.counts), "errors": [asdict(e) for e in self.errors], "given_up": self.given_up}


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files named, and all DICOM files in the folders named; raises PacsError where there is none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and _is_dicom(p))
        elif path.is_file():
            found.append(path)
        else:
            raise PacsError(f"{path}, which is not there", expected="DICOM files or folders", do="Check the path")
    if not found:
        raise PacsError("folders without a DICOM file", expected="at least one", do="Write some: explain --dicom")
    return found


def sent_to(config: Config, peer: Peer, files: Sequence[Path]) -> Sent:
    """Send files to a peer as they are, and return what became of them; raises PacsError where it cannot begin."""
    outcomes = _sent(config, peer, files)
    failures: dict[str, int] = {}
    for one in outcomes:
        if not one.arrived:
            failures[one.why or one.state] = failures.get(one.why or one.state, 0) + 1
    return Sent(peer.name, sum(one.arrived for one in outcomes), failures)


def answered(config: Config, peer: Peer) -> float:
    """Return in how many seconds a peer answers (C-ECHO, or a search that finds nothing); raises PacsError if not."""
    if isinstance(peer, DicomPeer):
        return echo(config.node, peer)
    began = time.monotonic()
    web.find_studies(peer, {"StudyDate": "19000101"}, most=1)
    return time.monotonic() - began


def studies_at(config: Config, peer: Peer, criteria: Mapping[str, str], most: int) -> tuple[StudyFound, ...]:
    """Return the studies of a peer that match all criteria; raises PacsError for no criterion, or no answer."""
    if not criteria:
        raise PacsError("a search for everything", expected="a date, modality or study", do="Add --date 20260131")
    if isinstance(peer, DicomPeer):
        return find.find_studies(config.node, peer, criteria, most)
    return web.find_studies(peer, criteria, most)


def fetched(peer: Peer, study_uid: str, folder: Path) -> tuple[Path, ...]:
    """Return the files of a study, fetched into a folder whole or not at all; raises PacsError."""
    if isinstance(peer, DicomPeer):
        raise PacsError(
            f"a fetch from {peer.name}, a peer by DICOM's own protocol",
            expected="a peer by DICOMweb",
            do="Add one of kind dicomweb, or have the study sent to `saliscope pacs serve`",
        )
    return web.fetch_study(peer, study_uid, folder)


def state_of(config: Config) -> State:
    """Return how the queue of a node stands; raises PacsError where there is none yet."""
    if not (config.node.folder / FILE).is_file():
        raise PacsError(f"no queue in {config.node.folder}", expected="that of a node", do="Run saliscope pacs serve")
    queue = Queue.opened(config.node.folder)
    try:
        return State(queue.counts(), tuple(queue.errors()))
    finally:
        queue.close()


def _sent(config: Config, peer: Peer, files: Sequence[Path]) -> Sequence[Outcome]:
    if isinstance(peer, DicomPeer):
        return send(config.node, peer, files)
    return web.store(peer, files)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
