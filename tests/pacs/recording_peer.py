"""A DICOM peer of the tests' own, on loopback: it records what comes, and refuses, stalls or breaks off as told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from saliscope.pacs.node import Node, Tls
from saliscope.pacs.peers import DicomPeer

SC = "1.2.840.10008.5.1.4.1.1.7"
CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
ECHO = "1.2.840.10008.1.1"
ROOT = "1.2.826.0.1.3680043.8.498.77"


def object_file(
    folder: Path, number: int, sop_class: str = SC, syntax: str = ExplicitVRLittleEndian, size: int = 64
) -> Path:
    """Return the path of a DICOM file that any peer takes, with a patient's name in it."""
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"{ROOT}.3.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2"
    ds.PatientName, ds.PatientID, ds.StudyDate, ds.Modality = "CANARY^Name", "CANARY-ID", "20260101", "OT"
    ds.StudyDescription, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "a study", "", "", ""
    ds.Rows = ds.Columns = 8
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 7, 0, 1
    ds.PhotometricInterpretation, ds.PixelData = "MONOCHROME2", b"\1" * size
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    path = folder / f"{number}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


@dataclass
class Recording:
    """What a peer saw: objects by UID in the order they came, associations, and the AE titles that called."""

    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    associations: int = 0
    callers: list[str] = field(default_factory=list)
    queries: int = 0


@contextmanager
def recording(
    status: Callable[[int], int] = lambda _: 0,
    *,
    classes: Sequence[str] = (SC,),
    syntaxes: Sequence[str] = (ExplicitVRLittleEndian,),
    before: Callable[[Any, int], None] = lambda _event, _number: None,
    after: Callable[[Any, int], None] = lambda _event, _number: None,
    only_title: str = "",
    find_status: int = 0,
    context: Any = None,
) -> Iterator[Recording]:
    """Run a peer: `status` by the number of the object, `before` and `after` it is kept with the event at hand."""
    seen = Recording()
    entity = AE("PEER")
    entity.supported_contexts = [build_context(c, [*syntaxes]) for c in classes] + [
        build_context(FIND), build_context(ECHO)
    ]  # fmt: skip
    entity.require_called_aet = bool(only_title)
    if only_title:
        entity.ae_title = only_title
    # Else each peer waits a minute at its end for an association that a test left open.
    entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = 5

    def store(event: Any) -> int:
        number = len(seen.order)
        uid = str(event.request.AffectedSOPInstanceUID)
        seen.order.append(uid)
        before(event, number)
        said = status(number)
        if said < 0xA000 or 0xB000 <= said < 0xC000:
            seen.objects[uid] = event.request.DataSet.getvalue()
        after(event, number)
        return said

    def find(event: Any) -> Iterator[tuple[int, Any]]:
        seen.queries += 1
        if find_status:
            yield find_status, None
            return
        for uid in seen.objects:
            if event.identifier.get("SOPInstanceUID", uid) == uid:
                row = pydicom.Dataset()
                row.QueryRetrieveLevel, row.SOPInstanceUID = event.identifier.QueryRetrieveLevel, uid
                row.StudyInstanceUID, row.StudyDescription = f"{ROOT}.1", "a\x07study"
                row.NumberOfStudyRelatedInstances = len(seen.objects)
                yield 0xFF00, row

    def accepted(event: Any) -> None:
        seen.associations += 1
        seen.callers.append(str(event.assoc.requestor.ae_title).strip())

    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_C_FIND, find), (evt.EVT_ACCEPTED, accepted),
                (evt.EVT_C_ECHO, lambda _: 0)]  # fmt: skip
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=context)
    assert server is not None
    seen.port = int(server.server_address[1])
    try:
        yield seen
    finally:
        server.shutdown()


@contextmanager
def deaf(reads: int = 0) -> Iterator[int]:
    """Accept connections on loopback and never answer; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        held: list[socket.socket] = []
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                try:
                    held.append(listening.accept()[0])
                except TimeoutError:
                    time.sleep(0)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            over.set()
            thread.join()
            for one in held:
                one.close()


def our_node(folder: Path, tls: Tls | None = None) -> Node:
    """Return a node of ours."""
    return Node("SALISCOPE", "127.0.0.1", 11112, folder, 1.0, 7, 64, 4, False, tls)


def peer_at(port: int, *, can_find: bool = True, tls: bool = False, title: str = "PEER", host: str = "127.0.0.1"):
    """Return a peer on loopback."""
    return DicomPeer("archive", title, host, port, tls, False, (), can_find)
