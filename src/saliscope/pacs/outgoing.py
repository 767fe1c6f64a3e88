"""The sending half of the queue: steps of what is owed to peers, each within a transaction of the caller."""

from __future__ import annotations

import sqlite3
from hashlib import file_digest
from pathlib import Path

from saliscope.core.errors import PacsError
from saliscope.pacs.records import Owed

_TOTALS = (
    "received", "repeats", "conflicts", "explained", "sent", "sent_again", "held_already", "forgotten",
    "errors_explain", "errors_send",
)  # fmt: skip


def keep(db: sqlite3.Connection, study_uid: str, one: Owed, sha256: str, now: float) -> None:
    """Owe an object to a peer; under a UID that the peer has, or may have, nothing changes."""
    db.execute(
        "INSERT INTO owed (study_uid, sop_uid, sop_class, path, sha256, peer, state, due_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?, ?) ON CONFLICT (sop_uid, peer) DO UPDATE SET"
        " path = excluded.path, sha256 = excluded.sha256 WHERE state IN ('waiting', 'given_up') AND unsure = 0",
        (study_uid, one.sop_uid, one.sop_class, str(one.path), sha256, one.peer, now, now),
    )
    db.execute("DELETE FROM litter WHERE path = ?", (str(one.path),))


def claim(
    db: sqlite3.Connection, owner: str, now: float, *, unsure: bool = False, peer: str | None = None
) -> Owed | None:
    """Claim the next object that is due."""
    row = db.execute(
        "SELECT * FROM owed WHERE state = 'waiting' AND due_at <= ? AND unsure >= ? AND (? IS NULL OR peer = ?)"
        " ORDER BY due_at, key LIMIT 1",
        (now, int(unsure), peer, peer),
    ).fetchone()
    if row is None:
        return None
    key, number = row["key"], row["claim"] + 1
    db.execute(
        "UPDATE owed SET state = 'sending', owner = ?, claim = ?, changed_at = ? WHERE key = ?",
        (owner, number, now, key),
    )
    return Owed(
        row["sop_uid"], row["sop_class"], Path(row["path"]), row["peer"], bool(row["unsure"]), row["tries"], key, number
    )


def recover(db: sqlite3.Connection, owner: str, now: float) -> int:
    """Take back what a dead owner was sending: whether it arrived is unknown."""
    return db.execute(
        "UPDATE owed SET state = 'waiting', unsure = 1, due_at = ?, owner = '' WHERE owner = ? AND state = 'sending'",
        (now, owner),
    ).rowcount


def sent(db: sqlite3.Connection, one: Owed, now: float) -> None:
    """Keep that a peer has it."""
    _step(db, one, "state = 'sent', unsure = 0, why = ''", (), now)


def not_sent(db: sqlite3.Connection, one: Owed, why: str, retry_at: float | None, now: float, *, unsure: bool) -> None:
    """Keep that it did not arrive, or that nobody knows."""
    words = (("waiting", retry_at) if retry_at is not None else ("given_up", now)) + (int(unsure), why)
    _step(db, one, "state = ?, due_at = ?, unsure = ?, why = ?, tries = tries + 1", words, now)


def not_begun(db: sqlite3.Connection, one: Owed, now: float) -> None:
    """Keep that its sending never began."""
    _step(db, one, "state = 'waiting'", (), now)


def _step(db: sqlite3.Connection, one: Owed, change: str, words: tuple[object, ...], now: float) -> None:
    done = db.execute(
        f"UPDATE owed SET {change}, owner = '', changed_at = ? WHERE key = ? AND claim = ? AND state = 'sending'",  # noqa: S608
        (*words, now, one.key, one.claim),
    ).rowcount
    if not done:
        raise PacsError("an object that is not claimed by this queue", do="Claim it by owed() first")


def unchanged(db: sqlite3.Connection, one: Owed) -> bool:
    """Return whether the file of an object is the one that was owed, byte for byte."""
    row = db.execute("SELECT sha256 FROM owed WHERE key = ?", (one.key,)).fetchone()
    try:
        with one.path.open("rb") as stream:
            return row is not None and file_digest(stream, "sha256").hexdigest() == row[0]
    except OSError:
        return False


def retry(db: sqlite3.Connection, peer: str | None, now: float) -> int:
    """Make due again what was given up."""
    return db.execute(
        "UPDATE owed SET state = 'waiting', due_at = ?, tries = 0, changed_at = ?"
        " WHERE state = 'given_up' AND (? IS NULL OR peer = ?)",
        (now, now, peer, peer),
    ).rowcount


def counts(db: sqlite3.Connection, now: float) -> dict[str, int]:
    """Return the numbers of each state, totals, and the age of the oldest that is not done."""
    studies = dict(db.execute("SELECT state, count(*) FROM studies GROUP BY state").fetchall())
    objects = dict(db.execute("SELECT state, count(*) FROM owed GROUP BY state").fetchall())
    totals = dict(db.execute("SELECT name, value FROM totals").fetchall())
    oldest = db.execute(
        "SELECT min(at) FROM (SELECT min(last_at) AS at FROM studies WHERE state IN ('waiting', 'explaining')"
        " UNION ALL SELECT min(changed_at) FROM owed WHERE state IN ('waiting', 'sending'))"
    ).fetchone()[0]
    return {
        "objects_held": db.execute("SELECT count(*) FROM objects").fetchone()[0],
        **{f"studies_{state}": studies.get(state, 0) for state in ("waiting", "explaining", "explained", "failed")},
        **{f"owed_{state}": objects.get(state, 0) for state in ("waiting", "sending", "sent", "given_up")},
        "owed_unsure": db.execute("SELECT count(*) FROM owed WHERE unsure = 1").fetchone()[0],
        **{f"total_{name}": totals.get(name, 0) for name in _TOTALS},
        "oldest_s": 0 if oldest is None else max(0, int(now - oldest)),
    }


def forget(db: sqlite3.Connection, before: float, *, failed: bool) -> int:
    """Remove studies that are done, listing their files as litter; what is in work or waits is never removed."""
    done = ("explained", "failed") if failed else ("explained", "explained")
    ended = ("sent", "given_up") if failed else ("sent", "sent")
    rows = db.execute(
        "SELECT study_uid FROM studies s WHERE state IN (?, ?) AND changed_at < ? AND last_at < ? AND NOT EXISTS"
        " (SELECT 1 FROM owed o WHERE o.study_uid = s.study_uid AND (o.state NOT IN (?, ?) OR o.changed_at >= ?))",
        (*done, before, before, *ended, before),
    ).fetchall()
    for (uid,) in rows:
        for table in ("objects", "owed"):
            db.execute(f"INSERT OR IGNORE INTO litter SELECT path FROM {table} WHERE study_uid = ?", (uid,))  # noqa: S608
            db.execute(f"DELETE FROM {table} WHERE study_uid = ?", (uid,))  # noqa: S608
        db.execute("DELETE FROM studies WHERE study_uid = ?", (uid,))
    db.execute(
        "INSERT INTO totals VALUES ('forgotten', ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (len(rows),),
    )
    return len(rows)
