"""The tables of the page on real data: what a row of each holds, and how rows are written and read again."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

NAN = math.nan


@dataclass(frozen=True)
class AuditRow:
    """One thing that an audit says of a network.

    `labels` says by what the pictures were parted; `section` is "metadata", "planted", "hidden" or the name of a
    check. `value` is an AUC within labels for metadata, a change in standard deviations of the score otherwise;
    `adjusted` is p after Benjamini and Hochberg (metadata) or Holm (planted). `flagged` is 1 where it counts against
    the network, and for a check where its outcome is "against".
    """

    network: str
    labels: str
    method: str
    section: str
    name: str
    value: float
    low: float
    high: float
    p: float
    adjusted: float
    n: int
    changed: float
    flagged: int
    outcome: str


@dataclass(frozen=True)
class PowerRow:
    """What the columns of one drawn cohort of `size` pictures say: columns that were flagged, the strongest first."""

    network: str
    labels: str
    size: int
    draw: int
    flagged: str


@dataclass(frozen=True)
class CardRow:
    """The card of one map: whether the label explained is called, the true label, the state, and what brought it."""

    network: str
    method: str
    target: str
    picture: int
    label: str
    called: int
    state: str
    reasons: str


@dataclass(frozen=True)
class OrganRow:
    """The logit of one radiograph as it is, with the lungs hidden, and with all but the lungs hidden (two fills)."""

    network: str
    picture: int
    patient: int
    view: str
    label: str
    limit: float
    score: float
    hidden: float
    hidden_least: float
    hidden_most: float
    alone: float


@dataclass(frozen=True)
class TextRow:
    """By how much the logit of a sonogram's own label falls when its burnt-in text is hidden, and other places."""

    picture: int
    group: int
    label: str
    share: float
    effect: float
    elsewhere: float
    places: int


@dataclass(frozen=True)
class MapRow:
    """One map beside what was outlined in one picture.

    `source` is "trained", "untrained" (the same network with weights drawn anew) or "control" (knows no network).
    `called` says whether the network calls the label explained. A value that is undefined is nan, `why` its reason.
    `by_chance` is what as large a random choice has in common with the outline (the null of `iou`).
    """

    network: str
    source: str
    method: str
    picture: int
    group: int
    label: str
    called: int
    area: float
    hit: float
    auprc: float
    auroc: float
    mass: float
    iou: float
    by_chance: float
    iou_area: float
    why: str


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
