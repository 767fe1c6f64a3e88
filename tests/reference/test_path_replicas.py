"""Noise and path methods against their literal replicas, in float64, 2D and 3D.

Tolerances are shares of the largest value: 1e-12 where only the order of sums differs, 1e-9 where quotients of small
differences do.
"""

from functools import partial

import numpy as np
import pytest
import replica
import replica_paths
import torch
from test_method_replicas import agree

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.gradient import trisection
from saliscope.model.network import Network
from saliscope.perturb.reference import References
from saliscope.testing.networks import AFTER, SmallNet, image

TARGET = LogitTarget((0, 1, 2), replica.LABELS)
MEMORY = pytest.mark.parametrize("memory_mb", [1024, 1e-6])
AXES = pytest.mark.parametrize("axes", [2, 3])


def maps(method, net, x, name="map"):
    with Network(net, replica.LABELS).opened() as model:
        if name == "map":
            return method.attribute(model, x, TARGET).numpy(), model.notes
        return method.attribute_with(model, x, TARGET)[name].numpy(), model.notes


def black(x):
    """Return the default baseline: each channel's own minimum."""
    return x.flatten(1).min(1).values.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x).clone()


@AXES
@MEMORY
@pytest.mark.parametrize("name", ["smoothgrad-squared", "vargrad"])
def test_noise_methods_equal_their_replicas(name, memory_mb, axes):
    net, x = SmallNet(axes), image(axes)
    found, _ = maps(METHODS.make(name, samples=5, sigma=0.2, seed=3, memory_mb=memory_mb), net, x)
    formula = getattr(replica_paths, name.replace("-", "_"))
    for n in range(len(x)):
        agree(found[n], formula(net, x[n], 5, 0.2, 3), 1e-11)


@AXES
def test_the_variance_beside_smoothgrad_is_that_of_its_copies(axes):
    net, x = SmallNet(axes), image(axes)
    found, _ = maps(METHODS.make("smoothgrad", samples=5, sigma=0.2, seed=3), net, x, "variance")
    for n in range(len(x)):
        agree(found[n], replica_paths.smoothgrad_variance(net, x[n], 5, 0.2, 3), 1e-11)


@AXES
@pytest.mark.parametrize("after", AFTER)
def test_integrated_gradients_of_chords_equal_their_replica(after, axes):
    net, x = SmallNet(axes, after).eval(), image(axes, batch=1)
    found, notes = maps(METHODS.make("integrated-gradients", tolerance=10.0), net, x)
    part = partial(replica_paths.chord_part, net, x[0], black(x[0]))
    agree(found[0], sum(part(i / 18, (i + 1) / 18) for i in range(18)), 1e-9)
    assert notes[0].startswith("Integrated gradients took 24 gradients a map.")


@MEMORY
@pytest.mark.parametrize(("tolerance", "most"), [(3e-3, 500), (1e-4, 70)])
def test_refined_integrated_gradients_equal_their_replica(tolerance, most, memory_mb):
    net, x = SmallNet(2).eval(), image(2, batch=1)
    fields = {"tolerance": tolerance, "max_gradients": most, "memory_mb": memory_mb}
    found, notes = maps(METHODS.make("integrated-gradients", **fields), net, x)
    known = {}

    def part(low, high):
        key = round(low, 9), round(high, 9)
        known.setdefault(key, replica_paths.chord_part(net, x[0], black(x[0]), low, high))
        return known[key]

    right, errors, counts = zip(
        *[replica_paths.refined(lambda a, b, k=k: part(a, b)[k], tolerance, most, 3) for k in range(3)], strict=True
    )
    agree(found[0], np.stack(right), 1e-9)
    assert min(counts) > 24, "nothing was refined"
    assert f"{min(counts)}" in notes[0]
    assert f"{max(counts)} gradients" in notes[0]
    assert f"at most {max(errors):.1%}" in notes[0]
    assert (len(notes) > 1) == (max(errors) > tolerance)


