"""What perturbation methods may cost: forward samples whatever the targets, copies at once, backward passes."""

import numpy as np
import pytest
import torch

from saliscope.core.target import LogitTarget, choose
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.model.opened import OpenNetwork
from saliscope.perturb.stream import FORWARD
from saliscope.testing.networks import SmallNet, image

LABELS = tuple(f"finding {k}" for k in range(14))

#: name, fields, forward samples for one image of whatever K
FORWARD_ONLY = [
    ("rise", {"samples": 50, "cells": 3, "tolerance": 0}, 51),
    ("lime", {"samples": 50, "segments": 9}, 51),
    ("kernel-shap", {"samples": 50, "segments": 9, "partition": "grid"}, 52),
    ("sobol", {"designs": 5, "cells": 2}, {2: 5 * 5, 3: 5 * 9}),
    ("hsic", {"samples": 50, "cells": 2}, 50),
]


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("targets", [1, 14])
@pytest.mark.parametrize(("name", "fields", "right"), FORWARD_ONLY, ids=lambda v: v if isinstance(v, str) else "")
def test_forward_samples_do_not_grow_with_the_targets(name, fields, right, targets, axes):
    net = SmallNet(axes, classes=14)
    with Network(net, LABELS).opened() as model:
        METHODS.make(name, **fields).attribute(
            model, image(axes, batch=1), choose(range(targets), LABELS, "multi-class")
        )
        assert model.counts.forward_samples == (right if isinstance(right, int) else right[axes])
        assert model.counts.backward_passes == 0


def test_kernel_shap_of_few_segments_runs_every_coalition_once():
    with Network(SmallNet(2), LABELS[:3]).opened() as model:
        method = METHODS.make("kernel-shap", segments=6, partition="grid")
        x = image(2, batch=1)
        count = int(method._labels(x[0]).max()) + 1
        method.attribute(model, x, LogitTarget((0,), LABELS[:1]))
        assert model.counts.forward_samples == 2**count


@pytest.mark.parametrize("name", [n for n, _, _ in FORWARD_ONLY])
def test_the_budget_bounds_the_copies_at_once_and_changes_no_value(name, monkeypatch):
    x = image(2, batch=1)
    largest = []
    run = OpenNetwork._run
    monkeypatch.setattr(OpenNetwork, "_run", lambda self, copies: largest.append(len(copies)) or run(self, copies))
    found = []
    one = x[0].numel() * x.element_size() * FORWARD / 2**20
    fields = next(f for n, f, _ in FORWARD_ONLY if n == name)
    for budget, most in ((1024, 10**6), (3.5 * one, 3)):
        largest.clear()
        with Network(SmallNet(2), LABELS[:3]).opened() as model:
            method = METHODS.make(name, memory_mb=budget, **fields)
            found.append(method.attribute(model, x, LogitTarget((0, 1, 2), LABELS[:3])))
        assert 1 <= max(largest) <= most
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-10 * float(found[0].abs().max()))


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(
    ("name", "fields", "steps", "more"),
    [
        ("meaningful-perturbation", {"steps": 4}, 4, 0),
        # Each mask found, where it lies and moved by thirds; and once the baseline.
        ("extremal-perturbation", {"steps": 4, "areas": (0.1, 0.3)}, 8, 2 * 9 + 2),
    ],
)
def test_one_backward_pass_a_step_for_all_targets_together(name, fields, steps, more, targets):
    with Network(SmallNet(2), LABELS[:3]).opened() as model:
        METHODS.make(name, **fields).attribute(
            model, image(2, batch=1), choose(range(targets), LABELS[:3], "multi-class")
        )
        assert model.counts.forward_samples == 2 + targets * (steps + more)
        assert model.counts.backward_passes == steps


@pytest.mark.parametrize("axes", [2, 3])
def test_rise_stops_when_its_error_is_small_and_says_when(axes):
    x = image(axes, batch=1)
    target = LogitTarget((0, 1, 2), LABELS[:3])
    used = {}
    for tolerance in (0, 0.5, 0.05):
        with Network(SmallNet(axes), LABELS[:3]).opened() as model:
            method = METHODS.make("rise", samples=3000, cells=3, tolerance=tolerance)
            maps = method.attribute_with(model, x, target)
            used[tolerance] = model.counts.forward_samples - 1
            assert any(f"{used[tolerance]:,} of at most 3,000 masks" in n for n in model.notes)
        if used[tolerance] < 3000:
            spread = maps["map"].flatten(2).amax(2) - maps["map"].flatten(2).amin(2)
            assert (maps["variance"].flatten(2).amax(2).sqrt() < tolerance * spread).all()
    assert used[0] == 3000
    assert used[0.5] == 256
    assert used[0.5] < used[0.05] <= 3000
    assert used[0.05] in (512, 1024, 2048, 3000), "looked at when doubled"


@pytest.mark.parametrize("axes", [2, 3])
def test_the_variance_that_rise_gives_is_that_over_seeds(axes):
    x, target = image(axes, batch=1), LogitTarget((0, 1, 2), LABELS[:3])
    maps, variances = [], []
    with Network(SmallNet(axes), LABELS[:3]).opened() as model:
        for seed in range(60):
            method = METHODS.make("rise", samples=150, cells=3, tolerance=0, seed=seed)
            found = method.attribute_with(model, x, target)
            maps.append(found["map"])
            variances.append(found["variance"])
    spread, said = torch.stack(maps).var(dim=0), torch.stack(variances).mean(dim=0)
    ratio = (spread.mean(dim=tuple(range(2, x.ndim))) / said.mean(dim=tuple(range(2, x.ndim))))[0]
    assert ((ratio > 0.7) & (ratio < 1.4)).all(), ratio


def test_shapley_values_sum_to_the_fall_of_the_score():
    x, target = image(3), LogitTarget((0, 1, 2), LABELS[:3])
    with Network(SmallNet(3), LABELS[:3]).opened() as model:
        for fields in ({"segments": 6}, {"segments": 20, "samples": 100}):
            method = METHODS.make("kernel-shap", **fields)
            gap = method.diagnose(model, x, target, method.attribute(model, x, target))["completeness_gap"]
            assert gap.shape == (2, 3)
            assert gap.abs().max() < 1e-9


@pytest.mark.parametrize(
    "name", ["rise", "lime", "kernel-shap", "sobol", "hsic", "xrai", "meaningful-perturbation", "extremal-perturbation"]
)
@pytest.mark.parametrize("axes", [2, 3])
def test_a_constant_image_is_no_trouble(name, axes):
    from quick import QUICK

    x = torch.full((1, 2, *[8] * axes), 2.0, dtype=torch.float64)
    with Network(SmallNet(axes), LABELS[:3]).opened() as model:
        found = METHODS.make(name, **QUICK[name]).attribute(model, x, LogitTarget((0, 1), LABELS[:2]))
    assert found.isfinite().all()
    assert name == "xrai" or found.abs().max() < 1e-6, "nothing was taken away, for the baseline is the image"
