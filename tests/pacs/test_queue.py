"""The queue: each step and its refusals, two processes on one file, a full disk, and nothing that identifies."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from hashlib import sha256
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliscope.core.errors import PacsError
from saliscope.pacs.queue import CUTS, Owed, Queue, Received, Study, retry_at
from saliscope.pacs.queue_file import FILE

UID = "1.2.826.0.1.3680043.8.498"


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock):
    opened = Queue.opened(tmp_path / "spool", clock)
    yield opened
    opened.close()


def one(folder: Path, number: int, study: int = 1, series: int = 1, data: bytes = b"object") -> Received:
    path = folder / f"{number}.dcm"
    path.write_bytes(data)
    uids = f"{UID}.{study}", f"{UID}.{study}.{series}"
    return Received(f"{UID}.9.{number}", "1.2.840.10008.5.1.4.1.1.2", *uids, path, sha256(data).hexdigest(), "CT01")


def debt(folder: Path, number: int, peer: str = "archive") -> Owed:
    path = folder / f"result-{number}.dcm"
    path.write_bytes(b"result %d" % number)
    return Owed(f"{UID}.7.{number}", "1.2.840.10008.5.1.4.1.1.7", path, peer)


def explained(queue: Queue, folder: Path, *owed: Owed) -> Study:
    queue.received(one(folder, 1))
    study = queue.due(queue.clock(), 0)
    assert study is not None
    queue.explained(study, owed, "a note")
    return study


def test_an_object_is_new_once_and_other_bytes_under_its_uid_are_refused(queue: Queue, tmp_path: Path) -> None:
    assert queue.received(one(tmp_path, 1)) is True
    assert queue.received(one(tmp_path, 1)) is False
    with pytest.raises(PacsError, match="other bytes"):
        queue.received(one(tmp_path, 1, data=b"changed"))
    gone = one(tmp_path, 2)
    gone.path.unlink()
    with pytest.raises(PacsError, match="without its file"):
        queue.received(gone)
    counts = queue.counts()
    totals = ("objects_held", "total_received", "total_repeats", "total_conflicts")
    assert tuple(counts[t] for t in totals) == (1, 1, 1, 1)


def test_a_study_is_due_when_it_was_quiet_and_claimed_once(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    first, second = one(tmp_path, 1), one(tmp_path, 2, series=2)
    queue.received(first)
    clock.now += 20
    queue.received(second)
    assert queue.due(clock.now + 29, 30) is None
    study = queue.due(clock.now + 30, 30)
    assert study is not None
    assert study.objects == (first, second)
    assert study.fresh == (first.series_uid, second.series_uid)
    assert queue.due(clock.now + 99, 30) is None
    queue.explained(study, [])
    assert queue.due(clock.now + 99, 30) is None
    with pytest.raises(PacsError, match="not claimed"):
        queue.explained(study, [])


def test_an_object_that_comes_late_makes_the_study_due_again(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    queue.received(one(tmp_path, 1))
    study = queue.due(clock.now, 0)
    assert study is not None
    late = one(tmp_path, 2, series=2)
    queue.received(late)  # while it is being explained
    queue.explained(study, [])
    again = queue.due(clock.now, 0)
    assert again is not None
    assert len(again.objects) == 2
    assert again.fresh == (late.series_uid,)
    queue.explained(again, [])
    assert queue.due(clock.now, 0) is None
    queue.received(one(tmp_path, 3))  # long after
    assert queue.due(clock.now, 0) is not None


def test_a_study_that_fails_waits_and_is_given_up_until_something_comes(
    queue: Queue, tmp_path: Path, clock: Clock
) -> None:
    queue.received(one(tmp_path, 1))
    study = queue.due(clock.now, 0)
    assert study is not None
    queue.not_explained(study, "no memory", clock.now + 60)
    assert queue.due(clock.now + 59, 0) is None
    study = queue.due(clock.now + 60, 0)
    assert study is not None
    assert study.tries == 1
    queue.not_explained(study, "no memory", None)
    assert queue.counts()["studies_failed"] == 1
    assert queue.due(clock.now + 9999, 0) is None
    assert queue.retry() == 1
    study = queue.due(clock.now, 0)
    assert study is not None
    assert study.tries == 0
    queue.received(one(tmp_path, 2))
    queue.not_explained(study, "half a study", None)
    assert queue.due(clock.now, 0) is not None, "what came meanwhile may be what was missing"


def test_what_is_owed_goes_out_in_order_and_once(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    a, b = debt(tmp_path, 1), debt(tmp_path, 2, "other")
    explained(queue, tmp_path, a, b)
    assert queue.owed(clock.now, "none") is None
    first, second = queue.owed(clock.now), queue.owed(clock.now)
    assert first is not None
    assert second is not None
    assert (first.path, second.path) == (a.path, b.path)
    assert queue.owed(clock.now) is None
    queue.sent(first)
    with pytest.raises(PacsError, match="not claimed"):
        queue.sent(first)
    queue.not_sent(second, "refused", clock.now + 30)
    assert queue.owed(clock.now + 29) is None
    second = queue.owed(clock.now + 30)
    assert second is not None
    assert (second.tries, second.unsure) == (1, False)
    queue.not_sent(second, "refused for good", None)
    assert queue.owed(clock.now + 9999) is None
    assert queue.counts()["owed_given_up"] == 1
    assert queue.retry("archive") == 0
    assert queue.retry("other") == 1
    assert queue.owed(clock.now) is not None
    assert [noted.why for noted in queue.errors()] == ["refused for good", "refused"]


def test_the_same_result_is_not_owed_twice(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    explained(queue, tmp_path, debt(tmp_path, 1))
    claimed = queue.owed(clock.now)
    assert claimed is not None
    queue.sent(claimed)
    queue.received(one(tmp_path, 2))
    study = queue.due(clock.now, 0)
    assert study is not None
    queue.explained(study, [debt(tmp_path, 1), debt(tmp_path, 2)])
    claimed = queue.owed(clock.now)
    assert claimed is not None
    assert claimed.sop_uid == f"{UID}.7.2"
    assert queue.owed(clock.now) is None


def test_explaining_keeps_all_or_nothing(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    queue.received(one(tmp_path, 1))
    study = queue.due(clock.now, 0)
    assert study is not None
    missing = Owed(f"{UID}.7.9", "1.2", tmp_path / "none.dcm", "archive")
    with pytest.raises(PacsError, match="cannot be read"):
        queue.explained(study, [debt(tmp_path, 1), missing])
    assert queue.counts()["owed_waiting"] == 0
    assert queue.counts()["studies_explaining"] == 1
    assert queue.take_back("studies") == 1
    assert queue.due(clock.now, 0) is not None


def test_a_file_that_changed_since_is_seen(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    explained(queue, tmp_path, debt(tmp_path, 1))
    claimed = queue.owed(clock.now)
    assert claimed is not None
    assert queue.unchanged(claimed)
    claimed.path.write_bytes(b"other")
    assert not queue.unchanged(claimed)
    claimed.path.unlink()
    assert not queue.unchanged(claimed)


def test_the_claims_of_one_who_closed_are_taken_back_and_those_of_the_living_are_not(
    tmp_path: Path, clock: Clock
) -> None:
    first = Queue.opened(tmp_path / "spool", clock)
    explained(first, tmp_path, debt(tmp_path, 1), debt(tmp_path, 2))
    assert first.owed(clock.now) is not None
    first.received(one(tmp_path, 5, study=5))
    assert first.due(clock.now, 0) is not None
    second = Queue.opened(tmp_path / "spool", clock)
    assert second.interrupted() == []
    assert second.due(clock.now, 0) is None
    first.close()
    assert second.recover() == 2
    found = second.interrupted()
    assert [(o.sop_uid, o.unsure) for o in found] == [(f"{UID}.7.1", True)]
    assert second.interrupted() == []
    assert second.due(clock.now, 0) is not None
    second.again()
    second.sent(found[0])
    counts = second.counts()
    assert (counts["total_sent"], counts["total_sent_again"], counts["owed_unsure"]) == (1, 1, 0)
    other = second.owed(clock.now)
    assert other is not None
    assert not other.unsure
    second.not_sent(other, "timed out", clock.now, unsure=True)
    doubted = second.interrupted()
    assert len(doubted) == 1
    second.sent(doubted[0], held=True)
    assert second.counts()["total_held_already"] == 1
    second.close()
    assert not [*(tmp_path / "spool").glob("owner-*")]


def test_what_was_claimed_but_not_begun_or_not_marked(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    explained(queue, tmp_path, debt(tmp_path, 1))
    claimed = queue.owed(clock.now)
    assert claimed is not None
    queue.not_begun(claimed)
    claimed = queue.owed(clock.now)
    assert claimed is not None
    assert (claimed.tries, claimed.unsure) == (0, False)
    assert queue.take_back("owed") == 1
    claimed = queue.owed(clock.now)
    assert claimed is not None
    assert claimed.unsure


def test_old_studies_go_with_their_files_and_only_when_all_is_done(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    a, b = debt(tmp_path, 1), debt(tmp_path, 2)
    study = explained(queue, tmp_path, a, b)
    source = study.objects[0].path
    clock.now += 100
    claimed = queue.owed(clock.now)
    assert claimed is not None
    queue.sent(claimed)
    assert queue.forget(clock.now + 1) == 0
    claimed = queue.owed(clock.now)
    assert claimed is not None
    queue.not_sent(claimed, "no", None)
    assert queue.forget(clock.now + 1) == 0
    assert source.exists()
    queue.retry()
    claimed = queue.owed(clock.now)
    assert claimed is not None
    queue.sent(claimed)
    assert queue.forget(clock.now) == 0, "not before its time"
    assert queue.forget(clock.now + 1) == 1
    assert not any(path.exists() for path in (source, a.path, b.path))
    counts = queue.counts()
    assert counts["objects_held"] == counts["owed_sent"] == counts["studies_explained"] == 0
    assert counts["total_forgotten"] == 1
    queue.received(one(tmp_path, 2, study=2))
    failed = queue.due(clock.now, 0)
    assert failed is not None
    queue.not_explained(failed, "no", None)
    assert queue.forget(clock.now + 1) == 0
    assert queue.forget(clock.now + 1, failed=True) == 1
    assert not failed.objects[0].path.exists()


def test_a_kill_between_forgetting_and_removing_leaves_no_file_for_ever(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue.opened(tmp_path / "spool", clock)
    study = explained(queue, tmp_path)
    monkeypatch.setattr(Queue, "_sweep", lambda self: None)
    assert queue.forget(clock.now + 1) == 1
    assert study.objects[0].path.exists()
    queue.close()
    monkeypatch.undo()
    Queue.opened(tmp_path / "spool", clock).close()
    assert not study.objects[0].path.exists()


def test_a_full_disk_is_told_and_loses_nothing(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    queue.received(one(tmp_path, 1))
    pages = queue.file.connection.execute("PRAGMA page_count").fetchone()[0]
    queue.file.connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    numbers = count(2)
    with pytest.raises(PacsError, match="disk is full"):
        [*iter(lambda: queue.received(one(tmp_path, n := next(numbers), study=n)), False)]
    kept = next(numbers) - 2
    assert queue.counts()["objects_held"] == kept == queue.counts()["total_received"]
    queue.file.connection.execute("PRAGMA max_page_count = 1073741823").fetchall()
    assert queue.received(one(tmp_path, kept + 1, study=kept + 1))


def test_a_file_that_is_no_queue_or_a_newer_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(PacsError, match="queue's file"):
        Queue.opened(tmp_path)
    newer = tmp_path / "newer"
    Queue.opened(newer).close()
    with sqlite3.connect(newer / FILE) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(PacsError, match="version 9"):
        Queue.opened(newer)
    with pytest.raises(PacsError, match="folder"):
        Queue.opened(tmp_path / FILE)
    assert not [*newer.glob("owner-*")]


def test_only_its_owner_reads_the_file_and_messages_hold_no_uid(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "spool"
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name
    queue.received(one(tmp_path, 1))
    study = queue.due(clock.now, 0)
    assert study is not None
    queue.not_explained(study, f"series {UID}.1.1\nis broken", None)
    assert queue.errors()[0].why == "series (UID) is broken"
    assert UID not in str(queue.counts())


def test_what_is_forgotten_stands_nowhere_in_the_file(tmp_path: Path, clock: Clock) -> None:
    queue = Queue.opened(tmp_path / "spool", clock)
    explained(queue, tmp_path)
    queue.forget(clock.now + 1)
    queue.close()
    assert not [p for p in (tmp_path / "spool").iterdir() if UID.encode() in p.read_bytes()]


def test_threads_claim_each_study_once(queue: Queue, tmp_path: Path, clock: Clock) -> None:
    def receive(part: int) -> None:
        for number in range(part * 20, part * 20 + 20):
            queue.received(one(tmp_path, number, study=number))

    claimed: list[str] = []

    def claim() -> None:
        while study := queue.due(clock.now, 0):
            queue.explained(study, [])
            claimed.append(study.study_uid)

    for work in ([lambda p=p: receive(p) for p in range(4)], [claim] * 4):
        threads = [threading.Thread(target=w) for w in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(claimed) == len(set(claimed)) == 80


TWO = """
import sys, time
from pathlib import Path
from saliscope.pacs.queue import Queue
queue = Queue.opened(Path(sys.argv[1]))
print("ready", flush=True); sys.stdin.readline()
while study := queue.due(time.time(), 0):
    queue.explained(study, [])
    print(study.study_uid, flush=True)
