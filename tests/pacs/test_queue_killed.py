"""A node is killed by SIGKILL at random moments: what it acknowledged is explained and sent, and nothing goes twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from saliscope.pacs.queue import Queue

#: A node in small: it receives, explains and sends without end; the peer's store is a file that outlives it.
NODE = """
import os, sys, time
from hashlib import sha256
from pathlib import Path
from saliscope.pacs.queue import Owed, Queue, Received

folder, asks, rounds = Path(sys.argv[1]), sys.argv[2] == "asks", int(sys.argv[3])
acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
peer = os.open(folder / "peer", os.O_RDWR | os.O_APPEND | os.O_CREAT)
queue = Queue.opened(folder / "spool")
print("ready", flush=True)

def result(uid):
    return "7" + uid[1:]

while True:
    if rounds:
        rounds -= 1
        number = len((folder / "acknowledged").read_text().split())
        uid = f"1.2.3.4.5.{number}"
        path = folder / f"{uid}.dcm"
        path.write_text(uid)
        digest = sha256(uid.encode()).hexdigest()
        queue.received(Received(uid, "1.2", f"1.2.3.4.{number // 3}", "1.2.3.5", path, digest, "CT01"))
        os.write(acknowledged, f"{uid}\\n".encode())
    if study := queue.due(time.time() + 1, 0):
        owed = []
        for one in study.objects:
            path = folder / f"{result(one.sop_uid)}.dcm"
            path.write_text(result(one.sop_uid))
            owed.append(Owed(result(one.sop_uid), "1.2", path, "archive"))
        queue.explained(study, owed)
    one = queue.owed(time.time() + 1)
    if one is None:
        if not rounds and not study:
            break
        continue
    if one.unsure:
        if asks and one.sop_uid in (folder / "peer").read_text().split():
            queue.sent(one, held=True)
            continue
        if not asks:
            queue.again()
    time.sleep(0.003)
    os.write(peer, f"{one.path.read_text()}\\n".encode())
    time.sleep(0.02)  # its answer takes longer: a kill now leaves it in doubt
    queue.sent(one)
queue.close()
"""


def node(folder: Path, peer: str, rounds: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", NODE, str(folder), peer, str(rounds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def grown(peer: Path) -> None:
    """Wait until the peer has stored one more object."""
    before, until = peer.stat().st_size, time.monotonic() + 10
    while peer.stat().st_size == before and time.monotonic() < until:
        time.sleep(0.001)


@pytest.mark.parametrize(("peer", "kills"), [("asks", 30), ("cannot be asked", 10)])
def test_killed_at_any_moment(tmp_path: Path, peer: str, kills: int) -> None:
    chance = random.Random(20260304)
    interrupted = 0
    for number in range(kills):
        run = node(tmp_path, peer, 10**9)
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n", run.communicate()
        if number % 3:
            time.sleep(chance.uniform(0, 0.1))
        else:
            grown(tmp_path / "peer")  # the worst moment: the peer has it, and we have not heard so
        os.kill(run.pid, signal.SIGKILL)
        _, err = run.communicate()
        assert (run.returncode, err) == (-signal.SIGKILL, ""), "it died of the kill and of nothing else"
        interrupted += 1
    last = node(tmp_path, peer, 1)
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, out + err
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    assert len(acknowledged) > kills // 3, "the kills were too early to prove anything"
    arrived = Counter((tmp_path / "peer").read_text().split())
    assert {"7" + uid[1:] for uid in acknowledged} <= {*arrived}, "lost"
    queue = Queue.opened(tmp_path / "spool")
    counts = queue.counts()
    queue.close()
    twice = sum(number - 1 for number in arrived.values())
    if peer == "asks":
        assert twice == 0
        assert counts["total_sent_again"] == 0
        assert counts["total_held_already"] > 0, "no kill came between the peer's storing and our hearing of it"
        assert counts["total_held_already"] + counts["total_sent"] == len(arrived)
    else:
        assert twice <= counts["total_sent_again"] <= interrupted
    assert counts["owed_sent"] == len(arrived)
    left = ("studies_waiting", "studies_explaining", "owed_waiting", "owed_sending", "owed_unsure", "owed_given_up")
    assert not any(counts[name] for name in left)
    assert not [*(tmp_path / "spool").glob("owner-*")]
