"""Integrity, prediction, hidden marks, stability, and what the audit says: each on maps known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_subjects import (
    LABEL,
    NOISE,
    SHAPE,
    TRAITS,
    A,
    D,
    E,
    audit,
    disc,
    explanation,
    made,
    network,
    picture,
    smooth,
    subject,
)

from saliscope.core.geometry import Geometry
from saliscope.core.prediction import Prediction
from saliscope.core.score import Interval, Score, Undefined
from saliscope.metrics.robustness.test_retest import CHANGED
from saliscope.perturb.plan import run
from saliscope.trust.audit_card import Finding, Insertion
from saliscope.trust.check import CheckResult
from saliscope.trust.checks import hidden, stability
from saliscope.trust.checks.examine import compartment
from saliscope.trust.checks.held_against import LIMITS, OTHERS_HIGH, SPREAD, threshold
from saliscope.trust.checks.hidden import Decision, decision_on
from saliscope.trust.checks.integrity import integrity
from saliscope.trust.checks.of_model import DOUBTED, of_model
from saliscope.trust.checks.prediction import prediction_worth_explaining
from saliscope.trust.checks.resolution import smallest

EVERYWHERE = np.ones(SHAPE, bool)
BINARY = Prediction((LABEL,), (2.0,), (0.88,), "multi-label", (None,))


RNG = np.random.default_rng(6)


# -- hidden ------------------------------------------------------------------------------------------------------------

CALLED = Decision(LABEL, 0.0)


@pytest.mark.parametrize(
    ("effect", "nulls", "decision", "outcome"),
    [
        (6.0, (0.0,) * 3, CALLED, "against"),  # 5.0 falls below 0
        (6.0, (0.0, 0.0, 7.0), CALLED, "supports"),  # another place of the shape does as much
        (LIMITS.moves * 1.1, (0.0,) * 3, CALLED, "unclear"),
        (-LIMITS.moves * 1.1, (0.0,) * 3, CALLED, "unclear"),  # either way
        (LIMITS.moves * 0.9, (0.0,) * 3, CALLED, "supports"),
        (6.0, (0.0,) * 3, Decision(LABEL, None), "unclear"),
        (6.0, (0.0,) * 3, Decision(LABEL, 9.0), "unclear"),  # it was not called before either
    ],
)
def test_the_rules_of_a_mark(effect: float, nulls: tuple[float, ...], decision: Decision, outcome: str) -> None:
    found = hidden.mark_hidden("burnt-in text", made(effect, nulls), decision, 1.0)
    assert found.outcome == outcome
    assert found.check == "hidden-burnt-in-text"


def test_a_network_that_reads_the_text_is_told_from_one_that_does_not() -> None:
    text = np.zeros(SHAPE, bool)
    text[2:6, 4:20] = True
    image = picture(A)
    values = image.values.copy()
    values[0][text] = np.where(np.arange(64) % 2, 250, 90)
    image = replace(image, values=values, display=values.astype(np.uint8))
    for weights, outcome in (({(4, 10): 3.0, A: 0.1}, "against"), ({A: 1.0}, "supports")):
        with subject(image, network(weights, bias=2.0), smooth(A), {"burnt-in text": text}) as s:
            put = hidden.ask_hidden(s)
            run([s.plan], s.model, [s.target])
            found = hidden.mark_hidden("burnt-in text", put.marks["burnt-in text"](), CALLED, 2.0)
        assert found.outcome == outcome


def test_the_organ_hidden_and_the_call_gone_or_not() -> None:
    lungs = disc(A, 12.0)
    for weights, outcome in (({A: 1.0}, "supports"), ({D: 1.0}, "against")):
        with subject(picture(A, D), network(weights, bias=2.0), smooth(A), {"lungs": lungs}) as s:
            put = hidden.ask_hidden(s)
            run([s.plan], s.model, [s.target])
            test = put.organs["lungs"]()
        found = hidden.organ_hidden("lungs", test, CALLED)
        assert (found.outcome, found.decisive, found.check) == (outcome, False, "lungs-hidden")
        assert hidden.organ_hidden("lungs", test, Decision(LABEL, 1e9)).outcome == "not-applicable"
        assert hidden.organ_hidden("lungs", test, Decision(LABEL, None)).outcome == "not-applicable"
        split = replace(test, hidden={"one": -1.0, "two": 1.0})
        assert hidden.organ_hidden("lungs", split, CALLED).outcome == "unclear"


def test_what_is_too_large_to_compare_or_is_not_there_is_not_asked() -> None:
    large, none = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    large[:9] = True
    assert large.mean() > hidden.COMPARABLE
    with subject(picture(A), network({A: 1.0}), smooth(A), {"shutters": large, "markers": none}) as s:
        put = hidden.ask_hidden(s)
    assert put.marks == put.organs == {}
    said = hidden.none_found("lungs", "they were not found")
    assert (said.outcome, said.check) == ("not-applicable", "lungs-hidden")
    assert hidden.none_found("markers", "none").check == "hidden-markers"


@pytest.mark.parametrize(
    ("known", "limit"), [(None, 0.0), (0.5, 0.0), (0.9, np.log(9)), (0.0, np.log(1e-6)), (1.0, np.log(1e6))]
)
def test_a_label_is_called_from_the_logit_of_its_threshold_on(known: float | None, limit: float) -> None:
    found = decision_on(replace(BINARY, thresholds=(known,)), LABEL)
    assert found.limit == pytest.approx(limit, abs=1e-4)
    assert decision_on(replace(BINARY, kind="multi-class"), LABEL).limit is None
    assert decision_on(BINARY, "another").limit is None


def test_other_places_are_looked_for_in_the_patient_where_found() -> None:
    body, small = disc(E, 28.0), disc(E, 5.0)
    for regions, words in (({"body": body}, "the body"), ({"body": small}, "the image"), ({}, "the image")):
        with subject(picture(A), network({A: 1.0}), smooth(A), regions) as s:
            where, within = compartment(s)
        assert where == words
        assert (within == (body if words == "the body" else EVERYWHERE)).all()


# -- integrity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("map_", "traits"),
    [
        (np.zeros(SHAPE), TRAITS),
        (np.full(SHAPE, 2.0), TRAITS),
        (-np.abs(NOISE), TRAITS),
        (np.where(NOISE > 2, np.nan, NOISE), TRAITS),
        (np.where(NOISE > 2, np.inf, NOISE), TRAITS),
        (NOISE, replace(TRAITS, family="control")),
    ],
    ids=["zero", "one value", "nothing positive", "nan", "infinite", "control"],
)
def test_what_is_no_map_is_refused(map_: np.ndarray, traits) -> None:
    found = integrity(explanation(map_, BINARY, traits), map_, map_)
    assert found.outcome == "against"
    assert found.decisive


def test_a_foreign_map_is_refused_and_its_own_is_not() -> None:
    own = explanation(NOISE, BINARY)
    assert integrity(own, NOISE, NOISE).outcome == "supports"
    assert integrity(own, NOISE, 3 * NOISE + 1e-4).outcome == "supports", "rounding and scale are no other map"
    for foreign in (np.roll(NOISE, 1, 0), -NOISE, NOISE[::-1], np.zeros(SHAPE), NOISE + RNG.normal(0, 0.3, SHAPE)):
        found = integrity(own, NOISE, foreign)
        assert found.outcome == "against"
    sentences = {integrity(own, m, NOISE).sentence for m in (NOISE, np.zeros(SHAPE), np.roll(NOISE, 1, 0))}
    assert len(sentences) >= 2


# -- prediction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "threshold_", "outcome"),
    [
        (0.9, None, "supports"), (0.1, None, "against"), (0.5, None, "unclear"), (0.49, None, "against"),
        (0.3, 0.2, "supports"), (0.3, 0.4, "against"), (0.011, 0.01, "unclear"), (0.02, 0.01, "supports"),
    ],
)  # fmt: skip
def test_a_label_that_is_not_called_has_nothing_to_show(p: float, threshold_: float | None, outcome: str) -> None:
    found = prediction_worth_explaining(replace(BINARY, probabilities=(p,), thresholds=(threshold_,)), LABEL)
    assert found.outcome == outcome


def test_of_classes_that_exclude_each_other_the_strongest_is_called() -> None:
    said = Prediction(("a", "b", "c"), (1, 2, 0), (0.3, 0.45, 0.25), "multi-class", (None,) * 3)
    assert prediction_worth_explaining(said, "b").outcome == "supports"
    assert prediction_worth_explaining(said, "a").outcome == "against"
    near = replace(said, probabilities=(0.41, 0.42, 0.17))
    assert prediction_worth_explaining(near, "b").outcome == "unclear"


@pytest.mark.parametrize("kind", ["segmentation", "regression"])
def test_what_is_no_label_with_a_probability_is_not_judged_by_one(kind) -> None:
    assert prediction_worth_explaining(replace(BINARY, kind=kind), LABEL).outcome == "not-applicable"
    assert prediction_worth_explaining(BINARY, "a contrast").outcome == "not-applicable"
    assert prediction_worth_explaining(replace(BINARY, probabilities=None), LABEL).outcome == "not-applicable"


# -- stability ---------------------------------------------------------------------------------------------------------


def retest(value: float | Undefined, n: int = 4, changed: int = 0) -> Score:
    ends = None if isinstance(value, Undefined) else Interval(value, value, "range over perturbations", None)
    told = {CHANGED: changed} if changed else {}
    return Score("test-retest", value, "higher", None, ends, n, told, how=("a rule", "perturbations: noise"))


@pytest.mark.parametrize(
    ("score", "high", "middle", "outcome"),
    [
        (retest(0.8), 0.7, 0.3, "supports"),
        (retest(0.7), 0.7, 0.3, "unclear"),
        (retest(0.3), 0.7, 0.3, "against"),
        (retest(0.8), 0.9, 0.85, "against"),  # what holds of one set of maps does not of another
        (retest(0.9), None, 0.3, "not-run"),
        (retest(0.9), 0.7, None, "not-run"),
        (retest(0.1), None, None, "not-run"),
        (retest(0.9, n=2, changed=2), 0.7, 0.3, "unclear"),
        (retest(0.9, n=3, changed=1), 0.7, 0.3, "supports"),
        (retest(Undefined("none left"), n=0, changed=4), 0.7, 0.3, "unclear"),
        (retest(Undefined("a zero map"), n=0), 0.7, 0.3, "unclear"),
    ],
)
def test_the_rules_of_stability(score: Score, high: float | None, middle: float | None, outcome: str) -> None:
    found = stability.judged(score, high, middle, 6)
    assert found.outcome == outcome
    assert found.samples == 6


def test_stability_is_held_against_the_audit_and_not_run_without_one() -> None:
    map_ = disc(A, 12.0) * (1 + 0.1 * NOISE) + 0.01 * NOISE
    with subject(picture(A), network({A: 1.0}), map_) as s:
        assert stability.stability(s, None).outcome == "not-run"
        value = stability.stability(s, audit()).scores[0].number
        kinds = ((value - 0.01, value - 0.1), (value + 0.01, value - 0.1), (value + 0.1, value + 0.01))
        found = [stability.stability(s, audit(high=h, middle=m)).outcome for h, m in kinds]
    assert found == ["supports", "unclear", "against"]


def test_a_map_and_an_output_that_are_known_are_not_made_again() -> None:
    from saliscope.metrics.remade import maps_and_outputs

    with subject(picture(A), network({A: 1.0}), smooth(A)) as s:
        own = maps_and_outputs(s.model, s.method, s.view.tensor, s.target)
        before = s.model.counts.samples
        plain = stability.stability(s, audit())
        middle = s.model.counts.samples
        spared = stability.stability(s, audit(), own=own)
        after = s.model.counts.samples
    assert (after - middle, middle - before) == (stability.QUICK, stability.QUICK + 2)
    assert spared.scores[0].number == plain.scores[0].number
    assert spared.outcome == plain.outcome


# -- what the audit says -----------------------------------------------------------------------------------------------


def of_check(check: str, outcome: str) -> CheckResult:
    return CheckResult(check, "Fidelity", "?", outcome, f"{check} said so.")  # type: ignore[arg-type]


def test_a_barred_method_forbids_and_says_why() -> None:
    first, *_ = of_model(audit(barred="Maps do not change."))
    assert (first.check, first.outcome, first.decisive) == ("method", "against", True)
    assert "maps do not change" in first.sentence
    assert of_model(audit())[0].outcome == "supports"


@pytest.mark.parametrize("check", DOUBTED)
@pytest.mark.parametrize("outcome", ["against", "unclear"])
def test_what_an_audit_doubts_makes_every_map_doubtful(check: str, outcome: str) -> None:
    found = {r.check: r for r in of_model(audit(results=(of_check(check, outcome), of_check("else", "against"))))}
    assert found[f"model-{check}"].outcome == "unclear"
    assert found[f"model-{check}"].decisive
    assert "model-else" not in found
    assert not any(r.check.startswith("model-") for r in of_model(audit(results=(of_check(check, "supports"),))))


def test_a_shortcut_makes_every_map_doubtful_and_none_looked_for_is_not_run() -> None:
    planted = {True: Insertion("a letter", True, "It moved."), False: Insertion("a letter", False, "It did not.")}
    column = Finding("scanner = 2", "metadata", True, "It follows.")
    for more, outcome in (
        ({"insertions": (planted[True],)}, "unclear"),
        ({"insertions": (planted[False],)}, "supports"),
        ({"findings": (column,)}, "unclear"),
        ({}, "not-run"),
    ):
        (found,) = [r for r in of_model(audit(**more)) if r.check == "shortcuts"]
        assert found.outcome == outcome
    assert "a letter" in of_model(audit(insertions=(planted[True],)))[1].sentence


def test_a_threshold_is_a_number_or_nothing() -> None:
    card = audit(spread=3.0)
    assert threshold(card, SPREAD) == 3.0
    assert threshold(None, SPREAD) is None
    assert threshold(card, "another") is None
    none = replace(card.thresholds[OTHERS_HIGH], value=Undefined("too few"))
    assert threshold(replace(card, thresholds={OTHERS_HIGH: none}), OTHERS_HIGH) is None


@pytest.mark.parametrize(
    ("resolution", "unit", "words"),
    [
        (((5.0, 8.0), (20.0, 20.0)), "mm", "findings smaller than about 8 mm."),
        (((1.0, 1.0),), "px", "findings smaller than about 1 element of the image"),
        (((16.0, 12.0),), "px", "findings smaller than about 16 elements of the image"),
        ((), "px", "findings smaller than about 1 element of the image"),
    ],
)
def test_the_card_says_the_least_size_that_the_method_states(resolution, unit, words):
    grid = Geometry.of_picture(SHAPE, (1, 1) if unit == "mm" else None)
    map_ = replace(explanation(disc(A), BINARY), geometry=grid, seen=grid, resolution=resolution)
    assert words in smallest(map_)
    if unit == "px":
        # The network saw it half as fine: the element of the source image stays the unit.
        coarse = replace(map_, seen=grid.on_grid([n // 2 for n in SHAPE]))
        assert smallest(coarse) == smallest(map_)
