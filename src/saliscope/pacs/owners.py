"""Who holds a claim of the queue: a lock on a file for each opener, which the system drops when its process ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from saliscope.core.errors import PacsError

_PREFIX, _SUFFIX = "owner-", ".lock"
_NODE = "node.lock"


@dataclass(frozen=True)
class Owner:
    """One opener of a queue; it lives as long as its lock is held, which no kill can outlast."""

    folder: Path
    name: str
    lock: int

    @classmethod
    def living(cls, folder: Path) -> Self:
        """Return a new owner that holds its lock; raises PacsError where the system has no such locks."""
        fcntl = _fcntl()
        while True:
            name = secrets.token_hex(8)
            path = _path(folder, name)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Between making and locking it, somebody who sweeps up may have taken it for one of the dead.
            if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
                return cls(folder, name, lock)
            os.close(lock)

    def end(self) -> None:
        """Drop the lock: what is still claimed counts as interrupted."""
        _path(self.folder, self.name).unlink(missing_ok=True)
        os.close(self.lock)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder for the one node that runs in it while the block runs; raises PacsError where another does."""
    fcntl = _fcntl()
    lock = os.open(folder / _NODE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PacsError(
                f"{folder}, in which another node runs",
                expected="a folder of its own for each node",
                do="End that one, or give another node.folder",
            ) from None
        yield
    finally:
        os.close(lock)


def sweep(folder: Path) -> None:
    """Remove the locks of the dead."""
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        alive(folder, path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX))


def alive(folder: Path, name: str) -> bool:
    """Return whether an owner still holds its lock; the lock of a dead one is removed."""
    fcntl = _fcntl()
    path = _path(folder, name)
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _path(folder: Path, name: str) -> Path:
    return folder / f"{_PREFIX}{name}{_SUFFIX}"


def _fcntl() -> Any:
    try:
        import fcntl
    except ImportError as error:
        raise PacsError("a system without file locks", expected="Linux or macOS", do="Run the node there") from error
    return fcntl
