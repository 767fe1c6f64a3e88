"""The U-Net, and the hippocampus network that ships: its numbers made again, and what can be asked of it."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from saliscope.core.errors import CardError
from saliscope.core.target import choose
from saliscope.methods import METHODS
from saliscope.model.card import find
from saliscope.model.load import build, load
from saliscope.model.steps import Pad
from saliscope.read import read

NAME = "hippocampus-segmentation"


@pytest.fixture
def recipe(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "recipes")
    return import_module("hippocampus_segmentation")


def small(dimensions, **more):
    torch.manual_seed(0)
    return build("u-net", {"widths": [4, 6, 8], "classes": 3, "dimensions": dimensions, **more}).eval()


def grids(net, x):
    seen = {}
    for name in ("encoder", "decoder"):
        for n, stage in enumerate(net.get_submodule(name)):
            stage.register_forward_hook(lambda _m, _i, out, key=f"{name}.{n}": seen.update({key: tuple(out.shape[1:])}))
    net(x)
    return seen


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_stages_halve_the_grid_and_come_back(dimensions, norm):
    net = small(dimensions, norm=norm, in_channels=2)
    x = torch.randn(2, 2, *(16, 24, 8)[:dimensions])
    assert net(x).shape == (2, 3, *x.shape[2:])
    each = lambda divided: tuple(n // divided for n in x.shape[2:])  # noqa: E731
    assert grids(net, x) == {
        "encoder.0": (4, *each(1)),
        "encoder.1": (6, *each(2)),
        "encoder.2": (8, *each(4)),
        "decoder.1": (6, *each(2)),
        "decoder.0": (4, *each(1)),
    }


def test_every_level_and_its_skip_are_used():
    """Silence one decoder's upper half of inputs (the level below) or lower half (the skip): the logits must change."""
    x = torch.randn(1, 1, 16, 16)
    whole = small(2)(x)
    for n, width in ((0, 4), (1, 6)):
        for part in (slice(None, width), slice(width, None)):
            net = small(2)
            with torch.no_grad():
                net.decoder[n].conv1.weight[:, part] = 0
            assert (net(x) - whole).abs().max() > 1e-4


def test_what_is_skipped_reaches_the_logits_without_the_coarser_grids():
    net = small(2)
    with torch.no_grad():
        for parameter in net.up.parameters():
            parameter.zero_()
    logits = net(torch.randn(1, 1, 24, 24))[..., 8:16, 8:16]
    assert (logits.amax((2, 3)) - logits.amin((2, 3))).min() > 1e-2


def test_a_change_far_away_changes_nothing():
    """The receptive field is finite: batch norm ties no element to all others, which instance norm does."""
    x = torch.randn(1, 1, 96, 16)
    other = x.clone()
    other[:, :, 80:] += 5
    near, far = (abs(small(2)(other) - small(2)(x))[0].amax((0, 2))[place] for place in (slice(80, 96), slice(0, 40)))
    assert near.max() > 0.01
    assert far.max() == 0
    tied = small(2, norm="instance")
    assert abs(tied(other) - tied(x))[0].amax((0, 2))[:40].max() > 1e-3


@pytest.mark.parametrize("size", [(17, 22), (5, 8, 13), (1, 1)])
def test_a_size_that_cannot_be_halved_is_padded_at_its_far_end(size):
    net = small(len(size))
    x = torch.randn(2, 1, *size)
    full = [n + -n % 4 for n in size]
    padded = torch.zeros(2, 1, *full)
    box = (slice(None), slice(None), *map(slice, size))
    padded[box] = x
    assert net(x).shape == (2, 3, *size)
    torch.testing.assert_close(net(x), net(padded)[box], rtol=0, atol=0)


def test_an_unknown_norm_is_refused_with_advice():
    with pytest.raises(CardError, match="ou mean 'batch'"):
        build("u-net", {"norm": "bach"})


def test_the_card_says_what_the_network_is():
    card = find(NAME)
    assert (card.labels, card.output) == (("background", "anterior", "posterior"), "segmentation")
    assert card.licence == "CC-BY-SA-4.0"
    assert "1902.09063" in card.attribution
    assert card.weights_path().stat().st_size <= 1.5e6


def test_the_published_numbers_can_be_made_again(data, recipe):
    card = find(NAME)
    found = recipe.published(card, recipe.gathered(data / "hippocampus-mr", card), "cpu")
    assert found.keys() == card.performance.keys()
    for key, value in card.performance.items():
        if isinstance(value, dict):
            # Another processor rounds otherwise, and an element on a border may change sides.
            assert found[key] == pytest.approx(value, abs=0.002 if "dice" in key else 0.05), key
        elif not isinstance(value, float):
            assert found[key] == value, key
    for part in recipe.PARTS:
        assert found[f"dice_{part}"]["low"] >= 0.80


