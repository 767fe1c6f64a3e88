"""The queue on disk between receiving, explaining and sending: a kill at any moment loses nothing of it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Literal, Self

from saliscope.core.errors import PacsError
from saliscope.pacs import outgoing
from saliscope.pacs.queue_file import QueueFile, count
from saliscope.pacs.records import Noted, Owed, Received, Study, retry_at, without_uids

__all__ = ["Noted", "Owed", "Queue", "Received", "Study", "retry_at"]
_ERRORS_KEPT = 1000
#: A study during which the process ended so often is given up: a file that crashes a codec would do it for ever.
CUTS = 20
_TAKE_BACK = "UPDATE studies SET state = 'waiting', owner = '', cut = cut + 1 WHERE owner = ?"
_ENDLESS = "SELECT study_uid FROM studies WHERE state = 'waiting' AND cut >= ?"
_KEEP = (
    "INSERT INTO objects (sop_uid, sop_class, study_uid, series_uid, path, sha256, caller) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class Queue:
    """One SQLite file in the node's folder, for several threads and processes.

    A study goes waiting > explaining > explained or failed, and back to waiting when an object comes; an object owed
    goes waiting > sending > sent, waiting again, or given up. Each step is one transaction, on disk when it returns.
    """

    file: QueueFile
    clock: Callable[[], float]

    @classmethod
    def opened(cls, folder: Path, clock: Callable[[], float] = time.time) -> Self:
        """Return the queue of a folder, with everything recovered that a kill left; `clock` in seconds since 1970."""
        queue = cls(QueueFile.opened(folder), clock)
        queue.recover()
        return queue

    def close(self) -> None:
        """Close it; what is still claimed counts as interrupted."""
        self.file.close()

    def recover(self) -> int:
        """Take back the claims of processes that are no more, and return how many there were.

        Their studies are due again, but for one that was cut off `CUTS` times, which failed; what they were sending is
        due at once, `unsure`.
        """
        now = self.clock()
        with self.file.writing() as db:
            found = 0
            for name in self.file.dead(db):
                found += db.execute(_TAKE_BACK, (name,)).rowcount
                found += outgoing.recover(db, name, now)
            for (uid,) in db.execute(_ENDLESS, (CUTS,)).fetchall():
                why = f"the process ended {CUTS} times while it was explained"
                words = (why, now, uid)
                db.execute("UPDATE studies SET state = 'failed', note = ?, changed_at = ? WHERE study_uid = ?", words)
                self._note(db, Noted(now, "explain", "", why))
        self._sweep()
        return found

    def received(self, one: Received) -> bool:
        """Keep an object that lies whole at its path; False where the same bytes are known under this UID.

        Raises PacsError for other bytes under a known UID, and where the file is not there.
        """
        now = self.clock()
        with self.file.writing() as db:
            known = db.execute("SELECT sha256 FROM objects WHERE sop_uid = ?", (one.sop_uid,)).fetchone()
            if known is not None:
                if known[0] != one.sha256:
                    count(db, "conflicts")
                    db.execute("COMMIT")  # the count stays, the object does not
                    raise PacsError(
                        "other bytes under a SOP Instance UID that is known",
                        expected="each object under its own UID",
                        do="Find out which of the two its sender means",
                    )
                count(db, "repeats")
                return False
            if not one.path.is_file():
                raise PacsError("an object without its file", expected="a stored file", do="Send the object again")
            words = (one.sop_uid, one.sop_class, one.study_uid, one.series_uid, str(one.path), one.sha256, one.caller)
            db.execute(_KEEP, words)
            db.execute("DELETE FROM litter WHERE path = ?", (str(one.path),))
            db.execute(
                "INSERT INTO studies (study_uid, state, last_at, changed_at) VALUES (?, 'waiting', ?, ?)"
                " ON CONFLICT (study_uid) DO UPDATE SET last_at = excluded.last_at, retry_at = 0,"
                " state = CASE state WHEN 'explaining' THEN state ELSE 'waiting' END,"
                " tries = CASE state WHEN 'failed' THEN 0 ELSE tries END",
                (one.study_uid, now, now),
            )
            count(db, "received")
        return True

    def due(self, now: float, quiet_s: float) -> Study | None:
        """Claim the study that is complete for the longest time, or None: nothing came for it in `quiet_s` seconds."""
        with self.file.writing() as db:
            row = db.execute(
                "SELECT * FROM studies WHERE state = 'waiting' AND last_at <= ? AND retry_at <= ? ORDER BY last_at",
                (now - quiet_s, now),
            ).fetchone()
            if row is None:
                return None
            uid, claim = row["study_uid"], row["claim"] + 1
            db.execute(
                "UPDATE studies SET state = 'explaining', owner = ?, claim = ?, changed_at = ? WHERE study_uid = ?",
                (self.file.owner.name, claim, now, uid),
            )
            found = db.execute("SELECT * FROM objects WHERE study_uid = ? ORDER BY seq", (uid,)).fetchall()
        fresh = dict.fromkeys(o["series_uid"] for o in found if o["seq"] > row["explained_seq"])
        objects = tuple(_object(o) for o in found)
        return Study(uid, objects, tuple(fresh), row["tries"], claim, found[-1]["seq"])

    def explained(self, study: Study, owed: Sequence[Owed], note: str = "", wrong: Sequence[str] = ()) -> None:
        """Keep that a study is explained, what is owed to whom, and what of it went wrong, all or nothing.

        The files owed are flushed to the disk first. What was sent before under the same UID is not owed again.
        Raises PacsError where a file cannot be read, or where the claim is no longer ours.
        """
        sums = [_flushed(one.path) for one in owed]
        now = self.clock()
        with self.file.writing() as db:
            self._ours(db, study)
            for one, sha256 in zip(owed, sums, strict=True):
                outgoing.keep(db, study.study_uid, one, sha256, now)
            db.execute(
                "UPDATE studies SET tries = 0, cut = 0, retry_at = 0, owner = '', note = ?, explained_seq = ?,"
                " changed_at = ?, state = CASE WHEN"
                " (SELECT max(seq) FROM objects o WHERE o.study_uid = studies.study_uid) > ?"
                " THEN 'waiting' ELSE 'explained' END WHERE study_uid = ?",
                (without_uids(note), study.last, now, study.last, study.study_uid),
            )
            for why in wrong:
                self._note(db, Noted(now, "explain", "", why))
            count(db, "explained")

    def not_explained(self, study: Study, why: str, retry_at: float | None) -> None:
        """Keep that a study could not be explained: try again at a time, or None: only after a new object, or retry."""
        now = self.clock()
        with self.file.writing() as db:
            self._ours(db, study)
            grown = db.execute(
                "SELECT 1 FROM objects WHERE study_uid = ? AND seq > ?", (study.study_uid, study.last)
            ).fetchone()
            state = "failed" if retry_at is None and not grown else "waiting"
            due = 0.0 if grown or retry_at is None else retry_at
            db.execute(
                "UPDATE studies SET state = ?, retry_at = ?, tries = tries + 1, owner = '', note = ?, changed_at = ?"
                " WHERE study_uid = ?",
                (state, due, without_uids(why), now, study.study_uid),
            )
            self._note(db, Noted(now, "explain", "", why))

    def owed(self, now: float, peer: str | None = None) -> Owed | None:
        """Claim the object that is due to be sent for the longest time, to one peer or to any, or None."""
        with self.file.writing() as db:
            return outgoing.claim(db, self.file.owner.name, now, peer=peer)

    def unchanged(self, owed: Owed) -> bool:
        """Return whether the file of an object owed still is what was explained, byte for byte."""
        with self.file.reading() as db:
            return outgoing.unchanged(db, owed)

    def interrupted(self) -> list[Owed]:
        """Claim all objects whose earlier sending ended in the dark; ask the peer for each before sending it again."""
        found = []
        with self.file.writing() as db:
            while one := outgoing.claim(db, self.file.owner.name, self.clock(), unsure=True):
                found.append(one)
        return found

    def again(self) -> None:
        """Count, before it is done, that an object is sent that its peer may have had."""
        with self.file.writing() as db:
            count(db, "sent_again")

    def sent(self, owed: Owed, *, held: bool = False) -> None:
        """Keep that a peer has it: `held` if it said so when asked."""
        with self.file.writing() as db:
            outgoing.sent(db, owed, self.clock())
            count(db, "held_already" if held else "sent")

    def not_sent(self, owed: Owed, why: str, retry_at: float | None, *, unsure: bool = False) -> None:
        """Keep that it did not arrive: try again at a time, or None to give up; `unsure` if it may have arrived."""
        now = self.clock()
        with self.file.writing() as db:
            outgoing.not_sent(db, owed, without_uids(why), retry_at, now, unsure=unsure)
            self._note(db, Noted(now, "send", owed.peer, why))

    def not_begun(self, owed: Owed) -> None:
        """Keep that it was claimed, but that its sending never began."""
        with self.file.writing() as db:
            outgoing.not_begun(db, owed, self.clock())

    def take_back(self, what: Literal["studies", "owed"]) -> int:
        """Take back what this opener itself has claimed and, after an error, could not mark; return how much.

        To be called when nothing of it is in work: studies are due again, what was being sent is `unsure`.
        """
        with self.file.writing() as db:
            if what == "owed":
                return outgoing.recover(db, self.file.owner.name, self.clock())
            return db.execute(_TAKE_BACK, (self.file.owner.name,)).rowcount

    def retry(self, peer: str | None = None) -> int:
        """Make due what was given up, for one peer or for all, with the studies that failed; return how many."""
        now = self.clock()
        with self.file.writing() as db:
            found = outgoing.retry(db, peer, now)
            if peer is None:
                found += db.execute(
                    "UPDATE studies SET state = 'waiting', tries = 0, cut = 0, retry_at = 0, changed_at = ?"
                    " WHERE state = 'failed'",
                    (now,),
                ).rowcount
        return found

    def counts(self) -> dict[str, int]:
        """Return how much waits, is in work and is done, and totals since the queue was made; all names always there.

        `oldest_s` is the age in seconds of the oldest study or object that is neither done nor given up.
        """
        with self.file.reading() as db:
            return outgoing.counts(db, self.clock())

    def errors(self, most: int = 20) -> list[Noted]:
        """Return the newest of what went wrong, the newest first; no identifiers are in them."""
        with self.file.reading() as db:
            rows = db.execute("SELECT at, doing, peer, why FROM errors ORDER BY key DESC LIMIT ?", (most,)).fetchall()
        return [Noted(*row) for row in rows]

    def forget(self, before: float, *, failed: bool = False) -> int:
        """Remove the studies done before a time with all their files, and return how many.

        Done is: explained, and everything sent. `failed` also removes what failed or was given up.
        """
        with self.file.writing() as db:
            found = outgoing.forget(db, before, failed=failed)
        self._sweep()
        return found

    def _sweep(self) -> None:
        """Remove the files of what is forgotten; a kill in between leaves them listed for the next time."""
        with self.file.writing() as db:
            for (path,) in db.execute("SELECT path FROM litter").fetchall():
                Path(path).unlink(missing_ok=True)
                db.execute("DELETE FROM litter WHERE path = ?", (path,))

    def _ours(self, db: sqlite3.Connection, study: Study) -> None:
        row = db.execute(
            "SELECT 1 FROM studies WHERE study_uid = ? AND state = 'explaining' AND owner = ? AND claim = ?",
            (study.study_uid, self.file.owner.name, study.claim),
        ).fetchone()
        if row is None:
            raise PacsError("a study that is not claimed by this queue", do="Claim it by due() first")

    def _note(self, db: sqlite3.Connection, noted: Noted) -> None:
        words = (noted.at, noted.doing, noted.peer, without_uids(noted.why))
        db.execute("INSERT INTO errors (at, doing, peer, why) VALUES (?, ?, ?, ?)", words)
        db.execute("DELETE FROM errors WHERE key <= (SELECT max(key) FROM errors) - ?", (_ERRORS_KEPT,))
        count(db, f"errors_{noted.doing}")


def _object(row: sqlite3.Row) -> Received:
    return Received(
        row["sop_uid"], row["sop_class"], row["study_uid"], row["series_uid"], Path(row["path"]), row["sha256"],
        row["caller"],
    )  # fmt: skip


def _flushed(path: Path) -> str:
    """Return the SHA-256 of a file, once it and its name are on the disk."""
    try:
        with path.open("rb") as stream:
            found = file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise PacsError(
            f"an object owed that cannot be read ({error.strerror})", expected="a file", do="Explain the study again"
        ) from error
    return found
