"""The state of a map is that of its worst decisive check; what was not run is never a pass."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliscope.trust.check import STATES, CheckResult, Outcome, verdict

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
NEEDED = ("a", "b")
BETTER = {state: i for i, state in enumerate(STATES)}


def result(check: str, outcome: Outcome, decisive: bool = True) -> CheckResult:
    return CheckResult(check, "Fidelity", "?", outcome, "It is so.", decisive=decisive)


def expected(results: list[CheckResult], audited: bool, needed: tuple[str, ...]) -> str:
    """Return the state, by the rules as a person would go through them."""
    for r in results:
        if r.decisive and r.outcome == "against":
            return "do-not-read"
    if not audited:
        return "not-assessed"
    for name in needed:
        if not any(r.check == name and r.outcome in ("supports", "unclear", "against") for r in results):
            return "not-assessed"
    for r in results:
        if r.outcome == "against" or (r.decisive and r.outcome == "unclear"):
            return "doubtful"
    return "read-with-care"


results = st.lists(
    st.builds(result, st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(OUTCOMES), st.booleans()), max_size=7
)


def test_every_combination_of_three_checks_has_the_state_of_its_rules() -> None:
    for one, two, three in product(product(OUTCOMES, (True, False)), repeat=3):
        row = [result("a", *one), result("b", *two), result("c", *three)]
        for audited, needed in product((True, False), ((), NEEDED)):
            assert verdict(row, audited=audited, needed=needed).state == expected(row, audited, needed)


@given(results, st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_checks_does_not_matter(row, audited, asked, rng) -> None:
    needed = NEEDED if asked else ()
    mixed = list(row)
    rng.shuffle(mixed)
    one, two = (verdict(r, audited=audited, needed=needed) for r in (row, mixed))
    assert (one.state, one.run, one.applicable) == (two.state, two.run, two.applicable)
    assert {id(r) for r in one.reasons} == {id(r) for r in two.reasons}
    assert one.state == expected(row, audited, needed)


@given(results, st.booleans(), st.sampled_from(["unclear", "against"]), st.booleans())
def test_a_further_check_that_did_not_pass_never_betters_the_state(row, audited, outcome, decisive) -> None:
    # Of a name that is not needed: one that is turns NOT ASSESSED into something known, which is no better either.
    before = verdict(row, audited=audited, needed=NEEDED).state
    after = verdict([*row, result("e", outcome, decisive)], audited=audited, needed=NEEDED).state
    worst = after == "do-not-read"
    assert worst or BETTER[after] >= BETTER[before] or before == after
    assert not (before != "read-with-care" and after == "read-with-care")


@given(results, st.integers(0, 6))
def test_a_check_that_turns_out_worse_never_betters_the_state(row, at) -> None:
    if not row:
        return
    at %= len(row)
    worse: dict[str, list[Outcome]] = {"supports": ["unclear", "against", "not-run"], "unclear": ["against"]}
    before = verdict(row, audited=True, needed=("a", "b", "c", "d")).state
    for outcome in worse.get(row[at].outcome, []):
        changed = [*row[:at], result(row[at].check, outcome, row[at].decisive), *row[at + 1 :]]
        after = verdict(changed, audited=True, needed=("a", "b", "c", "d")).state
        assert after == "do-not-read" or BETTER[after] >= BETTER[before]


@given(results)
def test_without_an_audit_nothing_better_than_not_assessed_is_said(row) -> None:
    assert verdict(row, audited=False).state in ("not-assessed", "do-not-read")


@pytest.mark.parametrize("outcome", ["not-run", "not-applicable"])
def test_a_needed_check_that_was_not_run_is_no_pass(outcome: Outcome) -> None:
    row = [result("a", "supports"), result("b", outcome)]
    found = verdict(row, audited=True, needed=NEEDED)
    assert found.state == "not-assessed"
    assert found.reasons == (row[1],)
    assert verdict(row[:1], audited=True, needed=NEEDED).state == "not-assessed", "a check that is not even there"
    assert (found.run, found.applicable) == (1, 2 if outcome == "not-run" else 1)


def test_the_reasons_are_what_brought_the_state_about() -> None:
    forbids, doubts, weak = result("a", "against"), result("b", "unclear"), result("c", "against", decisive=False)
    assert verdict([forbids, doubts, weak], audited=True).reasons == (forbids,)
    assert verdict([doubts, weak, result("d", "unclear", decisive=False)], audited=True).reasons == (doubts, weak)
    assert verdict([result("a", "supports")], audited=True).reasons == ()
    assert verdict([result("a", "supports")], audited=True).state == "read-with-care"


def test_described_is_plain_and_whole() -> None:
    told = result("a", "unclear", decisive=False).described()
    assert told == {
        "check": "a", "heading": "Fidelity", "question": "?", "outcome": "unclear", "sentence": "It is so.",
        "decisive": False, "threshold": "", "scores": [], "samples": 0,
    }  # fmt: skip
