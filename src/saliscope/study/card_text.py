"""A model card as a text: one line for each key, and beside each line that was guessed why it reads so."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """One key of a card with its value; `guessed` says from what it was guessed, `note` what else to know of it."""

    key: str
    value: Any
    guessed: str = ""
    note: str = ""

    def __str__(self) -> str:
        """Return the line as TOML."""
        comment = f"guessed: {self.guessed}" if self.guessed else self.note
        return f"{self.key} = {toml(self.value)}" + (f"  # {' '.join(comment.split())}" if comment else "")


def written(head: str, lines: Sequence[Line], steps: Sequence[Sequence[Line]]) -> str:
    """Return a card: its opening remarks, its keys, and a table for each step of the view."""
    remarks = "\n".join(f"# {' '.join(line.split())}" for line in head.splitlines())
    tables = ["\n".join(["[[view]]", *map(str, step)]) for step in steps]
    return "\n\n".join([f"{remarks}\n" + "\n".join(map(str, lines)), *tables]) + "\n"


def toml(value: Any) -> str:
    """Return a plain value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(toml, value)) + "]"
    # JSON's strings are TOML's, but for one character that TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else toml(key)
