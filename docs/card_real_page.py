"""The page on real data: what docs/make_card_real.py measured, in tables; its words are in card_real_words.py."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from card_real_rows import AuditRow, CardRow, MapRow, OrganRow, PowerRow, TextRow

from saliscope.core.score import Score
from saliscope.metrics.summary import summary
from saliscope.trust.wording import STATE_NAMES


@dataclass(frozen=True)
class Tables:
    """All rows that the page is made of."""

    audits: Sequence[AuditRow]
    smaller: Sequence[PowerRow]
    cards: Sequence[CardRow]
    lungs: Sequence[OrganRow]
    text: Sequence[TextRow]
    maps: Sequence[MapRow]

    def audit(self, network: str, labels: str, section: str) -> list[AuditRow]:
        """Return the rows of one section of one audit."""
        return [r for r in self.audits if (r.network, r.labels, r.section) == (network, labels, section)]

    @property
    def audited(self) -> list[tuple[str, str]]:
        """Return the networks with the labels by which they were audited in full."""
        return list(dict.fromkeys((r.network, r.labels) for r in self.audits if r.section == "planted"))

    def map_rows(self, network: str, source: str, method: str, *, called: bool) -> list[MapRow]:
        """Return the rows of one kind of map; only of pictures whose label is called, or of all."""
        own = [r for r in self.maps if (r.network, r.source, r.method) == (network, source, method)]
        return [r for r in own if r.called or not called]


def page(t: Tables) -> str:
    """Return the page (Markdown)."""
    from card_real_page_maps import maps
    from card_real_words import CLOSING, MEASURED, OPENING, short

    parts = [
        OPENING, "## In short\n", short(t), "## What was measured\n", MEASURED,
        "## Columns of the table\n", *columns(t), "## Fewer pictures\n", *smaller(t),
        "## Planted and hidden\n", *planted(t), "## The other checks of an audit\n", *checks(t),
        "## What the cards of single maps say\n", *states(t), "## Lungs hidden\n", *lungs(t),
        "## Burnt-in text hidden\n", *text(t), "## Maps beside outlines\n", *maps(t), CLOSING,
    ]  # fmt: skip
    return "\n".join(parts)


def number(value: float, digits: int = 2) -> str:
    """Return a number as the tables show it."""
    shown = f"{value:.{digits}f}"
    return "–" if math.isnan(value) else (shown if float(shown) else f"{0:.{digits}f}").replace("-", "−")


def between(value: float, low: float, high: float) -> str:
    """Return a number with its interval."""
    if math.isnan(low):
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def told(score: Score) -> str:
    """Return a mean with its interval."""
    if not score.defined:
        return "–"
    ends = score.interval
    return between(score.number, ends.low, ends.high) if ends is not None else number(score.number)


def columns(t: Tables) -> list[str]:
    """Return the tables of what columns the score tells apart within labels."""
    lines = [
        "| network | pictures parted by | column | n | AUC within labels | p | p adjusted | |",
        "|---|---|---|" + "---|" * 5,
    ]
    full = t.audited
    for network, labels in full:
        rows = sorted(t.audit(network, labels, "metadata"), key=lambda r: -abs(r.value - 0.5))
        lines += [
            f"| `{network}` | {labels} | {r.name} | {r.n} | {between(r.value, r.low, r.high)} | {number(r.p, 3)} "
            f"| {number(r.adjusted, 3)} | {'**flagged**' if r.flagged else ''} |"
            for r in rows
        ]
    lines += [
        "\nThe same by other labels, without any, and of networks whose weights were drawn anew:\n",
        "| network | pictures parted by | groups asked | flagged, the strongest first |", "|---|---|---|---|",
    ]  # fmt: skip
    for network, labels in dict.fromkeys((r.network, r.labels) for r in t.audits if r.section == "metadata"):
        if (network, labels) in full:
            continue
        rows = t.audit(network, labels, "metadata")
        found = sorted((r for r in rows if r.flagged), key=lambda r: -abs(r.value - 0.5))
        said = "; ".join(f"{r.name} {between(r.value, r.low, r.high)}" for r in found) or "nothing"
        lines.append(f"| `{network}` | {labels} | {len(rows)} | {said} |")
    return [*lines, ""]


def smaller(t: Tables) -> list[str]:
    """Return the table of what smaller cohorts would have said."""
    lines = ["| network | pictures | cohorts drawn | view flagged | another column flagged |", "|---|---|---|---|---|"]
    for network, size in dict.fromkeys((r.network, r.size) for r in t.smaller):
        rows = [r for r in t.smaller if (r.network, r.size) == (network, size)]
        view = sum("view" in r.flagged for r in rows)
        other = sum(any(not f.startswith("view") for f in r.flagged.split("; ") if f) for r in rows)
        lines.append(f"| `{network}` | {size} | {len(rows)} | {view} | {other} |")
    return [*lines, ""]


def planted(t: Tables) -> list[str]:
    """Return the tables of what was planted, and of marks that were hidden."""
    names = [n for n, _ in t.audited]
    lines = [
        "Change of the score by what was planted, in standard deviations of the score over pictures; in brackets how",
        "many decisions changed (sonograms: no decision, of three labels one is first). *Italic*: adjusted p at most",
        "0.05. **Bold**: counts against the network (upper corner, half a standard deviation or more).\n",
        "| planted | " + " | ".join(f"`{n}`" for n in names) + " |", "|---|" + "---|" * len(names),
    ]  # fmt: skip
    own = {(r.network, r.name): r for r in t.audits if r.section == "planted"}
    for what in dict.fromkeys(r.name for r in t.audits if r.section == "planted"):
        cells = []
        for n in names:
            r = own.get((n, what))
            cell = "–" if r is None else number(r.value) + (f" ({r.changed:.0%})" if "breast" not in n else "")
            strong = r is not None and r.adjusted <= 0.05
            cells.append(f"**{cell}**" if r is not None and r.flagged else f"*{cell}*" if strong else cell)
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    lines += [
        "\nMarks that are there, hidden (size of the change beyond that of other places, in standard deviations):\n",
        "| network | hidden | n | beyond other places | p | outcome |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in (r for r in t.audits if r.section == "hidden" and r.method == "grad-cam"):
        said = f"| {r.n} | {between(r.value, r.low, r.high)} | {number(r.p, 3)} | {r.outcome} |"
        lines.append(f"| `{r.network}` | {r.name.removeprefix('hidden-').replace('-', ' ')} {said}")
    return [*lines, ""]


def checks(t: Tables) -> list[str]:
    """Return the table of the other checks of audits."""
    rows = [r for r in t.audits if r.section == "check"]
    every = list(dict.fromkeys(r.name for r in rows))
    lines = ["| network | method | " + " | ".join(every) + " |", "|---|---|" + "---|" * len(every)]
    for network, method in dict.fromkeys((r.network, r.method) for r in rows):
        own = {r.name: r for r in rows if (r.network, r.method) == (network, method)}
        cells = [f"{own[c].outcome} ({number(own[c].value)})" if c in own else "–" for c in every]
        lines.append(f"| `{network}` | `{method}` | " + " | ".join(cells) + " |")
    return [*lines, ""]


def states(t: Tables) -> list[str]:
    """Return the tables of the states of cards, and of what brought them."""
    lines = ["| network | target | method | maps | " + " | ".join(STATE_NAMES.values()) + " | what brought them |"]
    lines.append("|---|---|---|---|" + "---|" * (len(STATE_NAMES) + 1))
    for key in dict.fromkeys((r.network, r.target, r.method) for r in t.cards):
        rows = [r for r in t.cards if (r.network, r.target, r.method) == key]
        counts = Counter(r.state for r in rows)
        reasons = Counter(reason for r in rows for reason in r.reasons.split())
        said = ", ".join(f"{name} {n}" for name, n in reasons.most_common())
        cells = [str(counts[s]) for s in STATE_NAMES]
        lines.append(f"| `{key[0]}` | {key[1]} | `{key[2]}` | {len(rows)} | " + " | ".join(cells) + f" | {said} |")
    return [*lines, ""]


def lungs(t: Tables) -> list[str]:
    """Return the table of scores with the lungs hidden and with nothing but them."""
    lines = [
        "| network | view | n | logit | lungs hidden | nothing but lungs | called | still called, lungs hidden |",
        "|---|---|" + "---|" * 6,
    ]
    for network in dict.fromkeys(r.network for r in t.lungs):
        for view in ("PA", "AP"):
            rows = [r for r in t.lungs if (r.network, r.view) == (network, view)]
            cells = [
                told(mean([getattr(r, f) for r in rows], [r.patient for r in rows]))
                for f in ("score", "hidden", "alone")
            ]
            called = [r for r in rows if r.score >= r.limit]
            stays = sum(r.hidden_least >= r.limit for r in called)
            lines.append(
                f"| `{network}` | {view} | {len(rows)} | " + " | ".join(cells) + f" | {len(called)} | {stays} |"
            )
    return [*lines, ""]


def mean(values: Sequence[float], groups: Sequence[int]) -> Score:
    """Return the mean of numbers with its interval over groups."""
    return summary([Score("number", v, "neither") for v in values], groups)


def text(t: Tables) -> list[str]:
    """Return the table of burnt-in text hidden."""
    lines = [
        "| pictures | n | share of the picture | change of the logit | elsewhere | difference |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for label in ("normal", "benign", "malignant"):
        rows = [r for r in t.text if r.label == label]
        if rows:
            groups = [r.group for r in rows]
            columns_ = ([-r.effect for r in rows], [-r.elsewhere for r in rows], [r.elsewhere - r.effect for r in rows])
            cells = [told(mean(v, groups)) for v in columns_]
            share = 100 * sum(r.share for r in rows) / len(rows)
            lines.append(f"| {label} | {len(rows)} | {share:.1f} % | " + " | ".join(cells) + " |")
    return [*lines, ""]
