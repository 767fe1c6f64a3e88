"""The page of the study of the explanation card: what docs/make_card_study.py measured, in words and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from saliscope.metrics.statistics.intervals import clopper_pearson, upper_bound

Row = Mapping[str, Any]
BEST, DOUBT, NO = "read-with-care", "doubtful", "do-not-read"
CONTROLS = ("edges", "centre", "random", "constant", "other-patient")
#: A network with at least this true share of its shortcut ought to be flagged, one with at most the other ought not.
SHORTCUT, CLEAN = 0.3, 0.1
#: The goals that were set beforehand.
REASSURED, DETECTED = 0.05, 0.95


def page(maps: Sequence[Row], models: Sequence[Row]) -> str:
    """Return the page (Markdown)."""
    lines = [OPENING, *reached(maps, models), ""]
    for part, title in (
        ("report", "Report: sonograms, on which nothing was set"),
        ("development", "Development: radiographs"),
    ):
        own = [r for r in maps if r["part"] == part]
        if own:
            lines += [f"## {title}", "", *of_part(own), ""]
    lines += ["## Models", "", *of_models(models), "", CLOSING]
    return "\n".join(lines)


def reached(maps: Sequence[Row], models: Sequence[Row]) -> list[str]:
    """Return which of the goals set beforehand were reached, on the part on which nothing was set."""
    real = [r for r in maps if r["part"] == "report" and r["method"] not in CONTROLS]
    tricks = [r for r in maps if r["method"] in CONTROLS]
    wrong = [r for r in real if r["why"]]
    hits = sum(is_best(r) for r in wrong)
    bound = upper_bound(hits, len(wrong))
    rows = trained(models)
    due = [m for m in rows if float(m["true"]) >= SHORTCUT]
    free = [m for m in rows if float(m["true"]) <= CLEAN]
    found, alarms = sum(bool(m["flagged"]) for m in due), sum(bool(m["flagged"]) for m in free)
    best = sum(is_best(r) for r in tricks)

    def said(met: bool) -> str:
        return "reached" if met else "**not reached**"

    return [
        "## Goals",
        "",
        (
            f"- False reassurance at most 5 % (upper bound): {hits} of {len(wrong)}, at most {bound:.1%}: "
            f"{said(bound <= REASSURED)}."
        ),
        (
            f"- At least 95 % of networks whose shortcut has a share of 0.3 or more flagged: {found} of {len(due)}: "
            f"{said(found >= DETECTED * len(due))}; "
            f"false alarms on networks with at most 0.1: {alarms} of {len(free)}. Missed: "
            f"{', '.join('`' + m['network'] + '`' for m in due if not m['flagged']) or 'none'}."
        ),
        f"- No control and no other patient's map gets READ WITH CARE: {best} of {len(tricks)}: {said(best == 0)}.",
    ]


def trained(models: Sequence[Row]) -> list[Row]:
    """Return the networks that were taught true labels and whose true share is known."""
    return [m for m in models if m["true"] and not any(w in m["network"] for w in ("untrained", "shuffled"))]


def of_part(rows: Sequence[Row]) -> list[str]:
    """Return the results of the maps of one part."""
    real = [r for r in rows if r["method"] not in CONTROLS]
    wrong = [r for r in real if r["why"]]
    called = [r for r in wrong if float(r["score"]) >= 0]
    images = {(r["network"], r["case"]) for r in wrong}
    reassured = {(r["network"], r["case"]) for r in wrong if r["state"] == BEST}
    best = [r for r in real if r["state"] == BEST]
    clean = [r for r in real if not r["why"] and "-clean-" in r["network"] and float(r["score"]) >= 0]
    trick = [r for r in rows if r["method"] in CONTROLS]
    return [
        (
            f"{len(real)} maps by {count(real, 'method')} methods of {count(real, 'network')} networks; "
            f"{len(wrong)} of them misleading ({reasons(wrong)})."
        ),
        "",
        "| question | found | exact upper 95 % bound (one-sided) |",
        "|---|---|---|",
        share("false reassurance: misleading maps that got READ WITH CARE", wrong, is_best),
        share("… of those where the network calls the finding", called, is_best),
        (
            f"| … images with a misleading map of which one got it | {len(reassured)} of {len(images)} "
            f"| {upper_bound(len(reassured), len(images)):.1%} |"
        ),
        share("of maps with READ WITH CARE, misleading", best, lambda r: bool(r["why"])),
        share("control maps and other patients' maps that got READ WITH CARE", trick, is_best),
        "",
        *per_method(rows),
        "",
        *risk(real),
        "",
        *flagged(real),
        "",
        (
            f"False alarms: of {len(clean)} maps of clean networks that are right and whose finding is called, "
            f"{sum(r['state'] != BEST for r in clean)} did not get READ WITH CARE "
            f"({sum(r['state'] == NO for r in clean)} DO NOT READ). What spoke against them: {against(clean)}."
        ),
        "",
        (
            "Area under the curve of the state for *misleading*, over maps of called findings of clean networks: "
            f"{auc_of_state(real):.2f}. Cards of Grad-CAM took {samples(real)} forward samples."
        ),
    ]


def count(rows: Sequence[Row], column: str) -> int:
    """Return how many different values a column has."""
    return len({r[column] for r in rows})


def reasons(rows: Sequence[Row]) -> str:
    """Return why maps mislead, with counts."""
    counts = Counter(str(r["why"]).partition(":")[0] for r in rows)
    return ", ".join(f"{why} {n}" for why, n in counts.most_common())


def is_best(row: Row) -> bool:
    """Return whether a map got the best state."""
    return bool(row["state"] == BEST)


def share(what: str, rows: Sequence[Row], is_hit: Callable[[Row], bool]) -> str:
    """Return a line of a table: how many of some rows, with the exact bound."""
    hits = sum(is_hit(r) for r in rows)
    if not rows:
        return f"| {what} | none there | – |"
    return f"| {what} | {hits} of {len(rows)} ({hits / len(rows):.1%}) | {upper_bound(hits, len(rows)):.1%} |"


def per_method(rows: Sequence[Row]) -> list[str]:
    """Return a table by method: maps, those that mislead, the states, and misleading maps with the best state."""
    lines = [
        "| method | maps | misleading | READ WITH CARE | DOUBTFUL | DO NOT READ | misleading and READ WITH CARE |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(r["method"] for r in rows):
        own = [r for r in rows if r["method"] == method]
        states = Counter(r["state"] for r in own)
        wrong = sum(bool(r["why"]) for r in own)
        both = sum(bool(r["why"]) and is_best(r) for r in own)
        cells = (len(own), wrong, states[BEST], states[DOUBT], states[NO], both)
        lines.append(f"| {method} | {' | '.join(map(str, cells))} |")
    return lines


def risk(rows: Sequence[Row]) -> list[str]:
    """Return risk against coverage: the share of maps shown, and of those the share that mislead."""
    lines = ["| shown | coverage | misleading among those shown |", "|---|---|---|"]
    shown: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("READ WITH CARE", (BEST,)),
        ("and DOUBTFUL", (BEST, DOUBT)),
        ("all", (BEST, DOUBT, NO, "not-assessed")),
    )
    for what, states in shown:
        own = [r for r in rows if r["state"] in states]
        wrong = sum(bool(r["why"]) for r in own)
        cell = f"{wrong} of {len(own)} ({wrong / len(own):.1%})" if own else "none"
        lines.append(f"| {what} | {len(own) / len(rows):.0%} | {cell} |")
    return lines


def flagged(rows: Sequence[Row]) -> list[str]:
    """Return how many maps of each network say that something is wrong with the model."""
    lines = ["| network | maps of called findings | with a reason that speaks against the model |", "|---|---|---|"]
    said = ("shortcuts", "hidden-", "method", "lungs-", "ultrasound-")
    for network in dict.fromkeys(r["network"] for r in rows):
        own = [r for r in rows if r["network"] == network and float(r["score"]) >= 0]
        hits = sum(any(x.startswith(said) for x in str(r["reasons"]).split()) for r in own)
        lines.append(f"| `{network}` | {len(own)} | {hits} |")
    return lines


def against(rows: Sequence[Row]) -> str:
    """Return the checks that kept maps from the best state, with counts."""
    counts = Counter(x for r in rows for x in str(r["reasons"]).split())
    return ", ".join(f"{what} {n}" for what, n in counts.most_common()) or "nothing"


def auc_of_state(rows: Sequence[Row]) -> float:
    """Return the chance that a misleading map of a clean network has the worse state than a right one, ties half."""
    rank = {BEST: 0, DOUBT: 1, "not-assessed": 2, NO: 3}
    own = [r for r in rows if float(r["score"]) >= 0 and "-clean-" in r["network"]]
    wrong = [rank[r["state"]] for r in own if r["why"]]
    right = [rank[r["state"]] for r in own if not r["why"]]
    pairs = [(w > r) + 0.5 * (w == r) for w in wrong for r in right]
    return sum(pairs) / len(pairs) if pairs else float("nan")


def of_models(models: Sequence[Row]) -> list[str]:
    """Return whether networks with a shortcut were flagged, part by part."""
    taught = trained(models)
    lines = [
        "| part | with a true share of 0.3 or more, flagged | with at most 0.1, flagged (false alarm) | between |",
        "|---|---|---|---|",
    ]
    for part in dict.fromkeys(m["part"] for m in taught):
        own = [m for m in taught if m["part"] == part]
        cells = []
        for low, high in ((SHORTCUT, 2.0), (-1.0, CLEAN), (CLEAN, SHORTCUT)):
            some = [m for m in own if low <= float(m["true"]) < high or (high == CLEAN and float(m["true"]) == high)]
            hits = sum(bool(m["flagged"]) for m in some)
            ends = clopper_pearson(hits, len(some))
            within = f" [{ends.low:.0%}, {ends.high:.0%}]" if ends is not None else ""
            cells.append(f"{hits} of {len(some)}{within}")
        lines.append(f"| {part} | {' | '.join(cells)} |")
    lines += [
        "",
        "| network | true share of the shortcut | marks in the upper corners move the score by (SD) | flagged |",
        "|---|---|---|---|",
    ]
    for m in sorted(taught, key=lambda m: (m["part"], float(m["true"]))):
        lines.append(
            f"| `{m['network']}` | {float(m['true']):.2f} | {float(m['strongest']):.2f} | {m['flagged'] or '–'} |"
        )
    return lines


def samples(rows: Sequence[Row]) -> str:
    """Return the forward samples that cards of one-run methods took."""
    counts = [int(r["samples"]) for r in rows if r["method"] == "grad-cam"]
    return f"{min(counts)} to {max(counts)}" if counts else "–"


OPENING = """# How often is the explanation card wrong?