@AXES
@MEMORY
def test_integrated_gradients_of_midpoints_equal_their_replica(memory_mb, axes, monkeypatch):
    """Where chords are not known, every midpoint is kept as the middle of its thirds."""
    monkeypatch.setattr(trisection.Secant, "kept", lambda *_: {"something"})
    net, x = SmallNet(axes), image(axes, batch=1)
    method = METHODS.make("integrated-gradients", tolerance=0.004, max_gradients=200, memory_mb=memory_mb)
    found, notes = maps(method, net, x)
    part = partial(replica_paths.middle_part, net, x[0], black(x[0]))
    results = [replica_paths.refined(lambda a, b, k=k: part(a, b)[k], 0.004, 200, 2) for k in range(3)]
    agree(found[0], np.stack([r[0] for r in results]), 1e-11)
    assert "used midpoints, because chords are not known for something" in notes[-1]


@AXES
@MEMORY
def test_idgi_equals_its_replica(memory_mb, axes):
    net, x = SmallNet(axes), image(axes)
    found, _ = maps(METHODS.make("idgi", steps=5, memory_mb=memory_mb), net, x)
    for n in range(len(x)):
        agree(found[n], replica_paths.idgi(net, x[n], black(x[n]), 5), 1e-11)


@MEMORY
@pytest.mark.parametrize(
    ("axes", "sigma_mm", "spacing", "elements"),
    [
        (2, None, None, (1.5, 1.5)),
        (2, 2.0, None, (2.0, 2.0)),
        (2, 2.0, (0.5, 2.0), (4.0, 1.0)),
        (3, 1.5, (3.0, 0.5, 1.0), (0.5, 3.0, 1.5)),
        (3, None, (4.0, 1.0, 1.0), (1.0, 4.0, 4.0)),
    ],
)
def test_blur_ig_equals_its_replica(axes, sigma_mm, spacing, elements, memory_mb):
    net, x = SmallNet(axes), image(axes)
    found, _ = maps(METHODS.make("blur-ig", steps=4, sigma_mm=sigma_mm, spacing=spacing, memory_mb=memory_mb), net, x)
    for n in range(len(x)):
        agree(found[n], replica_paths.blur_ig(net, x[n], elements, 4), 1e-11)


@AXES
@MEMORY
def test_expected_gradients_equal_their_replica(memory_mb, axes):
    net, x = SmallNet(axes), image(axes)
    references = image(axes, batch=3).flip(0) + 0.5
    method = METHODS.make(
        "expected-gradients", references=References.of(references), samples=7, seed=4, memory_mb=memory_mb
    )
    found, _ = maps(method, net, x)
    variance, _ = maps(method, net, x, "variance")
    for n in range(len(x)):
        samples = replica_paths.expected_gradients(net, x[n], references, 7, 4)
        agree(found[n], samples.mean(0), 1e-11)
        agree(variance[n], replica_paths.variance(samples) / 6, 1e-11)


@AXES
@pytest.mark.parametrize(("fraction", "max_dist"), [(0.25, 0.1), (0.1, 1.0), (0.5, 0.0), (1.0, 0.3)])
def test_guided_ig_equals_its_replica(fraction, max_dist, axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    found, _ = maps(METHODS.make("guided-ig", steps=5, fraction=fraction, max_dist=max_dist), net, x)
    for k in range(3):
        agree(found[0, k], replica_paths.guided_ig(net, x[0], black(x[0]), k, 5, fraction, max_dist), 1e-9)
    if max_dist == 0:
        # Without room to deviate, the path is the straight line, and the sum is over the begins of its steps.
        right = replica.input_gradients(net, black(x[0]))
        first = METHODS.make("guided-ig", steps=1, fraction=fraction, max_dist=0.0)
        agree(maps(first, net, x)[0][0], ((x[0] - black(x[0])) * right).sum(1).numpy(), 1e-12)


@AXES
def test_guided_ig_counts_moves_down_against_moves_up(axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    assert x.min() < 0 < x.max()
    found, _ = maps(METHODS.make("guided-ig", steps=5, fraction=0.25, max_dist=0.1, baseline=0.0), net, x)
    right = [replica_paths.guided_ig(net, x[0], torch.zeros_like(x[0]), k, 5, 0.25, 0.1) for k in range(3)]
    agree(found[0], np.stack([np.asarray(one).reshape(x.shape[2:]) for one in right]), 1e-9)


def test_the_replica_of_the_network_is_the_network():
    for axes in (2, 3):
        for after in AFTER:
            net, x = SmallNet(axes, after), image(axes, batch=1)
            with torch.no_grad():
                found = replica_paths.pieces(net, x, lambda _, function, value: function(value))
            torch.testing.assert_close(found, replica.scores(net, x[0]), rtol=1e-12, atol=1e-12)
