"""The phantom networks: two architectures, and cards whose numbers are made again from the shipped weights."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from saliscope.model.card import find
from saliscope.model.load import build, load
from saliscope.model.shipped import shipped

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
FAMILY = [name for name, path in shipped().items() if find(path).family == "phantom"]


@pytest.fixture
def recipe(monkeypatch):
    from importlib import import_module

    monkeypatch.syspath_prepend(RECIPES)
    return import_module("phantom_networks")


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_plain_net_is_its_blocks_a_mean_and_a_head(dimensions):
    torch.manual_seed(0)
    net = build("plain-net", {"widths": [4, 6], "strides": [2, 1], "pools": [2, 1], "dimensions": dimensions}).eval()
    x = torch.randn(2, 1, *[16] * dimensions)
    spatial = net.blocks(x)
    assert spatial.shape == (2, 6, *[4] * dimensions)
    torch.testing.assert_close(net(x), net.head(spatial.flatten(2).mean(2)))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_dense_net_adds_to_what_it_was_given_and_works_in_place(dimensions):
    torch.manual_seed(0)
    net = build("dense-net", {"stem": 4, "growth": 3, "depths": [2, 1], "dimensions": dimensions}).eval()
    x = torch.randn(2, 1, *[24] * dimensions)
    first = net.features.dense0_0
    given = torch.randn(2, 4, *[5] * dimensions)
    torch.testing.assert_close(first(given.clone())[:, :4], given)
    assert net.features(x).shape == (2, (4 + 2 * 3) // 2 + 3, *[3] * dimensions)
    assert all(m.inplace for m in net.modules() if isinstance(m, nn.ReLU))
    torch.testing.assert_close(net(x), net.head(net.features(x).flatten(2).mean(2)))


def test_every_member_of_the_recipe_is_shipped_and_no_other(recipe):
    assert sorted(m.name for m in recipe.members()) == sorted(FAMILY)


def test_confounded_members_warn_and_the_others_do_not(recipe):
    for member in recipe.members():
        card = find(member.name)
        assert bool(card.warning) == bool(member.contamination)
        assert card.title.startswith("Confounded on purpose") == bool(member.contamination)


def test_numbers_of_a_card_are_made_again_from_its_weights(recipe):
    (member,) = (m for m in recipe.members() if m.name == "phantom-chest-plain-text-95-0")
    agree(recipe.numbers(member, load(member.name)), find(member.name).performance)


@pytest.mark.long
def test_numbers_of_all_cards_are_made_again(recipe):
    torch.set_num_threads(1)
    for member in recipe.members():
        agree(recipe.numbers(member, load(member.name)), find(member.name).performance)


def test_contamination_shows_where_the_shortcut_is_taken_from_the_label():
    """As trained, the AUC cannot tell; taken apart, it falls, and the shortcut's true share grows."""
    for net in ("plain", "dense"):
        cards = [find(f"phantom-chest-{net}-{kind}-0").performance for kind in ("clean", "text-50", "text-100")]
        apart = [c["auc_shortcut_decorrelated"]["value"] for c in cards]
        share = [c["share_shortcut"]["value"] for c in cards]
        assert apart[0] > apart[2] + 0.05
        assert share[0] < share[1] < share[2]
        assert min(c["auc_as_trained"]["value"] for c in cards) > 0.85


def test_whoever_uses_a_confounded_network_is_warned(tmp_path, capsys):
    import saliscope
    from saliscope.cli.main import main
    from saliscope.core.errors import NetworkWarning

    name = "phantom-chest-plain-text-95-0"
    with pytest.warns(NetworkWarning, match="text, 95 %"):
        made = saliscope.explain(torch.rand(1, 1, 128, 128), name, "grad-cam", "present")
    assert "text, 95 %" in made.provenance.warning
    path = tmp_path / "one.png"
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    with pytest.raises(SystemExit) as end:
        main(["explain", str(path), "-m", name, "-q", "-o", str(tmp_path / "out")])
    assert not end.value.code
    assert re.search(r"warning: phantom-chest-plain-text-95-0: .*shortcut", capsys.readouterr().err)
    assert "Warning of the network" in (tmp_path / "out" / "one" / "page.html").read_text()


def agree(found, published):
    """Numbers of another processor may differ in the last digits of a logit, so one case may change its rank."""
    assert set(found) == set(published)
    for key, value in published.items():
        if isinstance(value, dict):
            for part in ("value", "low", "high"):
                assert found[key][part] == pytest.approx(value[part], abs=0.004), key
        else:
            assert found[key] == value, key
