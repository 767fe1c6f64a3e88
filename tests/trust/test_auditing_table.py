"""Columns of a cohort's table that the score follows within a label: found where planted, rarely where shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from saliscope.metrics.statistics.bootstrap import clustered
from saliscope.trust.auditing import shortcuts
from saliscope.trust.auditing.material import Material


def tabled(
    scores: np.ndarray, labels: Sequence[object], columns: dict[str, Sequence[object]], patients: Sequence[object] = ()
) -> Material:
    items = [
        SimpleNamespace(columns={"label": str(labels[i]), **{n: str(v[i]) for n, v in columns.items()}})
        for i in range(len(scores))
    ]
    own = list(patients) or list(range(len(scores)))
    return SimpleNamespace(items=items, scores=scores, patients=own, seed=0)  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(6))
def test_the_auc_within_labels_is_that_over_pairs_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.integers(0, 6, 40) / 2, rng.integers(0, 2, 40), rng.integers(0, 3, 40)], axis=1)
    wins = pairs = 0.0
    for a in rows:
        for b in rows:
            if a[1] == 1 and b[1] == 0 and a[2] == b[2]:
                pairs += 1
                wins += 1.0 if a[0] > b[0] else 0.5 if a[0] == b[0] else 0.0
    assert shortcuts._within(rows) == pytest.approx(wins / pairs, rel=1e-12)
    assert np.isnan(shortcuts._within(np.array([[1.0, 1, 0], [2.0, 0, 1]]))), "no pair has one label"


def test_a_planted_confounder_is_found_and_the_label_itself_is_none() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    site = (rng.random(80) < 0.5).astype(int)
    scores = 2.0 * labels + 1.5 * site + rng.normal(size=80)
    columns = {
        "site": ["north" if s else "south" for s in site],
        "diagnosis": labels.tolist(),
        "shift": rng.integers(0, 2, 80).tolist(),
        "name": [f"n{i}" for i in range(80)],
        "empty": [""] * 80,
        "rare": ["x"] * 3 + ["y"] * 77,
    }
    found = {f.column: f for f in shortcuts.metadata(tabled(scores, labels, columns))}
    flagged = [c for c, f in found.items() if f.flagged]
    assert [c.partition(" = ")[0] for c in flagged] == ["site"]
    assert {c.partition(" = ")[0] for c in found} == {"site", "shift"}
    (score,) = found[flagged[0]].scores
    assert abs(score.number - 0.5) > shortcuts.APART
    assert score.interval is not None
    assert score.n == 80


def test_what_only_goes_with_the_label_is_no_confounder() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 120)
    site = np.where(rng.random(120) < 0.85, labels, 1 - labels)
    found = shortcuts.metadata(tabled(3.0 * labels + rng.normal(size=120), labels, {"site": site.tolist()}))
    assert [f.flagged for f in found] == [False]


def test_a_shuffled_column_is_rarely_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "FLIPS", 99)
    monkeypatch.setattr(shortcuts, "clustered", lambda *a, **more: clustered(*a, **{**more, "draws": 250}))
    flagged = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 40)
        m = tabled(labels + rng.normal(size=40), labels, {"site": rng.integers(0, 2, 40).tolist()})
        flagged += any(f.flagged for f in shortcuts.metadata(m))
    assert flagged / 200 <= 0.05 + 1.645 * np.sqrt(0.05 * 0.95 / 200)
    assert flagged > 0, "a test that never errs finds nothing either"


def test_images_of_one_patient_do_not_count_as_many() -> None:
    rng = np.random.default_rng(4)
    site = np.repeat([0, 1] * 6, 8)
    scores = np.repeat(rng.normal(size=12) + 0.9 * np.array([0, 1] * 6), 8) + 0.01 * rng.normal(size=96)
    patients = np.repeat(np.arange(12), 8).tolist()
    columns = {"site": site.tolist()}
    (alone,) = shortcuts.metadata(tabled(scores, ["0"] * 96, columns))
    (together,) = shortcuts.metadata(tabled(scores, ["0"] * 96, columns, patients))
    one, many = together.scores[0].interval, alone.scores[0].interval
    assert one.high - one.low > 2 * (many.high - many.low)
    assert alone.flagged
    assert not together.flagged
