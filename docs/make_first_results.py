"""Every method on drawn radiographs whose truth is known: docs/explanation/first-results.md and its table.

    .venv/bin/python docs/make_first_results.py measure [--only REGEX]   # hours on one core; goes on where it stopped
    .venv/bin/python docs/make_first_results.py page                     # from docs/explanation/first-results.csv

Networks: the phantom networks of the zoo, trained with a text marker in 0 to 100 % of the cases with a nodule. Images:
cases with a nodule and the marker that no network was trained on. Three truths are kept apart: where the nodule was
planted, what the network uses (both elements left out in every combination), and what the map says.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saliscope import METHODS, References, explain, load
from saliscope.core.errors import NetworkWarning
from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.core.target import LogitTarget
from saliscope.figures.place import placed
from saliscope.model.network import Network
from saliscope.phantom.case import Case
from saliscope.phantom.catalogue import phantom_set
from saliscope.phantom.effects.counterfactual import effects

ROOT = Path(__file__).resolve().parents[1]
PARTS = ROOT / "out" / "first-results"
TABLE = ROOT / "docs" / "explanation" / "first-results.csv"
#: A part of the test cases of the networks' own recipe, of a seed that no network was trained on.
SEED, CASES = 2, 20
#: These take more than a second for an image: they are shown the first few cases only, of each architecture so many.
FEW = {"plain": 6, "dense": 3}
SLOW = ("rise", "lime", "kernel-shap", "sobol", "hsic", "extremal-perturbation", "meaningful-perturbation", "guided-ig")
KINDS = ("clean", *(f"text-{level}" for level in (0, 20, 50, 80, 95, 100)), "untrained", "shuffled")
#: Maps of the DenseNet take three times as long: fewer of its family.
OF = {"plain": KINDS, "dense": ("clean", "text-100")}
NETS = [f"phantom-chest-{net}-{kind}-0" for net, kinds in OF.items() for kind in kinds]
TARGET = LogitTarget((1,), ("present",), "binary")


@dataclass(frozen=True)
class Row:
    """What one map says of one case, and what is true.

    `hit` is the part of the map's maxima that lies on the nodule or its margin; `nodule` and `marker` the shares of
    the map's positive part on the nodule and in the box around the marker, `nodule_area` and `marker_area` the shares
    of the image that these cover; `said` the marker's part of what lies on either, nan where nothing does; `true` the
    marker's part of what both really add to the score (absolute Shapley values).
    """

    network: str
    method: str
    case: int
    hit: float
    nodule: float
    nodule_area: float
    marker: float
    marker_area: float
    said: float
    true: float


def cases() -> list[Case]:
    """Return the cases with a nodule and the marker."""
    every = phantom_set("chest", "nodule", "text", contamination=1.0, count=400, seed=SEED, size=128)
    return [case for case in every if case.label][:CASES]


def boxed(mask: np.ndarray) -> np.ndarray:
    """Return the smallest box around a mask."""
    found = np.zeros_like(mask)
    found[tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(mask))] = True
    return found


def row(network: str, method: str, number: int, case: Case, image: MedicalImage, e: Explanation, true: float) -> Row:
    """Return what a map says of a case."""
    values = placed(e.values, e.geometry, image.geometry, e.seen)
    truth, positive = case.truth, np.clip(values, 0, None)
    (tag,) = (boxed(case.regions[x.name].mask) for x in case.elements if x.role == "shortcut")
    target = truth["required"].mask
    top = values == values.max()
    total = float(positive.sum())
    on, off = (float(positive[m].sum()) / total if total else 0.0 for m in (target, tag))
    return Row(
        network, method, number,
        hit=float((top & (target | truth["allowed"].mask)).sum() / top.sum()),
        nodule=on, nodule_area=float(target.mean()), marker=off, marker_area=float(tag.mean()),
        said=off / (on + off) if on + off > 0 else float("nan"), true=true,
    )  # fmt: skip


def real_share(case: Case, network: Network) -> float:
    """Return the marker's part of what nodule and marker add to the score."""
    found = effects(case, network, TARGET)
    size = {name: float(abs(found.shapley[i, 0])) for i, name in enumerate(found.elements)}
    of = {role: sum(size[e.name] for e in case.elements if e.role == role) for role in ("finding", "shortcut")}
    return of["shortcut"] / (of["finding"] + of["shortcut"])


def methods(few: bool) -> list[Any]:
    """Return the methods that fit these networks, those for all cases or those for a few."""
    found = []
    for name in METHODS.names():
        if name in ("finer-cam",) or (name in SLOW) != few:
            continue  # finer-cam weighs one class against others, and here is one logit
        found.append(name)
    return found


def measured(name: str, part: Sequence[Case], few: bool) -> Iterator[Row]:
    """Give the rows of one network."""
    network = load(name)
    images = [case.render() for case in part]
    references = References(torch.cat([network.viewing(case.render(())).tensor for case in part[:8]]))
    made = [METHODS.make(m, references=references) if m == "expected-gradients" else m for m in methods(few)]
    true = [real_share(case, network) for case in part]
    for number, (case, image) in enumerate(zip(part, images, strict=True)):
        for e in explain(image, network, made, "present"):
            yield row(name, e.provenance.method, number, case, image, e, true[number])
        sys.stderr.write(f"{name}: {number + 1} of {len(part)}{' (slow methods)' if few else ''}\n")


def measure(only: str) -> None:
    """Measure what is not measured yet, then join the parts to the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", NetworkWarning)
    PARTS.mkdir(parents=True, exist_ok=True)
    every = cases()
    for name in (n for n in NETS if re.search(only, n)):
        for few in (False, True):
            path = PARTS / f"{name}{'-slow' if few else ''}.csv"
            if not path.is_file():
                rows = list(measured(name, every[: FEW[name.split("-")[2]] if few else CASES], few))
                write(path, rows)
    parts = [PARTS / f"{n}{end}.csv" for n in NETS for end in ("", "-slow")]
    write(TABLE, [r for path in parts if path.is_file() for r in rows_of(path)])


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as a table, whole or not at all."""
    half = path.with_suffix(".half")
    with half.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([f.name for f in fields(Row)])
        for r in rows:
            out.writerow([f"{v:.5g}" if isinstance(v, float) else v for v in asdict(r).values()])
    half.replace(path)


def rows_of(path: Path) -> list[Row]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    words = ("network", "method")
    return [Row(**{k: v if k in words else int(v) if k == "case" else float(v) for k, v in r.items()}) for r in found]


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "page"))
    parser.add_argument("--only", default="", help="networks whose name this pattern is found in")
    asked = parser.parse_args()
    if asked.what == "measure":
        measure(asked.only)
        return
    from first_results_page import page

    text = page(rows_of(TABLE))
    TABLE.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