Written by `docs/make_card_study.py`; every map is a row of [card-study.csv](card-study.csv). The card says of a map
READ WITH CARE, DOUBTFUL, DO NOT READ or NOT ASSESSED. Here it is held against drawn images of which is known what each
network really uses, because every element was left out in every combination. **This is no evidence for patients.**

*Misleading* was defined before any limit was set (`saliscope.phantom.effects.assertion`): the map points at no element
that raises the score by a fifth of the whole effect; or at one with less than a twentieth; or half of the effect has
no place (exposure); or the elements hardly move the score at all. A map points with the smallest region that holds half
of its positive values, at most a tenth of the image. A first definition, the largest tenth whatever the values, was
given up after looking at six development networks: it held sharp maps to what nobody sees in them.

All limits (`saliscope.trust.checks.held_against`) were set on the development part. One exception: how far a planted
mark must move the score (0.5 standard deviations) was chosen after its effect on the networks of both parts was seen,
so the table of models is no held-out result. And three late changes came from real images, after a first run of the
report had been seen: a method is no longer barred where the interval of its fidelity holds zero, or where it fails the
randomisation test by less than 0.1; and an organ whose fill raises the score no longer speaks against a map. The last
one lets two more misleading maps of the development part through. Both parts were measured again after that. What a
card says of its own reliability is taken from both parts together. Control maps were given to the card as if a gradient
method had made them.
"""
CLOSING = """## What this does not show

The networks are small, the shortcut is nearly always a word in a corner, the finding of one kind. Maps of one
image by several methods are not independent, so the bound over images is the more careful one. Lesions smaller than
those trained on were not called by any network, and do not appear. Volumes were not studied: nothing can be planted in
them yet. Cards of one-run methods took at most 75 forward samples (tests/trust).
"""
