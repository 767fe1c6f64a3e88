"""The standard error beside every sampled map against its literal replica, in float64, 2D and 3D.

Tolerances are shares of the largest value: 1e-10 where only the order of sums differs, 1e-7 where large squares are
taken from each other.
"""

import numpy as np
import pytest
import replica_cams
import replica_paths
import replica_perturbation
import replica_sampling as replica
import torch

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.model.network import Network
from saliscope.perturb.reference import References
from saliscope.perturb.segments import segmented
from saliscope.testing.networks import SmallNet, image

LABELS = ("first", "second", "third")
TARGET = LogitTarget((0, 1, 2), LABELS)
AXES = pytest.mark.parametrize("axes", [2, 3])
MEMORY = pytest.mark.parametrize("memory_mb", [1024, 1e-6])


def errors(name, net, x, **fields):
    with Network(net, LABELS).opened() as model:
        return METHODS.make(name, **fields).attribute_with(model, x, TARGET)["error"].numpy()


def agree(found, right, tolerance=1e-10):
    assert found.shape == right.shape
    scale = np.abs(right).max()
    assert scale > 1e-9, "a replica of zeros proves nothing"
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * scale)


def mean_of(one):
    return np.stack([np.full(c.shape, c.mean()) for c in one])


@AXES
@MEMORY
def test_errors_of_the_noise_methods(memory_mb, axes):
    net, x = SmallNet(axes), image(axes)
    fields = {"samples": 6, "sigma": 0.2, "seed": 3, "memory_mb": memory_mb}
    plain = errors("smoothgrad", net, x, **fields)
    square = errors("smoothgrad-squared", net, x, **fields)
    spread = errors("vargrad", net, x, **fields)
    for n in range(len(x)):
        draws = list(replica_paths.noisy_gradients(net, x[n], 6, 0.2, 3))
        agree(plain[n], replica.of_mean([d.sum(1) for d in draws]))
        agree(square[n], replica.of_mean([(d**2).sum(1) for d in draws]))
        agree(spread[n], replica.vargrad(draws), 1e-7)


@AXES
@MEMORY
def test_error_of_smoothed_is_that_of_the_mean_over_copies(memory_mb, axes):
    net, x = SmallNet(axes), image(axes)
    fields = {"samples": 5, "sigma": 0.2, "seed": 3, "memory_mb": memory_mb}
    found = errors("smoothed", net, x, method=GradCAM("watched"), **fields)
    for n in range(len(x)):
        generator = torch.Generator().manual_seed(3)
        sigma = 0.2 * (x[n].max() - x[n].min())
        copies = [x[n] + sigma * torch.randn(x[n].shape, generator=generator).double() for _ in range(5)]
        with Network(net, LABELS).opened() as model:
            draws = [GradCAM("watched").attribute(model, copy[None], TARGET)[0].numpy() for copy in copies]
        agree(found[n], replica.of_mean(draws))


@AXES
@pytest.mark.parametrize("samples", [5, 19])
def test_error_of_smooth_grad_cam_plus_plus_leaves_out_groups(samples, axes):
    net, x = SmallNet(axes), image(axes)
    found = errors("smooth-grad-cam++", net, x, layer="watched", samples=samples, sigma=0.2, seed=3)
    for n in range(len(x)):
        activation, _, gradients = replica_cams.noisy_gradients(net, x[n], samples, 0.2, 3)
        right = replica.jackknife(lambda some, a=activation: replica_cams.smooth_map(a, some), replica.dealt(gradients))
        agree(found[n], right, 1e-7)


