"""The page of the first results: what docs/make_first_results.py measured, in words and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from first_results_measures import Estimate, mean, rank_correlation

from saliscope import METHODS
from saliscope.model.card import find

if TYPE_CHECKING:
    from make_first_results import Row

LEVELS = ("clean", "text-0", "text-20", "text-50", "text-80", "text-95", "text-100")
SHOWN = ("clean", "text-80", "text-100")


def page(rows: Sequence[Row]) -> str:
    """Return the page (Markdown)."""
    lines = [OPENING, "## The networks", "", *networks(rows), "", "## What is learnt", "", learnt(rows), ""]
    for net, title in (("plain", "a plain CNN with global pooling"), ("dense", "a small DenseNet with in-place ReLUs")):
        part = [r for r in rows if f"-{net}-" in r.network]
        if part:
            lines += [f"## Every method: {title}", "", *methods(part), ""]
    return "\n".join([*lines, CLOSING])


def networks(rows: Sequence[Row]) -> list[str]:
    """Return the table of the networks, from their cards and the true shares of the cases shown."""
    lines = [
        "| network | AUC as trained | AUC, word in half of all cases | true share of the word here |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(r.network for r in rows):
        numbers = find(name).performance
        own = {r.case: r.true for r in rows if r.network == name}
        cells = [interval(numbers[k]) for k in ("auc_as_trained", "auc_shortcut_decorrelated")]
        lines.append(f"| `{name}` | {' | '.join(cells)} | {mean(list(own.values()), list(own))} |")
    return lines


def methods(rows: Sequence[Row]) -> list[str]:
    """Return the table of the methods, those that follow the truth first and the controls among them."""
    heads = [f"maximum on the nodule, {w}" for w in SHOWN]
    lines = [
        (
            f"| method | n | {' | '.join(heads)} | density on the nodule, clean | density on the word, clean | "
            "density on the word, text-100 | follows the truth | off by |"
        ),
        "|---|---|" + "---|" * (len(heads) + 5),
    ]
    names = dict.fromkeys(r.method for r in rows)
    made = {name: method(name, [r for r in rows if r.method == name]) for name in names}
    order = sorted(made, key=lambda name: -made[name][0])
    return lines + [made[name][1] for name in order]


def method(name: str, rows: Sequence[Row]) -> tuple[float, str]:
    """Return how a method follows the truth, for the order, and its line."""
    shown = f"*{name}* (control)" if METHODS.get(name).traits.family == "control" else f"`{name}`"
    told = follows(rows)
    compared = trained(rows)
    cells = [
        *(of(rows, level, lambda r: r.hit) for level in SHOWN),
        of(rows, "clean", lambda r: r.nodule / r.nodule_area),
        *(of(rows, level, lambda r: r.marker / r.marker_area) for level in ("clean", "text-100")),
        told,
        mean([abs(r.said - r.true) for r in compared], [r.case for r in compared]),
    ]
    line = f"| {shown} | {len({r.case for r in rows})} | {' | '.join(map(str, cells))} |"
    return (told.value if told.n else -2.0), line


def of(rows: Sequence[Row], level: str, value: Callable[[Row], float]) -> Estimate:
    """Return the mean of a value over the cases of one level."""
    own = [r for r in rows if f"-{level}-" in r.network]
    return mean([value(r) for r in own], [r.case for r in own])


def trained(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of networks trained with true labels whose map has anything on nodule or word."""
    return [r for r in rows if any(f"-{level}-" in r.network for level in LEVELS) and np.isfinite(r.said)]


def follows(rows: Sequence[Row]) -> Estimate:
    """Return how the word's part of the maps goes with its part of the score."""
    own = trained(rows)
    return rank_correlation([r.said for r in own], [r.true for r in own], [r.case for r in own])


def interval(numbers: Mapping[str, float]) -> str:
    """Return a number of a card with its interval."""
    return f"{numbers['value']:.3f} [{numbers['low']:.3f}, {numbers['high']:.3f}]"


