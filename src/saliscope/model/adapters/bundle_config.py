"""What the configuration of a MONAI bundle says in plain values; its expressions ("$...") are never run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saliscope.core.errors import CardError

_MOST_BYTES = 2**22
_DEEPEST = 20
_COMMENTS = frozenset({"_desc_"})


class BundleConfig:
    """One configuration file; values are looked up by "a::b" or "a#b", and "@a" stands for another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words = read_json(path)

    def at(self, place: str, default: Any = None) -> Any:
        """Return the plain value at a place; raises CardError for an expression, a loop, or a broken reference."""
        return self._plain(self._raw(place, default), place, 0)

    def _raw(self, place: str, default: Any = None) -> Any:
        value: Any = self.words
        for part in place.replace("#", "::").split("::"):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                return default
        return value

    def _plain(self, value: Any, place: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise CardError(f"{self.path.name}: {place} refers to itself", do="Correct the bundle")
        if isinstance(value, str) and value.startswith(("$", "%")):
            raise CardError(
                f"{self.path.name}: {place} = {value[:80]!r} is an expression, which is not run",
                expected="a plain value",
                do="Write the value itself into the bundle, or a card of your own (see docs/how-to)",
            )
        if isinstance(value, str) and value.startswith("@"):
            found = self._raw(value[1:], self)
            if found is self:
                raise CardError(f"{self.path.name}: {place} refers to {value!r}, which is not there", do="Correct it")
            return self._plain(found, value[1:], depth + 1)
        if isinstance(value, Mapping):
            return {k: self._plain(v, f"{place}::{k}", depth + 1) for k, v in value.items() if k not in _COMMENTS}
        if isinstance(value, list):
            return [self._plain(v, f"{place}::{i}", depth + 1) for i, v in enumerate(value)]
        return value


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's table; raises CardError for another file, a broken one and an absurdly large one."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CardError(f"{path} is larger than {_MOST_BYTES:,} bytes", expected="a configuration", do="Check it")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CardError(f"{path}: {error}", expected="a JSON file of a MONAI bundle", do="Fetch it again") from error
    if not isinstance(found, dict):
        raise CardError(f"{path} is no table", expected="a JSON file of a MONAI bundle", do="Fetch it again")
    return found
