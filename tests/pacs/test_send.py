"""C-ECHO, C-STORE and C-FIND to peers that take it, refuse it, stall, and break off; and to dcmtk's storescp."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AllStoragePresentationContexts
from recording_peer import CT, ROOT, SC, deaf, object_file, our_node, peer_at, recording

from dicom_tools import Orthanc, free_port, orthanc, tool  # noqa: F401 - the fixture
from saliscope.core.errors import PacsError
from saliscope.pacs import find
from saliscope.pacs.association import Waits
from saliscope.pacs.echo import echo
from saliscope.pacs.send import identity, send
from saliscope.pacs.status import Outcome, meaning, outcome

QUICK = Waits(2.0, 2.0, 2.0)


def data_set(path: Path) -> bytes:
    """Return the bytes of a file after its meta information, as they are."""
    with path.open("rb") as stream:
        pydicom.filereader.read_preamble(stream, force=False)
        pydicom.filereader.read_file_meta_info(path)
        stream.seek(132)
        length = pydicom.filereader._read_file_meta_info(stream)
        assert length
        return stream.read()


def test_an_echo_is_answered_under_both_names(tmp_path: Path) -> None:
    with recording(only_title="ARCHIVE") as seen:
        assert 0 < echo(our_node(tmp_path), peer_at(seen.port, title="ARCHIVE"), QUICK) < 5
        assert seen.callers == ["SALISCOPE"]
        with pytest.raises(PacsError, match=r"rejects the association .*called ae title not recogni[sz]ed"):
            echo(our_node(tmp_path), peer_at(seen.port, title="WRONG"), QUICK)


def test_who_is_not_there_or_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(PacsError, match="no connection to the peer archive"):
        echo(our_node(tmp_path), peer_at(free_port()), QUICK)
    with deaf() as port:
        began = time.monotonic()
        with pytest.raises(PacsError, match="did not answer the request"):
            echo(our_node(tmp_path), peer_at(port), QUICK)
        assert time.monotonic() - began < 20
    with pytest.raises(PacsError, match="only sends"):
        echo(our_node(tmp_path), peer_at(0), QUICK)


def test_many_files_go_over_one_association_byte_for_byte(tmp_path: Path) -> None:
    syntaxes = (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    files = [object_file(tmp_path, n, syntax=syntaxes[n % 2]) for n in range(6)]
    # A retired group length, which every library leaves out when it writes a data set anew (PS3.5 section 7.2).
    for path in files[::2]:
        whole, data = path.read_bytes(), data_set(path)
        path.write_bytes(whole[: -len(data)] + bytes.fromhex("0800000004000000") + b"\7\0\0\0" + data)
    heard: list[tuple[int, str]] = []
    with recording(syntaxes=syntaxes) as seen:
        found = send(
            our_node(tmp_path), peer_at(seen.port), files, lambda n, o: heard.append((n, o.state)), waits=QUICK
        )
    assert [o.state for o in found] == ["sent"] * 6
    assert heard == [(n, "sent") for n in range(6)]
    assert seen.associations == 1
    assert seen.order == [f"{ROOT}.3.{n}" for n in range(6)]
    for n, path in enumerate(files):
        assert seen.objects[f"{ROOT}.3.{n}"] == data_set(path)


def test_each_status_has_its_consequence_and_the_others_go_on(tmp_path: Path) -> None:
    said = [0x0000, 0xB000, 0xA700, 0x0110, 0xC123, 0xA900, 0x0124, 0x0111, 0x0000]
    states = ["sent", "warned", "retry", "retry", "failed", "failed", "failed", "held", "sent"]
    files = [object_file(tmp_path, n) for n in range(len(said))]
    with recording(lambda n: said[n]) as seen:
        found = send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
    assert [o.state for o in found] == states
    assert found[4].why == "0xC123, cannot understand"
    assert found[2].why == "0xA700, refused: out of resources"
    assert seen.associations == 1
    assert [o.arrived for o in found].count(True) == 4
    assert meaning(0x9999) == "0x9999, unknown status"
    assert outcome(0x9999).state == "failed"


def test_a_class_or_syntax_that_is_not_accepted_is_given_up_and_the_rest_is_sent(tmp_path: Path) -> None:
    files = [
        object_file(tmp_path, 1, CT),
        object_file(tmp_path, 2),
        object_file(tmp_path, 3, syntax=ImplicitVRLittleEndian),
    ]
    with recording() as seen:
        found = send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
        assert [o.state for o in found] == ["failed", "sent", "failed"]
        assert "does not accept" in found[0].why
        alone = send(our_node(tmp_path), peer_at(seen.port), files[:1], waits=QUICK)
        assert [o.state for o in alone] == ["failed"]


def test_an_association_that_breaks_costs_one_file(tmp_path: Path) -> None:
    def abort(event, number: int) -> None:
        if number == 1:
            event.assoc.abort()

    files = [object_file(tmp_path, n) for n in range(5)]
    with recording(before=abort) as seen:
        found = send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
    assert [o.state for o in found] == ["sent", "unsure", "sent", "sent", "sent"]
    assert seen.associations == 2
    assert seen.order == [f"{ROOT}.3.{n}" for n in range(5)], "nothing was sent twice"


def test_a_peer_that_always_breaks_is_left_after_three_times(tmp_path: Path) -> None:
    files = [object_file(tmp_path, n) for n in range(5)]
    with recording(before=lambda event, _: event.assoc.abort()) as seen:
        found = send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
    assert [o.state for o in found] == ["unsure"] * 3 + ["retry"] * 2
    assert seen.associations == 3


def test_a_peer_that_is_slow_is_waited_for_and_one_that_is_too_slow_is_in_doubt(tmp_path: Path) -> None:
    files = [object_file(tmp_path, n) for n in range(2)]
    with recording(before=lambda _e, n: time.sleep(0.5 if n == 0 else 3)) as seen:
        found = send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
    assert [o.state for o in found] == ["sent", "unsure"]


def test_a_peer_that_stops_reading_does_not_hold_us_for_ever(tmp_path: Path) -> None:
    """It accepts and then reads nothing of 40 MB, more than any buffer between us holds."""
    import socket
    import threading

    large = object_file(tmp_path, 1, size=40 * 2**20)
    with recording() as seen, socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            """Let the association through to a real peer, and then swallow nothing more."""
            ours, _ = listening.accept()
            with socket.create_connection(("127.0.0.1", seen.port)) as theirs:
                theirs.sendall(ours.recv(65536))
                ours.sendall(theirs.recv(65536))
                over.wait(60)
            ours.close()

        over = threading.Event()
        thread = threading.Thread(target=accept)
        thread.start()
        began = time.monotonic()
        found = send(our_node(tmp_path), peer_at(listening.getsockname()[1]), [large], waits=Waits(1.0, 1.0, 1.0))
        took = time.monotonic() - began
        over.set()
        thread.join()
    assert found[0].state in ("unsure", "retry")
    assert took < 20


def test_more_classes_than_an_association_carries_are_split(tmp_path: Path) -> None:
    classes = [str(c.abstract_syntax) for c in AllStoragePresentationContexts[:130]]
    files = [object_file(tmp_path, n, sop_class) for n, sop_class in enumerate(classes)]
    with recording(classes=[*classes[:60], *classes[70:130]]) as seen:
        found = send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
    assert [n for n, o in enumerate(found) if o.state == "failed"] == [*range(60, 70)]
    assert [o.state for o in found].count("sent") == 120
    assert seen.associations == 2


def test_who_says_stop_is_heard_before_the_next_file(tmp_path: Path) -> None:
    files = [object_file(tmp_path, n) for n in range(4)]
    heard: list[int] = []
    with recording() as seen:
        found = send(
            our_node(tmp_path), peer_at(seen.port), files, lambda n, _: heard.append(n), waits=QUICK,
            stop=lambda: len(heard) >= 2,
        )  # fmt: skip
    assert [o.state for o in found] == ["sent", "sent", "stopped", "stopped"]
    assert len(seen.order) == 2


def test_a_file_that_is_no_object_is_given_up_alone(tmp_path: Path) -> None:
    broken, other = tmp_path / "broken.dcm", object_file(tmp_path, 9)
    broken.write_bytes(b"nothing")
    ds = pydicom.dcmread(other)
    ds.SOPInstanceUID = f"{ROOT}.3.10"
    ds.save_as(other)
    with recording() as seen:
        files = [broken, object_file(tmp_path, 1), other, tmp_path / "none.dcm"]
        found = send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
    assert [o.state for o in found] == ["failed", "sent", "failed", "failed"]
    assert "another object" in found[2].why
    assert not any(ROOT in o.why or "CANARY" in o.why for o in found)
    assert identity(files[1]).study_uid == f"{ROOT}.1"


def test_what_a_peer_holds_is_asked_and_only_a_clear_answer_counts(tmp_path: Path) -> None:
    node, it = our_node(tmp_path), identity(object_file(tmp_path, 1))
    uids = (it.sop_uid, it.study_uid, it.series_uid)
    with recording() as seen:
        peer = peer_at(seen.port)
        assert find.holds(node, peer, *uids, QUICK) is False
        send(node, peer, [tmp_path / "1.dcm"], waits=QUICK)
        assert find.holds(node, peer, *uids, QUICK) is True
        asked = seen.queries
        assert find.holds(node, peer_at(seen.port, can_find=False), *uids, QUICK) is None
        assert seen.queries == asked
        study = find.find_studies(node, peer, {"StudyDate": "20260101"}, waits=QUICK)
        assert [(s.study_uid, s.description, s.objects, s.series) for s in study] == [(f"{ROOT}.1", "astudy", 1, 0)]
        with pytest.raises(PacsError, match="a search by PatientName"):
            find.find_studies(node, peer, {"PatientName": "x"}, waits=QUICK)
    assert find.holds(node, peer, *uids, QUICK) is None, "it is gone"
    with recording(find_status=0xA700) as seen:
        assert find.holds(node, peer_at(seen.port), *uids, QUICK) is None
        with pytest.raises(PacsError, match="0xA700"):
            find.find_studies(node, peer_at(seen.port), {}, waits=QUICK)


def test_no_more_studies_are_taken_than_asked_for(tmp_path: Path) -> None:
    files = [object_file(tmp_path, n) for n in range(5)]
    with recording() as seen:
        send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
        assert len(find.find_studies(our_node(tmp_path), peer_at(seen.port), {}, most=3, waits=QUICK)) == 3


def test_dcmtk_stores_what_we_send(tmp_path: Path) -> None:
    program, port = tool("storescp"), free_port()
    stored = tmp_path / "stored"
    stored.mkdir()
    words = [program, "-aet", "PEER", "-od", str(stored), "+B", "+xa", str(port)]
    files = [object_file(tmp_path, 1), object_file(tmp_path, 2, syntax=ImplicitVRLittleEndian)]
    run = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found: tuple[Outcome, ...] = ()
        for _ in range(50):
            found = send(our_node(tmp_path), peer_at(port), files, waits=QUICK)
            if found[0].arrived:
                break
            time.sleep(0.1)
    finally:
        run.terminate()
        run.wait(10)
    assert [o.state for o in found] == ["sent", "sent"]
    kept = {pydicom.dcmread(p).SOPInstanceUID: p for p in stored.iterdir()}
    for path in files:
        assert data_set(kept[identity(path).sop_uid]) == data_set(path)


def test_orthanc_stores_what_we_send_and_says_that_it_holds_it(tmp_path: Path, orthanc: Orthanc) -> None:  # noqa: F811
    path = object_file(tmp_path, 4711)
    it, node, peer = identity(path), our_node(tmp_path), peer_at(orthanc.dicom, title=orthanc.aet)
    uids = (it.sop_uid, it.study_uid, it.series_uid)
    assert echo(node, peer) < 10
    assert find.holds(node, peer, *uids) is False
    assert [o.state for o in send(node, peer, [path])] == ["sent"]
    assert find.holds(node, peer, *uids) is True
    study = find.find_studies(node, peer, {"StudyInstanceUID": it.study_uid})
    assert [(s.study_uid, s.description) for s in study] == [(it.study_uid, "a study")]
    assert data_set_of(orthanc.file(orthanc.find(it.sop_uid)), tmp_path) == data_set(path)
    orthanc.clear()


def data_set_of(data: bytes, folder: Path) -> bytes:
    path = folder / "of_orthanc"
    path.write_bytes(data)
    return data_set(path)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pynetdicom'] = None\n"
        "from pathlib import Path\nfrom recording_node import node, peer\nfrom saliscope.pacs.echo import echo\n"
        "echo(node, peer)"
    )
    (tmp_path / "recording_node.py").write_text(
        "from pathlib import Path\nfrom saliscope.pacs.node import Node\nfrom saliscope.pacs.peers import DicomPeer\n"
        "node = Node('A', '127.0.0.1', 1, Path('.'), 1.0, 7, 64, 4, False, None)\n"
        "peer = DicomPeer('archive', 'B', '127.0.0.1', 1, False, False, (), True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert "PacsError: pynetdicom is not installed" in run.stderr
    assert 'pip install "saliscope[pacs]"' in run.stderr


def test_nothing_of_a_patient_reaches_the_handlers_of_a_log(tmp_path: Path) -> None:
    said = StringIO()
    handler, root = logging.StreamHandler(said), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    logging.getLogger("pynetdicom").setLevel("DEBUG")
    root.setLevel("DEBUG")
    try:
        files = [object_file(tmp_path, n) for n in range(2)]
        with recording(lambda n: 0xC000 * n) as seen:
            send(our_node(tmp_path), peer_at(seen.port), files, waits=QUICK)
            find.find_studies(our_node(tmp_path), peer_at(seen.port), {"PatientID": "CANARY-ID"}, waits=QUICK)
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
        logging.getLogger("pynetdicom").setLevel("NOTSET")
    text = said.getvalue()
    assert SC not in text
    assert ROOT not in text
    assert "CANARY" not in text
