"""Every method on real breast ultrasound pictures: docs/explanation/first-results-breast.md and its tables.

    .venv/bin/python docs/make_busi_results.py measure --data DATA   # goes on where it stopped
    .venv/bin/python docs/make_busi_results.py sheet --data DATA     # the marks found, to look at
    .venv/bin/python docs/make_busi_results.py page                  # from the tables alone

DATA is the folder of BUSI. Network: `breast-ultrasound` of the zoo; pictures of the part that its recipe held out. Maps
are laid against the outlined lesion and against burnt-in marks (docs/busi_marks.py), and what maps cannot show is asked
of the network itself: lesion and marks are erased, and so are equal shapes elsewhere.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast, get_type_hints

import numpy as np
import numpy.typing as npt
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "recipes")]

import breast_ultrasound as recipe  # noqa: E402
import busi_erasing as erasing  # noqa: E402
from busi_pictures import EACH, SEED, MarkRow, Picture, chosen, gathered, mark_row  # noqa: E402

from saliscope import METHODS, References, explain, load  # noqa: E402
from saliscope.core.explanation import Explanation  # noqa: E402
from saliscope.figures.place import placed  # noqa: E402
from saliscope.model.card import find  # noqa: E402
from saliscope.model.load import build  # noqa: E402
from saliscope.model.network import Network  # noqa: E402

PARTS = ROOT / "out" / "first-results-breast"
PAGE = ROOT / "docs" / "explanation" / "first-results-breast.md"
MAPS = PAGE.with_suffix(".csv")
MARKS, ERASED = (PAGE.with_name(f"{PAGE.stem}-{what}.csv") for what in ("marks", "erased"))
#: Pictures of either kind of lesion for the slow methods; of all pictures half go through the untrained network.
FEW_EACH = 4
#: These take more than a second and a half for a picture.
SLOW = ("rise", "lime", "kernel-shap", "sobol", "hsic", "extremal-perturbation", "meaningful-perturbation")
#: Not shown, and why.
LEFT_OUT = {
    "seg-grad-cam": "for segmentations; of a classifier it is Grad-CAM",
    "seg-hirescam": "for segmentations; of a classifier it is HiResCAM",
    "seg-xres-cam": "for segmentations; of a classifier it is Grad-CAM by window",
    "tiled": "for images larger than the network's view; of one tile it is the method inside",
}
TRAINED, UNTRAINED, OTHER, NONE = "trained", "untrained", "another patient's map", "no network"

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MapRow:
    """What one map says of one picture.

    `hit` is the part of the map's maxima that lies on the lesion; `lesion` is the share of the map's positive part on
    it, `lesion_area` its share of the picture. `auroc` and `ap` say how well the map's values tell elements of the
    lesion from others, `auroc_size` how well their size does, whatever the sign. For each kind of mark: the density
    (share of the positive part / share of the area) on it, and that of its shape moved a little off; nan where there
    is none.
    """

    network: str
    method: str
    picture: str
    label: str
    group: int
    hit: float
    lesion: float
    lesion_area: float
    auroc: float
    ap: float
    auroc_size: float
    corner: float
    corner_beside: float
    text: float
    text_beside: float
    calipers: float
    calipers_beside: float


def row(network: str, method: str, picture: Picture, values: Floats) -> MapRow:
    """Return what a map (row, column) on the picture's own grid says."""
    positive, top = np.clip(values, 0, None), values == values.max()
    total = float(positive.sum())

    def share(mask: Mask) -> float:
        return float(positive[mask].sum()) / total if total else 0.0

    found: dict[str, float] = {}
    for kind in ("corner", "text", "calipers"):
        mask, beside = picture.marks[kind], picture.beside[kind]
        found[kind] = share(mask) / float(mask.mean()) if mask.any() else math.nan
        found[f"{kind}_beside"] = float(np.mean([share(m) / m.mean() for m in beside])) if beside else math.nan
    lesion = picture.lesion
    auroc, ap = told_apart(values, lesion)
    return MapRow(
        network, method, picture.name, picture.label, picture.group, hit=float((top & lesion).sum() / top.sum()),
        lesion=share(lesion), lesion_area=float(lesion.mean()), auroc=auroc, ap=ap,
        auroc_size=told_apart(np.abs(values), lesion)[0], **found,
    )  # fmt: skip


