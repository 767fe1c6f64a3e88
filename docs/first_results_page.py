"""The page of the first results: what docs/make_first_results.py measured, in words and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saliscope import METHODS
from saliscope.model.card import find

if TYPE_CHECKING:
    from make_first_results import Row

Floats = npt.NDArray[np.float64]
DRAWS = 1000
LEVELS = ("clean", "text-0", "text-20", "text-50", "text-80", "text-95", "text-100")
SHOWN = ("clean", "text-80", "text-100")


def page(rows: Sequence[Row]) -> str:
    """Return the page (Markdown)."""
    lines = [OPENING, "## The networks", "", *networks(rows), "", "## What is learnt", "", learnt(rows), ""]
    for net, title in (("plain", "A plain CNN with global pooling"), ("dense", "A small DenseNet with in-place ReLUs")):
        part = [r for r in rows if f"-{net}-" in r.network]
        if part:
            lines += [f"## Every method: {title.lower()}", "", *methods(part), ""]
    return "\n".join([*lines, CLOSING])


def networks(rows: Sequence[Row]) -> list[str]:
    """Return the table of the networks, from their cards and the true shares of the cases shown."""
    lines = [
        "| network | AUC as trained | AUC, marker in half of all cases | true share of the marker here |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(r.network for r in rows):
        numbers = find(name).performance
        own = {r.case: r.true for r in rows if r.network == name}
        cells = [interval(numbers[k]) for k in ("auc_as_trained", "auc_shortcut_decorrelated")]
        share = estimate(lambda v: float(v.mean()), np.array(list(own.values()))[:, None], np.array(list(own)))
        lines.append(f"| `{name}` | {' | '.join(cells)} | {share} |")
    return lines


def methods(rows: Sequence[Row]) -> list[str]:
    """Return the table of the methods, those that follow the truth first and the controls among them."""
    heads = [f"maximum on the nodule: {w}" for w in SHOWN]
    lines = [
        "| method | n | " + " | ".join(heads) + " | density on the nodule, clean | density on the marker, text-100 "
        "| follows the truth (Spearman) | off by |",
        "|---|---|" + "---|" * (len(heads) + 4),
    ]
    names = dict.fromkeys(r.method for r in rows)
    made = {name: method(name, [r for r in rows if r.method == name]) for name in names}
    order = sorted(made, key=lambda name: -made[name][0])
    return lines + [made[name][1] for name in order]


def method(name: str, rows: Sequence[Row]) -> tuple[float, str]:
    """Return how a method follows the truth, for the order, and its line."""
    hits = [of(rows, level, lambda r: r.hit) for level in SHOWN]
    nodule = of(rows, "clean", lambda r: r.nodule / r.nodule_area)
    marker = of(rows, "text-100", lambda r: r.marker / r.marker_area)
    trained = [r for r in rows if any(f"-{level}-" in r.network for level in LEVELS) and np.isfinite(r.said)]
    pairs = np.array([(r.said, r.true) for r in trained]).reshape(-1, 2)
    case = np.array([r.case for r in trained], np.int64)
    follows = spearman(pairs) if len(pairs) > 2 else float("nan")
    told = estimate(spearman, pairs, case) if len(pairs) > 2 else "nothing to compare"
    off = estimate(lambda v: float(np.abs(v[:, 0] - v[:, 1]).mean()), pairs, case) if len(pairs) else "–"
    control = METHODS.get(name).traits.family == "control"
    shown = f"*{name}* (control)" if control else f"`{name}`"
    n = len({r.case for r in rows})
    line = f"| {shown} | {n} | " + " | ".join([*hits, nodule, marker, told, off]) + " |"
    return (follows if np.isfinite(follows) else -2.0), line


def of(rows: Sequence[Row], level: str, value: Callable[[Row], float]) -> str:
    """Return the mean of a value over the cases of one level, with its interval."""
    own = [r for r in rows if f"-{level}-" in r.network]
    if not own:
        return "–"
    return estimate(lambda v: float(v.mean()), np.array([[value(r)] for r in own]), np.array([r.case for r in own]))


def estimate(statistic: Callable[[Floats], float], values: Floats, case: npt.NDArray[np.int64]) -> str:
    """Return a statistic of rows (n, ...) with its 95 % bootstrap interval, whole cases drawn."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(case == c) for c in np.unique(case)]
    drawn = [
        statistic(values[np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])])
        for _ in range(DRAWS)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{statistic(values):.2f} [{low:.2f}, {high:.2f}]"


def spearman(pairs: Floats) -> float:
    """Return the rank correlation of two columns (n, 2); 0 where one of them is constant."""
    from scipy.stats import rankdata

    a, b = (rankdata(column) for column in pairs.T)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def interval(numbers: Mapping[str, float]) -> str:
    """Return a number of a card with its interval."""
    return f"{numbers['value']:.3f} [{numbers['low']:.3f}, {numbers['high']:.3f}]"


