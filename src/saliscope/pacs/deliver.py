"""From the queue to the peers: what is due goes out, and what is in doubt is asked for first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from saliscope.core.errors import PacsError
from saliscope.pacs import find, web
from saliscope.pacs.association import WAITS, Waits
from saliscope.pacs.config import Config
from saliscope.pacs.peers import DicomPeer, Peer
from saliscope.pacs.queue import Owed, Queue, retry_at
from saliscope.pacs.send import identity, send
from saliscope.pacs.status import Outcome


def deliver(
    queue: Queue,
    config: Config,
    most: int = 50,
    *,
    stop: Callable[[], bool] = lambda: False,
    waits: Waits = WAITS,
    clock: Callable[[], float] = time.time,
) -> int:
    """Send at most so many objects to the peer whose turn it is; return how many were tried, 0 if nothing is due.

    Each is marked in the queue as soon as its fate is known. One thread at a time may deliver for an opened queue.
    Raises PacsError where the queue cannot be written; what it could not mark is in doubt, and asked for next time.
    """
    queue.take_back("owed")
    first = queue.owed(clock())
    if first is None:
        return 0
    claimed = [first]
    while len(claimed) < most and (one := queue.owed(clock(), first.peer)) is not None:
        claimed.append(one)
    batch = _Batch(queue, config, waits, clock)
    try:
        peer = config.peer(first.peer)
        batch.out(peer, [one for one in claimed if batch.goes(peer, one)], stop)
    except PacsError as error:
        for one in claimed:
            if one.key not in batch.marked:
                batch.mark(one, Outcome("unsure" if one.unsure else "retry", str(error)))
    return len(claimed)


@dataclass(frozen=True)
class _Batch:
    """Objects on their way to one peer; `again` are those that it may have had before, `silent` if it does not say."""

    queue: Queue
    config: Config
    waits: Waits
    clock: Callable[[], float]
    marked: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)

    def goes(self, peer: Peer, one: Owed) -> bool:
        """Return whether an object is to be sent now; one that is not is marked."""
        if not self.queue.unchanged(one):
            self.mark(one, Outcome("failed", "its file is gone or changed since it was explained"))
            return False
        if not one.unsure:
            return True
        held = self._held(peer, one)
        if held is None:
            self.again.add(one.key)
            if peer.can_find and retry_at(one.tries + 1, self.clock()) is not None:
                # It can be asked, but not now: only the last try sends what it may have.
                self.mark(one, Outcome("unsure", "the peer does not say whether it has it"))
                return False
            self.queue.again()
        if held:
            self.mark(one, Outcome("held"))
        return not held

    def out(self, peer: Peer, left: Sequence[Owed], stop: Callable[[], bool]) -> None:
        """Send objects, and mark each at once."""
        files = [one.path for one in left]

        def told(place: int, outcome: Outcome) -> None:
            self.mark(left[place], outcome)

        if isinstance(peer, DicomPeer):
            send(self.config.node, peer, files, told, waits=self.waits, stop=stop)
        else:
            web.store(peer, files, told, stop)

    def mark(self, one: Owed, outcome: Outcome) -> None:
        """Keep in the queue what became of an object."""
        self.marked.add(one.key)
        if outcome.arrived:
            self.queue.sent(one, held=outcome.state == "held")
        elif outcome.state == "stopped":
            self.queue.not_begun(one)
        elif outcome.state == "failed":
            self.queue.not_sent(one, outcome.why, None)
        else:
            # What was in doubt before stays so, unless the peer said that it has it not.
            unsure = outcome.state == "unsure" or one.key in self.again
            self.queue.not_sent(one, outcome.why, retry_at(one.tries + 1, self.clock()), unsure=unsure)

    def _held(self, peer: Peer, one: Owed) -> bool | None:
        try:
            it = identity(one.path)
        except PacsError:
            return False  # sending it will say what is wrong
        if peer.name in self.silent:
            return None  # asked for each object, a peer that hangs would hold up all others for an hour
        if isinstance(peer, DicomPeer):
            held = find.holds(self.config.node, peer, it.sop_uid, it.study_uid, it.series_uid, self.waits)
        else:
            held = web.holds(peer, it.sop_uid, it.study_uid, it.series_uid)
        if held is None:
            self.silent.add(peer.name)
        return held
