"""The methods that run what comes after a layer against their literal replicas, in float64, 2D and 3D.

Tolerances are shares of the largest value: 1e-12 where only the order of sums differs.
"""

import numpy as np
import pytest
import replica
import replica_suffix_cams as literal
import torch
from torch import nn

from saliscope.core.errors import LayerError, MethodError
from saliscope.core.target import CallableTarget, LogitTarget, ProbabilityTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing.networks import AFTER, SmallNet, image, seeded

TARGET = LogitTarget((0, 1, 2), replica.LABELS)
LAYERED = ("ablation-cam", "recipro-cam", "shapley-cam", "finer-cam")


class LinearEnd(nn.Module):
    """A convolution, batch normalisation (watched as "norm"), an in-place ReLU, pooling and one linear layer."""

    def __init__(self, axes, classes=3):
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.first = conv(2, 7, 3, stride=2, padding=1)
        self.norm = (nn.BatchNorm2d if axes == 2 else nn.BatchNorm3d)(7)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(7, classes)
        seeded(self)
        self.double().eval()

    def forward(self, x):
        return self.head(self.relu(self.norm(self.first(x))).flatten(2).mean(2))


def maps(name, net, x, target=TARGET, layer="watched", **fields):
    with Network(net, replica.LABELS).opened() as model:
        return METHODS.make(name, layer=layer, **fields).attribute(model, x, target).numpy()


def agree(found, right, tolerance=1e-12):
    assert found.shape == right.shape
    scale = np.abs(right).max()
    assert scale > 1e-6, "a replica of zeros proves nothing"
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
def test_ablation_cam_is_the_papers_times_the_score(after, axes):
    net, x = SmallNet(axes, after).eval(), image(axes)
    with torch.no_grad():
        net.head.bias += torch.tensor([-9.0, 9.0, 0.0])
    found = maps("ablation-cam", net, x)
    signs = []
    for n in range(len(x)):
        activation, end = literal.cut(net, x[n])
        for k in range(3):
            paper, y = literal.ablation_cam(activation, end, k)
            # A drop is a difference of scores, in which digits are lost.
            agree(found[n, k], paper * y, 1e-11)
            signs.append(y > 0)
    assert any(signs) and not all(signs), "without logits of both signs the paper's division cannot show"  # noqa: PT018


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
def test_recipro_cam_equals_its_replica(after, axes):
    net, x = SmallNet(axes, after).eval(), image(axes)
    found = maps("recipro-cam", net, x)
    for n in range(len(x)):
        activation, end = literal.cut(net, x[n])
        agree(found[n], np.stack([literal.recipro_cam(activation, end, k) for k in range(3)]), 1e-11)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
def test_shapley_cam_equals_its_replica(after, axes):
    net, x = SmallNet(axes, after).eval(), image(axes, batch=1)
    found = maps("shapley-cam", net, x)
    activation, end = literal.cut(net, x[0])
    for k in range(3) if axes == 2 else (1,):
        agree(found[0, k], literal.shapley_cam(activation, end, k))
    assert np.abs(found - maps("grad-cam", net, x)).max() > 0.01 * np.abs(found).max(), "no curvature to be seen"


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize(("gamma", "count"), [(0.6, 1), (1.0, 2), (0.6, 3), (0, 1)])
def test_finer_cam_equals_its_replica(gamma, count, after, axes):
    net, x = SmallNet(axes, after).eval(), image(axes)
    found = maps("finer-cam", net, x, gamma=gamma, references=count)
    for n in range(len(x)):
        activation, end = literal.cut(net, x[n])
        agree(found[n], np.stack([literal.finer_cam(activation, end, k, gamma, count) for k in range(3)]))
    if gamma == 0:
        agree(found, maps("grad-cam", net, x))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("dialect", "baseline"), [("cic", "zero"), ("cic", "mean"), ("score", 0.5), ("softmax", "zero")]
)
def test_score_cam_equals_its_replica(dialect, baseline, axes):
    net, x = SmallNet(axes, "residual"), image(axes)
    found = maps("score-cam", net, x, weights=dialect, baseline=baseline)
    for n in range(len(x)):
        without = torch.empty_like(x[n])
        for c in range(2):
            without[c] = {"zero": 0.0, "mean": float(x[n, c].mean())}.get(baseline, baseline)
        activation, _ = literal.cut(net, x[n])
        right = [
            literal.score_cam(activation, x[n], without, lambda i: replica.scores(net, i), k, dialect)
            for k in range(3 if axes == 2 else 1)
        ]
        agree(found[n, : len(right)], np.stack(right), 1e-11)


def test_score_cam_of_a_probability_is_the_authors_code():
    net, x = SmallNet(2), image(2, batch=1)
    found = maps("score-cam", net, x, ProbabilityTarget((0, 1, 2), replica.LABELS), weights="score")
    activation, _ = literal.cut(net, x[0])
    softmax = lambda i: replica.scores(net, i).softmax(0)  # noqa: E731
    right = [literal.score_cam(activation, x[0], 0 * x[0], softmax, k, "score") for k in range(3)]
    agree(found[0], np.stack(right), 1e-11)


@pytest.mark.parametrize("dialect", ["cic", "softmax"])
def test_score_cam_gives_dead_channels_nothing_and_equal_channels_alike(dialect):
    """The layer's channels: two equal, one constant. The constant one has no mask; the replica leaves it out."""
    net, x = SmallNet(2), image(2, batch=1)
    with torch.no_grad():
        net.watched.weight[3] = net.watched.weight[1]
        net.watched.bias[3] = net.watched.bias[1]
        net.watched.weight[2] = 0
        net.watched.bias[2] = 0.7
    activation, _ = literal.cut(net, x[0])
    right = [
        literal.score_cam(activation, x[0], 0 * x[0], lambda i: replica.scores(net, i), k, dialect) for k in range(3)
    ]
    agree(maps("score-cam", net, x, weights=dialect)[0], np.stack(right), 1e-11)


