"""The queue against a model of it in plain dictionaries: whatever order of steps, and kills in between."""

from __future__ import annotations

import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from saliscope.pacs.queue import Owed, Queue, Received, Study

QUIET = 30.0
NUMBERS = st.integers(0, 5)


class Node(RuleBasedStateMachine):
    """Steps of a node; `sent_for_sure` and `arrived` are what the outside world saw."""

    claimed_studies = Bundle("claimed_studies")
    claimed_objects = Bundle("claimed_objects")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1000.0
        self.life = 0
        self.received: dict[str, str] = {}
        self.last: dict[str, float] = {}
        self.explained: dict[str, set[str]] = {}
        self.owed: dict[str, str] = {}
        self.open()

    def open(self) -> None:
        self.queue = Queue.opened(self.folder / "spool", lambda: self.now)
        # Only a loss of power could tell, and waiting for the disk takes nine tenths of the time.
        self.queue.file.connection.execute("PRAGMA synchronous = OFF").fetchall()

    def teardown(self) -> None:
        self.queue.close()
        shutil.rmtree(self.folder)

    @rule(number=NUMBERS, study=st.integers(0, 2))
    def receive(self, number: int, study: int) -> None:
        uid, of = f"1.2.{study}.{number}", f"1.{study}"
        path = self.folder / uid
        path.write_text(uid)
        new = self.queue.received(Received(uid, "1.2", of, f"{of}.1", path, sha256(uid.encode()).hexdigest(), "CT01"))
        assert new == (uid not in self.received)
        if new:
            self.received[uid] = of
            self.last[of] = self.now

    @rule(seconds=st.sampled_from([1.0, 31.0, 5000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=claimed_studies)
    def due(self) -> tuple[int, Study | None]:
        study = self.queue.due(self.now, QUIET)
        if study is not None:
            assert self.now - self.last[study.study_uid] >= QUIET
            assert {o.sop_uid for o in study.objects} == {u for u, of in self.received.items() if of == study.study_uid}
        return self.life, study

    @rule(claimed=consumes(claimed_studies), fails=st.booleans())
    def explain(self, claimed: tuple[int, Study | None], fails: bool) -> None:
        life, study = claimed
        if study is None or life != self.life:
            return
        if fails:
            self.queue.not_explained(study, "no", self.now + 10)
            return
        owed = []
        for one in study.objects:
            path = self.folder / f"9{one.sop_uid}"
            path.write_text(path.name)
            owed.append(Owed(path.name, "1.2", path, "archive"))
            self.owed.setdefault(path.name, "waiting")
        self.queue.explained(study, owed)
        self.explained.setdefault(study.study_uid, set()).update(o.sop_uid for o in study.objects)

    @rule(target=claimed_objects)
    def claim(self) -> tuple[int, Owed | None]:
        one = self.queue.owed(self.now)
        if one is not None:
            assert one.unsure == (self.owed[one.sop_uid] == "unsure")
            assert self.owed[one.sop_uid] in ("waiting", "unsure")
            assert self.queue.unchanged(one)
            self.owed[one.sop_uid] = "asking" if one.unsure else "sending"
        return self.life, one

    @rule(claimed=consumes(claimed_objects), ends=st.sampled_from(["sent", "waiting", "unsure", "given up"]))
    def end(self, claimed: tuple[int, Owed | None], ends: str) -> None:
        life, one = claimed
        if one is None or life != self.life:
            return
        if ends == "sent":
            self.queue.sent(one)
        else:
            at = None if ends == "given up" else self.now
            self.queue.not_sent(one, "no", at, unsure=ends == "unsure")
        self.owed[one.sop_uid] = ends

    @rule()
    def retry(self) -> None:
        self.queue.retry("archive")
        self.owed = {uid: "waiting" if state == "given up" else state for uid, state in self.owed.items()}

    @rule()
    def kill(self) -> None:
        """Close without marking anything, which leaves the file as a kill does, and open it again."""
        self.queue.close()
        self.life += 1
        self.open()
        self.owed = {uid: "unsure" if state in ("sending", "asking") else state for uid, state in self.owed.items()}

    @invariant()
    def nothing_is_lost(self) -> None:
        counts = self.queue.counts()
        assert counts["objects_held"] == len(self.received) == counts["total_received"]
        states = [*self.owed.values()]
        assert counts["owed_waiting"] == states.count("waiting") + states.count("unsure")
        assert counts["owed_unsure"] == states.count("unsure") + states.count("asking")
        assert counts["owed_sending"] == states.count("sending") + states.count("asking")
        assert counts["owed_sent"] == states.count("sent")
        assert counts["owed_given_up"] == states.count("given up")
        assert counts["total_sent"] == states.count("sent"), "sent once each"
        studies = sum(counts[f"studies_{s}"] for s in ("waiting", "explaining", "explained", "failed"))
        assert studies == len({*self.received.values()})
        done = {of for of, uids in self.explained.items() if uids == {u for u, o in self.received.items() if o == of}}
        assert counts["studies_explained"] <= len(done), "what is not explained is not called explained"


TestNode = Node.TestCase
TestNode.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
