"""The words of the page on real data; every number in them is taken from the tables."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from card_real_page import Tables, between, mean, number, told
from card_real_page_maps import EMPTY, gain, kinds, localised_of, sure
from card_real_rows import AuditRow

from saliscope.model.card import find
from saliscope.trust.auditing.shortcuts import MOVES
from saliscope.trust.wording import STATE_NAMES

CONFOUNDED, OPACITY, VIEW = "chest-opacity-confounded", "chest-opacity", "chest-view"
TEXT, RSNA = "text-mined finding", "radiologists' class"
BREAST = "breast-ultrasound"

OPENING = """\
# What audits and cards say on real pictures

Written by `docs/make_card_real.py` from its tables: [audits](card-real-data-audits.csv), \
[smaller cohorts](card-real-data-smaller.csv), [cards](card-real-data-cards.csv), \
[lungs hidden](card-real-data-lungs.csv), [text hidden](card-real-data-text.csv), \
[maps](card-real-data-maps.csv). Pictures and patients have running numbers only. For research; none of this says that \
a map may be believed, or anything about a patient.
"""

MEASURED = """\
- **Pictures**: radiographs of the fold of NIH ChestX-ray14 that none of the three networks was trained on (split by \
patient), sonograms of the part of BUSI that `breast-ultrasound` was not trained on (groups of near-duplicates apart).
- **Audit**: `saliscope.trust.auditing` with Grad-CAM and its defaults, except that things are planted in 20 pictures \
only. It was given every column of the table as it is (`finding_labels`, `age`, `sex`, `view`, `follow_up`, \
`rsna_class`) and the label that the network was made for; nothing says which column matters. Numbers of many values \
are asked in thirds; texts of many values (`finding_labels`) are not asked.
- **Flagged**: a column whose AUC within labels differs from one half by 0.05 or more, whose interval (95 %, bootstrap \
over patients) holds no half, and whose p (permuted within labels) is at most 0.05 after Benjamini and Hochberg.
- **Cards**: the quick tier, Grad-CAM, with the audit of the same network; radiographs: the first by lot that have a \
radiologists' class; sonograms: the first of those that \
[the first results](first-results-breast.md) drew, of which half were sought with text or calipers.
- **Lungs hidden**: found by brightness alone, hidden by two fills; "still called" counts a call that stands with both.
- **Text hidden**: as the audit hides it (filled from its ring), beside up to four places of the same shape.
- **Maps beside outlines**: raw maps on the network's grid, positive part. Radiographs: boxes of opacities; sonograms: \
lesion outlines, each picture explained for its own label. *Mean mask*: the mean outline of all other patients. \
*Untrained*: the same method for the network with all weights drawn anew. Lift: the value over what knowing nothing \
scores. "No outline" pictures are left out and counted, and so is a map that is positive \
nowhere (n says how many are left). Differences are paired by picture, intervals by bootstrap over \
patients or groups. "Called": the network calls the label explained (its threshold; of several labels the first).
"""

CLOSING = """\
## Limits

