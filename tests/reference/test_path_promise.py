"""Guided IG and Blur IG take the steps that their promised sum needs, and never more than they may."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from saliscope.core.errors import MethodError
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing.networks import SmallNet, image

TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))
AXES = pytest.mark.parametrize("axes", [2, 3])


def run(name, net, x, target=TARGET, **fields):
    method = METHODS.make(name, **fields)
    with Network(net).opened() as model:
        found = method.attribute(model, x, target)
        counts = model.counts.forward_samples
        return found, method.diagnose(model, x, target, found)["completeness_relative_gap"], model.notes, counts


@AXES
@pytest.mark.parametrize("name", ["guided-ig", "blur-ig"])
def test_the_sum_is_within_the_tolerance(name, axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    _, gap, notes, _ = run(name, net, x)
    assert gap.max() <= 0.05
    assert "steps a map" in notes[0]
    assert len(notes) == 1
    # Steps that bring no more are not taken for better ones, and that they did not do is noted.
    _, finer, notes, _ = run(name, net, x, tolerance=0.002)
    assert finer.max() <= gap.max()
    assert finer.max() <= 0.002 or "stopped" in notes[-1]


@AXES
def test_guided_moves_that_count_with_both_ends_miss_less(axes):
    """Of as many steps: with the gradient at the start of each, and with the mean of those at both ends."""
    net, x = SmallNet(axes), image(axes, batch=1)
    _, started, _, _ = run("guided-ig", net, x, steps=64)
    _, both_ends, _, counts = run("guided-ig", net, x, tolerance=10.0)
    assert counts == 2 + 3 * 65
    assert both_ends.mean() < started.mean() / 3


@AXES
def test_guided_ig_by_both_ends_of_a_straight_line_is_the_trapezoid_rule(axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    found, _, _, _ = run("guided-ig", net, x, max_dist=0.0, baseline=0.0, tolerance=10.0)
    places = [(i / 64) * x for i in range(65)]
    right = torch.zeros_like(found)
    for k in range(3):
        slopes = []
        for place in places:
            root = place.clone().requires_grad_()
            slopes.append(torch.autograd.grad(net.eval()(root)[0, k], root)[0])
        mean = sum((a + b) / 2 for a, b in pairwise(slopes)) / 64
        right[0, k] = (x * mean).sum(1)[0]
    torch.testing.assert_close(found, right, rtol=0, atol=1e-9 * float(right.abs().max()))


@pytest.mark.parametrize(("name", "first", "most", "extra"), [("guided-ig", 64, 256, 1), ("blur-ig", 32, 256, 0)])
def test_steps_are_doubled_and_never_more_than_allowed(name, first, most, extra):
    target = LogitTarget((0,), ("first",))
    found, _, notes, counts = run(name, SmallNet(2), image(2, batch=1), target, tolerance=1e-12, max_steps=most)
    runs = [first * 2**i for i in range(6) if first * 2**i <= most]
    assert counts == 2 + sum(n + extra for n in runs)
    assert f"stopped at max_steps={most}" in notes[-1]
    if name == "blur-ig":
        torch.testing.assert_close(found, run(name, SmallNet(2), image(2, batch=1), target, steps=most)[0])


def test_a_network_without_numbers_is_not_run_again_and_again():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)).double()
    with torch.no_grad():
        net[2].weight.fill_(float("nan"))
    for name, counts in (("guided-ig", 2 + 3 * 65), ("blur-ig", 2 + 32)):
        _, gap, _, samples = run(name, net, torch.randn(1, 1, 8, 8, dtype=torch.float64))
        assert gap.isnan().all()
        assert samples == counts


@pytest.mark.parametrize("name", ["guided-ig", "blur-ig"])
@pytest.mark.parametrize("bad", [{"tolerance": 0.0}, {"tolerance": float("nan")}, {"max_steps": 0}])
def test_fields_without_a_meaning_are_refused(name, bad):
    with pytest.raises(MethodError):
        METHODS.make(name, **bad)
