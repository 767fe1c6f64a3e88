"""All checks together: maps that know nothing are never to be read, and the quick tier keeps to its budget."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from made_subjects import A, B, audit, disc, network, picture, subject

from saliscope import METHODS, explain, load
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.region import Region
from saliscope.core.target import LogitTarget
from saliscope.model.network import Network
from saliscope.perturb.plan import PerturbationPlan
from saliscope.phantom.catalogue import phantom_set
from saliscope.study.examining import on_its_layer
from saliscope.trust.audit_card import AuditCard, Cohort
from saliscope.trust.auditing import consistency
from saliscope.trust.auditing.material import Extent, Item, Material
from saliscope.trust.check import CheckResult, verdict
from saliscope.trust.checks import examine as examining
from saliscope.trust.checks import hidden, region, stability
from saliscope.trust.checks.examine import NEEDED, examine
from saliscope.trust.checks.hidden import Decision
from saliscope.trust.claim import claim
from saliscope.trust.regions.find import find
from saliscope.trust.subject import Subject, on_view

torch.set_num_threads(1)
# Some of these networks were shown shortcuts, which their cards say: that is why they are asked.
pytestmark = pytest.mark.filterwarnings("ignore::saliscope.core.errors.NetworkWarning")
TARGET = LogitTarget((1,), ("present",), "binary")
CONTROLS = ("edges", "centre", "random", "constant")
EXTENT = Extent(maps=3, randomised=2)
#: A network, its scene and finding, and the cases that it is asked about, all of which it calls.
ASKED = (
    ("phantom-chest-plain-clean-0", "chest", "nodule", (0, 1)),
    ("phantom-chest-plain-text-95-0", "chest", "nodule", (1,)),
    ("phantom-ultrasound-plain-text-50-0", "ultrasound", "ultrasound-mass", (0,)),
)
EACH = [(name, number) for name, _, _, numbers in ASKED for number in numbers]


@cache
def images(name: str) -> tuple[MedicalImage, ...]:
    scene, finding = next((s, f) for n, s, f, _ in ASKED if n == name)
    made = phantom_set(scene, finding, "text", contamination=0.5, background=0.5, count=3, seed=15, size=128)
    return tuple(case.render() for case in made)


@cache
def loaded(name: str) -> Network:
    return load(name)


@cache
def methods(name: str) -> dict:
    net = loaded(name)
    view = net.viewing(images(name)[0])
    return {m: on_its_layer(m, METHODS.make(m), net, view, TARGET) for m in ("grad-cam", *CONTROLS)}


def material(name: str, method: str) -> Material:
    items = [Item(image, n) for n, image in enumerate(images(name))]
    return Material(items, loaded(name), methods(name)[method], TARGET, Decision("present", 0.0), EXTENT)


@cache
def audited(name: str, method: str) -> AuditCard:
    """Return an audit made for a method, but for the bar that every control is under: each check must do alone."""
    m = material(name, method)
    thresholds = {**consistency.spread(m), **consistency.other_patients(m)}
    e = explain(images(name)[0], loaded(name), METHODS.make(method), "present")
    return AuditCard.made(e, Cohort("phantoms", len(m.items)), (), thresholds=thresholds)


def said_of(name: str, number: int, method: str, *, disguised: bool, foreign: bool = False) -> list[CheckResult]:
    """Return the checks of a map, or of another patient's as if it were of this image."""
    net, image = loaded(name), images(name)[number]
    view = net.viewing(image)
    e = explain(image, net, METHODS.make(method), "present")
    if foreign:
        other = explain(images(name)[(number + 1) % 3], net, METHODS.make(method), "present")
        e = replace(other, prediction=e.prediction, provenance=replace(other.provenance, image=image.digest))
    if disguised:
        e = replace(e, traits=replace(e.traits, family="gradient"))
    found = find(image, view)
    with net.opened() as model:
        s = Subject(
            image, view, e, methods(name)[method], model, TARGET, on_view(e, view), PerturbationPlan(view.tensor),
            found.regions,
        )  # fmt: skip
        return examine(s, audited(name, method), "quick", found.absent)


@pytest.mark.parametrize(("name", "number"), EACH)
def test_maps_that_know_nothing_are_never_to_be_read_with_care(name: str, number: int) -> None:
    for method in CONTROLS:
        for disguised in (False, True):
            results = said_of(name, number, method, disguised=disguised)
            state = verdict(results, audited=True, needed=NEEDED).state
            assert state in ("doubtful", "do-not-read"), f"{method}, {'disguised' if disguised else 'as itself'}"
            assert disguised or state == "do-not-read"
            assert not any(r.check == "method" and r.outcome == "against" for r in results), "not by the bar alone"


@pytest.mark.parametrize(("name", "number"), EACH)
def test_another_patients_map_is_not_to_be_read(name: str, number: int) -> None:
    results = said_of(name, number, "grad-cam", disguised=True, foreign=True)
    assert verdict(results, audited=True, needed=NEEDED).state == "do-not-read"
    assert results[0].check == "integrity"
    assert results[0].outcome == "against"
    assert {r.outcome for r in results if r.check in NEEDED[1:4]} == {"not-run"}


def test_the_checks_do_not_refuse_everything() -> None:
    results = said_of("phantom-chest-plain-clean-0", 0, "grad-cam", disguised=False)
    assert verdict(results, audited=True, needed=NEEDED).state in ("read-with-care", "doubtful")
    assert {r.check for r in results} >= set(NEEDED)


