"""What a hostile neighbour can do to the node: it is refused in a clear line, and the next good study is taken."""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from nodes import configured, dicom_archive, pictures, stored, until
from pynetdicom import AE, build_context

from saliscope.pacs import bounded
from saliscope.pacs.config import Config
from saliscope.pacs.intake import NOT_UNDERSTOOD, Refused, identified
from saliscope.pacs.queue import Queue
from saliscope.pacs.receive import Receiver

CR = "1.2.840.10008.5.1.4.1.1.1"
LITTLE = "1.2.840.10008.1.2.1"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Config, Queue, list[str]]]:
    """Run an SCP, and see at the end that it still takes a good picture, and that no line names the patient."""
    config, lines = Config.read(configured(tmp_path / "node", dicom_archive(1), node="max_object_mb = 8")), list[str]()
    queue = Queue.opened(config.node.folder)
    with Receiver.of(config, queue, lines.append):
        yield config, queue, lines
        held = queue.counts()["objects_held"]
        assert stored(config, pictures(tmp_path / "good", 1)) == [0], lines
        assert queue.counts()["objects_held"] == held + 1
        assert not until(lambda: bool(list((config.node.folder / "incoming").iterdir())), 0.3)
    assert not any("Canary" in x or "4711" in x for x in lines)
    queue.close()


def raw_store(config: Config, sop_uid: str, data: bytes, *, sop_class: str = CR, syntax: str = LITTLE) -> int:
    """Send bytes as a data set under any UID, which pynetdicom's own check would not let pass; -1: it was cut off."""
    from pynetdicom.dimse_messages import C_STORE_RQ
    from pynetdicom.dimse_primitives import C_STORE

    assoc = associated(config, sop_class, syntax)
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CR, "1.2.3"
    request.DataSet = BytesIO(data)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    message.command_set.AffectedSOPClassUID, message.command_set.AffectedSOPInstanceUID = sop_class, sop_uid
    number = assoc.accepted_contexts[0].context_id
    assoc._reactor_checkpoint.clear()  # as pynetdicom does it, so that the answer is ours to take
    while not assoc._is_paused:
        time.sleep(0.01)
    for piece in message.encode_msg(number, 16000):
        assoc.dul.send_pdu(piece)
    _, answer = assoc.dimse.get_msg(block=True)
    assoc._reactor_checkpoint.set()
    assoc.abort()
    return -1 if answer is None else int(answer.Status)


def associated(config: Config, sop_class: str = CR, syntax: str = LITTLE) -> Any:
    ae = AE("SENDER")
    ae.dimse_timeout = 5
    ae.add_requested_context(sop_class, syntax)
    assoc = ae.associate("127.0.0.1", config.node.port, ae_title="SALISCOPE")
    assert assoc.is_established
    return assoc


def data_set(path: Path, **words: Any) -> bytes:
    """Return the bytes of a picture's data set, with other words in it."""
    from pydicom.filewriter import write_dataset

    ds = pydicom.dcmread(path)
    for name, value in words.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    file = pydicom.filebase.DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, ds)
    return file.getvalue()


@pytest.mark.parametrize(
    "uid",
    ["../../../tmp/evil", "/etc/passwd", "1.2.3/../../4", "1.2.3\\..\\4", "CON", "1." * 40 + "1", "1..2", "1.2 3"],
)
def test_a_uid_with_a_path_in_it_is_refused(node: Any, tmp_path: Path, uid: str) -> None:
    config, queue, lines = node
    (file,) = pictures(tmp_path / "in", 1)
    with pydicom.config.disable_value_validation():
        assert raw_store(config, uid, data_set(file, SOPInstanceUID=uid)) in (NOT_UNDERSTOOD, -1)
        for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            status = raw_store(config, "1.2.3", data_set(file, **{"SOPInstanceUID": "1.2.3", name: uid}))
            assert status in (NOT_UNDERSTOOD, 0xA900)
    assert queue.counts()["objects_held"] == 0
    assert any("a UID is missing, or none" in x for x in lines)
    names = {p.name for p in config.node.folder.parent.parent.rglob("*")}
    assert not names & {"evil", "passwd", "CON"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"PixelData": None}, "holds no pixels"),
        ({"Rows": None}, "holds no pixels"),
        ({"StudyInstanceUID": None}, "a UID is missing"),
        ({"SOPInstanceUID": "1.2.3.4.5"}, "another object than its command"),
        ({"SOPClassUID": "1.2.840.10008.1.3.10"}, "another object than its command"),
    ],
    ids=["no-pixels", "no-rows", "no-study", "other-uid", "dicomdir"],
)
def test_an_object_that_is_no_picture_is_refused(node: Any, tmp_path: Path, change: Any, why: str) -> None:
    config, queue, lines = node
    (file,) = pictures(tmp_path / "in", 1)
    uid = pydicom.dcmread(file).SOPInstanceUID
    assert raw_store(config, uid, data_set(file, **change)) in (NOT_UNDERSTOOD, 0xA900)
    assert why in lines[0]
    assert queue.counts()["objects_held"] == 0


def huge_length(data: bytes) -> bytes:
    """Return the data set with the length of its pixels, the last element, said to be nearly 4 GiB."""
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    return data[: at + 8] + struct.pack("<I", 0xFFFFFFF0) + data[at + 12 :]


def nested(data: bytes) -> bytes:
    """Return the data set with ten thousand sequences in each other."""
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    at = data.index(b"\x10\x00\x10\x00PN")
    return data[:at] + item * 10_000 + data[at:]


