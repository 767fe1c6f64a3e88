"""Columns of a cohort's table: the one that the score follows is found without being named, and only that one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from saliscope.trust.auditing.shortcuts import GROUPS, metadata


def material(scores: np.ndarray, **columns: list[str]) -> SimpleNamespace:
    """What the search for columns asks of an audit's material."""
    rows = [{name: values[i] for name, values in columns.items()} for i in range(len(scores))]
    items = [SimpleNamespace(columns=row) for row in rows]
    return SimpleNamespace(items=items, scores=scores, patients=list(range(len(scores))), seed=0)


@pytest.fixture(scope="module")
def cohort() -> tuple[np.random.Generator, list[str], np.ndarray]:
    rng = np.random.default_rng(0)
    return rng, [str(i % 2) for i in range(120)], rng.normal(size=120)


def test_a_column_of_numbers_is_asked_in_thirds(cohort) -> None:
    """An age has more values than there are groups: left out without a word, it could never be found."""
    rng, label, noise = cohort
    age = rng.integers(20, 90, 120)
    assert len(set(age)) > GROUPS
    found = metadata(material(noise + age / 15, label=label, age=[str(a) for a in age]))
    assert len(found) == 3
    assert {f.column for f in found if f.flagged} >= {f.column for f in found if "up to" in f.column}
    assert all(f.scores[0].n == 120 for f in found)


def test_a_column_that_nothing_follows_is_not_flagged(cohort) -> None:
    rng, label, noise = cohort
    columns = {"age": [str(a) for a in rng.integers(20, 90, 120)], "sex": ["F" if i % 3 else "M" for i in range(120)]}
    found = metadata(material(noise, label=label, **columns))
    assert len(found) == 4
    assert not any(f.flagged for f in found)


def test_a_number_that_is_mostly_one_value_still_makes_two_groups(cohort) -> None:
    _, label, noise = cohort
    visit = ["0" if i < 84 else str(i) for i in range(120)]
    found = metadata(material(noise, label=label, visit=visit))
    assert [f.column for f in found] == ["visit = up to 0"]
    assert all(f.scores[0].n == 120 for f in found)


def test_names_and_gaps_are_no_groups(cohort) -> None:
    _, label, noise = cohort
    names = [f"case {i}" for i in range(120)]
    gaps = ["" if i % 2 else str(i) for i in range(120)]
    wards = [f"ward {i % 13}" for i in range(120)]
    found = metadata(material(noise, label=label, name=names, ward=wards, dose=gaps))
    assert {f.column.partition(" = ")[0] for f in found} <= {"dose"}
    assert all(f.scores[0].n <= 60 for f in found)


def test_a_label_that_explains_a_column_clears_it(cohort) -> None:
    """The score follows the label and the view goes with the label: within labels nothing is left."""
    rng, label, noise = cohort
    view = ["AP" if (v == "1") == bool(rng.random() < 0.8) else "PA" for v in label]
    score = noise + 3 * np.array([v == "1" for v in label])
    (within,) = metadata(material(score, label=label, view=view))
    (without,) = metadata(material(score, view=view))
    assert not within.flagged
    assert without.flagged