def test_no_volume_stands_on_two_sides_of_the_split(recipe):
    numbers = np.arange(120)
    parts = recipe.split_by_group(np.zeros(120, np.int64), numbers, recipe.SHARES, recipe.SPLIT_SEED)
    assert [len(p) for p in parts] == [72, 18, 30]
    assert sorted(np.concatenate(parts)) == numbers.tolist()


def test_dice_and_surface_distance_by_hand(recipe):
    truth, found = np.zeros((2, 12, 12, 12), np.int64)
    truth[2:6, 2:6, 2:6] = 1
    found[4:8, 2:6, 2:6] = 1
    assert recipe.dice(found, truth, 1) == pytest.approx(0.5)
    assert recipe.surface_distance_95(found, truth, 1) == pytest.approx(2.0)
    assert recipe.surface_distance_95(truth, truth, 1) == 0
    assert recipe.surface_distance_95(np.zeros_like(truth), truth, 1) == np.inf
    with pytest.raises(ValueError, match="no Dice"):
        recipe.dice(found, truth, 2)


def test_what_training_moves_stays_together_and_keeps_its_size(recipe):
    """The volume and its labels move as one, a ball stays a ball of about its size, and left changes with right."""
    z, y, x = np.indices((48, 56, 48))
    ball = ((z - 23.5) ** 2 + (y - 27.5) ** 2 + (x - 29.5) ** 2 < 64).astype(np.float32)
    torch.manual_seed(0)
    many = torch.from_numpy(np.stack([ball, 1 - ball]))[None].repeat(24, 1, 1, 1, 1)
    moved = recipe.moved(many)
    assert moved.shape == (24, 2, *recipe.WINDOW)
    sums = moved[:, 0].sum((1, 2, 3)) / ball.sum()
    assert sums.min() > (1 + recipe.ZOOM) ** -3 - 0.05
    assert sums.max() < (1 - recipe.ZOOM) ** -3 + 0.05
    inside = moved[:, 0] > 0.99
    assert moved[:, 1][inside].max() < 0.02
    place = (moved[:, 0].sum((1, 2)) * torch.arange(32)).sum(1) / moved[:, 0].sum((1, 2, 3)) - 15.5
    assert (place > 1).any()
    assert (place < -1).any()
    # Anisotropic by no more than the zoom: the grid's three lengths differ, the ball's three widths do not.
    widths = torch.stack([(moved[:, 0] > 0.5).any(a).any(a - 1 if a > 1 else 1).sum(1) for a in (1, 2, 3)], 1)
    assert (widths.max(1).values / widths.min(1).values).max() < (1 + recipe.ZOOM) / (1 - recipe.ZOOM) + 0.15


@pytest.fixture
def case(data):
    torch.set_num_threads(1)
    network = load(NAME)
    image = read(data / "hippocampus-mr" / "images" / "hippocampus_001.nii.gz")
    return network, network.viewing(image)


def test_the_view_is_the_whole_scan_in_the_middle(case, data):
    network, view = case
    image = read(data / "hippocampus-mr" / "images" / "hippocampus_001.nii.gz")
    assert isinstance(network.viewing.steps[-1], Pad)
    assert view.tensor.shape == (1, 1, 48, 56, 48)
    assert view.geometry.spacing == pytest.approx((1, 1, 1))
    np.testing.assert_allclose(view.geometry.centre, image.geometry.centre, atol=0.51)


def test_two_networks_loaded_agree_to_the_bit_and_fit_the_weights():
    torch.set_num_threads(1)
    x = torch.randn(1, 1, 24, 31, 20, generator=torch.Generator().manual_seed(0))
    outputs = []
    for network in (load(NAME), load(NAME)):
        with network.opened() as opened:
            outputs += [opened(x), opened(x)]
    assert outputs[0].shape == (1, 3, 24, 31, 20)
    assert all(torch.equal(outputs[0], other) for other in outputs[1:])


def test_grad_cam_of_a_part_lies_on_that_part(case):
    """Seg-Grad-CAM's question on the last decoder stage: the map's mean on the part is far above that elsewhere."""
    network, view = case
    with network.opened() as opened:
        found = opened(view.tensor).argmax(1)[0]
        for kind in (1, 2):
            target = choose([kind], network.labels, network.kind)
            cam = METHODS.make("grad-cam", layer="decoder.0").attribute(opened, view.tensor, target)[0, 0]
            assert cam[found == kind].mean() > 5 * cam[found != kind].mean()