@pytest.mark.parametrize(
    "spoilt",
    [
        huge_length,
        nested,
        lambda _: b"\x7fELF" + bytes(range(256)) * 40,
        lambda data: b"MZ" + data,
        lambda data: data[: len(data) // 2],
        lambda _: b"\0" * 128 + b"DICM" + b"\xff" * 1000,
    ],
    ids=["huge-length", "nested", "elf", "mz", "half", "junk"],
)
def test_a_broken_data_set_does_no_harm(node: Any, tmp_path: Path, spoilt: Callable[[bytes], bytes]) -> None:
    config, queue, lines = node
    (file,) = pictures(tmp_path / "in", 1)
    uid = pydicom.dcmread(file).SOPInstanceUID
    status = raw_store(config, uid, spoilt(data_set(file)))
    assert status == NOT_UNDERSTOOD
    assert queue.counts()["objects_held"] == 0
    assert "refused an object of sender" in lines[0]


def test_deflated_objects_and_dicomdirs_are_not_negotiated(node: Any) -> None:
    config, _, _ = node
    for sop_class, syntax in [(CR, "1.2.840.10008.1.2.1.99"), ("1.2.840.10008.1.3.10", LITTLE)]:
        ae = AE("SENDER")
        ae.add_requested_context(sop_class, syntax)
        ae.add_requested_context("1.2.840.10008.1.1")
        assoc = ae.associate("127.0.0.1", config.node.port, ae_title="SALISCOPE")
        assert [c.abstract_syntax for c in assoc.accepted_contexts] == ["1.2.840.10008.1.1"]
        assoc.release()


def test_a_deflate_bomb_under_another_name_is_only_junk(node: Any) -> None:
    config, queue, _ = node
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(b"\0" * 200_000_000) + packer.flush()
    assert raw_store(config, "1.2.3.4", bomb) == NOT_UNDERSTOOD
    assert queue.counts()["objects_held"] == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
        b"\x01\x00" + struct.pack(">I", 0xFFFFFFFF) + b"x" * 100_000,
        b"\x04\x00" + struct.pack(">I", 2**31) + b"x" * 100_000,
        b"\x01\x00" + struct.pack(">I", 8) + b"\0" * 8,
        b"\x07\x00" + struct.pack(">I", 4) + b"\0" * 4,
        b"\x00" * 5000,
    ],
    ids=["http", "tls", "4-GiB-request", "2-GiB-data", "short-request", "abort", "zeros"],
)
def test_what_is_not_dicom_is_cut_off(node: Any, sent: bytes) -> None:
    config, _, _ = node
    with socket.create_connection(("127.0.0.1", config.node.port), timeout=15) as client:
        try:
            client.sendall(sent)
            while client.recv(4096):
                pass
        except ConnectionError:
            pass


def test_a_data_unit_of_endless_length_takes_no_memory(node: Any) -> None:
    """After the association a unit that claims 4 GiB is cut off at once, not collected."""
    config, _, _ = node
    assoc = associated(config)
    held = assoc.dul.socket.socket
    held.sendall(b"\x04\x00" + struct.pack(">I", 0xFFFFFFF0))
    sent = 0
    with pytest.raises(OSError):  # noqa: PT012
        for _ in range(4000):
            held.sendall(b"x" * 65536)
            sent += 65536
    assert sent < 32 * 2**20
    assoc.abort()


def test_requests_that_nobody_waits_for_are_not_collected(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that never stops asking, and one that never ends a command, is cut off."""
    config, _, _ = node
    from pynetdicom.pdu_primitives import P_DATA

    assoc = associated(config)
    number = assoc.accepted_contexts[0].context_id
    for _ in range(20):
        unit = P_DATA()
        unit.presentation_data_value_list = [[number, b"\x01" + b"x" * 8000]]
        assoc.dul.send_pdu(unit)
    assert until(lambda: not assoc.is_established, 5)


def test_two_hundred_half_open_connections_keep_nobody_out(node: Any, tmp_path: Path) -> None:
    config, queue, _ = node
    held = []
    for number in range(200):
        client = socket.create_connection(("127.0.0.1", config.node.port), timeout=5)
        if number % 2:
            client.send(b"\x01\x00\x00")  # begins to ask, and never ends
        held.append(client)
    began = time.monotonic()
    assert stored(config, pictures(tmp_path / "in", 2)) == [0, 0]
    assert time.monotonic() - began < 5
    assert queue.counts()["objects_held"] == 2
    assert until(lambda: threading.active_count() < 2 * (config.node.max_associations + 32) + 40, 5)
    for client in held:
        client.close()


def test_one_association_too_many_is_rejected_and_told(tmp_path: Path) -> None:
    config, lines = Config.read(configured(tmp_path, dicom_archive(1), node="max_associations = 1")), list[str]()
    with Receiver.of(config, Queue.opened(config.node.folder), lines.append):
        first = associated(config)
        second = AE("SENDER").associate("127.0.0.1", config.node.port, [build_context(CR)], "SALISCOPE")
        assert not second.is_established
        assert "max_associations" in lines[0]
        first.release()
        assert until(lambda: bool(stored(config, pictures(tmp_path / "in", 1))), 5)


def test_a_caller_that_stalls_is_let_go(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _, _ = node
    monkeypatch.setattr(bounded, "UNIT_S", 0.5)
    assoc = associated(config)
    assoc.dul.socket.socket.sendall(b"\x04\x00" + struct.pack(">I", 5000) + b"only so much")
    assert until(lambda: not assoc.is_established, 5)


def test_identifying_takes_no_pixels_into_memory(tmp_path: Path) -> None:
    import tracemalloc

    (file,) = pictures(tmp_path, 1, size=2048)
    identified(file)
    tracemalloc.start()
    identified(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20 < file.stat().st_size
    file.write_bytes(b"nothing")
    with pytest.raises(Refused):
        identified(file)
