"""What goes to the terminal: tables on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


def as_json(value: Any) -> None:
    """Write plain data to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def line(text: str = "") -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{text}\n")


def table(rows: Sequence[Mapping[str, str]], to: TextIO | None = None) -> None:
    """Write rows under their column names, in columns as wide as needed; to stdout unless said otherwise."""
    if not rows:
        return
    names = list(rows[0])
    widths = {n: max(len(n), *(len(r[n]) for r in rows)) for n in names}
    for row in [{n: n.upper() for n in names}, *rows]:
        (to or sys.stdout).write("  ".join(row[n].ljust(widths[n]) for n in names).rstrip() + "\n")


def paragraph(label: str, text: str) -> None:
    """Write a labelled text, wrapped under its label."""
    line(textwrap.fill(text, 100, initial_indent=f"{label:<22}", subsequent_indent=" " * 22))


def plain(value: Any) -> str:
    """Return a value of a card in words; a measured one with its interval."""
    if isinstance(value, dict):
        if value.keys() == {"value", "low", "high"}:
            return f"{value['value']} [{value['low']}, {value['high']}]"
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    return str(value)