def learnt(rows: Sequence[Row]) -> str:
    """Return the paragraph on what is learnt, its numbers taken from the rows."""
    said = []
    for net in ("plain", "dense"):
        clean = [r for r in rows if r.network == f"phantom-chest-{net}-clean-0"]
        for level in LEVELS[2:]:
            own = [r for r in rows if r.network == f"phantom-chest-{net}-{level}-0"]
            if own and clean and float(np.mean([r.true for r in own])) >= THIRD:
                said.append(_compared(own, clean))
                break
    told = {m: follows([r for r in rows if r.method == m]).value for m in dict.fromkeys(r.method for r in rows)}
    control = {m for m in told if METHODS.get(m).traits.family == "control"}
    every = sorted(set(told) - control, key=lambda m: -told[m])
    highest = max((told[m] for m in control), default=0.0)
    best = ", ".join(f"`{m}` ({told[m]:.2f})" for m in every[:3])
    below = [m for m in every if told[m] <= highest]
    return (
        " ".join(said)
        + f" Of {len(every)} methods, those that follow the word's true share best over all networks together are "
        + f"{best}; {len(below)} follow it no better than the best of the controls ({highest:.2f})"
        + (f": {', '.join(f'`{m}`' for m in below)}." if below else ".")
    )


def _compared(own: Sequence[Row], clean: Sequence[Row]) -> str:
    name, numbers = own[0].network, find(own[0].network).performance
    true = float(np.mean(list({r.case: r.true for r in own}.values())))
    before, now = _hits(clean), _hits(own)
    sure = [m for m in before if before[m] >= OFTEN and METHODS.get(m).traits.family != "control"]
    still = [m for m in sure if now[m] >= OFTEN]
    kept = f": {', '.join(f'`{m}`' for m in still)}" if still else ""
    return (
        f"In `{name}` {true:.0%} of what nodule and word add to the score comes from the word. Its AUC as trained, "
        f"{numbers['auc_as_trained']['value']:.3f}, does not show that (with the word taken apart from the label it "
        f"is {numbers['auc_shortcut_decorrelated']['value']:.3f}). Of {len(sure)} methods whose maximum lies on the "
        f"nodule in at least {OFTEN:.0%} of the cases for the clean network, {len(still)} say the same of this one"
        f"{kept}. Grad-CAM's lies there in {now['grad-cam']:.0%} ({before['grad-cam']:.0%} for the clean network)."
    )


def _hits(rows: Sequence[Row]) -> dict[str, float]:
    """Return how often the maximum of each method lies on the nodule."""
    names = dict.fromkeys(r.method for r in rows)
    return {m: float(np.mean([r.hit for r in rows if r.method == m])) for m in names}


#: A maximum on the nodule this often would pass for a good localisation (a convention).
OFTEN = 0.8
#: From this share on a decision is called partly the word's.
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
- A map on a layer's grid has cells of 25 mm here, about as large as the nodules; and the last convolutions spread what
  they found over some five cells, of which any may be the highest: maxima of CAM maps lie beside the nodule more often
  than on it, while the density tells that they are about it.
- The word is thin and has sharp edges, the nodule is soft: methods that answer to edges are drawn to the word even
  where the network does not use it; the *clean* columns show what they say where there is nothing to find.
- `text-0` never saw the word, and yet its score moves when the word stands there: what was never taught is not ignored.
- One shortcut, one scene, two small architectures (the DenseNet at the ends only), one training seed of each, few cases
  for slow methods (column n).
- In training, outlines of the nodules guided the last spatial layer by a second head: labels alone did not teach
  networks of this size to find nodules in 1,200 images.
- `finer-cam` weighs one class against others and is left out: these networks have one logit. Methods run with their
  default fields; the references of `expected-gradients` are eight images of the same patients without any element.
- No ranking of methods for patients follows from this page.
"""
