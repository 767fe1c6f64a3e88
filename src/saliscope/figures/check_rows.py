"""The checks of a document as rows of a page: what was found in words, the numbers behind it small, a plot of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from markupsafe import Markup

#: Sign and word of an outcome; colour is never the only one to say it.
OUTCOMES = {"against": ("×", "against"), "unclear": ("?", "unclear"), "supports": ("+", "for")}
#: Headings in their order, with the question that each asks.
HEADINGS = {
    "Integrity": "is there a map at all?",
    "Consistency": "does it stay the same?",
    "Plausibility": "is it where it can be?",
    "Fidelity": "does the model use it?",
    "Usefulness": "does it help a reader?",
}


@dataclass(frozen=True)
class Numbers:
    """One score in words, the choices behind it, and its plot if there is a value."""

    text: str
    how: str
    plot: Markup | None
    curve: Markup | None


@dataclass(frozen=True)
class Row:
    """One check: `outcome` with its sign and word, its sentence, its question, its threshold and its numbers."""

    outcome: str
    sign: str
    word: str
    sentence: str
    question: str
    decisive: bool
    threshold: str
    numbers: tuple[Numbers, ...]


@dataclass(frozen=True)
class Section:
    """The rows of one heading; `nothing` says what it means that there are none."""

    heading: str
    asks: str
    rows: tuple[Row, ...]
    nothing: str


def sections(card: Mapping[str, Any]) -> list[Section]:
    """Return the checks that were run of a document (plain data) under their headings, the worst first."""
    order = list(OUTCOMES)
    found = []
    for heading, asks in HEADINGS.items():
        ran = [c for c in card["checks"] if c["heading"] == heading and c["outcome"] in OUTCOMES]
        rows = tuple(row(c) for c in sorted(ran, key=lambda c: (order.index(c["outcome"]), not c["decisive"])))
        nothing = card["headings_not_assessed"].get(heading, "")
        if rows or nothing:
            found.append(Section(heading, asks, rows, nothing))
    return found


def left_out(card: Mapping[str, Any], outcome: str) -> list[tuple[str, str]]:
    """Return (question, reason) of the checks of a document that were not run, or do not apply."""
    return [(c["question"], c["reason"]) for c in card["checks"] if c["outcome"] == outcome]


def row(check: Mapping[str, Any]) -> Row:
    """Return a check that was run as a row."""
    sign, word = OUTCOMES[check["outcome"]]
    return Row(
        outcome=check["outcome"],
        sign=sign,
        word=word,
        sentence=check["reason"],
        question=check["question"],
        decisive=check["decisive"],
        threshold=check["threshold"],
        numbers=numbers(check["scores"]),
    )


def numbers(scores: Sequence[Mapping[str, Any]]) -> tuple[Numbers, ...]:
    """Return scores (plain data) in words and as plots."""
    return tuple(Numbers(words(s), "; ".join(s["how"]), dot_plot(s), curve_plot(s)) for s in scores)


def words(score: Mapping[str, Any]) -> str:
    """Return a score in words: its value, what knowing nothing gives, its interval or range, n, what was left out."""
    parts = [f"{score['metric']} {number(score['value'])}"]
    if score["null"] is not None:
        parts.append(f"knowing nothing: {number(score['null'])}")
    ends = score["interval"]
    if ends is not None:
        kind = ends["kind"] if ends["level"] is None else f"{100 * ends['level']:.0f} % interval ({ends['kind']})"
        parts.append(f"{kind}: {number(ends['low'])} to {number(ends['high'])}")
    parts.append(f"n = {score['n']}")
    parts += [f"{name}: {number(value)}" for name, value in score["parts"].items()]
    parts += [f"{count} left out: {why}" for why, count in score["excluded"].items()]
    return "; ".join(parts)


def number(value: Any) -> str:
    """Return a number in words, or why there is none."""
    return f"no value ({value['undefined']})" if isinstance(value, Mapping) else f"{value:.3g}"


def dot_plot(score: Mapping[str, Any]) -> Markup | None:
    """Return a score as a dot on a line, with its interval and a tick for the null; None where there is no value."""
    value, null, ends = score["value"], score["null"], score["interval"]
    if isinstance(value, Mapping):
        return None
    marks = [float(value)]
    marks += [float(null)] if isinstance(null, int | float) else []
    marks += [ends["low"], ends["high"]] if ends else []
    # A share, or a correlation, stands on the whole of its scale, so that little looks little.
    low, high = min(0.0, *marks), max(1.0 if max(marks) <= 1 else max(marks), 0.0)
    low = -1.0 if -1 <= low < 0 and high <= 1 else low
    drawn = ['<line class="axis" x1="4" x2="156" y1="9" y2="9"/>']

    def at(x: float) -> float:
        return 4 + 152 * (x - low) / (high - low)

    if ends:
        drawn.append(f'<line class="ends" x1="{at(ends["low"]):.1f}" x2="{at(ends["high"]):.1f}" y1="9" y2="9"/>')
    if isinstance(null, int | float):
        drawn.append(f'<line class="null" x1="{at(null):.1f}" x2="{at(null):.1f}" y1="1" y2="17"/>')
    drawn.append(f'<circle class="value" cx="{at(value):.1f}" cy="9" r="3.6"/>')
    drawn.append(f'<text x="4" y="26">{low:.2g}</text><text x="156" y="26" text-anchor="end">{high:.2g}</text>')
    return _svg("dots", 160, 28, words(score), drawn)


def curve_plot(score: Mapping[str, Any]) -> Markup | None:
    """Return the curve that a score sums up, on axes from 0 to 1 where it fits; None where it has none."""
    points = score["curve"]
    if len(points) < 2:
        return None
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    left, right, low, high = min(xs), max(xs), min(0.0, *ys), max(1.0, *ys)
    path = " ".join(
        f"{4 + 152 * (x - left) / ((right - left) or 1):.1f},{44 - 40 * (y - low) / (high - low):.1f}"
        for x, y in points
    )
    drawn = [
        '<line class="axis" x1="4" x2="156" y1="44" y2="44"/>',
        f'<polyline class="curve" points="{path}"/>',
        f'<text x="4" y="56">{left:.2g}</text><text x="156" y="56" text-anchor="end">{right:.2g}</text>',
    ]
    return _svg("curve", 160, 58, f"the curve of {score['metric']}", drawn)


def _svg(kind: str, width: int, height: int, what: str, drawn: Sequence[str]) -> Markup:
    from markupsafe import Markup

    whole = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(what)}>'
    return Markup(f"{whole}{''.join(drawn)}</svg>")  # noqa: S704 - numbers, and one text that is quoted
