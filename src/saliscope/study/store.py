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


@dataclass(frozen=True)
class Store:
    """A run's folder; `fresh` where this run made it."""

    out: Path
    digest: str
    fresh: bool

    @classmethod
    def opened(cls, out: Path, digest: str, *, overwrite: bool) -> Self:
        """Return the store in a new or empty folder, or in that of an equal run that was cut off.

        Raises WriteError for a folder that holds something else, unless a run in it may be overwritten.
        """
        try:
            fresh = not out.exists()
            out.mkdir(parents=True, exist_ok=True)
            for left in out.glob(".*.partial"):  # of a run that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            held = sorted(out.iterdir())
            record = out / RECORD
            if held and not record.is_file():
                raise WriteError(
                    f"{out}, which holds something that no run wrote",
                    expected="a new folder, an empty one, or that of an earlier run",
                    do="Give another --out",
                )
            if record.is_file():
                earlier = json.loads(record.read_text(encoding="utf-8"))
                if overwrite:
                    for path in held:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                elif earlier.get("plan_digest") != digest:
                    raise WriteError(
                        f"{out}, which holds a run of another plan or model",
                        expected="a new folder, or the same plan to go on",
                        do="Give another --out, or --overwrite",
                    )
        except (OSError, ValueError) as error:
            raise WriteError(
                f"{out} ({error})", expected="a folder where one may write", do="Give another --out"
            ) from error
        store = cls(out, digest, fresh)
        # Says from the start whose folder this is, so that a run that is cut off can go on.
        store._write({"state": "running", "plan_digest": digest})
        return store

    def case(self, name: str) -> Path:
        """Return the folder of a case."""
        return self.out / name

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

        links = [
            CaseLink(name, f"{name}/page.html", (self.case(name) / "thumbnail.png").read_bytes(), (sentence,))
            for name, sentence in said.items()
        ]
        path = self.out / INDEX
        write_file(path, index_page(links, f"{len(links)} cases, explained for {model}").encode())
        return path if len(said) > 1 else self.case(next(iter(said))) / "page.html"

    def discard_if_empty(self) -> None:
        """Remove the folder if this run made it and nothing came of it."""
        if self.fresh:
            shutil.rmtree(self.out, ignore_errors=True)

    def _write(self, record: Mapping[str, Any]) -> None:
        from saliscope.write import json_bytes, write_file

        write_file(self.out / RECORD, json_bytes({"schema_version": SCHEMA, **record}))
