"""Does what a map points at matter: areas and spots, on networks that are known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_subjects import (
    LABEL,
    SHAPE,
    A,
    B,
    C,
    D,
    E,
    made,
    network,
    picture,
    smooth,
    subject,
)

from saliscope.core.prediction import Prediction
from saliscope.core.score import Undefined
from saliscope.perturb.plan import run
from saliscope.trust.checks import region
from saliscope.trust.checks.held_against import LIMITS
from saliscope.trust.claim import Claim, claim
from saliscope.trust.interventions.region_test import RegionTest

EVERYWHERE = np.ones(SHAPE, bool)
BINARY = Prediction((LABEL,), (2.0,), (0.88,), "multi-label", (None,))


def asked(image, of, map_, spread: float | None = 2.0, within: np.ndarray = EVERYWHERE):
    """Return the checks of the area and of its spots, the claim, and the tests behind them."""
    with subject(image, of, map_) as s:
        found = claim(map_)
        put = region.ask(s, found, within)
        run([s.plan], s.model, [s.target])
        tests = put.area(), put.core(), tuple(ask() for ask in put.spots)
    area = region.area_matters(tests[0], tests[1], LABEL, "the image", spread)
    return area, region.every_spot_matters(found, tests[2], LABEL, spread), tests


def test_a_map_on_what_the_network_reads_is_supported() -> None:
    area, spots, (test, core, _) = asked(picture(A, B), network({A: 1.0}), smooth(A))
    assert (area.outcome, spots.outcome) == ("supports", "supports")
    assert area.decisive
    assert spots.decisive
    assert area.scores[0].parts["p"] == pytest.approx(1 / (1 + region.NULLS))
    assert area.scores[0].parts["relative"] == pytest.approx(test.score.number / 2.0)
    assert area.scores[0].parts["stronger half"] == core.score.number > 0
    assert "15" not in area.sentence
    assert LABEL in area.sentence


def test_the_stronger_half_is_not_run_elsewhere() -> None:
    _, _, (_, core, spots) = asked(picture(A, B), network({A: 1.0}), smooth(A))
    assert core.nulls == ()
    assert isinstance(core.p, Undefined)
    assert [len(t.nulls) for t in spots] == [region.SPOT_NULLS]


def test_a_map_beside_what_the_network_reads_is_against_however_bright_what_it_shows() -> None:
    area, spots, _ = asked(picture(A, B), network({A: 1.0}), smooth(B))
    assert (area.outcome, spots.outcome) == ("against", "against")


def test_a_map_on_what_lowers_the_score_is_against() -> None:
    area, _, (test, _, _) = asked(picture(A, B), network({A: -1.0, B: 1.0}), smooth(A))
    assert test.score.number < 0
    assert area.outcome == "against"


def test_a_spot_that_does_nothing_is_found_and_named() -> None:
    of = network({A: 1.0})
    area, spots, _ = asked(picture(A, B), of, smooth(A, B, heights=(1.0, 0.5)))
    assert area.outcome != "against"
    assert spots.outcome == "unclear"
    idle = 0.5 * 1 / 1.5
    assert spots.scores[0].number == pytest.approx(idle, abs=0.04)
    assert "2" in spots.sentence
    _, mostly, _ = asked(picture(A, B), of, smooth(A, B, heights=(0.8, 1.0)))
    assert mostly.outcome == "against"
    assert mostly.scores[0].number > LIMITS.mostly_idle


def test_more_spots_than_are_asked_for_are_not_passed_over() -> None:
    places = (A, B, C, D, E)
    map_ = smooth(*places, radius=3.0)
    assert len(claim(map_).spots) == 5
    _, spots, (_, _, tests) = asked(picture(*places), network(dict.fromkeys(places, 1.0)), map_)
    assert len(tests) == region.SPOTS
    assert spots.outcome == "unclear"


def test_the_effect_is_held_against_the_spread_of_the_score() -> None:
    image, of, map_ = picture(A, B), network({A: 1.0}), smooth(A)
    effect = asked(image, of, map_)[2][0].score.number
    limit = effect / LIMITS.moves
    assert asked(image, of, map_, 0.9 * limit)[0].outcome == "supports"
    weak = asked(image, of, map_, 1.1 * limit)[0]
    assert weak.outcome == "unclear"
    assert asked(image, of, map_, None)[0].outcome == "supports", "without an audit beside the score itself"


def test_a_map_whose_stronger_half_does_nothing_is_coarse() -> None:
    map_ = smooth(A, B, heights=(1.0, 1.2))
    area, _, (test, core, _) = asked(picture(A, B), network({A: 1.0}), map_)
    assert area.scores[0].parts["p"] <= LIMITS.chance
    assert core.score.number < LIMITS.core * test.score.number
    assert area.outcome == "unclear"


# -- the rules alone, on tests that are made up ------------------------------------------------------------------------


NONE = (0.0,) * region.NULLS


@pytest.mark.parametrize(
    ("test", "core", "outcome"),
    [
        (made(4.0, NONE), 4.0, "supports"),
        (made(-1.0, NONE), 4.0, "against"),
        (made(0.0, NONE), 4.0, "against"),
        (made(4.0, (9.0,) * region.NULLS), 4.0, "against"),
        (made(4.0, (*NONE[2:], 9.0, 9.0)), 4.0, "unclear"),  # p of 0.15
        (made(4.0, NONE, second=-1.0), 4.0, "unclear"),  # the fills disagree
        (made(4.0, ()), 4.0, "unclear"),  # no room
        (made(4.0, (0.0, 0.0)), 4.0, "unclear"),  # it beat both others there are: nothing speaks against it
        (made(4.0, (0.0, 9.0)), 4.0, "against"),
        (made(LIMITS.moves * 0.9, NONE), 4.0, "unclear"),  # of a spread of 1
        (made(4.0, NONE), LIMITS.core * 3.9, "unclear"),
    ],
)
def test_the_rules_of_an_area(test: RegionTest, core: float, outcome: str) -> None:
    found = region.area_matters(test, made(core, ()), LABEL, "the image", 1.0)
    assert found.outcome == outcome
    assert found.check == "region-test"


def test_each_reason_of_an_area_has_its_own_words() -> None:
    rows = [made(4.0, NONE), made(4.0, NONE, second=-1.0), made(4.0, ()), made(0.1, NONE), made(-1.0, NONE)]
    told = {region.area_matters(t, made(4.0, ()), LABEL, "the image", 1.0).sentence for t in rows}
    assert len(told) == len(rows)


def claimed(*shares: float, speckle: float = 0.0) -> Claim:
    spots = [replace(s, share=share) for s, share in zip(claim(smooth(A, B, C, D)).spots * 2, shares, strict=False)]
    found = claim(smooth(A))
    return replace(found, spots=tuple(spots)) if not speckle else replace(found, spots=tuple(spots[:1]))


@pytest.mark.parametrize(
    ("shares", "gains", "outcome"),
    [
        ((0.6, 0.4), (1.0, 1.0), "supports"),
        ((0.6, 0.4), (1.0, 0.0), "unclear"),
        ((0.4, 0.6), (1.0, 0.0), "against"),
        ((0.6, 0.4), (1.0, -1.0), "unclear"),
        ((1.0,), (0.0,), "against"),
        ((), (), "unclear"),
        ((0.4,), (1.0,), "unclear"),  # the rest is speckle
    ],
)
def test_the_rules_of_spots(shares: tuple[float, ...], gains: tuple[float, ...], outcome: str) -> None:
    found = region.every_spot_matters(claimed(*shares), tuple(made(g, (0.0,)) for g in gains), LABEL, 1.0)
    assert found.outcome == outcome


def test_a_spot_gains_only_what_other_places_like_it_do_not() -> None:
    same = region.every_spot_matters(claimed(1.0), (made(3.0, (3.0, 3.0)),), LABEL, 1.0)
    assert same.outcome == "against"
    assert same.scores[0].parts["spot 1"] == 0.0
