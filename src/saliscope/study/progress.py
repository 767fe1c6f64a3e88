"""How a call from Python tells how far it is: by a function of the caller, or by a line on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from saliscope.core.errors import InputError

#: A function that is called with a sentence; True for a line on stderr where somebody sees it; False for silence.
Said = Callable[[str], None]
Progress = bool | Said
#: A line is written anew at most so many times a second, and is so long at most.
OFTEN, LONG = 10, 100


@contextmanager
def telling(progress: Progress) -> Iterator[Said | None]:
    """Give what is to be called with each step of the work, None where nobody listens; the line is gone at the end.

    Raises InputError for what is neither a function nor true or false.
    """
    if callable(progress):
        yield progress
        return
    if not isinstance(progress, bool):
        raise InputError(
            f"progress of type {type(progress).__name__}",
            expected="True, False, or a function that takes a sentence",
            do="progress=True writes a line on stderr; progress=print prints every step",
        )
    line = _Line() if progress and _is_seen() else None
    try:
        yield line
    finally:
        if line is not None:
            line.end()


def within(said: Said | None, what: str) -> Said | None:
    """Return who tells the steps of a part of the work, under its name."""
    if said is None or not what:
        return said
    return lambda step: said(f"{what}: {step}")


class _Line:
    """One line on stderr that each step replaces."""

    def __init__(self) -> None:
        self._written, self._at = 0, -1.0

    def __call__(self, step: str) -> None:
        now = time.monotonic()
        if now - self._at < 1 / OFTEN:
            return
        self._at = now
        text = step if len(step) <= LONG else f"{step[: LONG - 1]}…"
        sys.stderr.write(f"\r{text.ljust(self._written)}")
        sys.stderr.flush()
        self._written = len(text)

    def end(self) -> None:
        """Take the line away."""
        if self._written:
            sys.stderr.write(f"\r{' ' * self._written}\r")
            sys.stderr.flush()


def _is_seen() -> bool:
    """Return whether a line on stderr is seen while it changes: in a terminal, and in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