queue.close()
"""


def test_two_processes_share_one_queue(tmp_path: Path) -> None:
    # All open a folder that is not there yet, at the same moment.
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(tmp_path / "spool")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for _ in range(4)
    ]  # fmt: skip
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n", run.communicate()
    queue = Queue.opened(tmp_path / "spool")
    for number in range(60):
        queue.received(one(tmp_path, number, study=number))
    said = []
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
        said += out.split()
    assert len(said) == len(set(said)) == 60
    queue.close()


@given(st.integers(0, 40), st.floats(0, 2e9))
def test_each_wait_is_twice_the_last_up_to_an_hour_and_then_it_ends(tries: int, now: float) -> None:
    waits = [at - now for n in range(1, 12) if (at := retry_at(n, now)) is not None]
    assert len(waits) == 11
    assert all(a == pytest.approx(b / 2, abs=1e-3) or b == pytest.approx(3600) for a, b in pairwise(waits))
    assert (retry_at(tries, now) is None) == (tries >= 12)
    at = retry_at(tries, now)
    assert at is None or now + 30 <= at <= now + 3600


def test_a_study_that_ends_the_process_each_time_is_given_up_until_somebody_looks(tmp_path: Path, clock: Clock) -> None:
    """What a file that crashes a codec does; a new object of another study is not held up by it."""
    folder = tmp_path / "spool"
    first = Queue.opened(folder, clock)
    first.received(one(tmp_path, 1))
    for number in range(CUTS):
        assert first.counts()["studies_failed"] == 0, number
        assert first.due(clock.now, 0) is not None
        first.close()  # as by a kill: what is claimed stays so
        first = Queue.opened(folder, clock)
    assert first.counts()["studies_failed"] == 1
    assert first.due(clock.now, 0) is None
    assert f"ended {CUTS} times" in first.errors()[0].why
    assert first.retry() == 1
    assert first.due(clock.now, 0) is not None
    first.close()
