"""How far the simple finders of regions err, where there is truth: writes the table of the how-to.

    python docs/make_region_errors.py [--data FOLDER] [--cases N] [--check]

The truth of drawn images is exact. Of real images there is: boxes that experts drew round findings on chest
radiographs: a finding of the lung should lie in what was found as lung. How often marks are found on real images was
never measured: nobody outlined them.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saliscope.core.image import MedicalImage
from saliscope.phantom.case import Case
from saliscope.phantom.catalogue import phantom_set
from saliscope.read import read
from saliscope.trust.regions.lungs import lungs
from saliscope.trust.regions.marks import letters, text
from saliscope.trust.regions.outline import body, shutters

Mask = npt.NDArray[np.bool_]
Finder = Callable[[MedicalImage], tuple[Mask | None, str]]

PAGE = Path(__file__).parent / "how-to" / "regions-and-interventions.md"
BEGIN, END = "<!-- table of docs/make_region_errors.py -->", "<!-- end of table -->"
#: Boxes were drawn in pixels of the originals, of this side; findings that are not of the lung are left out.
SIDE, NOT_OF_THE_LUNG = 1024, {"Cardiomegaly"}
SEED = 77


@dataclass(frozen=True)
class Row:
    """A line of the table: what is found, where it was measured, in how many of how many, and the errors."""

    what: str
    where: str
    found: int
    cases: int
    errors: str


def drawn(scene: str, shortcut: str | None, count: int, size: int, *, with_it: bool = True) -> Iterator[Case]:
    """Give drawn cases; with a shortcut, in all of them or in none."""
    share = float(with_it and shortcut is not None)
    yield from phantom_set(
        scene, shortcut=shortcut, contamination=share, background=share, count=count, seed=SEED, size=size,
        distractors=False,
    )  # fmt: skip


def marks_row(what: str, scene: str, shortcut: str, finder: Finder, count: int, size: int) -> Row:
    """Return how much of a mark is found, and how often one is found where there is none."""
    covered, false = [], 0
    for case in drawn(scene, shortcut, count, size):
        truth, (mask, _) = case.regions[shortcut].mask, finder(case.render())
        covered.append(0.0 if mask is None else float((mask & truth).sum() / truth.sum()))
    for case in drawn(scene, shortcut, count, size, with_it=False):
        mask, _ = finder(case.render())
        false += mask is not None
    hits = [c for c in covered if c >= 0.5]
    said = f"of its ink {np.mean(hits):.0%} where found; " if hits else ""
    where = f"drawn {scene}, {size} pixels"
    return Row(what, where, len(hits), count, f"{said}found in {false} of {count} without any")


def either(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return what is found as text or as a lead letter: a small letter in its ring looks like a line of text."""
    found = [mask for mask in (text(image)[0], letters(image)[0]) if mask is not None]
    return (np.logical_or.reduce(found), "") if found else (None, "")


def overlap_row(what: str, scene: str, truth: str, finder: Finder, count: int, size: int) -> Row:
    """Return the overlap (Dice) of what is found with a compartment."""
    values = []
    for case in drawn(scene, None, count, size):
        mask, _ = finder(case.render())
        inside = case.compartments[truth].mask
        if mask is not None:
            values.append(float(2 * (mask & inside).sum() / (mask.sum() + inside.sum())))
    return Row(what, f"drawn {scene}, {size} pixels", len(values), count, _dice(values))


def _dice(values: Sequence[float]) -> str:
    return f"Dice {np.mean(values):.2f}, least {min(values):.2f}" if values else "none found"


def boxes_row(data: Path, count: int) -> Row:
    """Return how much of experts' boxes round findings of the lung lies in what was found as lungs."""
    folder = data / "chest-xray-nih"
    with (folder / "expert_boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["image"] for row in rows})
    chosen = [names[i] for i in np.random.default_rng(SEED).permutation(len(names))[:count]]
    shares, found = [], 0
    for name in chosen:
        path = next((folder / "boxed-512").glob(f"{name}.*"))
        mask, _ = lungs(replace(read(path), modality="DX"))
        if mask is None:
            continue
        found += 1
        scale = mask.shape[0] / SIDE
        for row in rows:
            if row["image"] == name and row["label"] not in NOT_OF_THE_LUNG:
                x, y, wide, high = (float(row[k]) * scale for k in ("x", "y", "width", "height"))
                inside = mask[round(y) : round(y + high), round(x) : round(x + wide)]
                shares.append(float(inside.mean()))
    most = sum(s >= 0.5 for s in shares)
    errors = f"of {len(shares)} boxes round findings {most} lie in it by half or more; mean share {np.mean(shares):.0%}"
    return Row("lungs", "NIH chest radiographs with a finding", found, len(chosen), errors)


def table(data: Path | None, count: int) -> list[Row]:
    """Return all rows."""
    rows = [overlap_row("lungs", "chest", "lungs", lungs, count, size) for size in (128, 512)]
    rows += [boxes_row(data, 2 * count)] if data else []
    rows += [
        overlap_row("body", "chest", "body", body, count, 256),
        overlap_row("body", "body-ct", "body", body, max(2, count // 4), 48),
        overlap_row("body", "brain", "head", body, max(2, count // 4), 64),
    ]
    rows += [marks_row("burnt-in text", "chest", "text", text, count, size) for size in (128, 256, 512)]
    rows += [marks_row("burnt-in text", "ultrasound", "text", text, count, size) for size in (128, 256)]
    rows += [marks_row("lead letter, alone or as text", "chest", "marker", either, count, s) for s in (128, 256, 512)]
    rows += [marks_row("shutters", "chest", "collimation", shutters, count, 256)]
    return rows


def page(rows: Sequence[Row]) -> str:
    """Return the table (Markdown)."""
    lines = ["| region | where | found | errors |", "|---|---|---|---|"]
    lines += [f"| {r.what} | {r.where} | {r.found} of {r.cases} | {r.errors} |" for r in rows]
    return "\n".join(lines)


def main() -> int:
    """Write the table into the how-to; with --check, only say whether it would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = os.environ.get("SALISCOPE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=usual)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    made = page(table(Path(given.data) if Path(given.data).is_dir() else None, given.cases))
    before = PAGE.read_text()
    start, stop = before.index(BEGIN) + len(BEGIN), before.index(END)
    after = f"{before[:start]}\n{made}\n{before[stop:]}"
    sys.stdout.write(made + "\n")
    if given.check:
        return int(after != before)
    PAGE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
