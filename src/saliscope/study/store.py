"""The folder of a run: run.json, failures.csv, an index, and a folder for each case."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from saliscope.core.errors import WriteError

SCHEMA = "1.0"
RECORD, FAILURES, INDEX = "run.json", "failures.csv", "index.html"
FILES = (RECORD, FAILURES, INDEX)


@dataclass(frozen=True)
class Store:
    """A run's folder: whether this run made it, and whether it held nothing before."""

    out: Path
    digest: str
    made: bool
    was_empty: bool

    @classmethod
    def opened(cls, out: Path, digest: str, *, overwrite: bool) -> Self:
        """Return the store in a new or empty folder, or in that of an equal run that was cut off.

        Raises WriteError for a folder that holds something else, unless a run in it may be overwritten.
        """
        try:
            made = not out.exists()
            out.mkdir(parents=True, exist_ok=True)
            held = list(out.iterdir())
            earlier = _record_of(out / RECORD)
            if held and earlier is None:
                raise WriteError(
                    f"{out}, which holds something that no run wrote",
                    expected="a new folder, an empty one, or that of an earlier run",
                    do="Give another --out",
                )
            if earlier is not None and earlier != digest and not overwrite:
                raise WriteError(
                    f"{out}, which holds a run of another plan or model",
                    expected="a new folder, or the same plan to go on",
                    do="Give another --out, or --overwrite",
                )
            for path in held:
                if _is_partial(path) or (overwrite and _is_ours(path)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise WriteError(
                f"{out} ({error})", expected="a folder where one may write", do="Give another --out"
            ) from error
        store = cls(out, digest, made, not held)
        # Says from the start whose folder this is, so that a run that is cut off can go on.
        store._write({"state": "running", "plan_digest": digest})
        return store

    def case(self, name: str) -> Path:
        """Return the folder of a case."""
        return folder_of(self.out, name)

    def close(self, record: Mapping[str, Any], failures: Sequence[Mapping[str, str]], times: Mapping[str, str]) -> None:
        """Write run.json, and failures.csv if anything failed."""
        from saliscope.write import csv_bytes, write_file

        self._write({**record, "times": dict(times)})
        path = self.out / FAILURES
        if failures:
            write_file(path, csv_bytes(list(failures[0]), failures))
        else:
            path.unlink(missing_ok=True)

    def index(self, said: Mapping[str, str], model: str) -> Path:
        """Write the page that lists the cases with what was predicted, and return the page to open.

        That is the page of the only case, if there is one.
        """
        from saliscope.figures.page import CaseLink, index_page
        from saliscope.write import write_file

        links = []
        for name, sentence in said.items():
            place = self.case(name)
            links.append(CaseLink(name, f"{place.name}/page.html", f"{place.name}/thumbnail.png", (sentence,)))
        path = self.out / INDEX
        write_file(path, index_page(links, f"{len(links)} cases, explained for {model}").encode())
        return path if len(said) > 1 else self.case(next(iter(said))) / "page.html"

    def discard_if_empty(self) -> None:
        """Leave the place as it was found, if it held nothing and nothing came of the run."""
        if self.was_empty:
            for name in FILES:
                (self.out / name).unlink(missing_ok=True)
            if self.made and not any(self.out.iterdir()):
                self.out.rmdir()

    def _write(self, record: Mapping[str, Any]) -> None:
        from saliscope.write import json_bytes, write_file

        write_file(self.out / RECORD, json_bytes({"schema_version": SCHEMA, **record}))


def folder_of(out: Path, case: str) -> Path:
    """Return the folder of a case in that of its run; one that is named like a file of the run gets an underscore."""
    return out / (f"{case}_" if case in FILES else case)


def _record_of(path: Path) -> str | None:
    """Return the plan's digest in a run.json, or None where there is none that a run of ours wrote."""
    try:
        digest = json.loads(path.read_text(encoding="utf-8"))["plan_digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(digest)


def _is_partial(path: Path) -> bool:
    """Return whether something is what a killed run left half-written."""
    return path.name.startswith(".") and path.name.endswith(".partial")


def _is_ours(path: Path) -> bool:
    """Return whether a run wrote something: its own files, and folders with the page of a case."""
    return path.name in FILES or (path / "page.html").is_file()
