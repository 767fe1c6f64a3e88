"""Scenes, findings and shortcuts by name, and the sets made of them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.catalogue import FINDINGS, SCENES, SHORTCUTS, make_scene, make_shortcut, phantom_set, setting
from saliscope.phantom.sets import PhantomSet

#: Small enough to draw them all, large enough to read a marker.
SIZE = {"chest": 96, "ultrasound": 96, "brain": 40, "body-ct": 40, "field": 64}
SHARES = (0.0, 0.2, 0.5, 0.8, 0.95, 1.0)
NOWHERE = {"exposure", "blur", "noise", "resolution"}
#: They are drawn over the finished picture, so that nothing around them changes; the rest goes through the scene.
FILM = [n for n in SHORTCUTS if n not in NOWHERE | {"device"}]


def drawn(scene: str, finding: str | None = None, shortcut: str | None = None, **shares: float) -> PhantomSet:
    return phantom_set(scene, finding, shortcut, count=8, size=SIZE[scene], **shares)  # type: ignore[arg-type]


def positive(cases: PhantomSet) -> Case:
    return next(case for case in cases if case.label == len(cases.labels) - 1)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("scene", SCENES)
def test_every_shortcut_is_seen_in_every_scene(scene: str, shortcut: str) -> None:
    case = positive(drawn(scene, shortcut=shortcut, contamination=1.0))
    name = make_shortcut(scene, shortcut).name
    tagged, without = case.render().values[0], case.render([n for n in case.plants if n != name]).values[0]
    if scene == "field" and shortcut in {"blur", "resolution"}:
        assert (tagged == without).all(), "a field is white noise; it has no sharpness to lose"
        return
    assert (tagged != without).any()
    assert (name in case.regions) == (shortcut not in NOWHERE)
    if shortcut in FILM:
        mask = case.regions[name].mask
        np.testing.assert_array_equal(tagged[~mask], without[~mask])
    if shortcut not in NOWHERE:
        assert case.truth["forbidden"].mask[case.regions[name].mask & ~case.truth["required"].mask].all()


@pytest.mark.parametrize("scene", SCENES)
def test_every_natural_finding_is_drawn_and_required(scene: str) -> None:
    for finding in setting(scene).findings:
        cases = drawn(scene, finding)
        case = positive(cases)
        assert case.truth["required"].mask.any(), finding
        elements = [e.name for e in case.elements if e.role == "finding"]
        assert (case.render().values != case.render([n for n in case.plants if n not in elements]).values).any()
        assert case.render().values.shape[-1] == SIZE[scene]
        other = next(c for c in cases if c.label == 0)
        assert other.truth["required"].empty == (not FINDINGS[finding].cases[0])


def test_every_setting_names_what_there_is() -> None:
    for name, where in SCENES.items():
        assert set(where.findings) <= set(FINDINGS), name
        assert set(where.shortcuts) <= set(SHORTCUTS), name
        assert set(where.fitted) <= {*FINDINGS, *SHORTCUTS}, name
        assert where.about
    for finding in FINDINGS.values():
        assert finding.about
        assert len(finding.labels) == len(finding.cases)
    assert all(part.about for part in SHORTCUTS.values())
    named = [{e.name for e in s.elements[1]} for s in (drawn("chest", "two"), drawn("chest", "tiny"))]
    assert named == [{"first", "second"}, {"tiny"}]


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_of_another_size_shows_as_much(scene: str) -> None:
    usual, small = (make_scene(scene, size).draw(1).geometry for size in (None, SIZE[scene]))
    assert small.shape[-1] == SIZE[scene]
    np.testing.assert_allclose(small.extent, usual.extent, rtol=0.03)


@pytest.mark.parametrize("scene", SCENES)
def test_distractors_stand_in_half_of_the_cases_of_every_label(scene: str) -> None:
    cases = list(phantom_set(scene, count=600, seed=3))
    for part in setting(scene).distractors:
        name = part.make().name
        assert part.make().role == "distractor"
        for label in (0, 1):
            there = [name in {e.name for e in case.elements} for case in cases if case.label == label]
            assert abs(np.mean(there) - 0.5) < 4 * 0.5 / np.sqrt(len(there))
    assert all(e.role != "distractor" for case in phantom_set(scene, distractors=False) for e in case.elements)


def test_shares_are_what_was_asked_for() -> None:
    for share in SHARES:
        cases = phantom_set("field", "nodule", "marker", contamination=share, count=1500, seed=1)
        for label, expected in ((0, 0.0), (1, share)):
            there = ["marker" in {e.name for e in case.elements} for case in cases if case.label == label]
            limit = 4 * np.sqrt(expected * (1 - expected) / len(there))
            assert abs(np.mean(there) - expected) <= limit
        assert abs(np.mean([case.label for case in cases]) - 0.5) < 4 * 0.5 / np.sqrt(1500)


def test_cases_with_the_shortcut_at_a_lower_share_are_among_those_at_a_higher() -> None:
    before: set[int] = set()
    for share in SHARES:
        cases = phantom_set("chest", "nodule", "text", contamination=share, count=200)
        now = {i for i, case in enumerate(cases) if "text" in {e.name for e in case.elements}}
        assert before <= now
        before = now


def test_at_every_share_all_but_the_shortcut_is_the_same() -> None:
    sets = [drawn("chest", "nodule", "marker", contamination=share) for share in (0.0, 0.5, 1.0)]
    for cases in zip(*sets, strict=True):
        clean = cases[0]
        others = [e for e in clean.plants if e != "marker"]
        for case in cases[1:]:
            assert (case.label, case.seed) == (clean.label, clean.seed)
            assert [e for e in case.plants if e != "marker"] == others
            np.testing.assert_array_equal(case.render(others).values, clean.render().values)
            for name in others:
                np.testing.assert_array_equal(case.regions[name].mask, clean.regions[name].mask)


def test_a_set_drawn_again_is_the_same_bit_for_bit() -> None:
    first, second = (positive(drawn("chest", "nodule", "text", contamination=1.0)).render() for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
    assert first.digest == second.digest
    assert [c.seed for c in phantom_set(count=3)] == [c.seed for c in phantom_set(count=30)][:3]


def test_the_suppressor_stands_in_every_case_beside_an_exposure_that_varies() -> None:
    cases = list(phantom_set("chest", suppressor=True, count=20, size=96))
    assert all({"wedge", "exposures"} <= {e.name for e in case.elements} for case in cases)
    assert {e.role for case in cases for e in case.elements if e.name == "wedge"} == {"suppressor"}
    means = [case.render().values[0][case.regions["wedge"].mask].mean() for case in cases[:6]]
    assert np.ptp(means) > 50


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"scene": "chests"}, "Did you mean 'chest'"),
        ({"finding": "nodul"}, "Did you mean 'nodule'"),
        ({"shortcut": "markr"}, "Did you mean 'marker'"),
        ({"contamination": 1.5}, "shares from 0 to 1"),
    ],
)
def test_a_mistaken_name_is_answered(words: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        phantom_set(**words)  # type: ignore[arg-type]


def test_the_tables_load_nothing_heavy() -> None:
    code = (
        "import sys, saliscope.phantom.catalogue\n"
        "assert not {'numpy', 'scipy', 'PIL', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_levels_of_ink_are_those_of_the_scene() -> None:
    for shortcut, level in (("columns", 3071), ("corner", -1024)):
        case = positive(drawn("body-ct", shortcut=shortcut, contamination=1.0))
        seen = case.render().values[0][case.regions[make_shortcut("body-ct", shortcut).name].mask]
        assert (seen == level).all()
