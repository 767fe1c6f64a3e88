"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saliscope.core.errors import WriteError


@contextmanager
def new_folder(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder to write into, which becomes `path` at the end of the block.

    Leaves nothing behind when the block raises or is interrupted. A folder that is there, and not empty, is refused,
    or replaced at the end if `overwrite` is set: the old one stays until the new one is complete.
    Raises WriteError when the path is taken or cannot be written.
    """
    target = Path(path)
    _refuse_taken(target, overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _beside(target)
        partial.mkdir()
    except OSError as error:
        raise _failed(target, error) from error
    try:
        yield partial
        _sync(partial)
        _refuse_taken(target, overwrite)
        _swap(partial, target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _failed(target, error) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_file(path: str | Path, data: bytes) -> Path:
    """Write a file so that a reader finds the old bytes or the new, never a part; raises WriteError."""
    target = Path(path)
    partial = _beside(target)
    try:
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except OSError as error:
        raise _failed(target, error) from error
    return target


def _swap(partial: Path, target: Path) -> None:
    """Put a complete folder in the place of another; no system renames over a full folder, so the old steps aside."""
    if not target.exists():
        partial.rename(target)
        _sync_folder(target.parent)
        return
    old = _beside(target)
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        old.rename(target)
        raise
    _sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _refuse_taken(target: Path, overwrite: bool) -> None:
    taken = target.is_symlink() or (target.exists() and not target.is_dir())
    if not taken and not overwrite:
        taken = target.is_dir() and any(target.iterdir())
    if taken:
        raise WriteError(
            f"{target} is there already",
            expected="a folder that does not exist or is empty",
            do="Choose another folder, or allow overwriting.",
        )


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")


def _failed(target: Path, error: OSError) -> WriteError:
    return WriteError(
        f"{target} cannot be written ({error.strerror or error})",
        do="Check the folder's rights and the space on its disk; nothing was left half-written",
    )


def _sync(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        for name in files:
            with (Path(root) / name).open("rb") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(root))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
