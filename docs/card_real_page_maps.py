"""The tables of maps beside outlines, and beside maps that know less, of the page on real data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from card_real_page import Tables, number, told
from card_real_rows import MapRow

from saliscope.core.score import Score, Undefined
from saliscope.metrics.localisation.against import against
from saliscope.metrics.summary import summary

#: Metrics of the table of maps: the field, and what a map that knows nothing scores (a field or a number).
METRICS = {"hit": "area", "auprc": "area", "auroc": "0.5", "mass": "area", "iou": "by_chance", "iou_area": ""}
HEADS = ("maximum on it", "AUPRC (lift)", "AUROC", "mass (lift)", "IoU Otsu (lift)", "IoU equal area")
CONTROLS = ("edges", "centre", "random", "mean mask")
EMPTY = "the mask is empty"


def scores(rows: Sequence[MapRow], metric: str) -> list[Score]:
    """Return the scores of maps as the metrics gave them."""
    null = METRICS[metric]
    found = []
    for r in rows:
        value = getattr(r, metric)
        if math.isnan(value):
            found.append(Score(metric, Undefined(r.why or "undefined"), "higher", n=0))
            continue
        chance = float(null) if null == "0.5" else getattr(r, null) if null else None
        parts = {"lift": value / chance} if chance and null != "0.5" else {}
        found.append(Score(metric, value, "higher", chance, parts=parts))
    return found


def maps(t: Tables) -> list[str]:
    """Return the tables of maps beside outlines."""
    lines = []
    for network in dict.fromkeys(r.network for r in t.maps):
        for called, which in ((False, "all outlined pictures"), (True, "only pictures whose label is called")):
            lines += [f"### `{network}`, {which}\n", *localised(t, network, called=called)]
        for metric, name in (("auprc", "AUPRC"), ("hit", "maximum on it")):
            for called, which in ((False, "all"), (True, "called only")):
                lines += [f"### `{network}`: {name} less that of a map that knows less, {which}\n"]
                lines += differences(t, network, metric, called=called)
    return lines


def kinds(t: Tables, network: str, source: str) -> list[str]:
    """Return the methods of a source."""
    return list(dict.fromkeys(r.method for r in t.maps if (r.network, r.source) == (network, source)))


def localised(t: Tables, network: str, *, called: bool) -> list[str]:
    """Return the table of all maps of a network beside outlines."""
    lines = ["| map | n | no outline | " + " | ".join(HEADS) + " |", "|---|---|---|" + "---|" * len(HEADS)]
    for source in ("trained", "control", "untrained"):
        for method in kinds(t, network, source):
            rows = t.map_rows(network, source, method, called=called)
            groups = [r.group for r in rows]
            found = [summary(scores(rows, metric), groups) for metric in METRICS]
            cells = [told(s) + (f" ({number(s.parts['lift'], 1)})" if "lift" in s.parts else "") for s in found]
            cells[0] = told(found[0])
            shown = {"trained": f"`{method}`", "control": f"*{method}*", "untrained": f"`{method}`, untrained"}[source]
            empty = sum(r.why == EMPTY for r in rows)
            lines.append(f"| {shown} | {found[0].n} | {empty} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def localised_of(t: Tables, network: str, method: str, metric: str, *, called: bool = False) -> Score:
    """Return the mean of a metric of a trained network's maps over outlined pictures."""
    rows = t.map_rows(network, "trained", method, called=called)
    return summary(scores(rows, metric), [r.group for r in rows])


def gain(t: Tables, network: str, method: str, other: tuple[str, str], metric: str, *, called: bool) -> Score:
    """Return by how much a trained network's maps score above other maps, picture by picture."""
    own = t.map_rows(network, "trained", method, called=called)
    by = {r.picture: r for r in t.map_rows(network, *other, called=called)}
    pairs = [(r, by[r.picture]) for r in own if r.picture in by and r.why != EMPTY]
    groups = [r.group for r, _ in pairs]
    return against(scores([a for a, _ in pairs], metric), scores([b for _, b in pairs], metric), groups)


def sure(score: Score) -> int:
    """Return the sign of a difference whose interval leaves out zero, else 0."""
    ends = score.interval
    return 0 if ends is None else int(ends.low > 0) - int(ends.high < 0)


def differences(t: Tables, network: str, metric: str, *, called: bool) -> list[str]:
    """Return the table of differences from maps that know less, bold where the interval leaves out zero."""
    lines = ["| map | n | " + " | ".join((*CONTROLS, "untrained")) + " |", "|---|---|" + "---|" * (len(CONTROLS) + 1)]
    for method in kinds(t, network, "trained"):
        others = [*(("control", c) for c in CONTROLS), ("untrained", method)]
        found = [gain(t, network, method, o, metric, called=called) for o in others]
        cells = [f"**{told(s)}**" if sure(s) else told(s) for s in found]
        lines.append(f"| `{method}` | {found[0].n} | " + " | ".join(cells) + " |")
    return [*lines, ""]
