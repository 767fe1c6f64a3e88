"""Perturbation methods against their literal replicas, in float64, 2D and 3D.

Tolerances are shares of the largest value: 1e-12 where only the order of sums differs, 1e-9 where small systems of
equations are solved another way, 1e-4 where the replica takes slopes from differences.
"""

import numpy as np
import pytest
import replica_perturbation as replica
import torch

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.perturbation.hsic import dependence
from saliscope.methods.perturbation.sobol import jansen
from saliscope.methods.perturbation.xrai import gained
from saliscope.model.network import Network
from saliscope.perturb.masks import ShiftedMasks
from saliscope.perturb.segments import segmented
from saliscope.testing.networks import SmallNet, image

LABELS = ("first", "second", "third")
TARGET = LogitTarget((0, 1, 2), LABELS)
AXES = pytest.mark.parametrize("axes", [2, 3])


def maps(method, net, x):
    with Network(net, LABELS).opened() as model:
        return method.attribute(model, x, TARGET).numpy()


def beside(method, net, x):
    with Network(net, LABELS).opened() as model:
        return {name: values.numpy() for name, values in method.attribute_with(model, x, TARGET).items()}


def agree(found, right, tolerance=1e-12):
    assert found.shape == right.shape
    scale = np.abs(right).max()
    assert scale > 1e-6, "a replica of zeros proves nothing"
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * scale)


def mean_of(one):
    """Return the baseline "mean" of an image (C, *S)."""
    return np.stack([np.full(c.shape, c.mean()) for c in one])


@AXES
def test_rise_masks_are_enlarged_and_cut_as_the_paper_says(axes):
    x = image(axes)
    masks = ShiftedMasks.drawn(x[0], [3, 4, 2][:axes], 0.4, 6, 7)
    found = masks(range(6)).numpy()
    assert len({tuple(s) for s in masks.shifts.tolist()}) > 3
    right = [replica.rise_mask(masks.cells[i].numpy(), masks.shifts[i].tolist(), x.shape[2:]) for i in range(6)]
    agree(found, np.stack(right))


@AXES
@pytest.mark.parametrize("memory_mb", [1024, 1e-6])
def test_rise_and_its_variance_equal_their_replica(memory_mb, axes):
    net, x = SmallNet(axes), image(axes)
    fields = {"samples": 20, "cells": 3, "keep": 0.4, "tolerance": 0, "seed": 3, "memory_mb": memory_mb}
    centred = beside(METHODS.make("rise", **fields), net, x)
    plain = beside(METHODS.make("rise", **fields, centred=False), net, x)
    for n in range(len(x)):
        masks = ShiftedMasks.drawn(x[n], [3] * axes, 0.4, 20, 3)(range(20)).numpy()
        right = replica.rise(replica.runner(net), x[n].numpy(), mean_of(x[n].numpy()), list(masks))
        agree(plain["map"][n], right[0])
        agree(plain["variance"][n], right[1], 1e-9)
        agree(centred["map"][n], right[2], 1e-10)
        agree(centred["variance"][n], right[3], 1e-9)


@AXES
@pytest.mark.parametrize(("partition", "ridge"), [("slic", 1.0), ("grid", 0.3)])
def test_lime_equals_the_normal_equations(partition, ridge, axes):
    net, x = SmallNet(axes), image(axes)
    fields = {"samples": 30, "segments": 8, "partition": partition, "ridge": ridge, "width": 0.4, "seed": 5}
    found = maps(METHODS.make("lime", **fields), net, x)
    for n in range(len(x)):
        labels = segmented(x[n], 8, partition).numpy()
        generator = torch.Generator().manual_seed(5)
        kept = (torch.rand(31, labels.max() + 1, generator=generator) < 0.5).numpy()
        kept[0] = True
        one = x[n].numpy()
        right = replica.lime(replica.runner(net), one, mean_of(one), labels, kept, 0.4, ridge)
        agree(found[n], right[:, labels], 1e-9)


