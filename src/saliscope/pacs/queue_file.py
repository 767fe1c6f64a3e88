"""The SQLite file of the queue: its tables, one writer at a time, and what happens to the claims of the dead."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from saliscope.core.errors import PacsError
from saliscope.pacs.owners import Owner, alive, sweep

FILE = "queue.sqlite"
_VERSION = 1
_WAIT_S = 30.0
_TABLES = """
CREATE TABLE objects (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, sop_uid TEXT NOT NULL UNIQUE, sop_class TEXT NOT NULL,
  study_uid TEXT NOT NULL, series_uid TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, caller TEXT NOT NULL);
CREATE INDEX objects_of_study ON objects (study_uid);
CREATE TABLE studies (
  study_uid TEXT PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('waiting', 'explaining', 'explained', 'failed')),
  last_at REAL NOT NULL, retry_at REAL NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
  cut INTEGER NOT NULL DEFAULT 0, explained_seq INTEGER NOT NULL DEFAULT 0,
  owner TEXT NOT NULL DEFAULT '', claim INTEGER NOT NULL DEFAULT 0,
  note TEXT NOT NULL DEFAULT '', changed_at REAL NOT NULL);
CREATE TABLE owed (
  key INTEGER PRIMARY KEY AUTOINCREMENT, study_uid TEXT NOT NULL, sop_uid TEXT NOT NULL, sop_class TEXT NOT NULL,
  path TEXT NOT NULL, sha256 TEXT NOT NULL, peer TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'sent', 'given_up')),
  due_at REAL NOT NULL, unsure INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
  owner TEXT NOT NULL DEFAULT '', claim INTEGER NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '',
  changed_at REAL NOT NULL, UNIQUE (sop_uid, peer));
CREATE INDEX owed_due ON owed (state, due_at);
CREATE INDEX owed_of_study ON owed (study_uid);
CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE errors (
  key INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, doing TEXT NOT NULL, peer TEXT NOT NULL, why TEXT NOT NULL);
CREATE TABLE litter (path TEXT PRIMARY KEY);
"""


@dataclass(frozen=True)
class QueueFile:
    """The open file: one connection behind one lock; every change is one transaction, on disk before it returns."""

    folder: Path
    connection: sqlite3.Connection
    owner: Owner
    lock: threading.RLock

    @classmethod
    def opened(cls, folder: Path) -> Self:
        """Return the file of a folder, made where there is none; raises PacsError where that cannot be.

        The folder is made with mode 0700 and the file with 0600: it holds UIDs.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / FILE
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            sweep(folder)
            owner = Owner.living(folder)
        except OSError as error:
            raise PacsError(
                f"the queue's folder ({error.strerror})",
                expected="a folder where one may write",
                do="Check node.folder",
            ) from error
        connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        opened = cls(folder, connection, owner, threading.RLock())
        try:
            opened._prepare()
        except BaseException:
            opened.close()
            raise
        return opened

    def _prepare(self) -> None:
        with _told():
            self.connection.execute("PRAGMA journal_mode = WAL").fetchall()
            for pragma in ("synchronous = FULL", "secure_delete = ON", "fullfsync = ON"):
                self.connection.execute(f"PRAGMA {pragma}").fetchall()
        with self.writing() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise PacsError(
                    f"a queue of version {version}", expected=f"version {_VERSION}", do="Use the saliscope that made it"
                )
            if version == 0:
                for statement in _TABLES.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction that is kept whole at the end, or undone on any error."""
        with self.lock, _told():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in one view of the data."""
        with self.lock, _told():
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def dead(self, db: sqlite3.Connection) -> list[str]:
        """Return the owners of claims who are no longer alive."""
        rows = db.execute(
            "SELECT owner FROM studies WHERE state = 'explaining' UNION SELECT owner FROM owed WHERE state = 'sending'"
        )
        names = [str(row[0]) for row in rows]
        return [name for name in names if name != self.owner.name and not alive(self.folder, name)]

    def close(self) -> None:
        """Close it; what is still claimed counts as interrupted."""
        with self.lock:
            self.connection.close()
            self.owner.end()


def count(db: sqlite3.Connection, name: str, by: int = 1) -> None:
    """Add to a total that outlives what it counts."""
    db.execute(
        "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value", (name, by)
    )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise PacsError(
            f"the queue's file ({error})",
            expected="an SQLite file that can be written",
            do="Check that the disk is not full and the file is whole; nothing of this step was kept",
        ) from error
