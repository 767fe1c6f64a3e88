"""The folder of a run: run.json, failures.csv, an index, and a folder for each case."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from saliscope.core.errors import WriteError

SCHEMA = 1
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
        from saliscope.write.folder import remove_folder

        try:
            fresh = not out.exists()
            out.mkdir(parents=True, exist_ok=True)
            held = sorted(p for p in out.iterdir())
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
                        remove_folder(path) if path.is_dir() else path.unlink()
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
        from saliscope.write.folder import write_file

        self._write({**record, "times": dict(times)})
        path = self.out / FAILURES
        if failures:
            write_file(path, _table(failures).encode())
        else:
            path.unlink(missing_ok=True)

    def index(self, names: Sequence[str], model: str) -> Path:
        """Write the page that lists the cases, and return the page to open: that of the only case, if there is one."""
        from saliscope.figures.page import CaseLink, index_page
        from saliscope.write.folder import write_file

        links = [CaseLink(n, f"{n}/page.html", (self.case(n) / "thumbnail.png").read_bytes()) for n in names]
        path = self.out / INDEX
        write_file(path, index_page(links, f"{len(names)} cases, explained for {model}").encode())
        return self.case(names[0]) / "page.html" if len(names) == 1 else path

    def discard_if_empty(self) -> None:
        """Remove the folder if this run made it and nothing came of it."""
        from saliscope.write.folder import remove_folder

        if self.fresh:
            remove_folder(self.out)

    def _write(self, record: Mapping[str, Any]) -> None:
        from saliscope.write.folder import write_file

        text = json.dumps({"schema_version": SCHEMA, **record}, indent=2, sort_keys=True, allow_nan=False, default=str)
        write_file(self.out / RECORD, text.encode() + b"\n")


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: _cell(str(v)) for k, v in row.items()})
    return out.getvalue()


def _cell(text: str) -> str:
    """Return text that a spreadsheet will not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
