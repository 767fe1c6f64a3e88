"""What noise and path methods may cost, and that none asks for more copies at once than its memory allows."""

import pytest
import torch
from watching import forget, largest, watch

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.gradient.secant import chunks, ends
from saliscope.model.network import Network
from saliscope.perturb.stream import GRAPH
from saliscope.testing.networks import SmallNet, image

LABELS = ("first", "second", "third")


def counts(name, labels, **fields):
    target = LogitTarget(tuple(range(labels)), LABELS[:labels])
    with Network(SmallNet(2), LABELS).opened() as model:
        METHODS.make(name, **fields).attribute(model, image(2), target)
    return model.counts.forward_samples, model.counts.backward_passes


@pytest.mark.parametrize(
    ("name", "fields", "per_image"),
    [
        ("smoothgrad-squared", {"samples": 13}, 13),
        ("vargrad", {"samples": 13}, 13),
        ("expected-gradients", {"references": "mean", "samples": 13}, 13),
        ("blur-ig", {"steps": 11}, 11),
        ("idgi", {"steps": 11}, 12),
        ("integrated-gradients", {"steps": 11}, 11),
        # The two ends, 6 steps with 7 ends, and their thirds with 19: 24 gradients.
        ("integrated-gradients", {"tolerance": 10.0}, 2 + 7 + 19),
    ],
)
def test_forward_samples_do_not_grow_with_targets(name, fields, per_image):
    for labels in (1, 3):
        assert counts(name, labels, **fields)[0] == 2 * per_image


def test_every_score_has_a_guided_path_of_its_own():
    for labels in (1, 3):
        assert counts("guided-ig", labels, steps=5) == (2 * labels * 5, 2 * labels * 5)


def test_smoothgrad_and_its_variance_cost_one_run():
    target = LogitTarget((0,), LABELS[:1])
    with Network(SmallNet(2), LABELS).opened() as model:
        both = METHODS.make("smoothgrad", samples=6).attribute_with(model, image(2), target)
    assert model.counts.forward_samples == 12
    assert set(both) == {"map", "error", "variance", "samples_drawn", "sampling_relative_error"}


def test_max_gradients_are_never_exceeded():
    for most in (24, 40, 60):
        forward, _ = counts("integrated-gradients", 1, tolerance=1e-9, max_gradients=most)
        # Pieces that do not touch have one end more each.
        assert forward <= 2 * (2 + most + 2 + most // 9)


@pytest.mark.parametrize("name", ["integrated-gradients", "smoothgrad", "vargrad", "idgi", "blur-ig"])
def test_batches_keep_within_the_memory_budget(name):
    net = SmallNet(2)
    watch(net)
    one = image(2)[0].numel() * 8 * GRAPH / 2**20
    with Network(net, LABELS).opened() as model:
        model.independence(image(2))  # what is learnt of a network is learnt once
        forget()
        METHODS.make(name, memory_mb=3.5 * one).attribute(model, image(2), LogitTarget((0,), LABELS[:1]))
    assert largest() == 3


def test_chunks_of_intervals_share_ends_only_where_they_touch():
    intervals = [(0, 6), (1, 6), (6, 18), (7, 18), (5, 6)]
    assert chunks(intervals, 100) == [intervals]
    assert chunks(intervals, 3) == [intervals[:2], intervals[2:4], intervals[4:]]
    assert chunks(intervals, 1) == [[i] for i in intervals]
    shares, begins = ends(intervals)
    torch.testing.assert_close(torch.tensor(shares) * 18, torch.tensor([0.0, 3, 6, 6, 7, 8, 15, 18]))
    assert begins == [0, 1, 3, 4, 6]
