"""Break the code once for each mutant of the tables beside this file, and see that its tests fail.

A table is `<part>.toml` with entries [[mutant]]: `file`, `was` (a text that occurs once), `becomes`, `tests`
(arguments of pytest) and `why`. Every mutant is tried in a copy of the tree, never in the tree itself. Killed means
that pytest ran and a test failed (exit code 1) that passes without the mutant; code that no longer imports proves
nothing: it is reported as a fault.
Run: make mutants, or python tests/mutants/run.py --only PART
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

R = TypeVar("R")
ROOT = Path(__file__).resolve().parents[2]
TABLES = Path(__file__).parent
COPIED = ("src", "tests", "docs/references.bib", "pyproject.toml")
SECONDS = 600
FIELDS = {"file", "was", "becomes", "tests", "why"}


@dataclass(frozen=True)
class Mutant:
    """One change that must not pass unseen."""

    part: str
    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]
    why: str

    def fault(self, root: Path = ROOT) -> str:
        """Return why it cannot be tried, or nothing."""
        path = root / self.file
        if not self.file.startswith("src/") or not path.is_file():
            return f"{self.file} is no file under src/"
        times = path.read_text().count(self.was)
        if times != 1:
            return f"`was` occurs {times} times in {self.file}"
        if self.was == self.becomes:
            return "it changes nothing"
        missing = [t for t in self.tests if t.startswith("tests/") and not (root / t.partition("::")[0]).exists()]
        return f"no such tests: {', '.join(missing)}" if missing or not self.tests else ""


def tabled(only: list[str] | None = None) -> list[Mutant]:
    """Return the mutants of all tables, or of those parts that are named."""
    found = []
    for path in sorted(TABLES.glob("*.toml")):
        if only and path.stem not in only:
            continue
        for entry in tomllib.loads(path.read_text())["mutant"]:
            if set(entry) != FIELDS:
                raise ValueError(f"{path.name}: fields {sorted(entry)}, expected {sorted(FIELDS)}")
            found.append(Mutant(path.stem, **{**entry, "tests": tuple(entry["tests"])}))
    return found


def copied(folder: Path) -> Path:
    """Return a copy of the tree."""
    for name in COPIED:
        source, goal = ROOT / name, folder / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, goal, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        else:
            shutil.copy(source, goal)
    return folder


def environment(tree: Path) -> dict[str, str]:
    """Return an environment in which the copy's package is the one that is imported."""
    data = ROOT.parent / "shared" / "data"
    named = {"SALISCOPE_DATA": str(data)} if "SALISCOPE_DATA" not in os.environ and data.is_dir() else {}
    # No .pyc: one written for the unbroken file could be taken for the broken one of the same size and second.
    single = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **named, **single, "PYTHONPATH": str(tree / "src")}


def checked(tree: Path) -> None:
    """Raise where another package than the copy's would be imported."""
    code = "import saliscope; print(saliscope.__file__)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, cwd=tree, env=environment(tree), capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_relative_to(tree):
        raise RuntimeError(f"saliscope would be imported from {found}, not from the copy")


def tested(tree: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Return pytest's exit code (or -1 for one that did not end), and the first failure or the last words."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=no", *tests]
    try:
        run = subprocess.run(
            command, cwd=tree, env=environment(tree), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"did not end within {SECONDS} s"
    lines = (run.stdout + run.stderr).strip().splitlines() or [""]
    failed = next((line for line in lines if line.startswith(("FAILED", "ERROR"))), lines[-1])
    return run.returncode, failed


@contextmanager
def broken(tree: Path, mutant: Mutant) -> Iterator[None]:
    """Apply a mutant to a copy of the tree for a while."""
    path = tree / mutant.file
    whole = path.read_text()
    if reason := mutant.fault(tree):
        raise ValueError(reason)
    path.write_text(whole.replace(mutant.was, mutant.becomes))
    try:
        yield
    finally:
        path.write_text(whole)


def verdict(tree: Path, mutant: Mutant) -> tuple[str, str]:
    """Return "killed", "SURVIVED" or "FAULT", and by what: a test that fails, and without the mutant does not."""
    try:
        with broken(tree, mutant):
            code, words = tested(tree, mutant.tests)
    except ValueError as error:
        return "FAULT", str(error)
    if code != 1:
        return ("SURVIVED", words) if code == 0 else ("FAULT", words)
    test = words.removeprefix("FAILED ").partition(" - ")[0]
    whole, _ = tested(tree, (test,))
    return ("killed", test) if whole == 0 else ("FAULT", f"{test} fails without the mutant too")


def main(words: list[str] | None = None) -> int:
    """Print one line for each mutant; 1 if any survived or could not be tried."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="PART", help="a table's name, repeatable")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args(words)
    mutants = tabled(given.only)
    with tempfile.TemporaryDirectory(prefix="saliscope-mutants-") as folder, ThreadPoolExecutor(given.jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for job in range(given.jobs):
            trees.put(tree := copied(Path(folder).resolve() / str(job)))
            checked(tree)
        killed, start = 0, time.monotonic()
        verdicts = pool.map(lambda m: inside(trees, lambda t: verdict(t, m)), mutants)
        for mutant, (found, by) in zip(mutants, verdicts, strict=True):
            killed += found == "killed"
            name = f"{mutant.part}: {mutant.file.removeprefix('src/saliscope/')}"
            say(f"{found:<9} {name:<56} {mutant.why}\n{'':<10}{by}")
        say(f"{killed} of {len(mutants)} mutants killed, {time.monotonic() - start:.0f} s")
    return int(killed != len(mutants))


def inside(trees: SimpleQueue[Path], work: Callable[[Path], tuple[R, str]]) -> tuple[R, str]:
    """Return what a piece of work gives in a copy of the tree that is free."""
    tree = trees.get()
    try:
        return work(tree)
    finally:
        trees.put(tree)


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