@AXES
@pytest.mark.parametrize("partition", ["slic", "grid"])
def test_kernel_shap_of_few_segments_is_the_exact_shapley_value(partition, axes):
    net, x = SmallNet(axes), image(axes)
    found = maps(METHODS.make("kernel-shap", samples=2048, segments=6, partition=partition), net, x)
    for n in range(len(x)):
        labels = segmented(x[n], 6, partition).numpy()
        assert 3 <= labels.max() + 1 <= 10
        one = x[n].numpy()
        agree(found[n], replica.shapley(replica.runner(net), one, mean_of(one), labels)[:, labels], 1e-9)


@AXES
def test_kernel_shap_of_drawn_coalitions_equals_constrained_least_squares(axes):
    net, x = SmallNet(axes), image(axes)
    method = METHODS.make("kernel-shap", samples=60, segments=8, partition="grid", seed=2)
    found = maps(method, net, x)
    for n in range(len(x)):
        labels = segmented(x[n], 8, "grid").numpy()
        kept, weight = method._drawn(labels.max() + 1)
        assert len(kept) == 60
        assert (weight == 1).all()
        assert (kept[::2] ^ kept[1::2]).all(), "pairs are complements"
        one = x[n].numpy()
        right = replica.kernel_shap(replica.runner(net), one, mean_of(one), labels, kept.numpy())
        agree(found[n], right[:, labels], 1e-9)


def test_coalitions_are_drawn_by_the_shapley_kernel():
    kept, _ = METHODS.make("kernel-shap", samples=40_000)._drawn(16)
    sizes = np.bincount(kept.sum(dim=1).numpy(), minlength=17)[1:16] / len(kept)
    kernel = np.array([1 / (s * (16 - s)) for s in range(1, 16)])
    np.testing.assert_allclose(sizes, kernel / kernel.sum(), atol=0.005)
    assert abs(kept.double().mean(dim=0) - 0.5).max() < 1e-12, (
        "with its complement every segment is there half of the time"
    )


@AXES
def test_sobol_indices_equal_jansen_by_loops(axes):
    net, x = SmallNet(axes), image(axes)
    cells = (3, 2, 2)[:axes]
    method = METHODS.make("sobol", designs=5, cells=cells, seed=4)
    found = maps(method, net, x)
    first, second = (d.numpy() for d in method._design(int(np.prod(cells))))
    assert abs(first - second).min() > 1e-6
    for n in range(len(x)):
        one = x[n].numpy()
        right = replica.sobol(replica.runner(net), one, mean_of(one), first, second, cells)
        agree(found[n], np.stack([replica.in_cells(r, one.shape[1:]) for r in right]), 1e-10)


def test_sobol_indices_of_a_known_function():
    """The Ishigami-like y = 3 u0 + u1 u2 of uniform u: the variances of its parts are known by integration."""
    first, second = METHODS.make("sobol", designs=8192)._design(4)
    rows = torch.stack(
        [first] + [first.clone().index_copy(1, torch.tensor([i]), second[:, i : i + 1]) for i in range(4)]
    )
    found = jansen((3 * rows[..., 0] + rows[..., 1] * rows[..., 2])[..., None])[:, 0]
    parts = {"0": 9 / 12, "1": 1 / 4 / 12, "2": 1 / 4 / 12, "12": 1 / 144}
    total = sum(parts.values())
    right = [parts["0"] / total, (parts["1"] + parts["12"]) / total, (parts["2"] + parts["12"]) / total, 0]
    np.testing.assert_allclose(found, right, atol=0.005)


def test_an_unchanging_score_has_indices_of_zero():
    assert (jansen(torch.full((4, 5, 1), 2.0)) == 0).all()
    assert (dependence((torch.rand(9, 3) < 0.5).double(), torch.full((9,), 2.0).double()) == 0).all()


