"""Results of checks and both documents, made up, for the four states."""

from __future__ import annotations

from saliscope.core.score import Interval, Score, Undefined
from saliscope.trust.audit_card import AuditCard, Cohort, Finding, Insertion, Threshold
from saliscope.trust.check import CheckResult, Verdict, verdict
from saliscope.trust.explanation_card import ExplanationCard, Reliability
from saliscope.trust.wording import ALWAYS, say

LABEL, WHERE = "lung opacity", "the lungs"
QUESTIONS = {
    "integrity": ("Integrity", "Is there a map at all?", True),
    "test-retest": ("Consistency", "Does the map stay where it is when the image changes slightly?", False),
    "method-agreement": ("Consistency", "Do other explanation methods point to the same place?", False),
    "organ-hidden": ("Plausibility", "Does the model need the organ?", True),
    "hidden-text": ("Plausibility", "Does the model use burnt-in text?", True),
    "region-test": ("Fidelity", "Does the highlighted area matter to the model?", True),
    "randomisation": ("Fidelity", "Does the map depend on the model at all?", True),
    "islands": ("Fidelity", "Does each outlined area matter?", False),
    "keep-alone": ("Fidelity", "Is the highlighted area enough for the model?", False),
}


def score(metric="region-test", value=0.62, null=0.11, n=50, **more) -> Score:
    return Score(metric, value, "higher", null, Interval(0.4, 0.71, "BCa over patients"), n, **more)


def result(check: str, outcome="supports", sentence="", scores=(), threshold="", samples=0) -> CheckResult:
    heading, question, decisive = QUESTIONS[check]
    said = sentence or say("not-run.tier")
    return CheckResult(check, heading, question, outcome, said, threshold, tuple(scores), samples, decisive)


def retest() -> Score:
    ends = Interval(0.71, 0.93, "range over 4 copies", None)
    return Score("rank correlation", 0.86, "higher", 0.34, ends, 4, {"decision changed": 1})


def results(**outcomes: str) -> tuple[CheckResult, ...]:
    """Results in which all is well, but for those named."""
    change = {"label": LABEL, "change": "probability 0.91 to 0.22"}
    said = {
        "integrity": say("integrity.supports"),
        "test-retest": say("test-retest.supports", n=4, changes="brightness, noise, a shift of 2 mm"),
        "method-agreement": say("method-agreement.supports", agree=4, n=5, families=3),
        "organ-hidden": say("organ-hidden.supports", where="both lungs", **change),
        "hidden-text": say("hidden.supports", what="the burnt-in text at the upper right", **change | {"after": 0.9}),
        "region-test": say("region-test.supports", label=LABEL, beaten=49, n=50, where=WHERE),
        "randomisation": say("randomisation.supports", n=40),
    }
    bad = {
        "organ-hidden": say("organ-hidden.against", where="both lungs", **change | {"after": 0.88}),
        "hidden-text": say("hidden.decision", what="the burnt-in text at the upper right", **change),
        "region-test": say("region-test.against", label=LABEL, beaten=21, n=50, where=WHERE),
        "method-agreement": say("method-agreement.against", apart=3, n=5, families=3),
        "randomisation": say("randomisation.barred"),
    }
    scores = {
        "region-test": (score(how=("mean of two fills", "areas drawn from seed 0")),),
        "test-retest": (retest(),),
        "hidden-text": (Score("score change", 0.01, "lower", 0.02, n=50),),
        "organ-hidden": (Score("score change", Undefined("the fills disagree"), "higher", None, n=3),),
    }
    rules = {"region-test": "permutation p at most 0.05 (convention)", "test-retest": "95th percentile of 40 patients"}
    made = []
    for check, sentence in said.items():
        outcome = outcomes.get(check.replace("-", "_"), "supports")
        told = bad.get(check, sentence) if outcome == "against" else sentence
        told = say("not-run.tier") if outcome == "not-run" else told
        kept = () if outcome == "not-run" else scores.get(check, ())
        made.append(result(check, outcome, told, kept, rules.get(check, ""), 10))
    return (*made, result("islands", "not-run"), result("keep-alone", "not-run", say("not-run.tier")))


