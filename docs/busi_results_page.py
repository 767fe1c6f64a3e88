"""The page of the breast ultrasound results: what docs/make_busi_results.py measured, in words and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from first_results_measures import Estimate, mean

from saliscope import METHODS

if TYPE_CHECKING:
    from busi_erasing import ErasedRow
    from busi_pictures import MarkRow
    from make_busi_results import MapRow

Floats = npt.NDArray[np.float64]
#: What rests on fewer pictures is not shown.
FEWEST = 5
TRAINED, UNTRAINED, OTHER, NONE = "trained", "untrained", "another patient's map", "no network"
KINDS = ("corner", "text", "calipers", "frame")
MARKED = ("text", "calipers", "corner")


class Reading(NamedTuple):
    """What was counted by eye for one kind of mark, in pictures."""

    there: int
    whole: int
    in_part: int
    false: int


#: The 40 pictures of `make_busi_results.py sheet`, read once by eye after the finder was finished.
READ = 40
READINGS = {
    "corner": Reading(there=25, whole=17, in_part=0, false=0),
    "text": Reading(there=6, whole=4, in_part=2, false=1),
    "calipers": Reading(there=7, whole=2, in_part=3, false=0),
    "frame": Reading(there=1, whole=0, in_part=1, false=0),
}


def of(rows: Sequence[MapRow], value: Callable[[MapRow], float]) -> Estimate:
    """Return the mean of a value over rows."""
    return mean([value(r) for r in rows], [r.group for r in rows])


class Table:
    """The rows of the maps, by network and method."""

    def __init__(self, rows: Sequence[MapRow]) -> None:
        self.rows = rows
        self.methods = list(dict.fromkeys(r.method for r in rows))

    def of(self, method: str, network: str = "") -> list[MapRow]:
        """Return the rows of a method: of a network, or of the picture's own map."""
        networks = (network,) if network else (TRAINED, NONE)
        return [r for r in self.rows if r.method == method and r.network in networks]

    def gain(self, method: str, over: Sequence[MapRow], value: Callable[[MapRow], float]) -> Estimate:
        """Return by how much a method's own map is better than other rows, picture by picture."""
        other = {r.picture: value(r) for r in over}
        own = [r for r in self.of(method) if r.picture in other]
        return mean([value(r) - other[r.picture] for r in own], [r.group for r in own])

    def knows(self, method: str) -> bool:
        """Return whether a method's map comes from the network."""
        return method != "mean-mask" and METHODS.get(method).traits.family != "control"

    def alike(self) -> list[list[str]]:
        """Return the methods that know the network, those together whose maps come to the same here."""
        found: dict[tuple[str, ...], list[str]] = {}
        for m in filter(self.knows, self.methods):
            found.setdefault(tuple(f"{r.auroc:.2f} {r.ap:.2f} {r.lesion:.2f}" for r in self.of(m)), []).append(m)
        return list(found.values())

    def shown(self, method: str) -> str:
        """Return a method's name as the tables show it."""
        return f"`{method}`" if self.knows(method) else f"*{method}* (control)"


def page(maps: Sequence[MapRow], marks: Sequence[MarkRow], erased: Sequence[ErasedRow]) -> str:
    """Return the page (Markdown)."""
    from busi_results_words import CLOSING, OPENING, learnt, measured

    table = Table(maps)
    parts = [
        OPENING, "## What was measured\n", measured(table, erased), "## What is learnt\n", learnt(table, marks, erased),
        "## What the network says when something is erased\n", *erasures(erased),
        "## Every method on the lesion\n", *lesions(table),
        "## Is it this patient, is it this network?\n", *gains(table),
        "## Every method on the burnt-in marks\n", *on_marks(table),
        "## How many pictures carry marks, and how often the finder errs\n", *counts(marks), CLOSING,
    ]  # fmt: skip
    return "\n".join(parts)


def lesions(table: Table) -> list[str]:
    """Return the table of maps against the outlined lesion, the best AUROC first."""
    heads = ("maximum on it", "mass on it", "density on it", "AUROC", "average precision", "AUROC of the size")
    values: tuple[Callable[[MapRow], float], ...] = (
        lambda r: r.hit, lambda r: r.lesion, lambda r: r.lesion / r.lesion_area, lambda r: r.auroc, lambda r: r.ap,
        lambda r: r.auroc_size,
    )  # fmt: skip
    found = {m: [of(table.of(m), v) for v in values] for m in table.methods}
    lines = ["| method | n | " + " | ".join(heads) + " |", "|---|---|" + "---|" * len(heads)]
    order = sorted(found, key=lambda m: -found[m][3].value)
    lines += [f"| {table.shown(m)} | {found[m][0].n} | " + " | ".join(map(str, found[m])) + " |" for m in order]
    return [*lines, ""]