@AXES
@pytest.mark.parametrize(("samples", "references"), [(12, 2), (11, 3), (7, 1), (6, 5)])
def test_error_of_expected_gradients(samples, references, axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    starts = torch.randn(references, *x.shape[1:], generator=torch.Generator().manual_seed(1)).double()
    found = errors("expected-gradients", net, x, references=References.of(starts), samples=samples, seed=4)[0]
    draws = list(replica_paths.expected_gradients(net, x[0], starts, samples, 4))
    generator = torch.Generator().manual_seed(4)
    order = []
    while len(order) < samples:
        order += torch.randperm(references, generator=generator).tolist()
    part = torch.randperm(samples, generator=generator).tolist()
    agree(found, replica.stratified(draws, order[:samples], part, references), 1e-7)


@AXES
def test_error_of_rise_is_the_root_of_its_variance(axes):
    net, x = SmallNet(axes), image(axes)
    with Network(net, LABELS).opened() as model:
        found = METHODS.make("rise", samples=30, cells=3, tolerance=None).attribute_with(model, x, TARGET)
    agree(found["error"].numpy(), found["variance"].sqrt().numpy(), 1e-12)


@AXES
@pytest.mark.parametrize(("kernel", "half"), [("squared", 1), ("root", 2)])
def test_error_of_lime(kernel, half, axes):
    net, x = SmallNet(axes), image(axes)
    fields = {"samples": 40, "segments": 8, "partition": "grid", "ridge": 0.3, "width": 0.4, "seed": 5}
    found = errors("lime", net, x, kernel=kernel, **fields)
    for n in range(len(x)):
        labels = segmented(x[n], 8, "grid").numpy()
        count = labels.max() + 1
        kept = (torch.rand(41, count, generator=torch.Generator().manual_seed(5)) < 0.5).numpy()
        kept[0] = True
        one, run = x[n].numpy(), replica_perturbation.runner(net)
        scores = np.stack([run(replica_perturbation.with_segments(one, mean_of(one), labels, z)) for z in kept])
        weights = [np.exp(-((1 - np.sqrt(z.mean())) ** 2) / 0.4**2 / half) for z in kept]
        rows = [[*map(float, z), 1.0] for z in kept]
        right = replica.hc2(rows, weights, scores, [0.3] * count + [0.0], np.eye(count, count + 1), fixed=1)
        agree(found[n], right.T[:, labels], 1e-7)


@AXES
def test_the_root_kernel_of_lime_is_the_authors(axes):
    """Their code for images: the root of exp(-D²/width²)."""
    net, x = SmallNet(axes), image(axes, batch=1)
    fields = {"samples": 30, "segments": 8, "partition": "grid", "ridge": 0.3, "seed": 5}
    with Network(net, LABELS).opened() as model:
        found = METHODS.make("lime", kernel="root", width=0.4, **fields).attribute(model, x, TARGET)[0].numpy()
    labels = segmented(x[0], 8, "grid").numpy()
    kept = (torch.rand(31, labels.max() + 1, generator=torch.Generator().manual_seed(5)) < 0.5).numpy()
    kept[0] = True
    one = x[0].numpy()
    run = replica_perturbation.runner(net)
    right = replica_perturbation.lime(run, one, mean_of(one), labels, kept, 0.4 * np.sqrt(2), 0.3)
    agree(found, right[:, labels], 1e-9)


@AXES
def test_error_of_kernel_shap(axes):
    net, x = SmallNet(axes), image(axes)
    fields = {"samples": 60, "segments": 8, "partition": "grid", "seed": 2}
    found = errors("kernel-shap", net, x, **fields)
    for n in range(len(x)):
        labels = segmented(x[n], 8, "grid").numpy()
        count = labels.max() + 1
        kept, _ = METHODS.make("kernel-shap", **fields)._drawn(count)
        one, run = x[n].numpy(), replica_perturbation.runner(net)

        def value(z, one=one, labels=labels, run=run):
            return run(replica_perturbation.with_segments(one, mean_of(one), labels, z))

        fall = value([True] * count) - value([False] * count)
        rows, halves = [], []
        for z in kept[::2].numpy():
            rows.append([float(v) - float(z[-1]) for v in z[:-1]])
            # The difference of a pair, less what the constraint gives the last segment in each.
            halves.append((value(z) - value(~z) - (float(z[-1]) - float(not z[-1])) * fall) / 2)
        wanted = np.vstack([np.eye(count - 1), -np.ones((1, count - 1))])
        right = replica.hc2(rows, [1.0] * len(rows), np.stack(halves), [0.0] * (count - 1), wanted)
        agree(found[n], right.T[:, labels], 1e-7)


@AXES
@pytest.mark.parametrize("designs", [6, 19])
def test_error_of_sobol_leaves_out_sequences(designs, axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    cells = (2, 2, 1)[:axes]
    method = METHODS.make("sobol", designs=designs, cells=cells, seed=4, tolerance=None)
    found = errors("sobol", net, x, designs=designs, cells=cells, seed=4, tolerance=None)[0]
    first, second = (d.numpy() for d in method._design(int(np.prod(cells))))
    one, run = x[0].numpy(), replica_perturbation.runner(net)

    def indices(rows):
        return replica_perturbation.sobol(run, one, mean_of(one), first[rows], second[rows], cells)

    right = replica.jackknife(indices, replica.dealt(list(range(designs))))
    agree(found, np.stack([replica_perturbation.in_cells(r, one.shape[1:]) for r in right]), 1e-7)


@AXES
def test_error_of_hsic(axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    cells = (3, 2, 2)[:axes]
    found = errors("hsic", net, x, samples=24, cells=cells, seed=6)[0]
    kept = (torch.rand(24, int(np.prod(cells)), generator=torch.Generator().manual_seed(6)) < 0.5).numpy()
    one, run = x[0].numpy(), replica_perturbation.runner(net)
    masks = [replica_perturbation.in_cells(k.astype(float).reshape(cells), one.shape[1:]) for k in kept]
    scores = np.stack([run(m * one + (1 - m) * mean_of(one)) for m in masks])
    right = [replica.hsic(kept.astype(float), column).reshape(cells) for column in scores.T]
    agree(found, np.stack([replica_perturbation.in_cells(r, one.shape[1:]) for r in right]), 1e-7)
