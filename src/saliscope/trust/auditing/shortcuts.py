"""adebayo2022: what a model answers to and should not; maps do not show it reliably, so things are put in and hidden.

Marks are planted into the images; marks that are there are hidden; and columns of a table are looked for in the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from saliscope.core.metric import Fill
from saliscope.core.score import Score, Undefined
from saliscope.metrics.statistics.bootstrap import clustered
from saliscope.metrics.statistics.multiple import benjamini_hochberg, holm
from saliscope.metrics.statistics.permutation import permutation_p
from saliscope.perturb.plan import PerturbationPlan, run
from saliscope.trust import wording
from saliscope.trust.audit_card import Finding, Insertion
from saliscope.trust.auditing.material import Floats, Material
from saliscope.trust.check import CheckResult, Outcome
from saliscope.trust.checks.hidden import COMPARABLE, NOT_THE_PATIENT
from saliscope.trust.insertions.audit import InsertionResult, Planted, insertion_audit
from saliscope.trust.insertions.insertion import suited
from saliscope.trust.interventions.fills import RingFill
from saliscope.trust.interventions.region_test import RegionTest, ask_region_test

#: A planted mark that moves the score by so many standard deviations over images counts against the model. Set on
#: drawn images of two scenes: networks with a true share of at most 0.1 reached 0.3, those from 0.3 on 0.8 and more.
MOVES = 0.5
#: Only marks there count: they lie beside the anatomy in most pictures. What is planted elsewhere may look like a
#: finding, or like nothing that the network was ever shown, and networks that are right do react to that.
COUNTS = "upper corner"
#: Of a group in a column there must be so many images with the same label.
LEAST = 8
#: A column of more values is asked in thirds where they are numbers, and not at all where they are names or texts.
GROUPS = 12
#: A column that the score tells apart by so much (AUC) within a label is a finding (seah2021: 0.05 is significant).
APART = 0.05
FLIPS = 999
UNIT = "in standard deviations of the score over images"
FILLS: tuple[Fill, ...] = (RingFill(),)


@dataclass(frozen=True)
class Marks:
    """What hiding the marks of one kind that are there does: the check, and whether it counts against the model."""

    what: str
    result: CheckResult
    flagged: bool


def insertions(
    m: Material,
    moves: float = MOVES,
    ready: Sequence[Planted] | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> tuple[Insertion, ...]:
    """Return what each planted mark does to the score, those that count against the model flagged.

    A mark counts when it stands in an upper corner, moves the score by `moves` standard deviations, and differs from
    the same change without form by Holm's rule over all marks; what moves it elsewhere is told. `ready` are the
    planted views, where another network of one view has them already.
    """
    numbers = m.order[: m.extent.planted] if ready is None else list(range(len(ready[0].inserted)))
    images = [m.items[i].image for i in numbers]
    if not suited(m.items[0].image) or len(numbers) < 2:
        return ()
    found = insertion_audit(
        images,
        m.network,
        m.target,
        plain=m.scores[numbers],
        ready=ready,
        groups=[m.items[i].patient for i in numbers],
        threshold=m.decision.limit or 0.0,
        seed=m.seed,
        said=said,
    )
    m.samples += 2 * len(numbers) * len(found)
    adjusted = holm([1.0 if isinstance(r.p, Undefined) else r.p for r in found])
    return tuple(_insertion(m, r, p, len(numbers), moves) for r, p in zip(found, adjusted, strict=True))


def _insertion(m: Material, r: InsertionResult, p: float, n: int, moves: float) -> Insertion:
    relative = 0.0 if isinstance(r.relative, Undefined) else abs(r.relative)
    flagged = r.family == COUNTS and relative >= moves and p <= 0.05
    outcome = "against" if flagged else "unclear" if relative >= moves and p <= 0.05 else "supports"
    crossed = round(r.crossed * n)
    told = {"label": m.decision.label, "moved": relative, "k": crossed, "n": n}
    said = wording.say(f"insertion.{outcome}", what=f"'{r.name}'", **told)
    return Insertion(r.name, flagged, said, (r.score,))


def marks_hidden(m: Material) -> list[Marks]:
    """Return, for each kind of mark found in images, what hiding it does beside hiding other places of its shape."""
    numbers = m.order[: m.extent.hidden]
    kinds = [k for k in NOT_THE_PATIENT if any(k in m.regions[i].regions for i in numbers)]
    plans: dict[int, PerturbationPlan] = {}
    asked: dict[str, list[tuple[int, object]]] = {k: [] for k in kinds}
    for i in numbers:
        plan = PerturbationPlan(m.views[i].tensor)
        for kind in kinds:
            region = m.regions[i].regions.get(kind)
            if region is None or not 0 < region.share <= COMPARABLE:
                continue
            everywhere = np.ones(region.mask.shape, bool)
            ask = ask_region_test(plan, region.mask, NOT_THE_PATIENT[kind], everywhere, FILLS, nulls=4, side="changes")
            asked[kind].append((i, ask))
            plans[i] = plan
    if not plans:
        return []
    with m.network.opened() as model:
        targets = [m.held(model, plan.x) for plan in plans.values()]
        run(list(plans.values()), model, targets)
        m.samples += model.counts.samples
    tests = {kind: [(i, ask()) for i, ask in some] for kind, some in asked.items()}  # type: ignore[operator]
    return [_marks(m, kind, [(i, t) for i, t in some if t.nulls]) for kind, some in tests.items() if some]


def _marks(m: Material, kind: str, tests: Sequence[tuple[int, RegionTest]]) -> Marks:
    question = f"Does hiding {NOT_THE_PATIENT[kind]} move the score?"
    check, spread = f"hidden-{kind.replace(' ', '-')}", float(m.scores.std())
    if len(tests) < 3:
        said = wording.say("not-run", why=f"{NOT_THE_PATIENT[kind]} was found in {len(tests)} images only")
        return Marks(kind, CheckResult(check, "Plausibility", question, "not-run", said, decisive=False), flagged=False)
    excess = np.array([abs(t.score.number) - float(np.mean(np.abs(t.nulls))) for _, t in tests])
    patients = [m.items[i].patient for i, _ in tests]
    ends = [(t.unchanged, t.unchanged - t.score.number) for _, t in tests]
    crossed = sum(m.decision.changes(before, after) for before, after in ends)
    p = _flipped(excess, m.seed)
    relative = float(excess.mean()) / spread if spread > 0 else 0.0
    how = ("size of the change of the score when it is hidden, less that of other places of its shape", UNIT)
    interval = clustered(excess / (spread or 1.0), patients, seed=m.seed)
    parts = {"p": p, "decisions changed": float(crossed)}
    score = Score("hidden-effect", relative, "neither", 0.0, interval, len(tests), parts=parts, how=how)
    flagged = relative >= MOVES / 2 and p <= 0.05
    told = {"what": NOT_THE_PATIENT[kind], "label": m.decision.label, "k": crossed, "n": len(tests)}
    outcome: Outcome = "against" if flagged else "supports"
    source = (
        f"{MOVES / 2} standard deviations of the score over images beyond other places, p at most 0.05 (convention)"
    )
    said = wording.say(f"marks.{outcome}", **told)
    result = CheckResult(check, "Plausibility", question, outcome, said, source, (score,), decisive=False)
    return Marks(kind, result, flagged)


def metadata(m: Material) -> list[Finding]:
    """Return, for each column of the table, whether the score tells its groups apart among images of one label.

    Every column is asked, so that nobody has to know the confounder beforehand; p-values are adjusted by Benjamini and
    Hochberg. A column counts when the AUC within labels differs from one half by 0.05 and its interval holds no half.
    """
    columns = list(dict.fromkeys(c for item in m.items for c in item.columns if c not in ("label", "patient", "image")))
    found = [(column, *group) for column in columns for group in _groups(m, column)]
    if not found:
        return []
    adjusted = benjamini_hochberg([p for _, _, _, p in found])
    findings = []
    for (column, value, score, _), p in zip(found, adjusted, strict=True):
        ends = score.interval
        sure = ends is not None and (ends.low > 0.5 or ends.high < 0.5)
        flagged = bool(sure and p <= 0.05 and abs(score.number - 0.5) >= APART)
        low, high = (ends.low, ends.high) if ends is not None else (0.0, 1.0)
        told = {"column": f"{column} '{value}'", "value": score.number, "low": low, "high": high, "n": score.n}
        said = wording.say(f"metadata.{'against' if flagged else 'supports'}", **told)
        findings.append(Finding(f"{column} = {value}", "metadata", flagged, said, (score,)))
    return findings


def _groups(m: Material, column: str) -> list[tuple[str, Score, float]]:
    """Return for each value of a column the AUC of the score for it within labels, and its p."""
    values = _thirds([item.columns.get(column, "") for item in m.items])
    counts = {v: values.count(v) for v in dict.fromkeys(values) if v}
    common = [v for v, n in counts.items() if LEAST <= n <= len(values) - LEAST]
    if len(counts) > GROUPS:
        return []  # names and free text are no groups
    if len(common) == 2 and sum(counts.values()) == sum(counts[v] for v in common):
        common = common[:1]  # of two values one says what the other does
    labels = [item.columns.get("label", "") for item in m.items]
    found = []
    for value in common:
        rows = np.array(
            [[s, v == value, hash_of(label, labels)] for s, v, label in zip(m.scores, values, labels, strict=True) if v]
        )
        patients = [p for p, v in zip(m.patients, values, strict=True) if v]
        auc = _within(rows)
        if not np.isfinite(auc):
            continue
        interval = clustered(rows, patients, _within, draws=1000, seed=m.seed)
        rng = np.random.default_rng(m.seed)
        draws = [abs(_within(_shuffled(rows, rng)) - 0.5) for _ in range(FLIPS)]
        p = permutation_p(abs(auc - 0.5), draws)
        how = ("area under the curve of the score for the group, over pairs of images of one label",)
        found.append((value, Score("group-auc", auc, "neither", 0.5, interval, len(rows), parts={"p": p}, how=how), p))
    return found


def _thirds(values: list[str]) -> list[str]:
    """Return a column of more different numbers than groups, such as an age, in thirds; any other as it is."""
    known = [v for v in values if v]
    if len(set(known)) <= GROUPS:
        return values
    try:
        numbers = np.array([float(v) for v in known])
    except ValueError:
        return values
    if not np.isfinite(numbers).all():
        return values
    low, high = (float(end) for end in np.quantile(numbers, [1 / 3, 2 / 3], method="lower"))
    words = (f"up to {low:g}", f"above {low:g} to {high:g}", f"above {high:g}")
    return [words[int(float(v) > low) + int(float(v) > high)] if v else "" for v in values]


def hash_of(label: str, labels: Sequence[str]) -> int:
    """Return the number of a label among those there are."""
    return list(dict.fromkeys(labels)).index(label)


def _within(rows: Floats) -> float:
    """Return the AUC of scores for membership over pairs of images with one label; rows (score, member, label)."""
    wins = pairs = 0.0
    for label in np.unique(rows[:, 2]):
        some = rows[rows[:, 2] == label]
        inside, outside = some[some[:, 1] > 0, 0], np.sort(some[some[:, 1] <= 0, 0])
        # A tie is half a win. No ranks: this is asked some thousand times.
        below = np.searchsorted(outside, inside, "left") + np.searchsorted(outside, inside, "right")
        wins += float(below.sum()) / 2
        pairs += len(inside) * len(outside)
    return wins / pairs if pairs else float("nan")


def _shuffled(rows: Floats, rng: np.random.Generator) -> Floats:
    """Return the rows with the membership shuffled within each label."""
    found = rows.copy()
    for label in np.unique(rows[:, 2]):
        own = np.flatnonzero(rows[:, 2] == label)
        found[own, 1] = rows[rng.permutation(own), 1]
    return found


def _flipped(excess: Floats, seed: int) -> float:
    """Return how often chance, flipping signs, makes the sum as large (one-sided)."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(FLIPS, len(excess)))
    return permutation_p(float(excess.sum()), (signs @ excess).tolist())
