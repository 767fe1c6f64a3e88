"""The two documents: states as the rules say, layouts kept, digests that tell, and never a claim too much."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_cards import LABEL, RELIABILITY, audit, card, cards, result, results

from saliscope.core.errors import CardError
from saliscope.trust.audit_card import AuditCard
from saliscope.trust.check import STATES, Verdict, verdict
from saliscope.trust.explanation_card import ExplanationCard, Reliability
from saliscope.trust.schema import faults, layout
from saliscope.write.record import json_bytes

CARDS = cards()


@pytest.fixture
def record() -> dict:
    return json.loads(json_bytes(CARDS["doubtful"].described()))


@pytest.mark.parametrize("state", STATES)
def test_a_card_of_each_state_keeps_its_layout(state: str) -> None:
    told = json.loads(json_bytes(CARDS[state].described()))
    assert faults(told, "explanation-card") == []
    assert told["state"] == state
    assert told["map_hidden"] == (state == "do-not-read")
    assert told["coverage"]["run"] == sum(c["outcome"] not in ("not-run", "not-applicable") for c in told["checks"])


def test_the_first_words_of_json_are_those_that_the_issue_promises(record: dict) -> None:
    assert set(record) >= {"state", "checks", "coverage", "reasons", "always"}
    for check in record["checks"]:
        assert set(check) >= {"score", "null", "reason"}
    region = next(c for c in record["checks"] if c["check"] == "region-test")
    assert (region["score"], region["null"]) == (0.62, 0.11)
    organ = next(c for c in record["checks"] if c["check"] == "organ-hidden")
    assert organ["score"] == {"undefined": "the fills disagree"}


@pytest.mark.parametrize("state", STATES)
def test_no_grade_and_no_promise(state: str) -> None:
    told = CARDS[state].described()
    text = json.dumps(told).lower()
    assert "trust" not in text
    grades = {"trust", "grade", "rating", "total", "overall", "percent", "confidence"}
    assert not grades & set(re.findall(r'"(\w+)":', text))


def test_reasons_are_sentences_and_what_is_missing_comes_first() -> None:
    assert CARDS["read-with-care"].reasons == ()
    assert "burnt-in text" in CARDS["do-not-read"].reasons[0]
    assert CARDS["not-assessed"].reasons[0].startswith("There is no model card of explanations")


def test_usefulness_is_said_not_to_be_assessed() -> None:
    told = CARDS["read-with-care"].described()["headings_not_assessed"]
    assert set(told) == {"Usefulness"}
    assert "study with readers" in told["Usefulness"]
    nothing = card((result("integrity"),)).described()["headings_not_assessed"]
    assert set(nothing) == {"Consistency", "Plausibility", "Fidelity", "Usefulness"}


def test_a_card_never_claims_more_than_its_results() -> None:
    bad, good = results(region_test="against"), results()
    ran = verdict(good, audited=True)
    with pytest.raises(CardError, match="do-not-read"):
        card(bad, reached=ran)
    with pytest.raises(CardError, match="coverage"):
        card(good, reached=Verdict("read-with-care", (), ran.run + 1, ran.applicable))
    with pytest.raises(CardError, match="not-assessed"):
        card(good, audited=False, reached=ran)
    with pytest.raises(CardError, match="reasons"):
        card(good, reached=Verdict("doubtful", (bad[5],), ran.run, ran.applicable))
    assert card(good, reached=Verdict("not-assessed", (), ran.run, ran.applicable)).state == "not-assessed"


@pytest.mark.parametrize("both", [True, False])
def test_a_card_has_an_audit_or_says_why_not(both: bool) -> None:
    with pytest.raises(CardError, match="neither, or both"):
        replace(CARDS["read-with-care"], audit="d" * 64 if both else "", unaudited="No card." if both else "")


@pytest.mark.parametrize(("k", "n", "upper"), [(3, 2, 1.0), (0, 0, 0.1), (5, 10, 0.4), (-1, 5, 0.5), (1, 5, 1.2)])
def test_a_statement_of_reliability_is_a_count(k: int, n: int, upper: float) -> None:
    with pytest.raises(CardError):
        Reliability(k, n, upper, "study")


def test_the_statement_of_reliability_is_that_of_the_state() -> None:
    told = CARDS["read-with-care"].described()["reliability"]
    assert "7 " in told["sentence"]
    assert "5.9 %" in told["sentence"]
    assert told["n"] == RELIABILITY.n == 240


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"state": "trusted"}, "state"),
        ({"score": 87}, "not known"),
        ({"checks": [{}]}, "has no"),
        ({"audit": {"digest": None, "reason": None}}, "audit"),
        ({"audit": {"digest": None, "reason": "None is there."}}, "audit"),
        ({"state": "do-not-read"}, "map_hidden"),
        ({"coverage": {"run": True, "applicable": 2}}, "boolean"),
        ({"coverage": {"run": -1, "applicable": 2}}, "at least 0"),
        ({"always": []}, "0 items"),
        ({"target": ""}, "empty"),
        ({"schema_version": "2.0"}, "1.0"),
    ],
)
def test_a_broken_explanation_card_is_found(record: dict, change: dict, fault: str) -> None:
    found = faults({**record, **change}, "explanation-card")
    assert any(fault in one for one in found), found


def test_a_score_that_is_no_number_is_found(record: dict) -> None:
    scored = next(c for c in record["checks"] if c["scores"])
    for broken in ("0.5", None, {"undefined": ""}, True):
        scored["scores"][0]["value"] = broken
        assert faults(record, "explanation-card"), broken


def test_an_unknown_word_in_a_layout_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layout("audit-card"), "uniqueItems", True)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="uniqueItems"):
        faults({}, "audit-card")


def test_an_audit_is_read_back_as_it_was(tmp_path: Path) -> None:
    made = audit()
    path = tmp_path / "audit.json"
    path.write_bytes(json_bytes(made.described()))
    assert faults(json.loads(path.read_text()), "audit-card") == []
    again = AuditCard.read(path)
    assert again.digest == made.digest
    assert again.described() == made.described()
    assert again.thresholds["test-retest"].value == pytest.approx(1 / 3, rel=1e-8)
    assert again.shortcuts == made.shortcuts == ("a laterality marker", "view position")
    assert [r.check for r in again.results] == [r.check for r in made.results]
    assert again.results[2].scores == made.results[2].scores


def test_the_digest_of_an_audit_tells_cards_apart() -> None:
    assert audit().digest == audit().digest
    assert len({audit().digest, audit(barred="because").digest, audit(weights="9" * 64).digest}) == 3
    assert audit(fields={"scale": 1 / 3}).method_sha256 == audit(fields={"scale": 0.333333333}).method_sha256


def test_a_file_that_is_no_audit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    told = json.loads(json_bytes(audit().described()))
    for broken, why in (
        ("{", "cannot be read"),
        (json.dumps({**told, "barred": 3}), "layout"),
        (json.dumps({**told, "barred": "Changed by hand."}), "digest"),
        (json.dumps(CARDS["doubtful"].described()), "layout"),
        ("[]", "layout"),
    ):
        path.write_text(broken)
        with pytest.raises(CardError, match=why):
            AuditCard.read(path)
    with pytest.raises(CardError, match="cannot be read"):
        AuditCard.read(tmp_path / "nothing.json")


def explained(**changes):
    """A map as the audit's method would have made it, but for what is changed."""
    from saliscope.core.explanation import Explanation
    from saliscope.core.geometry import Geometry
    from saliscope.core.prediction import Prediction
    from saliscope.core.provenance import Provenance
    from saliscope.methods import METHODS

    own = audit()
    told = {"target": LABEL, "weights": own.weights, "view": own.view, "method": own.method, "layer": own.layer}
    told |= {"fields": own.fields} | changes
    target = told.pop("target")
    p = Provenance(
        image="a" * 64,
        model=own.model,
        target=target,
        layer_reason=None,
        versions={},
        device="cpu",
        **told,
    )
    grid = Geometry.of_picture((2, 2), None)
    prediction = Prediction((LABEL,), (1.0,), (0.73,), "binary", (0.5,))
    values = np.ones((2, 2), np.float32)
    return Explanation(values, grid, grid, target, prediction, METHODS.get("grad-cam").traits, p)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "9" * 64}, "weights"),
        ({"view": "9" * 64}, "preparation"),
        ({"method": "layercam"}, "the method grad-cam"),
        ({"fields": {"relu": False}}, "other fields"),
        ({"layer": "features.denseblock3"}, "layer"),
        ({"target": "effusion"}, "target"),
    ],
)
def test_an_audit_of_something_else_is_no_audit(change: dict, said: str) -> None:
    made = explained(**change)
    assert said in audit().fits(made)
    found = ExplanationCard.of(made, "x", results(), audit=audit(), tier="quick", samples=1)
    assert found.state == "not-assessed"
    assert found.audit == ""
    assert said in found.reasons[0]


def test_an_audit_that_was_stored_fits_the_map_that_it_was_made_of(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_bytes(json_bytes(audit().described()))
    found = ExplanationCard.of(
        explained(),
        "x",
        results(),
        audit=AuditCard.read(path),
        tier="full",
        samples=1,
        reliability={"read-with-care": RELIABILITY},
    )
    assert found.state == "read-with-care"
    assert found.audit == audit().digest
    assert found.reliability == RELIABILITY
    assert "0.73" in found.prediction
    needed = ExplanationCard.of(
        explained(), "x", results(), audit=audit(), tier="full", samples=1, needed=("randomisation", "islands")
    )
    assert needed.state == "not-assessed"


def test_every_field_that_a_pointer_names_is_there() -> None:
    for told in (CARDS["doubtful"].described(), audit().described()):
        for pointer in told["pointers"]:
            assert set(pointer["fields"]) <= set(told), pointer
            assert "conform" not in pointer["asks"]