def learnt(rows: Sequence[Row]) -> str:
    """Return the paragraph on what is learnt, its numbers taken from the rows."""
    said = []
    for net in ("plain", "dense"):
        for level in LEVELS[2:]:
            name = f"phantom-chest-{net}-{level}-0"
            own = [r for r in rows if r.network == name]
            clean = [r for r in rows if r.network == f"phantom-chest-{net}-clean-0" and r.method == "grad-cam"]
            cam = [r for r in own if r.method == "grad-cam"]
            true = float(np.mean([r.true for r in cam])) if cam else 0.0
            if true >= THIRD and clean:
                said.append(_compared(name, cam, clean, true))
                break
    every = sorted({r.method for r in rows if METHODS.get(r.method).traits.family != "control"})
    best = sorted(every, key=lambda m: -_follows(rows, m))[:3]
    best_words = ", ".join(f"`{m}` ({_follows(rows, m):.2f})" for m in best)
    controls = [m for m in dict.fromkeys(r.method for r in rows) if METHODS.get(m).traits.family == "control"]
    highest = max((_follows(rows, m) for m in controls), default=0.0)
    below = [m for m in every if _follows(rows, m) <= highest]
    return (
        " ".join(said)
        + f" Of {len(every)} methods, those that follow the marker's true share best over all networks together are "
        + f"{best_words}; {len(below)} follow it no better than the best of the controls ({highest:.2f})"
        + (f": {', '.join(f'`{m}`' for m in below)}." if below else ".")
    )


def _compared(name: str, cam: Sequence[Row], clean: Sequence[Row], true: float) -> str:
    numbers = find(name).performance
    hit, before = (float(np.mean([r.hit for r in part])) for part in (cam, clean))
    return (
        f"In `{name}` {true:.0%} of what nodule and marker add to the score comes from the marker. Its AUC as trained, "
        f"{numbers['auc_as_trained']['value']:.3f}, does not show that (with the marker taken apart from the label it "
        f"is {numbers['auc_shortcut_decorrelated']['value']:.3f}); and the maximum of Grad-CAM lies on the nodule in "
        f"{hit:.0%} of the cases, against {before:.0%} for the network that never saw the marker."
    )


def _follows(rows: Sequence[Row], name: str) -> float:
    own = [r for r in rows if r.method == name and np.isfinite(r.said) and any(f"-{x}-" in r.network for x in LEVELS)]
    return spearman(np.array([(r.said, r.true) for r in own])) if len(own) > 2 else -1.0


#: From this share on a decision is called partly the marker's.
THIRD = 1 / 3

OPENING = """# First results: every method where the truth is known
Written by `docs/make_first_results.py page` from `first-results.csv`; every number can be made again by
`.venv/bin/python docs/make_first_results.py measure`. Drawn images: nothing here is evidence about patients.

Small networks were trained to say whether a drawn chest radiograph holds a nodule. In training, the printed word
PORTABLE stood in 0 to 100 % of the images with a nodule and in no other (`text-0` to `text-100`); for `clean` it stood
in half of all images, whatever the label. Each network is shown the same new cases, all with a nodule *and* the word.
Three truths are kept apart:

1. **where the nodule was planted**: does the maximum of the map lie on it (or on a margin of half its radius), and how
   dense is the map there: share of its positive part divided by share of the image; a constant map has 1;
2. **what the network uses**: the score with and without each element, in every combination, by drawing the same patient
   again; the *true share* is the word's part of what nodule and word add (absolute Shapley values);
3. **what the map says**: the part of its positive mass on nodule and word that lies on the word (the box around it).
   *Follows the truth* is the rank correlation of 3 with 2 over all cases of the networks trained with true labels;
   *off by* is their mean absolute difference.

A map that points at the word in a network that uses it is *right*. In brackets: 95 % intervals, bootstrap over cases.
"""
CLOSING = """## How to read this, and its limits
- Controls know nothing of the network. Where a method is no better than they are, its pictures say nothing here.
- A map on a layer's grid has cells of 25 mm here, about as large as the nodules.
- The word is thin and has sharp edges, the nodule is soft: methods that answer to edges are drawn to the word even
  where the network does not use it; the *clean* columns show what they say where there is nothing to find.
- `text-0` never saw the word, and yet its score moves when the word stands there: what was never taught is not ignored.
- One shortcut, one scene, two small architectures, one training seed of each, few cases for slow methods (column n).
- In training, outlines of the nodules guided the last spatial layer by a second head: labels alone did not teach
  networks of this size to find nodules in 1,200 images.
- `finer-cam` weighs one class against others and is left out: these networks have one logit. Methods run with their
  default fields; the references of `expected-gradients` are eight images of the same patients without any element.
- No ranking of methods for patients follows from this page.
"""
