"""A list of results that stays what it is when it is cut, and shows itself as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, SupportsIndex, TypeVar, overload

T = TypeVar("T")

#: So many rows of a table are printed, and a word in it has at most so many letters.
ROWS, WORD = 40, 28


class Listing(list[T]):
    """A list whose slices, sums and copies are of its own class, and whose repr is a table."""

    def row(self, one: T) -> Mapping[str, str]:
        """Return what the table says of one result, by column."""
        raise NotImplementedError

    def copy(self) -> Self:
        """Return a list of this kind with the same results."""
        return type(self)(self)

    @overload
    def __getitem__(self, at: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Self: ...
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return type(self)(found) if isinstance(at, slice) else found

    def __add__(self, other: Iterable[Any]) -> Any:
        return type(self)([*self, *other]) if isinstance(other, list) else NotImplemented

    def __repr__(self) -> str:
        return table([self.row(one) for one in self]) if self else f"<{type(self).__name__}: none>"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as text under their column names, in columns as wide as needed; long words and lists are cut."""
    names = list(rows[0])
    shown = [{n: row[n] if len(row[n]) <= WORD else f"{row[n][: WORD - 1]}…" for n in names} for row in rows[:ROWS]]
    wide = {n: max(len(n), *(len(row[n]) for row in shown)) for n in names}
    head = {n: n.upper() for n in names}
    lines = ["  ".join(row[n].ljust(wide[n]) for n in names).rstrip() for row in (head, *shown)]
    left = len(rows) - len(shown)
    return "\n".join([*lines, *([f"... and {left} more"] if left else [])])
