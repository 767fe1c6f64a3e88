"""What Quantus 0.6.0 gets wrong in fidelity, each a test that ours passes; frozen outputs show that it fails them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fidelity_parts import Weighted, drawn, noise, one

from saliscope.metrics import METRICS
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.plan import PerturbationPlan

FROZEN = np.load(Path(__file__).parents[1] / "parity" / "frozen_metrics_fidelity.npz")
ZERO = BaselineFill("zero")


def test_quantus_completeness_asks_floats_to_be_equal():
    """The contributions to a linear network, in float32: complete but for rounding."""
    assert not FROZEN["defect/completeness"].any()
    x = drawn(2).float()
    w = noise(2, 1) + 1
    found = one(METRICS.make("completeness", fill=ZERO), x, Weighted(w[None]), (w.float() * x[0, 0]))
    assert 0 < found.number < 1e-6


@pytest.mark.parametrize("axes", [2, 3])
def test_quantus_infidelity_accumulates_its_perturbations(axes):
    """Every copy of ours is the image but for one subset, a quarter of the segments; theirs end with nothing left."""
    changed = FROZEN["defect/infidelity changed"]
    assert changed[-1] == 1
    assert (np.diff(changed) > 0).all()
    net, x = Weighted(noise(axes, 1)[None]), drawn(axes)
    # A power of two along each axis, so that all boxes are of one size.
    fields = {"segments": {2: 16, 3: 8}[axes], "partition": "grid", "share": 0.25, "samples": 12}
    one(METRICS.make("infidelity", fill=ZERO, **fields), x, net, noise(axes, 2))
    shares = [float((given != x[0]).double().mean()) for given in net.given]
    assert shares.count(0) == 1
    assert {s for s in shares if s} == {0.25}


def test_quantus_infidelity_repeats_one_sweep_for_every_sample():
    """Ten times the forward samples for the same numbers: ours draws anew, and counts what it draws."""
    few, many = FROZEN["defect/infidelity forwards"]
    assert many == 10 * (few - 1) + 1
    assert FROZEN["defect/infidelity values"][0] == pytest.approx(FROZEN["defect/infidelity values"][1], rel=1e-6)
    plan = PerturbationPlan(drawn(2))
    METRICS.make("infidelity", samples=40).ask(plan, noise(2, 1))
    assert plan.planned == 41


def test_quantus_pixel_flipping_needs_a_function_that_numpy_took_away(monkeypatch):
    assert str(FROZEN["defect/pixel-flipping auc"]) == "AttributeError"
    monkeypatch.delattr(np, "trapz", raising=False)
    monkeypatch.delattr(np, "trapezoid", raising=False)
    assert one(METRICS.make("deletion", fill=ZERO), drawn(2), Weighted(noise(2, 1)[None] + 1), noise(2, 2)).defined


@pytest.mark.parametrize("name", ["deletion", "insertion"])
def test_quantus_pixel_flipping_is_not_normalised_and_lacks_the_image_itself(name):
    """Its first score is already of a changed image, and its area grows with the number of steps."""
    assert len(FROZEN["pixel-flipping/2"]) == 20
    x, w, a = drawn(2), noise(2, 1) + 1, noise(2, 2)
    plain, tenfold, finer = (
        one(METRICS.make(name, fill=ZERO, levels=levels), x, Weighted(scale * w[None]), a)
        for scale, levels in ((1, 20), (10, 20), (1, 128))
    )
    assert len(plain.curve) == 21
    assert {plain.curve[0], plain.curve[-1]} == ({(0, 1), (1, 0)} if name == "deletion" else {(0, 0), (1, 1)})
    assert tenfold.number == pytest.approx(plain.number, abs=1e-12)
    assert finer.parts["normalised auc"] == pytest.approx(plain.parts["normalised auc"], abs=0.01)


def test_quantus_pixel_flipping_flips_channels_separately_one_feature_per_step():
    """A step for each element of each channel by default; ours takes all channels of an element away together."""
    assert int(FROZEN["defect/pixel-flipping forwards"]) == 2 * 12 * 10
    x = drawn(2, channels=3)
    net = Weighted(noise(2, 1)[None])
    one(METRICS.make("deletion", fill=ZERO), x, net, noise(2, 2))
    assert len(net.given) == 20 + 1 + 3 * 19
    for given in net.given:
        gone = given == 0
        assert torch.equal(gone.any(0), gone.all(0))
    plan = PerturbationPlan(torch.rand((1, 3, 224, 224), generator=torch.Generator().manual_seed(0)))
    METRICS.make("deletion").ask(plan, torch.rand((224, 224), generator=torch.Generator().manual_seed(1)))
    assert plan.planned == 20 + 1 + 3 * 19