def told_apart(values: Floats, mask: Mask) -> tuple[float, float]:
    """Return AUROC and average precision of values as a score of the elements of a mask; ties share, in no order."""
    order = np.argsort(-values, axis=None, kind="stable")
    score, truth = values.ravel()[order], mask.ravel()[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # where each run of equal values ends
    right, called = np.cumsum(truth)[last].astype(np.float64), last + 1.0
    recall, wrong = right / right[-1], (called - right) / (len(truth) - right[-1])
    auroc = np.trapezoid(np.append(0, recall), np.append(0, wrong))
    return float(auroc), float((np.diff(recall, prepend=0) * right / called).sum())


def made(network: Network, references: References, *, slow: bool) -> list[Any]:
    """Return the methods for all pictures, or the slow ones; without the controls for an untrained network."""
    names = [n for n in METHODS.names() if n not in LEFT_OUT and (n in SLOW) == slow]
    if network.name == UNTRAINED:
        names = [n for n in names if METHODS.get(n).traits.family != "control"]
    return [METHODS.make(n, references=references) if n == "expected-gradients" else n for n in names]


def mapped(network: Network, part: Sequence[Picture], references: References, *, slow: bool) -> Iterator[MapRow]:
    """Give the rows of one network; of the trained one also each map laid over the next patient's picture."""
    kept: dict[tuple[str, str], Floats] = {}
    methods = made(network, references, slow=slow)
    where = {p.name: network.viewing(p.image).geometry for p in part}
    for number, picture in enumerate(part):
        for e in cast("list[Explanation]", explain(picture.image, network, methods, picture.label)):
            name, onto = e.provenance.method, picture.image.geometry
            yield row(network.name, name, picture, placed(e.values, e.geometry, onto, e.seen))
            if e.traits.family != "control":
                kept[picture.name, name] = placed(e.values, e.geometry, e.seen, e.seen)
        sys.stderr.write(f"{network.name}: {number + 1} of {len(part)}{' (slow methods)' if slow else ''}\n")
    for label in ("malignant", "benign") if network.name == TRAINED else ():
        own = [p for p in part if p.label == label]
        for this, other in zip(own, own[1:] + own[:1], strict=True):
            for name in (m for p, m in kept if p == other.name):
                grid = where[this.name]
                yield row(OTHER, name, this, placed(kept[other.name, name], grid, this.image.geometry, grid))


def mean_mask(part: Sequence[Picture], data: recipe.Data, network: Network) -> Iterator[MapRow]:
    """Give the rows of the mean of all lesion masks that the network was trained with: a map that knows no picture."""
    seen = np.concatenate([data.training, data.validation])
    mean = data.masks[seen[data.labels[seen] > 0]].mean(0)[0].numpy()
    for picture in part:
        grid = network.viewing(picture.image).geometry
        yield row(NONE, "mean-mask", picture, placed(mean, grid, picture.image.geometry, grid))


def untrained(network: Network) -> Network:
    """Return the same architecture with fresh weights."""
    card = find(recipe.NAME)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return replace(network, module=build(card.architecture, card.arguments).eval(), digest="", name=UNTRAINED)


def pasted(test: Sequence[Picture], network: Network) -> Iterator[erasing.ErasedRow]:
    """Give the rows of the held-out pictures without text, letters of those with text put in."""
    donors = [p for p in test if p.marks["text"].any()]
    for picture in test:
        if not picture.marks["text"].any():
            yield from erasing.pasted(picture, donors, network)


def measure(folder: Path) -> None:
    """Measure what is not measured yet, then join the parts to the tables."""
    torch.set_num_threads(1)
    PARTS.mkdir(parents=True, exist_ok=True)
    pictures, data = gathered(folder)
    network = replace(load(recipe.NAME), name=TRAINED)
    part = chosen(pictures)
    normal = [p for p in pictures if p.label == "normal" and p.part != "test"][:8]
    references = References(torch.cat([network.viewing(p.image).tensor for p in normal]))
    test, fresh, few = [p for p in pictures if p.part == "test"], untrained(network), part[: 2 * FEW_EACH]
    parts: Mapping[str, Any] = {
        "marks": lambda: map(mark_row, pictures),
        "erased": lambda: (r for p in test for r in erasing.erased(p, network)),
        "pasted": lambda: pasted(test, network),
        "mean-mask": lambda: mean_mask(part, data, network),
        "trained": lambda: mapped(network, part, references, slow=False),
        "untrained": lambda: mapped(fresh, part[:EACH], references, slow=False),
        "trained-slow": lambda: mapped(network, few, references, slow=True),
        "untrained-slow": lambda: mapped(fresh, few[:FEW_EACH], references, slow=True),
    }
    for name, rows in parts.items():
        path = PARTS / f"{name}.csv"
        if not path.is_file():
            write(path, list(rows()))
            sys.stderr.write(f"{name}: done\n")
    write(MARKS, rows_of(PARTS / "marks.csv", MarkRow))
    write(ERASED, [r for n in ("erased", "pasted") for r in rows_of(PARTS / f"{n}.csv", erasing.ErasedRow)])
    write(MAPS, [r for n in list(parts)[3:] for r in rows_of(PARTS / f"{n}.csv", MapRow)])


def write(path: Path, rows: Sequence[Any]) -> None:
    """Write rows as a table, whole or not at all."""
    half = path.with_suffix(".half")
    with half.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([f.name for f in fields(rows[0])])
        for r in rows:
            out.writerow([f"{v:.4g}" if isinstance(v, float) else v for v in asdict(r).values()])
    half.replace(path)


def rows_of(path: Path, kind: Any) -> list[Any]:
    """Return the rows of a table."""
    types = get_type_hints(kind)
    with path.open(encoding="utf-8", newline="") as file:
        return [kind(**{k: types[k](v) for k, v in r.items()}) for r in csv.DictReader(file)]


def page() -> str:
    """Return the page from the tables."""
    import busi_results_page

    return busi_results_page.page(rows_of(MAPS, MapRow), rows_of(MARKS, MarkRow), rows_of(ERASED, erasing.ErasedRow))


def main() -> None:
    """Measure, draw the sheets of marks, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "sheet", "page"))
    parser.add_argument("--data", type=Path, help="the folder of BUSI, for all but the page")
    asked = parser.parse_args()
    if asked.what == "page":
        PAGE.write_text(page(), encoding="utf-8")
    elif asked.data is None:
        parser.error("--data is needed")
    elif asked.what == "sheet":
        erasing.sheets(asked.data, PARTS)
    else:
        measure(asked.data)


if __name__ == "__main__":
    main()