def test_score_cam_of_a_constant_layer_is_zero():
    net, x = SmallNet(2), image(2, batch=1)
    with torch.no_grad():
        net.watched.weight.zero_()
    for dialect in ("cic", "score", "softmax"):
        assert not maps("score-cam", net, x, weights=dialect).any()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_ablation_cam_in_closed_form_is_the_measured_one(dtype, axes):
    net, x = LinearEnd(axes).to(dtype), image(axes).to(dtype)
    with Network(net, replica.LABELS).opened() as model:
        both = [METHODS.make("ablation-cam", layer="norm", closed_form=c) for c in (True, False)]
        closed, measured = (m.attribute(model, x, TARGET).numpy() for m in both)
        assert "closed form" in " ".join(model.notes)
        activation = model.probe(x, ["norm"]).activations["norm"].detach()
    assert activation.min() < -0.1, "without values below zero the ReLU is no test"
    agree(closed, measured, 1e-12 if dtype == torch.float64 else 1e-5)
    # And what it says: the drop of a channel is its weight times its pooled positive part.
    drop = torch.einsum("kc,nc->nkc", net.head.weight.detach(), activation.relu().flatten(2).mean(2))
    agree(closed, torch.einsum("nkc,nc...->nk...", drop, activation).numpy(), 1e-12 if dtype == torch.float64 else 1e-5)


def test_ablation_cam_is_measured_where_the_end_is_not_linear():
    net, x = SmallNet(2), image(2)
    with Network(net, replica.LABELS).opened() as model:
        METHODS.make("ablation-cam", layer="watched").attribute(model, x, TARGET)
        assert not model.notes
    agree(maps("ablation-cam", net, x), maps("ablation-cam", net, x, closed_form=False), 0)


@pytest.mark.parametrize("bend", [1e-2, 1e-4, 1e-6])
def test_a_slightly_bent_end_is_not_taken_for_a_linear_one(bend):
    """The score has a small square of the pooled channels: only drops that add up are taken from one gradient."""
    net, x = LinearEnd(2), image(2, batch=1)
    squares = CallableTarget(lambda logits: logits[:, 0] + bend * logits[:, 0] ** 2)
    with Network(net, replica.LABELS).opened() as model:
        METHODS.make("ablation-cam", layer="norm").attribute(model, x, squares)
        assert not model.notes


@pytest.mark.parametrize("axes", [2, 3])
def test_before_pooling_and_a_linear_layer_recipro_cam_is_hirescam_and_shapley_cam_is_grad_cam(axes):
    net, x = LinearEnd(axes), image(axes)
    agree(maps("recipro-cam", net, x, layer="relu"), maps("hirescam", net, x, layer="relu"))
    agree(maps("shapley-cam", net, x, layer="norm"), maps("grad-cam", net, x, layer="norm"))


@pytest.mark.parametrize("name", ["ablation-cam", "score-cam", "shapley-cam", "finer-cam"])
def test_the_papers_relu_is_the_positive_part(name):
    net, x = SmallNet(2), image(2)
    signed = maps(name, net, x)
    assert signed.min() < 0
    agree(maps(name, net, x, relu=True), np.maximum(signed, 0), 0)


@pytest.mark.parametrize("name", ["ablation-cam", "score-cam", "recipro-cam"])
def test_the_memory_budget_changes_no_value(name):
    net, x = SmallNet(3), image(3)
    agree(maps(name, net, x, memory_mb=1e-6), maps(name, net, x), 1e-10)


@pytest.mark.parametrize("name", [*LAYERED, "score-cam"])
def test_a_layer_without_a_grid_or_without_a_name_is_refused(name):
    with Network(SmallNet(2), replica.LABELS).opened() as model:
        for layer, sentence in (("dropout", "no grid of the image's places"), ("auto", "layer 'auto'")):
            with pytest.raises((MethodError, LayerError), match=sentence):
                METHODS.make(name, layer=layer).attribute(model, image(2), TARGET)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (ProbabilityTarget((0,), ("first",)), "not the logit of one class"),
        (CallableTarget(lambda y: y[:, 0] - y[:, 1]), "not the logit of one class"),
        (CallableTarget(lambda y: 2 * y[:, 0]), "not the logit of one class"),
    ],
)
def test_finer_cam_refuses_what_is_no_logit_of_a_class(target, sentence):
    with Network(SmallNet(2), replica.LABELS).opened() as model, pytest.raises(MethodError, match=sentence):
        METHODS.make("finer-cam", layer="watched").attribute(model, image(2), target)


def test_finer_cam_refuses_a_single_logit():
    with Network(SmallNet(2, classes=1), kind="binary").opened() as model:
        target = LogitTarget((1,), ("yes",), "binary")
        with pytest.raises(MethodError, match="two classes or more"):
            METHODS.make("finer-cam", layer="watched").attribute(model, image(2), target)


@pytest.mark.parametrize(
    ("name", "fields"),
    [("finer-cam", {"gamma": -1}), ("finer-cam", {"references": 0}), ("score-cam", {"weights": "prob"})],
)
def test_fields_that_mean_nothing_are_refused(name, fields):
    with pytest.raises(MethodError):
        METHODS.make(name, **fields)
