"""The folder of a run: run.json, failures.csv, an index, and a folder for each case."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from saliscope.core.errors import WriteError
from saliscope.model.network import Network
from saliscope.study.case_record import FILE, TABLE, CaseRecord, table_bytes

SCHEMA = "1.0"
RECORD, FAILURES, INDEX = "run.json", "failures.csv", "index.html"
FILES = (RECORD, FAILURES, INDEX, TABLE)


@dataclass(frozen=True)
class Store:
    """A run's folder: what its maps have in common, whether this run made it, and whether it held nothing before.

    `plans` are those that the folder was asked for before.
    """

    out: Path
    identity: str
    made: bool
    was_empty: bool
    plans: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def opened(cls, out: Path, identity: str, *, overwrite: bool) -> Self:
        """Return the store in a new or empty folder, or in that of a run of the same network, which then grows.

        Raises WriteError for a folder that holds something else, unless a run in it may be overwritten.
        """
        try:
            made = not out.exists()
            out.mkdir(parents=True, exist_ok=True)
            held = list(out.iterdir())
            earlier = _record_of(out / RECORD)
            plans = () if earlier is None or overwrite else tuple(earlier.get("plans", ()))
            if held and earlier is None:
                raise WriteError(
                    f"{out}, which holds something that no run wrote",
                    expected="a new folder, an empty one, or that of an earlier run",
                    do="Give another --out",
                )
            if earlier is not None and earlier["identity"] != identity and not overwrite:
                raise WriteError(
                    f"{out}, which holds a run of another network, weights or view, or with other cards or objects",
                    expected="a new folder, or the same network, to which methods, targets and images can be added",
                    do="Give another --out, or --overwrite",
                )
            for path in held:
                if _is_partial(path) or (overwrite and _is_ours(path)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise WriteError(
                f"{out} ({error})", expected="a folder where one may write", do="Give another --out"
            ) from error
        store = cls(out, identity, made, not held, plans)
        # Says from the start whose folder this is, so that a run that is cut off can go on.
        store._write({"state": "running"})
        return store

    def case(self, name: str) -> Path:
        """Return the folder of a case."""
        return folder_of(self.out, name)

    def close(self, record: Mapping[str, Any], failures: Sequence[Mapping[str, str]], times: Mapping[str, str]) -> None:
        """Write run.json, the table of all maps, and failures.csv if anything failed."""
        from saliscope.write import csv_bytes, plain, write_file

        plan = plain(record["plan"])
        self._write({**record, "times": dict(times)}, (*(p for p in self.plans if p != plan), plan))
        if cases := self.cases():
            write_file(self.out / TABLE, table_bytes(cases.items()))
        path = self.out / FAILURES
        if failures:
            write_file(path, csv_bytes(list(failures[0]), failures))
        else:
            path.unlink(missing_ok=True)

    def cases(self) -> dict[str, CaseRecord]:
        """Return the complete cases in the folder by the names of theirs, whichever run wrote them."""
        read = {p.name: CaseRecord.read(p) for p in sorted(self.out.iterdir()) if p.is_dir() and not _is_partial(p)}
        return {name: record for name, record in read.items() if record is not None}

    def place(self, name: str, source: str, image: str) -> str:
        """Return the name of a case in the folder: another one where an image from elsewhere has it already."""
        earlier = CaseRecord.read(self.case(name))
        if earlier is None or source in (earlier.source, "") or earlier.image == image:
            return name
        return f"{name}-{image[:8]}"

    def index(self, states: Mapping[str, Sequence[str]], model: str) -> Path | None:
        """Write the page that lists the cases with what was predicted, and return the page to open, if there is one.

        That is the page of the only case, if there is one; `states` are those of their cards.
        """
        from saliscope.figures.page import CaseLink, index_page
        from saliscope.write import write_file

        cases = {name: record for name, record in self.cases().items() if record.write == "pages"}
        if not cases:
            return None
        links = [
            CaseLink(
                name,
                f"{name}/page.html",
                f"{name}/thumbnail.png",
                ("; ".join((*states.get(name, ()), record.sentence)),),
            )
            for name, record in cases.items()
        ]
        path = self.out / INDEX
        count = "1 case" if len(links) == 1 else f"{len(links)} cases"
        write_file(path, index_page(links, f"{count}, explained for {model}").encode())
        return path if len(links) > 1 else self.out / next(iter(cases)) / "page.html"

    def discard_if_empty(self) -> None:
        """Leave the place as it was found, if it held nothing and nothing came of the run."""
        if self.was_empty:
            for name in FILES:
                (self.out / name).unlink(missing_ok=True)
            if self.made and not any(self.out.iterdir()):
                self.out.rmdir()

    def _write(self, record: Mapping[str, Any], plans: Sequence[Mapping[str, Any]] | None = None) -> None:
        from saliscope.write import json_bytes, write_file

        about = {"schema_version": SCHEMA, "identity": self.identity, "plans": self.plans if plans is None else plans}
        write_file(self.out / RECORD, json_bytes({**about, **record}))


def identity_of(network: Network, beside: Mapping[str, Any]) -> str:
    """Return what all maps of one folder have in common: the network, its view, and what is made beside each map."""
    how = (network.labels, network.kind, network.thresholds, network.output)
    words = [network.weights_digest(), network.viewing.digest, how, dict(beside)]
    return hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()


def folder_of(out: Path, case: str) -> Path:
    """Return the folder of a case in that of its run; one that is named like a file of the run gets an underscore."""
    return out / (f"{case}_" if case in FILES else case)


def _record_of(path: Path) -> dict[str, Any] | None:
    """Return what a run.json says, with an identity even if an older version wrote it; None where none of ours is."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found, "identity": found["identity"] if "identity" in found else found["plan_digest"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_partial(path: Path) -> bool:
    """Return whether something is what a killed run left half-written."""
    return path.name.startswith(".") and path.name.endswith(".partial")


def _is_ours(path: Path) -> bool:
    """Return whether a run wrote something: its own files, and folders of cases."""
    return path.name in FILES or (path / FILE).is_file() or (path / "page.html").is_file()