@pytest.mark.parametrize("method", ["edges", "centre", "random"])
def test_the_audit_bars_maps_that_do_not_hear_the_network(method: str) -> None:
    result, barred = consistency.randomisation(material("phantom-chest-plain-clean-0", method))
    assert result.outcome == "against"
    assert barred


# -- on networks that are known by hand --------------------------------------------------------------------------------


def broad(*places: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=(64, 64))
    discs = np.sum([disc(p) for p in places], axis=0) * (1 + 0.01 * noise)
    return discs + 0.95 * discs.sum() / discs.size * (discs == 0) * (1 + 0.01 * noise)


def test_a_right_map_is_read_with_care_and_a_wrong_one_is_not() -> None:
    image, of = picture(A, B), network({A: 1.0}, bias=2.0)
    for at, state in ((A, "read-with-care"), (B, "do-not-read")):
        with subject(image, of, broad(at)) as s:
            results = examine(s, audit(high=-0.5, middle=-0.9), "quick")
        found = verdict([r for r in results if r.check != "shortcuts"], audited=True, needed=NEEDED)
        assert found.state == state, [(r.check, r.sentence) for r in found.reasons]


def test_without_an_audit_it_was_not_assessed() -> None:
    with subject(picture(A, B), network({A: 1.0}, bias=2.0), broad(A)) as s:
        results = examine(s, None, "quick")
    assert verdict(results, audited=False, needed=NEEDED).state == "not-assessed"
    assert next(r for r in results if r.check == "test-retest").outcome == "not-run"
    assert "method" not in {r.check for r in results}


def test_the_same_question_has_the_same_answer() -> None:
    told = []
    for _ in range(2):
        with subject(picture(A, B), network({A: 1.0, B: 0.5}), broad(A, B)) as s:
            told.append([r.described() for r in examine(s, audit(), "quick")])
    assert told[0] == told[1]


def test_what_was_not_found_is_told() -> None:
    with subject(picture(A), network({A: 1.0}), broad(A)) as s:
        results = examine(s, audit(), "quick", absent={"lungs": "no lungs", "markers": "none", "body": "none"})
    told = {r.check: r.outcome for r in results}
    assert told["lungs-hidden"] == told["hidden-markers"] == "not-applicable"
    assert not any("body" in check for check in told)


def test_the_full_tier_asks_more_and_finds_the_same() -> None:
    image, of = picture(A, B), network({A: 1.0}, bias=2.0)
    counts, outcomes = {}, {}
    for tier in ("quick", "full"):
        with subject(image, of, broad(A)) as s:
            results = examine(s, audit(high=-0.5, middle=-0.9), tier)
            counts[tier] = s.model.counts.samples
            outcomes[tier] = [(r.check, r.outcome) for r in results]
            assert sum(r.samples for r in results) == s.model.counts.samples
    assert counts["full"] > counts["quick"] + 80
    assert outcomes["full"] == outcomes["quick"]


# -- the budget --------------------------------------------------------------------------------------------------------

BUDGET = 75


def boxes(*corners: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((224, 224), bool)
    for row, column in corners:
        mask[row : row + size[0], column : column + size[1]] = True
    return mask


def test_the_quick_tier_of_a_densenet_costs_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nets.DenseNet121(spatial_dims=2, in_channels=1, out_channels=2).eval()
    of = Network(module, ("a", "b"), "multi-label", "densenet")
    values = np.random.default_rng(0).random((1, 224, 224)).astype(np.float32)
    image = MedicalImage(
        values, (255 * values).astype(np.uint8), Geometry.of_picture((224, 224)), "CR", "", "0" * 64, "drawn"
    )
    e = explain(image, of, "grad-cam", "a")
    assert e.geometry.shape == (7, 7)
    view = of.viewing(image)
    # The worst case: more spots than are asked for, and everything found that one picture can have.
    small = {
        name: Region(boxes(corner, size=(6, 6)), view.geometry, name, "found")
        for name, corner in zip(hidden.NOT_THE_PATIENT, ((2, 2), (2, 90), (2, 180), (210, 2)), strict=True)
    }
    lungs = Region(boxes((60, 30), (60, 130), size=(100, 60)), view.geometry, "lungs", "found")
    corners = [(r, c) for r in (40, 105, 170) for c in (40, 105, 170)]
    worst = claim(boxes(*corners, size=(10, 10)) * (1 + np.random.default_rng(1).random((224, 224)) / 100) + 1e-4)
    assert len(worst.spots) >= region.SPOTS
    monkeypatch.setattr(examining, "claim", lambda attribution, seed=0: worst)
    target = LogitTarget((0,), ("a",), "multi-label")
    method = on_its_layer("grad-cam", METHODS.make("grad-cam"), of, view, target)
    with of.opened() as model:
        s = Subject(
            image, view, e, method, model, target, on_view(e, view),
            PerturbationPlan(view.tensor), {**small, "lungs": lungs},
        )  # fmt: skip
        results = examine(s, None, "quick")
        counted = model.counts.samples
    most = 1 + 2 + region.NULLS + 1 + region.SPOTS * (1 + region.SPOT_NULLS) + 4 * (1 + hidden.NULLS) + 4
    # The map made again, all copies, the changed images: nothing twice. Equal copies are run once, so it may be less.
    assert most - 8 <= counted - stability.QUICK <= most
    assert most + stability.QUICK <= BUDGET
    assert sum(r.samples for r in results) == counted
    assert {r.check for r in results} >= {"lungs-hidden", *(f"hidden-{n.replace(' ', '-')}" for n in small)}