RELIABILITY = Reliability(7, 240, 0.0586, "phantom study, held-out generator")


def card(found: tuple[CheckResult, ...], *, audited: bool = True, reached: Verdict | None = None, **more):
    return ExplanationCard(
        image="chest-17",
        image_digest="a" * 64,
        model="chest-opacity",
        weights="b" * 64,
        view="c" * 64,
        method="grad-cam",
        fields={"layer": "features.denseblock4", "relu": True},
        layer="features.denseblock4",
        target=LABEL,
        prediction=f"{LABEL}: probability 0.91, at or above the operating threshold of 0.50",
        verdict=reached or verdict(found, audited=audited),
        results=found,
        tier="quick",
        samples=68,
        audit="d" * 64 if audited else "",
        unaudited="" if audited else say("audit.none"),
        always=(*ALWAYS, say("resolution.mm", mm=18)),
        versions={"saliscope": "0.1.0", "torch": "2.10"},
        **more,
    )


def cards() -> dict[str, ExplanationCard]:
    """One card of each state."""
    made = {
        "read-with-care": card(results(), reliability=RELIABILITY),
        "doubtful": card(results(method_agreement="against")),
        "do-not-read": card(results(hidden_text="against", region_test="against")),
        "not-assessed": card(results(randomisation="not-run"), audited=False),
    }
    assert all(name == one.state for name, one in made.items())
    return made


def audit(**changes) -> AuditCard:
    """A model card of explanations with every part filled in."""
    fidelity = Score(
        "deletion",
        0.31,
        "higher",
        0.0,
        Interval(0.22, 0.4, "BCa over patients"),
        40,
        curve=((0.0, 1.0), (0.5, 0.4), (1.0, 0.0)),
    )
    shift = Score("share of decisions changed", 0.6, "lower", 0.0, Interval(0.45, 0.74, "Wilson"), 40)
    told = {"metric": "deletion gap", "value": 0.31, "null": 0.0, "n": 40}
    found = (
        result("randomisation", "supports", say("randomisation.supports", n=40), (score("mprt", 0.12, 0.4),)),
        result("test-retest", "supports", say("retest.supports", **told), (retest(),), "95th percentile of patients"),
        result("region-test", "supports", say("fidelity.supports", **told), (fidelity,)),
        result("organ-hidden", "not-run", say("localisation.no-masks")),
    )
    column = Score("AUC", 0.83, "lower", 0.5, Interval(0.71, 0.93, "BCa over patients"), 40)
    auc = {"column": "view position", "value": 0.83, "low": 0.71, "high": 0.93, "n": 40}
    plain = AuditCard(
        model="chest-opacity",
        weights="b" * 64,
        view="c" * 64,
        method="grad-cam",
        fields={"layer": "auto", "relu": True, "steps": (1, 2), "scale": 1 / 3},
        layer="features.denseblock4",
        target=LABEL,
        cohort=Cohort("cohort.csv", 40, 38, {"no operating point": 2}),
        results=found,
        thresholds={
            "test-retest": Threshold(1 / 3, "95th percentile of maps of different patients", 780),
            "islands": Threshold(Undefined("too few images"), "of this cohort", 0),
        },
        insertions=(
            Insertion(
                "a laterality marker",
                True,
                say("insertion.against", what="a marker", label=LABEL, moved=1.2, k=24, n=40),
                (shift,),
            ),
            Insertion(
                "burnt-in text", False, say("insertion.supports", what="text", label=LABEL, moved=0.1, k=0, n=40)
            ),
        ),
        findings=(Finding("view position", "metadata", True, say("metadata.against", **auc), (column,)),),
        samples=5400,
        versions={"saliscope": "0.1.0"},
    )
    from dataclasses import replace

    return replace(plain, **changes)
