"""Networks that nobody drew: a map is that of plain torch, or is refused in a sentence. `-s` shows the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from model.random_kinds import Facts
from property import network_checks, sum_checks
from property.network_checks import NOTHING, Check, Outcome, Subject, applies
from saliscope.core.errors import SaliscopeError

CHECKS: dict[str, Check] = {
    "gradient": network_checks.gradient,
    "suffix": network_checks.suffix,
    "occlusion": network_checks.occlusion,
    "batch": network_checks.batch,
    "cams": network_checks.cams,
    "auto layer": network_checks.auto,
    "cells": network_checks.cells,
    "sum of deeplift": sum_checks.deeplift,
    "sum of integrated gradients": sum_checks.integrated_gradients,
    "sum of lrp": sum_checks.lrp,
    "sum of full-grad": sum_checks.full_grad,
    "unchanged": network_checks.unchanged,
}
#: What no network that torch can differentiate may be refused for.
NEVER_REFUSED = ("gradient", "suffix", "occlusion", "cams", "auto layer", "cells")
QUICK, LONG = range(25), range(400)


def must_answer(facts: Facts, check: str) -> bool:
    """Return whether a refusal is a fault: else a method that refuses everything would pass."""
    if facts.may_refuse:
        return False
    if check.startswith("sum of"):
        # Straight pieces through zero: each of the sums is exact there, whatever stands between.
        return facts.straight and facts.zero_biases
    # A cut of a network in the middle of folded slices is more than the seam promises.
    return check in NEVER_REFUSED and not (check == "suffix" and facts.layout == "folded")


def outcome(check: str, seed: int) -> Outcome:
    """Return how a check of one network ended; any exception but a refusal is a crash."""
    subject = Subject(seed)
    if not applies(subject.facts, check):
        return NOTHING
    try:
        return CHECKS[check](subject)
    except SaliscopeError as refusal:
        may = not must_answer(subject.facts, check)
        return Outcome("refused", str(refusal)) if may else Outcome("mismatch", f"refused: {refusal}")
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return Outcome("crash", f"{type(error).__name__}: {error}")


def judged(check: str, seeds: Iterable[int]) -> list[str]:
    """Return a line for each network that fails a check, and print how many ended how."""
    ended = {seed: outcome(check, seed) for seed in seeds}
    counts = Counter(o.word for o in ended.values())
    print(f"\n{check}: " + ", ".join(f"{n} {word}" for word, n in sorted(counts.items())))  # noqa: T201
    return [f"seed {s}: {o.word}: {o.why[:300]}" for s, o in ended.items() if o.word in ("mismatch", "crash")]


@pytest.mark.parametrize("check", CHECKS)
def test_a_few_random_networks(check: str) -> None:
    wrong = judged(check, QUICK)
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.parametrize("check", CHECKS)
def test_many_random_networks(check: str) -> None:
    wrong = judged(check, LONG)
    assert not wrong, f"{len(wrong)} of {len(LONG)}\n" + "\n".join(wrong)
