"""A node at work: receives, explains what is complete, sends the results; a kill at any moment loses nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

from saliscope.core.errors import PacsError
from saliscope.pacs.config import Config
from saliscope.pacs.deliver import deliver
from saliscope.pacs.health import endpoint, of_queue
from saliscope.pacs.intake import OBJECTS
from saliscope.pacs.owners import alone
from saliscope.pacs.queue import Queue
from saliscope.pacs.receive import Receiver
from saliscope.pacs.watch import Watcher
from saliscope.study.explaining import RESULTS, WORK, Explaining, Stopped, Told, prepared

_DAY_S, _HOUR_S = 86400.0, 3600.0
#: What failed or was given up waits for a person so many times as long as what is done: but not for ever.
FAILED_KEPT = 4
_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0
_GRACE_S = 5.0


def serve(config: Config, told: Told, stop: Event, watch: str = "") -> bool:
    """Receive, explain and send until `stop` is set; return whether all work came to rest in time.

    What was cut off is resumed by the next start. Raises SaliscopeError for what keeps the node from starting.
    """
    rules = prepared(config.rules, told)
    queue = Queue.opened(config.node.folder)
    with ExitStack() as open_until_end:
        open_until_end.callback(queue.close)
        open_until_end.enter_context(alone(config.node.folder))  # what is swept would else be another node's work
        swept(config.node.folder, queue)
        works = _works(config, Explaining(config, queue, rules, told, stop), watch)
        workers = [
            Thread(target=_over_and_over, args=(work, stop, told), daemon=True, name=name)
            for name, work in works.items()
        ]
        _heard(config, queue, told, lambda: all(w.is_alive() for w in workers), open_until_end)
        for worker in workers:
            worker.start()
        told(f"{config.node.ae_title} listens on {config.node.host}:{config.node.port}")
        # Not stop.wait: a signal's handler that sets it in this thread would wait for ever for the lock held here.
        while not stop.is_set():
            time.sleep(_PAUSE_S)
        told("ending")
        until = time.monotonic() + _GRACE_S
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))
        rested = not any(worker.is_alive() for worker in workers)
    told("ended" if rested else "ended; what was cut off is resumed at the next start")
    return rested


def swept(folder: Path, queue: Queue) -> int:
    """Remove what a kill left between a file and its record, and return how many files; only before anything runs."""
    shutil.rmtree(folder / WORK, ignore_errors=True)
    with queue.file.reading() as db:
        known = {row[0] for row in db.execute("SELECT path FROM objects UNION SELECT path FROM owed")}
    left = [p for place in (OBJECTS, RESULTS) for p in (folder / place).rglob("*.dcm") if str(p) not in known]
    for path in left:
        path.unlink()
    return len(left)


def _over_and_over(work: Callable[[], bool], stop: Event, told: Told) -> None:
    """Do a work until the end, at once again while there is some; a fault of ours is told and not the end.

    What keeps going wrong in the same way is told once, and tried less and less often.
    """
    said, pause = "", _PAUSE_S
    while not stop.is_set():
        busy, wrong = False, ""
        try:
            busy = work()
        except Stopped:
            return
        except PacsError as error:
            wrong = f"the queue or a peer: {error}"
        except Exception as error:  # noqa: BLE001 - a node that ends at the first surprise is no node
            wrong = f"a fault of saliscope's own: {type(error).__name__}"
        if wrong and wrong != said:
            told(wrong)
        said, pause = wrong, min(2 * pause, _LONGEST_PAUSE_S) if wrong else _PAUSE_S
        if not busy:
            stop.wait(pause)


def _heard(config: Config, queue: Queue, told: Told, alive: Callable[[], bool], open_until_end: ExitStack) -> None:
    """Begin to listen for objects, and for whoever asks how it goes."""
    open_until_end.enter_context(Receiver.of(config, queue, told))
    if config.health.enabled:
        open_until_end.enter_context(endpoint(config.health, lambda: of_queue(queue, alive)))


def _works(config: Config, explaining: Explaining, watch: str) -> dict[str, Callable[[], bool]]:
    """Return what goes on beside receiving, by name, each in a thread of its own."""
    queue, told, stop = explaining.queue, explaining.told, explaining.stop

    failed = queue.counts()["total_errors_send"]

    def send() -> bool:
        nonlocal failed
        tried = deliver(queue, config, stop=stop.is_set)
        if tried:
            counts = queue.counts()
            wrong = queue.errors(1) if counts["total_errors_send"] > failed else []
            failed = counts["total_errors_send"]
            why = "".join(f"; {one.peer}: {one.why}" for one in wrong if one.doing == "send")
            told(f"{tried} objects tried; {counts['total_sent']} sent so far, {counts['owed_waiting']} waiting{why}")
        return tried > 0

    next_at = 0.0

    def tidy() -> bool:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + _HOUR_S
            for gone, days in tidied(queue, config.node.keep_days, time.time()):
                told(f"{gone} studies removed after {days} days")
        return False

    works = {"explaining": explaining.next, "sending": send, "tidying": tidy}
    if watch:
        works["watching"] = Watcher.of(watch, config, queue, lambda uid: known(queue, uid), told).next
    return works


def tidied(queue: Queue, keep_days: float, now: float) -> list[tuple[int, float]]:
    """Remove the studies that are done and old, later those that failed too; return how many after which days."""
    found = []
    for days, failed in ((keep_days, False), (FAILED_KEPT * keep_days, True)):
        if gone := queue.forget(now - days * _DAY_S, failed=failed):
            found.append((gone, days))
    return found


def known(queue: Queue, sop_uid: str) -> bool:
    """Return whether the queue holds an object, received or owed, under a SOP Instance UID."""
    with queue.file.reading() as db:
        found = db.execute(
            "SELECT 1 FROM objects WHERE sop_uid = ? UNION SELECT 1 FROM owed WHERE sop_uid = ?", (sop_uid, sop_uid)
        ).fetchone()
    return found is not None
