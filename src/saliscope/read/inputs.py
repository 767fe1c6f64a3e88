"""From what a user named (files, folders, zips, globs, lists) to the files to look at."""

from __future__ import annotations

import csv
import glob
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from saliscope.core.errors import InputError, UnreadableFile
from saliscope.read.archive import members
from saliscope.read.guard import Guard
from saliscope.read.item import Item
from saliscope.read.limits import Limits
from saliscope.read.sniff import kind_of
from saliscope.read.source import Failure

_LISTS = (".txt", ".csv")
_PATH_COLUMNS = ("path", "file", "image", "input")


@dataclass
class Found:
    """Files to look at, each with whether the user named it (then clutter is a failure), and what is amiss."""

    files: list[tuple[Item, bool]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def fail(self, path: Path, error: InputError) -> None:
        """Keep a failure."""
        self.failures.append(Failure(path, error))


def expanded(inputs: Sequence[str | Path], limits: Limits) -> Found:
    """Return every file behind the inputs, in their order, each once; nothing is raised for one that is amiss."""
    found = Found()
    for given in inputs:
        _expand(str(given), found, limits, lists=True)
    unique: dict[Item, bool] = {}
    for item, named in found.files:
        unique[item] = unique.get(item, False) or named
    found.files = list(unique.items())
    return found


def _expand(given: str, found: Found, limits: Limits, *, lists: bool) -> None:
    """Keep what is behind one input; what can be no path is a failure, and the inputs after it are looked at."""
    try:
        _find(given, found, limits, lists=lists)
    except (OSError, ValueError) as error:
        found.fail(Path(given), InputError(f"an input that is no path ({type(error).__name__})", do="Check it"))


def _find(given: str, found: Found, limits: Limits, *, lists: bool) -> None:
    path = _path(given)
    if lists and given.startswith("@") and not path.exists():
        _list(_path(given[1:]), found, limits)
    elif path.is_dir():
        _folder(path, found, limits)
    elif path.is_file():
        if lists and path.suffix.lower() in _LISTS:
            _list(path, found, limits)
        else:
            _file(Item(path), found, limits, named=True)
    elif glob.has_magic(given):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  (Path.glob takes no absolute pattern)
        if not matches:
            found.fail(path, InputError(f"{given}: no file matches", do="Check the pattern"))
        for match in matches:
            _expand(match, found, limits, lists=False)
    else:
        found.fail(path, _missing(path))


def _path(given: str) -> Path:
    """Return the path of a text; a name that only begins like a home folder is a name."""
    path = Path(given)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _folder(folder: Path, found: Found, limits: Limits) -> None:
    before = len(found.files), len(found.failures)
    for path in _walked(folder):
        _file(Item(path), found, limits, named=False)
    if (len(found.files), len(found.failures)) == before:
        found.fail(
            folder, UnreadableFile(f"{folder.name}: a folder without files", do="Check that it is the right one")
        )


def _walked(folder: Path) -> Iterator[Path]:
    """Yield files in order of path; hidden files and folders, and links to folders, are left alone."""
    for root, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _file(item: Item, found: Found, limits: Limits, *, named: bool) -> None:
    """Keep a file, or in place of a zip its members."""
    try:
        if kind_of(item.head()) != "zip":
            found.files.append((item, named))
            return
        inside = members(item.path, limits)
    except InputError as error:
        found.fail(item.where, error)
        return
    visible = [i for i in inside if not any(part.startswith((".", "__MACOSX")) for part in Path(i.member).parts)]
    found.files += [(i, False) for i in visible]
    if not visible:
        found.fail(
            item.where, UnreadableFile(f"{item.label}: a zip without files", do="Check that it is the right one")
        )


def _list(path: Path, found: Found, limits: Limits) -> None:
    """Expand each path of a list; relative ones begin at the list's own folder."""
    if not path.is_file():
        found.fail(path, _missing(path))
        return
    try:
        with Guard(path.name, "reading the list of paths"):
            limits.check_file(path.stat().st_size, path.name)
            # Names are bytes to most systems: those that are no UTF-8 become what the system's own names become.
            text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
            rows = _column(text) if path.suffix.lower() == ".csv" else text.split("\n")
    except InputError as error:
        found.fail(path, error)
        return
    named = [path.parent / _path(r.strip()) for r in rows if r.strip() and not r.lstrip().startswith("#")]
    if not any(_there(p) for p in named):
        found.fail(
            path, InputError(f"{path.name}: a list without one path that is there", do="Put a path on each line")
        )
        return
    for one in named:
        _expand(str(one), found, limits, lists=False)


def _column(text: str) -> list[str]:
    """Return the column of a CSV that is named path, file, image or input, or the only one.

    Another column is never guessed at: it may hold what identifies a patient, and a message would repeat it.
    """
    rows = [r for r in csv.reader(io.StringIO(text)) if r]
    titles = [t.strip().lower() for t in rows[0]] if rows else []
    at = next((titles.index(t) for t in _PATH_COLUMNS if t in titles), None)
    if at is None:
        return [r[0] for r in rows] if max(map(len, rows), default=0) == 1 else []
    return [r[at] for r in rows[1:] if len(r) > at]


def _there(path: Path) -> bool:
    """Return whether a path leads to something; False for text that can be no path."""
    try:
        return path.exists() or glob.has_magic(str(path))
    except (OSError, ValueError):
        return False


def _missing(path: Path) -> InputError:
    parent = path.parent
    if not parent.is_dir():
        return InputError(f"{path}: there is no folder {parent.name!r}", do="Check the path")
    near = get_close_matches(path.name, [p.name for p in parent.iterdir()], n=3, cutoff=0.5)
    advice = f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else "Check the path"
    return InputError(f"{path}: there is no such file", do=advice)
