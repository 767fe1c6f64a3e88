"""Nodes that are quick to start and to kill: forked from a process that has the heavy libraries loaded already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOTHER = """
import os, signal, sys, tempfile, traceback
from pathlib import Path
from threading import Event
import torch, highdicom, skimage.measure, pynetdicom
import saliscope.study.explaining, saliscope.write.dicom.objects, saliscope.figures.capture
from saliscope.pacs.config import Config
from saliscope.study.service import serve
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as folder:  # what is imported late is imported now
    from saliscope.study.dicom import DicomPlan
    from saliscope.study.explaining import _Quiet
    from saliscope.study.plan import Plan
    from saliscope.study.run import run
    quiet = _Quiet(lambda what: None, Event())
    run([sys.argv[1]], Plan("spot-finder"), Path(folder) / "out", watch=quiet, dicom=DicomPlan(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            stop = Event()
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            def told(what):
                sys.stderr.write(what + "\\n"); sys.stderr.flush()
                if "listens" in what: os.write(write, b"x")
            serve(Config.read(Path(line.strip())), told, stop)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(write); os.read(read, 1); os.close(read)
    print(child, flush=True)
"""


class Mother:
    """Forks nodes; each `start` returns the process id of one that listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, config: Path) -> int:
        """Start a node and return its process id once it listens, or has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{config}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def mother(log: Path, picture: Path, kinds: str) -> Iterator[Mother]:
    """Run the process that nodes are forked from, warm by that picture; what they say is in `log`."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _MOTHER, str(picture), kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", log.read_text()
        try:
            yield Mother(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
