"""Who is told how a run over many images goes."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """Who is told how a run goes."""

    def cases(self, total: int) -> None:
        """Take note of how many cases there are."""

    def warned(self, what: str) -> None:
        """Take note of what whoever uses the network must know."""

    def step(self, case: str, what: str) -> None:
        """Take note of what is being done for a case."""

    def done(self, case: str, what: str) -> None:
        """Take note of a complete case."""

    def failed(self, what: str, why: str) -> None:
        """Take note of what could not be done, and why."""
