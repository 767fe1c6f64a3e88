"""A table of a TOML file, read strictly: each key once, of its kind; what is left over at the end is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from saliscope.core.errors import PacsError, did_you_mean

#: PS3.5 section 6.2: an AE title has 1 to 16 characters of the default repertoire, without backslash and control.
_AE_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
#: What a peer or a rule may be called.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_MISSING = object()


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine and nothing else: 127.0.0.0/8, ::1 or localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass
class Table:
    """A TOML table at a place such as `peers.archive`; paths in it are relative to `folder`."""

    place: str
    words: dict[str, Any]
    folder: Path
    asked: set[str] = field(default_factory=set)

    def key(self, name: str) -> str:
        """Return the full name of a key, for messages."""
        return f"{self.place}.{name}" if self.place else name

    def refuse(self, name: str, got: object, expected: str, do: str = "Correct this key") -> PacsError:
        """Return the refusal of a value."""
        return PacsError(f"{self.key(name)} = {got!r}", expected=expected, do=do)

    def take(self, name: str, kind: type | tuple[type, ...], what: str, default: Any = _MISSING) -> Any:
        """Return a value of a kind; raises PacsError where it is missing without a default, or of another kind."""
        self.asked.add(name)
        if name not in self.words:
            if default is _MISSING:
                raise PacsError(f"no {self.key(name)}", expected=what, do=f"Add {name} to [{self.place}]")
            return default
        value = self.words[name]
        allowed = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise self.refuse(name, value, what)
        return value

    def done(self) -> None:
        """Refuse every key that nobody asked for."""
        for name in self.words:
            if name not in self.asked:
                raise PacsError(f"the key {self.key(name)}, which is unknown", do=did_you_mean(name, self.asked))

    def text(self, name: str, default: Any = _MISSING, *, empty: bool = False) -> str:
        """Return a text of one line."""
        value = str(self.take(name, str, "a text", default))
        if (not value.strip() and not empty) or not value.isprintable():
            raise self.refuse(name, value, "a text of one line")
        return value

    def texts(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return a list of texts; one text alone counts as a list of one."""
        value = self.take(name, (str, list), "a list of texts", _MISSING if default is None else list(default))
        found = [value] if isinstance(value, str) else value
        if any(not isinstance(v, str) or not v.strip() or not v.isprintable() for v in found):
            raise self.refuse(name, value, "a list of texts")
        if len(set(found)) != len(found):
            raise self.refuse(name, value, "each text once")
        return tuple(found)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        return bool(self.take(name, bool, "true or false", default))

    def whole(self, name: str, default: Any, least: int, most: int) -> int:
        """Return a whole number within limits."""
        value = int(self.take(name, int, f"a whole number, {least} to {most}", default))
        if not least <= value <= most:
            raise self.refuse(name, value, f"a whole number, {least} to {most}")
        return value

    def seconds(self, name: str, default: float, most: float) -> float:
        """Return a number of seconds above 0."""
        value = float(self.take(name, (int, float), "a number of seconds", default))
        if not 0 < value <= most:
            raise self.refuse(name, value, f"seconds above 0, at most {most:g}")
        return value

    def port(self, name: str, default: Any = _MISSING) -> int:
        """Return a TCP port."""
        return self.whole(name, default, 1, 65535)

    def host(self, name: str, default: Any = _MISSING) -> str:
        """Return a host name or an address."""
        value = self.text(name, default)
        try:
            ip_address(value)
        except ValueError:
            if not _HOST.fullmatch(value):
                raise self.refuse(name, value, "a host name or an IP address") from None
        return value

    def ae_title(self, name: str, default: Any = _MISSING) -> str:
        """Return an AE title (PS3.5 section 6.2)."""
        value = str(self.take(name, str, "an AE title", default))
        if not _AE_TITLE.fullmatch(value):
            raise self.refuse(
                name, value, "an AE title: 1 to 16 printable ASCII characters, no backslash, no outer space"
            )
        return value

    def file(self, name: str) -> Path:
        """Return the path of a file that exists."""
        value = self.take(name, str, "the path of a file")
        path = self._path(name, value)
        if not path.is_file():
            raise self.refuse(name, value, "the path of a file that exists")
        return path

    def file_or_none(self, name: str) -> Path | None:
        """Return the path of a file that exists, or None where none is named."""
        self.asked.add(name)
        return self.file(name) if name in self.words else None

    def directory(self, name: str) -> Path:
        """Return the path of a folder, which may not exist yet."""
        value = self.take(name, str, "the path of a folder")
        path = self._path(name, value)
        if path.exists() and not path.is_dir():
            raise self.refuse(name, value, "the path of a folder")
        return path

    def _path(self, name: str, value: str) -> Path:
        if not value.strip() or not value.isprintable():
            raise self.refuse(name, value, "a path")
        return self.folder / Path(value).expanduser()

    def table(self, name: str) -> Table | None:
        """Return a table below this one, or None."""
        value = self.take(name, dict, "a table", None)
        return None if value is None else Table(self.key(name), value, self.folder)

    def tables(self, name: str) -> dict[str, Table]:
        """Return the tables below a name, each by its own name."""
        value = self.take(name, dict, "tables", {})
        for one, words in value.items():
            if not isinstance(words, dict):
                raise PacsError(f"{self.key(name)}.{one}", expected="a table", do=f"Write [{self.key(name)}.NAME]")
        return {one: Table(f"{self.key(name)}.{one}", words, self.folder) for one, words in value.items()}

    def listed(self, name: str) -> tuple[Table, ...]:
        """Return a list of tables."""
        value = self.take(name, list, "a list of tables", [])
        if any(not isinstance(words, dict) for words in value):
            raise PacsError(self.key(name), expected="a list of tables", do=f"Write [[{self.key(name)}]]")
        return tuple(Table(f"{self.key(name)}[{i}]", words, self.folder) for i, words in enumerate(value, 1))
