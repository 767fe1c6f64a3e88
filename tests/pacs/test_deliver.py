"""From the queue to peers that take, refuse, break off: each object arrives once, or is given up where one sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from recording_peer import ROOT, object_file, our_node, peer_at, recording

from dicom_tools import Orthanc, free_port, orthanc  # noqa: F401 - the fixture
from saliscope.core.errors import PacsError
from saliscope.pacs.association import Waits
from saliscope.pacs.config import Config, Health
from saliscope.pacs.deliver import deliver
from saliscope.pacs.peers import WebPeer
from saliscope.pacs.queue import Owed, Queue, Received
from saliscope.pacs.send import identity

QUICK = Waits(2.0, 2.0, 2.0)


def config(folder: Path, port: int, *, can_find: bool = True) -> Config:
    health = Health(enabled=False, host="127.0.0.1", port=8104)
    return Config(our_node(folder), health, {"archive": peer_at(port, can_find=can_find)}, ())


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[Queue]:
    opened = Queue.opened(tmp_path / "spool", clock)
    yield opened
    opened.close()


def owe(queue: Queue, folder: Path, *numbers: int, peer: str = "archive") -> list[Path]:
    """Owe objects to a peer, as the results of a study."""
    source = folder / "source.dcm"
    source.write_bytes(b"x")
    uid = f"{ROOT}.5.{numbers[0]}.{peer.encode().hex()[:2]}"
    queue.received(Received(uid, "1.2", f"{uid}.1", f"{uid}.2", source, sha256(b"x").hexdigest(), "CT01"))
    study = queue.due(queue.clock(), 0)
    assert study is not None
    files = [object_file(folder, n) for n in numbers]
    queue.explained(study, [Owed(identity(f).sop_uid, identity(f).sop_class, f, peer) for f in files])
    return files


def run(queue: Queue, to: Config, clock: Clock, **words: object) -> int:
    return deliver(queue, to, waits=QUICK, clock=clock, **words)  # type: ignore[arg-type]


def test_what_is_owed_arrives_once_over_one_association(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    owe(queue, tmp_path, 1, 2, 3)
    with recording() as seen:
        to = config(tmp_path, seen.port)
        assert run(queue, to, clock) == 3
        assert run(queue, to, clock) == 0
        assert (len(seen.order), seen.associations, seen.queries) == (3, 1, 0)
    assert queue.counts()["owed_sent"] == queue.counts()["total_sent"] == 3


def test_a_refusal_waits_and_an_error_is_given_up(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    owe(queue, tmp_path, 1, 2)
    with recording(lambda n: [0xA700, 0xC001, 0][n]) as seen:
        to = config(tmp_path, seen.port)
        run(queue, to, clock)
        counts = queue.counts()
        assert (counts["owed_waiting"], counts["owed_given_up"], counts["owed_unsure"]) == (1, 1, 0)
        assert run(queue, to, clock) == 0
        clock.now += 30
        assert run(queue, to, clock) == 1
    assert queue.counts()["owed_sent"] == 1
    assert [e.why for e in queue.errors()] == ["0xC001, cannot understand", "0xA700, refused: out of resources"]


def test_a_peer_that_is_away_is_tried_twelve_times_over_hours(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    owe(queue, tmp_path, 1)
    to, tries, began = config(tmp_path, free_port()), 0, clock.now
    while queue.counts()["owed_waiting"]:
        tries += run(queue, to, clock)
        clock.now += 60
    assert tries == 12
    assert 4 * 3600 < clock.now - began < 8 * 3600
    assert queue.counts()["owed_given_up"] == 1
    assert "no connection to the peer archive" in queue.errors()[0].why


def test_an_object_whose_answer_was_lost_is_asked_for_and_not_sent_again(
    queue: Queue, tmp_path: Path, clock: Clock
) -> None:
    owe(queue, tmp_path, 1, 2)
    with recording(after=lambda event, n: event.assoc.abort() if n == 0 else None) as seen:
        to = config(tmp_path, seen.port)
        run(queue, to, clock)
        assert queue.counts()["owed_unsure"] == 1
        clock.now += 30
        run(queue, to, clock)
        assert len(seen.order) == 2
        assert seen.queries == 1
    counts = queue.counts()
    assert (counts["owed_sent"], counts["total_held_already"], counts["total_sent_again"]) == (2, 1, 0)


def test_one_that_the_peer_says_it_has_not_is_sent_and_is_no_repetition(
    queue: Queue, tmp_path: Path, clock: Clock
) -> None:
    owe(queue, tmp_path, 1)
    with recording(
        before=lambda event, n: event.assoc.abort() if n == 0 else None, status=lambda n: 0 if n else 0xC000
    ) as seen:
        to = config(tmp_path, seen.port)
        run(queue, to, clock)
        clock.now += 30
        run(queue, to, clock)
        assert (len(seen.order), seen.queries) == (2, 1)
    counts = queue.counts()
    assert (counts["owed_sent"], counts["total_sent"], counts["total_sent_again"]) == (1, 1, 0)


def test_where_nobody_can_be_asked_it_goes_again_and_is_counted(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    owe(queue, tmp_path, 1)
    with recording(after=lambda event, n: event.assoc.abort() if n == 0 else None) as seen:
        to = config(tmp_path, seen.port, can_find=False)
        run(queue, to, clock)
        clock.now += 30
        run(queue, to, clock)
        assert (len(seen.order), seen.queries) == (2, 0)
    counts = queue.counts()
    assert (counts["owed_sent"], counts["total_sent_again"]) == (1, 1)


def test_a_peer_that_does_not_say_now_is_asked_again_and_only_the_last_try_sends(
    queue: Queue, tmp_path: Path, clock: Clock
) -> None:
    owe(queue, tmp_path, 1)
    with recording(after=lambda event, n: event.assoc.abort() if n == 0 else None, find_status=0xA700) as seen:
        to = config(tmp_path, seen.port)
        while not queue.counts()["owed_sent"]:
            run(queue, to, clock)
            clock.now += 3600
            assert len(seen.order) == 1 or queue.counts()["owed_sent"]
        assert (len(seen.order), seen.queries) == (2, 11)
    assert queue.counts()["total_sent_again"] == 1


def test_a_peer_that_does_not_say_is_asked_once_for_all(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    """Each question to a peer that hangs takes minutes, in which nothing goes to the others."""
    owe(queue, tmp_path, 1, 2, 3)
    with recording(after=lambda event, n: event.assoc.abort(), find_status=0xA700) as seen:
        to = config(tmp_path, seen.port)
        run(queue, to, clock)
        assert queue.counts()["owed_unsure"] == 3
        clock.now += 3600
        assert run(queue, to, clock) == 3
        assert (len(seen.order), seen.queries) == (3, 1)
    assert (queue.counts()["owed_unsure"], queue.counts()["owed_waiting"]) == (3, 3)


def test_doubt_stays_while_the_peer_is_away(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    owe(queue, tmp_path, 1)
    with recording(after=lambda event, n: event.assoc.abort()) as seen:
        run(queue, config(tmp_path, seen.port), clock)
    clock.now += 30
    run(queue, config(tmp_path, free_port()), clock)
    assert queue.counts()["owed_unsure"] == 1
    with recording() as seen:
        clock.now += 600
        run(queue, config(tmp_path, seen.port), clock)
        assert seen.queries == 1


def test_a_file_that_changed_or_a_peer_that_is_gone_is_no_end_of_the_rest(
    queue: Queue, tmp_path: Path, clock: Clock
) -> None:
    files = owe(queue, tmp_path, 1, 2)
    files[0].write_bytes(b"changed")
    owe(queue, tmp_path, 3, peer="away")
    with recording() as seen:
        to = config(tmp_path, seen.port)
        assert run(queue, to, clock) == 2
        assert seen.order == [f"{ROOT}.3.2"]
        assert run(queue, to, clock) == 1
    counts = queue.counts()
    assert (counts["owed_sent"], counts["owed_given_up"], counts["owed_waiting"]) == (1, 1, 1)
    assert "not in [peers]" in queue.errors()[0].why


def test_who_says_stop_leaves_the_rest_due_and_untried(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    owe(queue, tmp_path, 1, 2, 3)
    with recording() as seen:
        to = config(tmp_path, seen.port)
        run(queue, to, clock, stop=lambda: len(seen.objects) >= 1)
        counts = queue.counts()
        assert (counts["owed_sent"], counts["owed_waiting"], counts["owed_unsure"]) == (1, 2, 0)
        assert not queue.errors()
        run(queue, to, clock)
    assert queue.counts()["owed_sent"] == 3


@pytest.mark.parametrize(
    "error", [OSError("disk full"), PacsError("the queue's file", do="x")], ids=["system", "queue"]
)
def test_what_could_not_be_marked_is_asked_for(
    queue: Queue, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    owe(queue, tmp_path, 1, 2)

    def full(*_: object, **__: object) -> None:
        raise error

    with recording() as seen:
        to = config(tmp_path, seen.port)
        with monkeypatch.context() as patch:
            patch.setattr(Queue, "sent", full)
            with suppress(OSError):
                run(queue, to, clock)
        for _ in range(2):
            clock.now += 30
            run(queue, to, clock)
        assert sorted(seen.order) == [f"{ROOT}.3.1", f"{ROOT}.3.2"], "each went once"
        assert seen.queries >= 1
    counts = queue.counts()
    assert counts["owed_sent"] == 2
    assert counts["total_held_already"] >= 1


KILLED = """
import os, signal, sys
from pathlib import Path
from saliscope.core.errors import PacsError
from saliscope.pacs.association import Waits
from saliscope.pacs.config import Config
from saliscope.pacs.deliver import deliver
from saliscope.pacs.peers import WebPeer
from saliscope.pacs.queue import Queue
queue = Queue.opened(Path(sys.argv[1]))
deliver(queue, Config.read(Path(sys.argv[2])), waits=Waits(2.0, 2.0, 5.0))
"""


def test_killed_while_the_peer_stores_it_goes_once(tmp_path: Path, clock: Clock) -> None:
    """The peer has the object and the sender dies before it hears so."""
    first = Queue.opened(tmp_path / "spool")
    owe(first, tmp_path, 1, 2, 3)
    first.close()
    child: list[subprocess.Popen[bytes]] = []

    def kill(_event: object, number: int) -> None:
        if number == 1:
            os.kill(child[0].pid, signal.SIGKILL)
            child[0].wait()

    with recording(after=kill) as seen:
        toml = tmp_path / "node.toml"
        toml.write_text(
            '[node]\nfolder = "spool"\n[peers.archive]\nkind = "dicom"\nae_title = "PEER"\nhost = "127.0.0.1"\n'
            f"port = {seen.port}\ncan_find = true\n"
        )
        words = [sys.executable, "-c", KILLED, str(tmp_path / "spool"), str(toml)]
        child.append(subprocess.Popen(words))
        assert child[0].wait(60) == -signal.SIGKILL
        second = Queue.opened(tmp_path / "spool")
        assert second.counts()["owed_unsure"] == 2
        assert deliver(second, Config.read(toml), waits=QUICK) == 2
        assert sorted(seen.order) == [f"{ROOT}.3.{n}" for n in (1, 2, 3)]
        counts = second.counts()
        assert (counts["owed_sent"], counts["total_held_already"], counts["total_sent_again"]) == (3, 1, 0)
        second.close()


def test_a_peer_by_dicomweb_is_asked_and_stored_to(
    queue: Queue,
    tmp_path: Path,
    clock: Clock,
    orthanc: Orthanc,  # noqa: F811
) -> None:
    """Two of three are there already when the node comes back from a kill."""
    orthanc.clear()
    files = owe(queue, tmp_path, 1, 2, 3)
    to = config(tmp_path, 1)
    to = replace(to, peers={"archive": WebPeer("archive", orthanc.dicomweb, "none", "", None)})
    claimed = [queue.owed(clock.now) for _ in files]
    for path in files[:2]:
        assert orthanc.stow(path.read_bytes()).status_code == 200
    assert len(claimed) == queue.take_back("owed") == 3
    assert run(queue, to, clock) == 3
    counts = queue.counts()
    assert (counts["owed_sent"], counts["total_held_already"], counts["total_sent"]) == (3, 2, 1)
    assert counts["total_sent_again"] == 0
    assert all(orthanc.find(identity(path).sop_uid) for path in files)
    orthanc.clear()


def test_the_back_off_is_that_of_the_object(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    owe(queue, tmp_path, 1)
    to = config(tmp_path, free_port())
    run(queue, to, clock)
    clock.now += 30
    run(queue, to, clock)
    clock.now += 59
    assert run(queue, to, clock) == 0
    clock.now += 1
    assert run(queue, to, clock) == 1
