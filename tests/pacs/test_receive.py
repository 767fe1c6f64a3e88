"""Our SCP as others see it: dcmtk's tools and pynetdicom call, and what is acknowledged is there."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from certificates import authority, signed
from nodes import configured, dicom_archive, pictures, stored

from dicom_tools import tool
from saliscope.core.errors import PacsError
from saliscope.pacs import intake as intake_module
from saliscope.pacs.config import Config
from saliscope.pacs.queue import Queue, Received
from saliscope.pacs.receive import SYNTAXES, Receiver
from saliscope.pacs.tls import client_context


@contextmanager
def receiving(folder: Path, node: str = "", sender: str = "") -> Iterator[tuple[Config, Queue, list[str]]]:
    path = configured(folder, dicom_archive(1), node=node)
    if sender:
        path.write_text(path.read_text().replace('ae_title = "SENDER"', f'ae_title = "SENDER"\n{sender}'))
    config, lines = Config.read(path), list[str]()
    queue = Queue.opened(config.node.folder)
    with Receiver.of(config, queue, lines.append):
        yield config, queue, lines
    queue.close()


def called(config: Config, program: str, *words: str, aet: str = "SENDER", aec: str = "SALISCOPE") -> int:
    line = [tool(program), "-aet", aet, "-aec", aec, "127.0.0.1", str(config.node.port), *words]
    return subprocess.run(line, capture_output=True, check=False, timeout=30).returncode


def test_dcmtk_echoes_and_stores(tmp_path: Path) -> None:
    (file,) = pictures(tmp_path / "in", 1)
    with receiving(tmp_path) as (config, queue, lines):
        assert called(config, "echoscu") == 0
        assert called(config, "storescu", str(file)) == 0
        assert queue.counts()["objects_held"] == 1
        assert lines == []
        (kept,) = (config.node.folder / "objects").rglob("*.dcm")
        assert not list((config.node.folder / "incoming").iterdir())
    sent, there = pydicom.dcmread(file), pydicom.dcmread(kept)
    assert there == sent
    assert there.preamble == b"\0" * 128
    assert sent.SOPInstanceUID not in str(kept)


@pytest.mark.parametrize(
    ("words", "why"),
    [({"aet": "STRANGER"}, "not among the peers"), ({"aec": "ANOTHER"}, "another AE title")],
    ids=["calling", "called"],
)
def test_a_wrong_ae_title_is_rejected(tmp_path: Path, words: dict[str, str], why: str) -> None:
    (file,) = pictures(tmp_path / "in", 1)
    with receiving(tmp_path) as (config, queue, lines):
        assert called(config, "echoscu", **words) != 0
        assert called(config, "storescu", str(file), **words) != 0
        assert queue.counts()["total_received"] == 0
        assert all(why in x for x in lines)
        assert len(lines) == 2
        assert called(config, "echoscu") == 0, "the others go on"


def test_a_peer_may_call_only_from_its_addresses(tmp_path: Path) -> None:
    with receiving(tmp_path, sender='addresses = ["192.0.2.7"]') as (config, _, lines):
        assert called(config, "echoscu") != 0
        assert "not among the peers" in lines[0]


def test_the_same_object_counts_once_and_another_under_its_uid_is_refused(tmp_path: Path) -> None:
    (file,) = pictures(tmp_path / "in", 1)
    other = tmp_path / "other.dcm"
    ds = pydicom.dcmread(file)
    ds.PatientName = "Somebody^Else"
    ds.save_as(other)
    with receiving(tmp_path) as (config, queue, lines):
        assert stored(config, [file, file, other, file]) == [0x0000, 0x0000, 0x0111, 0x0000]
        counts = queue.counts()
        assert (counts["total_received"], counts["total_repeats"], counts["total_conflicts"]) == (1, 2, 1)
        (kept,) = (config.node.folder / "objects").rglob("*.dcm")
        assert pydicom.dcmread(kept).PatientName == "Canary^Carla"
        assert "its UID is known with other contents" in lines[0]
        assert not any("Canary" in x or str(ds.SOPInstanceUID) in x for x in lines)


def test_what_is_acknowledged_is_on_the_disk_and_in_the_queue_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is noted in the order in which it happens; the answer comes last."""
    steps: list[str] = []
    sync, place = os.fsync, Path.replace

    def fsync(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").readlink()
        steps.append("sync folder" if path.is_dir() else f"sync {path.suffix}")
        sync(number)

    def replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return place(self, target)

    class Noting:
        def received(self, one: Received) -> bool:
            assert one.path.is_file()
            steps.append("record")
            return True

    monkeypatch.setattr(intake_module.os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    (file,) = pictures(tmp_path / "in", 1)
    config = Config.read(configured(tmp_path, dicom_archive(1)))
    with Receiver.of(config, Noting(), steps.append):
        assert stored(config, [file]) == [0]
        steps.append("answered")
    assert [s for s in steps if s != "sync folder"] == ["sync .part", "rename", "record", "answered"]
    assert steps.index("sync folder") > steps.index("rename")
    assert steps.index("sync folder") < steps.index("record")


def test_an_object_over_the_limit_is_refused_before_it_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = *pictures(tmp_path / "large", 1, size=1200), *pictures(tmp_path / "small", 1)
    written: list[int] = []
    add = intake_module.Spool.add

    def measured(self: intake_module.Spool, data: bytes) -> None:
        add(self, data)
        written.append(self.path.stat().st_size if self.path.exists() else 0)

    monkeypatch.setattr(intake_module.Spool, "add", measured)
    with receiving(tmp_path, node="max_object_mb = 1") as (config, queue, lines):
        assert stored(config, [large, small]) == [0xA700, 0]
        assert queue.counts()["total_received"] == 1
        assert "larger than 1 MB" in lines[0]
    assert max(written) <= 2**20 + 1000


def test_a_full_disk_refuses_and_the_node_lives_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pictures(tmp_path / "in", 2)
    with receiving(tmp_path) as (config, queue, lines):
        with monkeypatch.context() as full:
            usage = intake_module.shutil.disk_usage(tmp_path)
            full.setattr(intake_module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
            assert stored(config, [first]) == [0xA700]

        def failing(number: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr(intake_module.os, "fsync", failing)
            assert stored(config, [first]) == [0xA700]
        assert all("disk is full" in x for x in lines)
        assert queue.counts()["total_received"] == 0
        assert not list((config.node.folder / "incoming").iterdir())
        assert stored(config, [first, second]) == [0, 0]


def test_a_queue_that_cannot_be_written_refuses_too(tmp_path: Path) -> None:
    class Full:
        def received(self, one: Received) -> bool:
            raise PacsError("the queue", do="Make room") from OSError("disk full")

    (file,) = pictures(tmp_path / "in", 1)
    config, lines = Config.read(configured(tmp_path, dicom_archive(1))), list[str]()
    with Receiver.of(config, Full(), lines.append):
        assert stored(config, [file]) == [0xA700]
    assert "disk is full" in lines[0]


def test_every_encoding_that_is_offered_is_one_that_is_read() -> None:
    from saliscope.read.pixels import check_codec

    for uid in SYNTAXES:
        ds = pydicom.Dataset()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = pydicom.uid.UID(uid)
        ds.BitsAllocated, ds.BitsStored = 8, 8
        check_codec(ds, _facts(), "a file")
    assert "1.2.840.10008.1.2.1.99" not in SYNTAXES


def _facts() -> object:
    from saliscope.read.header import Pixels

    return Pixels(8, 8, 1, 1, "MONOCHROME2", 8)


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with receiving(tmp_path) as (config, queue, _):  # noqa: SIM117
        with pytest.raises(PacsError, match="cannot be listened on"), Receiver.of(config, queue, print):
            pass


def test_tls_lets_in_who_shows_a_certificate_and_nobody_else(tmp_path: Path) -> None:
    """A caller that connects and never shakes hands keeps nobody out."""
    ca = authority(tmp_path)
    ours, theirs = signed(tmp_path, "node", ca), signed(tmp_path, "sender", ca)
    strange = signed(tmp_path, "stranger", authority(tmp_path, "other-ca"), trusts=ca)
    files = pictures(tmp_path / "in", 1)
    words = f'[node.tls]\ncertificate = "{ours.certificate}"\nkey = "{ours.key}"\nca = "{ours.ca}"'
    with receiving(tmp_path / "node", node=words) as (config, queue, lines):
        where = ("127.0.0.1", config.node.port)
        with socket.create_connection(where), socket.create_connection(where):
            assert stored(config, files, tls_args=(client_context(theirs), "127.0.0.1")) == [0]
        assert stored(config, files, tls_args=(client_context(strange), "127.0.0.1")) == []
        assert stored(config, files) == [], "without TLS"
        assert stored(config, files, tls_args=(client_context(theirs), "127.0.0.1")) == [0]
        assert queue.counts()["total_received"] == 1
        assert lines == []
