"""A node killed with -9 at any moment: what it acknowledged is explained, and each result arrives once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from killable import mother
from nodes import RULES, configured, dicom_archive, pictures, stored, until
from recording_peer import SC, Recording, recording

from saliscope.pacs.config import Config
from saliscope.pacs.queue import Queue

SR = "1.2.840.10008.5.1.4.1.1.88.34"
KINDS = "secondary-capture+structured-report"


def kept_sending(config: Config, files: list[Path], over: threading.Event) -> list[Path]:
    """Send each file again and again until it is acknowledged, as an archive does; return those that were."""
    waiting = list(files)
    while waiting and not over.is_set():
        if stored(config, waiting[:1]) == [0]:
            waiting.pop(0)
        time.sleep(0.15)
    return [f for f in files if f not in waiting]


def killed(tmp_path: Path, kills: int, studies: int, seed: int) -> tuple[Queue, Recording, list[Path], list[str]]:
    """Kill a node so many times while studies come, are explained and go; then let it finish."""
    files, draw = pictures(tmp_path / "in", studies), random.Random(seed)
    moments: list[str] = []
    with (
        recording(classes=(SC, SR), before=lambda *_: time.sleep(0.1), after=lambda *_: time.sleep(0.1)) as peer,
        mother(tmp_path / "log.txt", files[0], KINDS) as nodes,
    ):
        rules = RULES.replace('"pacs-basic"', f'"{KINDS}"')
        path = configured(tmp_path / "node", dicom_archive(peer.port, "PEER"), rules=rules, quiet_s=0.3)
        config, over = Config.read(path), threading.Event()
        sender = threading.Thread(target=kept_sending, args=(config, files, over))
        sender.start()
        queue = Queue.opened(config.node.folder)
        for number in range(kills):
            node = nodes.start(path)
            # Receiving, explaining and sending are met in turn, each at a moment of its own.
            state = ("", "studies_explaining", "owed_sending")[number % 3]
            until(lambda s=state: not s or queue.counts()[s] > 0, 20)  # type: ignore[misc]
            time.sleep(draw.uniform(0.0, 0.3 if state == "owed_sending" else 1.0))
            os.kill(node, signal.SIGKILL)
            assert until(lambda n=node: not _lives(n), 5)  # type: ignore[misc]
            moments.append(" ".join(k for k, v in queue.counts().items() if v and k.startswith(("s", "o"))))
        node = nodes.start(path)

        def done() -> bool:
            c = queue.counts()
            return c["studies_explained"] == studies and c["owed_sent"] == 2 * studies

        until(done, 60)
        os.kill(node, signal.SIGTERM)
        over.set()
        sender.join()
    return queue, peer, files, moments


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def check(queue: Queue, peer: Recording, files: list[Path], moments: list[str], log: str) -> None:
    counts, told = queue.counts(), "\n".join([*moments, log])
    assert counts["objects_held"] == counts["studies_explained"] == len(files), told
    assert counts["owed_sent"] == len(peer.objects) == 2 * len(files), told
    assert Counter(Counter(peer.order).values()) == {1: 2 * len(files)}, "an object was sent twice"
    assert counts["total_sent_again"] == 0
    found = Counter(str(_header(data).StudyInstanceUID) for data in peer.objects.values())
    assert found == {str(pydicom.dcmread(f).StudyInstanceUID): 2 for f in files}, "each study has each result once"
    assert "Traceback" not in log, log


def _header(data: bytes) -> pydicom.Dataset:
    from pydicom.filereader import read_dataset

    return read_dataset(
        BytesIO(data), is_implicit_VR=False, is_little_endian=True, stop_when=lambda t, *_: t > 0x0020000E
    )


def test_three_kills_lose_nothing_and_send_nothing_twice(tmp_path: Path) -> None:
    queue, peer, files, moments = killed(tmp_path, 3, 2, seed=1)
    check(queue, peer, files, moments, (tmp_path / "log.txt").read_text())
    queue.close()


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
def test_fifteen_kills_lose_nothing_and_send_nothing_twice(tmp_path: Path, seed: int) -> None:
    queue, peer, files, moments = killed(tmp_path, 15, 8, seed)
    check(queue, peer, files, moments, (tmp_path / "log.txt").read_text())
    states = " ".join(moments)
    for state in ("studies_waiting", "studies_explaining", "owed_sending", "owed_sent"):
        assert state in states, f"no kill met {state}: {moments}"
    queue.close()