@AXES
def test_hsic_equals_the_trace(axes):
    net, x = SmallNet(axes), image(axes)
    cells = (3, 2, 2)[:axes]
    found = maps(METHODS.make("hsic", samples=24, cells=cells, seed=6), net, x)
    kept = (torch.rand(24, int(np.prod(cells)), generator=torch.Generator().manual_seed(6)) < 0.5).numpy()
    run = replica.runner(net)
    for n in range(len(x)):
        one = x[n].numpy()
        masks = [replica.in_cells(k.astype(float).reshape(cells), one.shape[1:]) for k in kept]
        scores = np.stack([run(m * one + (1 - m) * mean_of(one)) for m in masks])
        right = [replica.hsic(kept, column).reshape(cells) for column in scores.T]
        agree(found[n], np.stack([replica.in_cells(r, one.shape[1:]) for r in right]), 1e-10)


@AXES
def test_xrai_equals_the_algorithm_by_loops(axes):
    net, x = SmallNet(axes), image(axes)
    found = maps(METHODS.make("xrai", method="input-x-gradient", segments=(4, 9)), net, x)
    inner = maps(METHODS.make("input-x-gradient"), net, x)
    for n in range(len(x)):
        labels = [segmented(x[n], count).numpy() for count in (4, 9)]
        agree(found[n], np.stack([replica.xrai(one, labels) for one in inner[n]]), 1e-10)


def test_xrai_of_one_scale_is_the_mean_of_each_region():
    attribution = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    labels = (torch.arange(4)[:, None] // 2 * 2 + torch.arange(6) // 3).reshape(4, 6)
    found = gained(attribution, [labels])
    for region in range(4):
        assert (found[labels == region] == attribution[labels == region].mean()).all()


@AXES
def test_meaningful_perturbation_equals_descent_by_differences(axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    cells = (3, 2) if axes == 2 else (2, 1, 2)
    settings = {"steps": 3, "rate": 0.1, "size": 0.5, "roughness": 0.2, "power": 3.0}
    found = maps(METHODS.make("meaningful-perturbation", cells=cells, baseline="mean", **settings), net, x)[0]
    falls_somewhere = False
    run, one = replica.runner(net), x[0].numpy()
    for k in range(3):
        if run(one)[k] > run(mean_of(one))[k]:
            falls_somewhere = True
            right = replica.meaningful_perturbation(run, one, mean_of(one), k, cells, **settings)
            agree(found[k], right, 1e-4)
        else:
            assert (found[k] == 0).all()
    assert falls_somewhere


@AXES
def test_extremal_perturbation_equals_ascent_by_differences(axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    cells = (3, 2) if axes == 2 else (2, 1, 2)
    settings = {"steps": 3, "rate": 0.05, "weight": 30.0}
    areas = (0.2, 0.5) if axes == 2 else (0.2,)
    method = METHODS.make("extremal-perturbation", cells=cells, areas=areas, baseline="mean", **settings)
    found = maps(method, net, x)[0]
    falls_somewhere = False
    run, one = replica.runner(net), x[0].numpy()
    for k in range(3):
        if run(one)[k] > run(mean_of(one))[k]:
            falls_somewhere = True
            each = [replica.extremal_perturbation(run, one, mean_of(one), k, cells, a, **settings) for a in areas]
            agree(found[k], sum(each) / len(areas), 1e-4)
        else:
            assert (found[k] == 0).all()
    assert falls_somewhere


def test_xrai_takes_by_default_the_mean_of_integrated_gradients_from_black_and_white():
    net, x = SmallNet(2), image(2, batch=1)
    ends = [maps(METHODS.make("integrated-gradients", baseline=end), net, x)[0] for end in ("min", "max")]
    labels = [segmented(x[0], count).numpy() for count in (4, 9)]
    right = np.stack([replica.xrai((black + white) / 2, labels) for black, white in zip(*ends, strict=True)])
    agree(maps(METHODS.make("xrai", segments=(4, 9)), net, x)[0], right, 1e-10)