- The audit bars a method by the mean over 8 images (randomisation) or 12 (fidelity) without asking whether these are \
enough: values that lie on the wrong side of their null by little, and by chance, bar as well. Here they bar Grad-CAM \
for most questions, so that most cards say DO NOT READ for a reason that may be chance.
- One fold, one network of each kind: that the view was found once does not say how often it would be. The smaller \
cohorts are drawn from the same fold and overlap.
- A column that the score follows within labels is a question, not a verdict: text-mined labels and radiologists' \
classes are coarse, and a sicker patient is lying down for the AP view. The audit cannot tell severity from the view.
- A shortcut that is in no column and has no place on the picture is not looked for by anything here.
- The lungs are found by brightness and are wrong where disease is dense; hiding them makes a picture unlike any other.
- The networks for opacities and lesions were guided by boxes or outlines in training: maps of others may lie worse.
- Methods stand with default settings. Few pictures for the slow ones. No correction over the tables of maps.
"""


def short(t: Tables) -> str:
    """Return what is learnt, half a page."""
    return (
        "\n\n".join(
            [
                view_found(t),
                untrained(t),
                compared(t),
                planted_and_hidden(t),
                maps_alone(t),
                without_lungs(t),
                text(t),
                *located(t),
            ]
        )
        + "\n"
    )


def flagged(rows: list[AuditRow]) -> list[AuditRow]:
    """Return what is flagged of some rows, the strongest first."""
    return sorted((r for r in rows if r.flagged), key=lambda r: -abs(r.value - 0.5))


def listed(rows: list[AuditRow]) -> str:
    """Return columns with their AUC in words."""
    return "; ".join(f"{r.name}, {between(r.value, r.low, r.high)}" for r in rows) or "nothing"


def view_found(t: Tables) -> str:
    """Return whether the audit found the view confounder without being told."""
    rows = t.audit(CONFOUNDED, TEXT, "metadata")
    found = flagged(rows)
    view = [r for r in found if r.name.startswith("view")]
    first = bool(view) and found[0] is view[0]
    others = [r for r in found if r not in view]
    sizes = [(s, [r for r in t.smaller if r.size == s]) for s in dict.fromkeys(r.size for r in t.smaller)]
    power = ", ".join(f"{sum('view' in r.flagged for r in rs)} of {len(rs)} with {s}" for s, rs in sizes)
    if not view:
        return f"**The view confounder was not found.** Of {len(rows)} groups flagged: {listed(found)}."
    r = view[0]
    return (
        f"**The view confounder was found unaided{' and named first' if first else ''}.** Of {len(rows)} groups in the "
        f"columns of the table the audit of `{CONFOUNDED}` flags {r.name}: AUC within labels "
        f"{between(r.value, r.low, r.high)}, p adjusted {number(r.adjusted, 3)}, n = {r.n}. Beside it "
        f"{'nothing is flagged' if not others else 'it flags ' + listed(others)}. It takes pictures: of smaller "
        f"cohorts drawn from the same fold the view was flagged in {power}."
    )


def compared(t: Tables) -> str:
    """Return what the audit says of the other networks, so that false alarms show."""
    opacity, view = (flagged(t.audit(n, by, "metadata")) for n, by in ((OPACITY, RSNA), (VIEW, "view")))
    known = find(OPACITY).performance["shipped"]["auc_tells_ap_from_pa_within_class"]["value"]
    return (
        "**It does not tell a network that takes the view for the finding from one in which the view was controlled.** "
        f"Of `{OPACITY}` it flags {listed(opacity)}. The model card has the same number (AP from PA within class: "
        f"{number(known)}), so the score does follow the view; but patients who lie in bed are sicker, and whether the "
        f"network sees the view or the illness the audit cannot say. Of `{VIEW}`, whose question is the view, it flags "
        f"{listed(view)}."
    )


def untrained(t: Tables) -> str:
    """Return what the audit says of networks that learnt nothing."""
    names = list(dict.fromkeys(r.network for r in t.audits if "untrained" in r.network))
    views = [r for r in t.audits if r.network in names and r.name.startswith("view")]
    sizes = sorted(0.5 + abs(r.value - 0.5) for r in views)
    any_ = sum(any(r.flagged for r in t.audits if r.network == n) for n in names)
    return (
        f"**A flag does not say that anything was learnt.** Of {len(names)} networks of the same architecture with "
        f"weights drawn anew the audit flags {any_}, for the view {sum(r.flagged for r in views)}: their AUC for the "
        f"view, whichever way, is {number(sizes[0])} to {number(sizes[-1])}, beside that of `{CONFOUNDED}` above. So "
        "nearly any score follows the view in these pictures, and the rule is held against no such null."
    )


def planted_and_hidden(t: Tables) -> str:
    """Return what planting and hiding marks found."""
    names = [n for n, _ in t.audited]
    marks = [r for r in t.audits if r.section in ("planted", "hidden") and r.flagged and r.network in names]
    said = "; ".join(f"{r.name} ({r.network})" for r in marks) or "none counts against any of the networks"
    own = [r for r in t.audits if r.section == "planted" and r.network == CONFOUNDED]
    strongest = max(own, key=lambda r: abs(r.value))
    return (
        f"**Planted and hidden marks** say nothing of the view, which is none. Flagged: {said}. What moves "
        f"`{CONFOUNDED}` most is '{strongest.name}' ({number(strongest.value)} standard deviations); it does not "
        "count, because only marks in the upper corners do."
    )


def states(t: Tables, network: str) -> str:
    """Return how many maps of a network got which state."""
    counts = Counter(r.state for r in t.cards if r.network == network)
    return ", ".join(f"{counts[s]} {name}" for s, name in STATE_NAMES.items() if counts[s])


def barred(t: Tables, networks: tuple[str, ...]) -> str:
    """Return for which networks the audit bars Grad-CAM, and by which check."""
    found = [
        f"`{r.network}` by {r.name} ({between(r.value, r.low, r.high)}, n = {r.n})"
        for r in t.audits
        if r.network in networks and r.name in ("randomisation", "fidelity") and r.flagged
    ]
    return f"the audit bars Grad-CAM for {'; '.join(found)}" if found else "the audit bars Grad-CAM for none"


def maps_alone(t: Tables) -> str:
    """Return what the maps alone would have shown."""
    parts = []
    for name in (CONFOUNDED, OPACITY, VIEW):
        reasons = Counter(x for r in t.cards if r.network == name for x in r.reasons.split())
        parts.append(f"`{name}` {states(t, name)} (most often by {', '.join(x for x, _ in reasons.most_common(3))})")
    best = sum(r.state == "read-with-care" for r in t.cards) or "none"
    hits = {n: localised_of(t, n, "grad-cam", "hit") for n in (CONFOUNDED, OPACITY)}
    return (
        f"**Maps alone would not have shown it**, and of {len(t.cards)} cards of both data sets {best} say "
        f"{STATE_NAMES['read-with-care']}. States: {'; '.join(parts)}. None of the checks of a map "
        "names the view, which has no place; only the audit does, by the reason `shortcuts`. The states put the "
        f"confounded network first, not last: {barred(t, (CONFOUNDED, OPACITY, VIEW))}. Boxes would "
        f"have raised doubt: the maximum of Grad-CAM lies in a box in {told(hits[CONFOUNDED])} of the boxed pictures "
        f"for `{CONFOUNDED}`, in {told(hits[OPACITY])} for `{OPACITY}`."
    )


def without_lungs(t: Tables) -> str:
    """Return what hiding the lungs says."""
    parts = []
    for name in (CONFOUNDED, OPACITY):
        rows = [r for r in t.lungs if r.network == name]
        called = [r for r in rows if r.score >= r.limit]
        change = mean([r.hidden - r.score for r in rows], [r.patient for r in rows])
        stays = sum(r.hidden_least >= r.limit for r in called)
        parts.append(f"`{name}` {stays} of {len(called)} (mean change of the logit of all {change.n}: {told(change)})")
    return (
        f"**Hiding the lungs misleads here.** The call still stands in: {'; '.join(parts)}. Lungs that are filled from "
        "what surrounds them are white, which is what an opacity looks like: the logit of the honest network rises. So "
        "hiding the lungs would speak against the wrong network; where the fill raises the score it says nothing."
    )


def text(t: Tables) -> str:
    """Return what the audit says of the burnt-in text of BUSI."""
    names = {f"{BREAST}: {label}": label for label in ("benign", "malignant")}
    parts = [
        f'for "{names[r.network]}" {between(r.value, r.low, r.high)} standard deviations beyond other places '
        f"(n = {r.n}, p {number(r.p, 3)}, {'flagged' if r.flagged else 'not flagged'})"
        for r in t.audits
        if r.network in names and r.name == "hidden-burnt-in-text"
    ]
    benign = [r for r in t.text if r.label == "benign"]
    gap = mean([r.elsewhere - r.effect for r in benign], [r.group for r in benign])
    letters = [
        r for r in t.audits if r.network == f"{BREAST}: benign" and r.section == "planted" and r.name.startswith("text")
    ]
    most = max(letters, key=lambda r: r.value)
    return (
        f"**Burnt-in text in BUSI: seen, and rightly called small.** Hiding it: {'; '.join(parts)}; the limit is "
        f'{MOVES / 2}. On benign pictures the logit of "benign" changes by {told(gap)} more than elsewhere '
        f"(n = {gap.n}); [the first results](first-results-breast.md), with another finder and another fill, had "
        f'{first_results()}. Letters planted at the {most.name.removeprefix("text, ")} raise "benign" by '
        f"{number(most.value)} standard deviations (p adjusted {number(most.adjusted, 3)}), the same way; the audit "
        f"tells it and does not count it, because only the upper corners do. Cards: {states(t, BREAST)}, since "
        f"{barred(t, tuple(names))}."
    )


def first_results() -> str:
    """Return what the first results found of erasing text on benign pictures, from their table."""
    with (Path(__file__).parent / "explanation" / "first-results-breast-erased.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if (r["what"], r["label"]) == ("text", "benign")]
    off = {r["picture"]: float(r["logit"]) for r in rows if r["elsewhere"] == "1"}
    own = [r for r in rows if r["elsewhere"] == "0" and r["picture"] in off]
    return told(mean([float(r["logit"]) - off[r["picture"]] for r in own], [int(r["group"]) for r in own]))


def located(t: Tables) -> list[str]:
    """Return for each network with outlines whether maps beat maps that know less."""
    lines = []
    for network in (OPACITY, BREAST):
        beaten: dict[str, list[str]] = {"mean mask": [], "untrained": [], "centre": [], "edges": []}
        methods = kinds(t, network, "trained")
        for method in methods:
            for other, names in beaten.items():
                source = ("untrained", method) if other == "untrained" else ("control", other)
                if sure(gain(t, network, method, source, "auprc", called=False)) > 0:
                    names.append(method)
        best = max(methods, key=lambda m: localised_of(t, network, m, "auprc").number)
        every, called = (localised_of(t, network, best, "auprc", called=c) for c in (False, True))
        empty = sum(r.why == EMPTY for r in t.map_rows(network, "trained", best, called=False))
        said = "; ".join(f"{other} {', '.join(f'`{m}`' for m in names) or 'none'}" for other, names in beaten.items())
        lines.append(
            f"**Maps of `{network}` beside outlines.** Best by AUPRC: `{best}`, {told(every)} "
            f"({number(every.parts['lift'], 1)} times chance; n = {every.n}, {empty} without an outline left out); "
            f"only where the label is called {told(called)} (n = {called.n}). Surely better in AUPRC than: {said}."
        )
    return lines
