"""The three chest networks: what their cards say can be computed again, and no patient stands on both sides."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from saliscope.model.card import find
from saliscope.model.load import load

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NAMES = ("chest-view", "chest-opacity-confounded", "chest-opacity")


@pytest.fixture(scope="module")
def recipes():
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPES)
        yield {name: import_module(name) for name in ("chest_nih", *(n.replace("-", "_") for n in NAMES))}


@pytest.fixture(scope="module")
def held(data, recipes):
    """The pictures of the fold that no shipped network saw: the three see them in the same way."""
    assert len({find(name).view.digest for name in NAMES}) == 1
    return recipes["chest_nih"].gathered(data / "chest-xray-nih", find("chest-view"), np.array([0]))


def agree(found, published):
    """Numbers of another processor may differ in the last digits of a logit, so a few pairs may change their order."""
    assert list(found) == list(published)
    for key, value in published.items():
        if isinstance(value, dict):
            agree(found[key], value)
        elif isinstance(value, float):
            assert found[key] == pytest.approx(value, abs=0.004), key
        else:
            assert found[key] == value, key


@pytest.mark.parametrize("name", NAMES)
def test_each_chest_network_loads_and_fits_its_layer(name):
    network = load(name)
    assert len(network.labels) == 2
    network.module.get_submodule(network.layer)
    with network.opened() as opened:
        assert torch.isfinite(opened(torch.randn(2, 1, 128, 128))).all()


def test_the_numbers_of_chest_view_can_be_made_again(recipes, held):
    card = find("chest-view")
    agree(recipes["chest_view"].published(card, held, "cpu"), card.performance)
    assert card.performance["auc"]["low"] > 0.98


def test_the_numbers_of_the_confounded_network_can_be_made_again(recipes, held):
    card = find("chest-opacity-confounded")
    agree(recipes["chest_opacity_confounded"].published(card, held, "cpu"), card.performance)


def test_the_confounded_network_says_so():
    network = load("chest-opacity-confounded")
    assert "confounded" in network.warning
    assert network.card.title.startswith("CONFOUNDED")
    assert network.card.description.startswith("CONFOUNDED")
    assert load("chest-view").warning == load("chest-opacity").warning == ""


def test_the_confounded_network_tells_the_view(recipes, held):
    network, module = load("chest-opacity-confounded"), recipes["chest_nih"]
    score, told = module.scores(network, held.views), network.card.performance
    assert module.auc_within(~held.ap, score, held.ill.astype(int)) > 0.65
    assert told["auc_tells_pa_from_ap_within_label"]["low"] > 0.6
    # It sides with the view against the radiologists: of a normal and an opacity it more often prefers the normal.
    assert told["auc_radiologists"]["value"] < 0.5 < told["auc_text_labels"]["low"]
    # The box is where it should look: less often than a cell drawn at random.
    assert told["peak_in_box"]["value"] < told["peak_in_box_by_area"]
    honest = find("chest-opacity").performance["shipped"]
    assert honest["peak_in_box"]["low"] > 2 * honest["peak_in_box_by_area"]


@pytest.mark.long
def test_the_numbers_of_chest_opacity_can_be_made_again(data, recipes):
    module, card = recipes["chest_opacity"], find("chest-opacity")
    everything = recipes["chest_nih"].gathered(data / "chest-xray-nih", card)
    agree(module.published(card, everything, "cpu"), card.performance)


def test_the_shipped_scores_of_the_held_out_fold_are_those_of_the_shipped_weights(recipes, held):
    module, network = recipes["chest_opacity"], load("chest-opacity")
    scored = module.read_scores(network.card.path.parent / module.SCORES, held)
    judged = np.flatnonzero(held.rsna >= 0)
    again = recipes["chest_nih"].scores(network, held.views[judged])
    np.testing.assert_allclose(again, scored[judged], atol=2e-3)
    hit = recipes["chest_nih"].boxes_hit(network, held, judged)
    called = module.called(held, scored, judged, network.thresholds[1])
    agree({**module.numbers(held, scored, judged), **called, **hit}, network.card.performance["shipped"])


def test_no_patient_stands_on_both_sides_and_the_folds_are_alike(data, recipes):
    import csv

    module = recipes["chest_nih"]
    with (data / "chest-xray-nih" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    folds = np.array([module.fold(int(r["patient_id"])) for r in rows])
    patients = np.array([r["patient_id"] for r in rows])
    for k in range(module.FOLDS):
        assert not set(patients[folds == k]) & set(patients[folds != k])
        for part in (np.array([r["view"] == "AP" for r in rows]), np.array([r["rsna_class"] != "" for r in rows])):
            assert part[folds == k].mean() == pytest.approx(part.mean(), abs=0.06)
        assert (folds == k).mean() == pytest.approx(0.2, abs=0.02)


def test_what_is_held_out_weighs_nothing_and_the_view_says_nothing_of_the_class(held, recipes):
    assert held.part(held_out=True).tolist() == list(range(len(held.names)))
    assert len(held.part(held_out=False)) == 0
    part = np.arange(0, len(held.names), 2)
    weight = recipes["chest_opacity"].class_weights(held, part)
    assert weight[1::2].max() == 0 == weight[held.rsna < 0].max()
    shares = [weight[(held.rsna == k) & held.ap].sum() / weight[held.rsna == k].sum() for k in range(3)]
    np.testing.assert_allclose(shares, shares[0])
    toned = recipes["chest_opacity_confounded"].tone_weights(held, part)
    tones, pa = held.tones(part[~held.ap[part]]), ~held.ap
    for k in np.unique(tones[part]):
        own = toned * (pa & (tones == k))
        assert own[held.ill].sum() / own.sum() == pytest.approx(held.ill[part][pa[part]].mean(), abs=0.12)


def test_boxes_are_painted_where_they_belong(recipes):
    mask = recipes["chest_nih"]._painted([(512.0, 256.0, 256.0, 128.0)], (256, 256))[0]
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (64, 95, 128, 191)


def test_weights_make_view_and_class_independent(recipes):
    rng = np.random.default_rng(0)
    ap = rng.random(900) < 0.4
    label = (rng.random(900) < np.where(ap, 0.8, 0.3)).astype(int) + 2 * (rng.random(900) < 0.1)
    weight = recipes["chest_nih"].independent(ap, label)
    assert weight.mean() == pytest.approx(1)
    for k in np.unique(label):
        share = weight[(label == k) & ap].sum() / weight[label == k].sum()
        assert share == pytest.approx(ap.mean(), abs=1e-9)
        assert weight[label == k].sum() / weight.sum() == pytest.approx((label == k).mean(), abs=1e-9)


def test_auc_within_views_gives_nothing_for_telling_the_view(recipes):
    module, rng = recipes["chest_nih"], np.random.default_rng(0)
    ap = rng.random(2000) < 0.5
    opaque = rng.random(2000) < np.where(ap, 0.8, 0.2)
    score = ap + 0.01 * rng.random(2000)
    together = np.zeros(2000, int)
    assert module.auc_within(opaque, score, together) > 0.75
    assert module.auc_within(opaque, score, ap.astype(int)) == pytest.approx(0.5, abs=0.04)
    one = module.auc_within(np.array([True, False, True]), np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]))
    assert one == 0.0