def gains(table: Table) -> list[str]:
    """Return the table of what a map has over maps that do not know the picture, or not the training."""
    lines = [
        "Differences of AUROC and average precision (AP) by picture. Bold: the interval leaves out zero.\n",
        "| method | AUROC over mean mask | another's map | untrained | AP over mean mask | another's | untrained |",
        "|---|---|---|---|---|---|---|",
    ]
    found = {}
    for m in filter(table.knows, table.methods):
        against = (table.of("mean-mask"), table.of(m, OTHER), table.of(m, UNTRAINED))
        found[m] = [table.gain(m, rows, v) for v in (lambda r: r.auroc, lambda r: r.ap) for rows in against]
    for m in sorted(found, key=lambda m: -found[m][1].value):
        cells = [f"**{e}**" if e.sure else str(e) for e in found[m]]
        lines.append(f"| {table.shown(m)} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def on_marks(table: Table) -> list[str]:
    """Return the table of densities on the marks and a little beside them."""
    lines = [
        "Density: share of the map over share of the area. Beside: the same shape, 8 to 24 elements off.\n",
        "| method | n | on text | beside | n | on calipers | beside | n | on the corner mark | beside |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    found = {m: [e for kind in MARKED for e in on_and_beside(table.of(m), kind)] for m in table.methods}
    for m in sorted(found, key=lambda m: -found[m][0].value):
        cells = [str(c) for on, by in zip(found[m][::2], found[m][1::2], strict=True) for c in (on.n, on, by)]
        lines.append(f"| {table.shown(m)} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def on_and_beside(rows: Sequence[MapRow], kind: str) -> tuple[Estimate, Estimate]:
    """Return densities on a kind of mark and beside it, of pictures where both can be asked."""
    both = [(getattr(r, kind), getattr(r, f"{kind}_beside"), r.group) for r in rows]
    known = [b for b in both if np.isfinite(b[0]) and np.isfinite(b[1])]
    if len(known) < FEWEST:
        known = []
    group = [b[2] for b in known]
    return mean([b[0] for b in known], group), mean([b[1] for b in known], group)


def erasures(rows: Sequence[ErasedRow]) -> list[str]:
    """Return the table of what erasing does."""
    lines = [
        "Change of the logit of the picture's own label; the same with the shape erased elsewhere; their difference",
        'where both could be asked; change of the probability of "malignant"; share of pictures for which another',
        "class then comes first, there and elsewhere.\n",
        "| what | pictures | n | area | logit | elsewhere | difference | P(malignant) | class called | elsewhere |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for what in ("lesion", *KINDS, "text pasted"):
        for label in ("malignant", "benign", "normal"):
            there = [r for r in rows if (r.what, r.label, r.elsewhere) == (what, label, 0)]
            if len(there) < FEWEST:
                continue
            off = {r.picture: r for r in rows if (r.what, r.label, r.elsewhere) == (what, label, 1)}
            cells = (
                f"{100 * np.mean([r.area for r in there]):.1f} %",
                mean([r.logit for r in there], [r.group for r in there]),
                mean([r.logit for r in off.values()], [r.group for r in off.values()]),
                difference(rows, what, label),
                mean([r.malignant for r in there], [r.group for r in there]),
                mean([r.turned for r in there], [r.group for r in there]),
                mean([r.turned for r in off.values()], [r.group for r in off.values()]),
            )
            lines.append(f"| {what} | {label} | {len(there)} | " + " | ".join(map(str, cells)) + " |")
    return [*lines, ""]


def difference(rows: Sequence[ErasedRow], what: str, label: str) -> Estimate:
    """Return by how much erasing something moves the logit more than erasing the same shape elsewhere."""
    off = {r.picture: r.logit for r in rows if (r.what, r.label, r.elsewhere) == (what, label, 1)}
    own = [r for r in rows if (r.what, r.label, r.elsewhere) == (what, label, 0) and r.picture in off]
    return mean([r.logit - off[r.picture] for r in own], [r.group for r in own])


def counts(marks: Sequence[MarkRow]) -> list[str]:
    """Return the tables of how often marks were found, by label, and of the reading by eye."""
    lines = ["| pictures | n | " + " | ".join(KINDS) + " |", "|---|---|" + "---|" * len(KINDS)]
    for label in ("normal", "benign", "malignant"):
        own = [r for r in marks if r.label == label]
        cells = [mean([float(getattr(r, kind) > 0) for r in own], [r.group for r in own]) for kind in KINDS]
        lines.append(f"| {label} | {len(own)} | " + " | ".join(map(str, cells)) + " |")
    lines += [
        "\nThese are the shares of all pictures of the data set in which the finder reports such a mark.\n",
        f"Nobody has outlined the marks. So {READ} pictures drawn at random, none of which was looked at while",
        "the finder was made, were read once by eye, by no radiologist:\n",
        "| mark | pictures that have it | found whole | found in part | missed | reported where there is none |",
        "|---|---|---|---|---|---|",
    ]
    for kind, r in READINGS.items():
        lines.append(f"| {kind} | {r.there} | {r.whole} | {r.in_part} | {r.there - r.whole - r.in_part} | {r.false} |")
    return [*lines, ""]
