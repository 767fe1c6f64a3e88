"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class Progress:
    """Watches a run; `quiet` leaves only failures. An interruption ends the program with exit code 130."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._total, self._done = 0, 0

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is KeyboardInterrupt:
            sys.stderr.write("saliscope: interrupted; what is complete is kept, and nothing is half-written.\n")
            raise SystemExit(130)

    def cases(self, total: int) -> None:
        """Take note of how many more cases there are."""
        self._total += total
        if self._bar is None:
            return
        if self._task is None:
            self._task = self._bar.add_task("starting", total=self._total)
        else:
            self._bar.update(self._task, total=self._total)

    def warned(self, what: str) -> None:
        """Say what whoever uses the network must know; also when quiet."""
        self._say(f"saliscope: warning: {what}")

    def step(self, case: str, what: str) -> None:
        """Say what is being done for a case."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{case}: {what}")

    def done(self, case: str, what: str) -> None:
        """Say that a case is complete."""
        self._done += 1
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
        elif not self._quiet:
            sys.stderr.write(f"[{self._done}/{self._total}] {case}: {what}\n")

    def failed(self, what: str, why: str) -> None:
        """Say that something could not be done, and why; also when quiet."""
        self._say(f"saliscope: {what}: {why}")

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(f"{text}\n")
