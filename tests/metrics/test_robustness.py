"""Test-retest and max sensitivity: what they are of maps whose stability is known, and what they cost."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from saliscope.core.errors import MetricError
from saliscope.core.protocols import Traits
from saliscope.core.score import Undefined
from saliscope.core.target import CallableTarget, LogitTarget, PerImage, ProbabilityTarget
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.control.centre import Centre
from saliscope.methods.control.constant import Constant
from saliscope.methods.control.edges import Edges
from saliscope.methods.control.random import Random
from saliscope.methods.gradient.gradient import Gradient
from saliscope.methods.perturbation.occlusion import Occlusion
from saliscope.metrics.remade import maps_of
from saliscope.metrics.robustness.decision import changed
from saliscope.metrics.robustness.max_sensitivity import MaxSensitivity
from saliscope.metrics.robustness.test_retest import CHANGED, TestRetest
from saliscope.model.network import Network
from saliscope.perturb.plausible.catalogue import perturbations_of
from saliscope.testing.networks import SmallNet, image

LABELS = ("a", "b", "c")
TARGET = LogitTarget((0, 1), ("a", "b"), "multi-label")
#: No logit ever crosses it.
NEVER = -1e9


def asked(metric, method, x=None, target=TARGET, network=None):
    """Return the scores of one metric and what the network was asked."""
    x = image(2, batch=1) if x is None else x
    with Network(network or SmallNet(x.ndim - 2), LABELS, "multi-label").opened() as model:
        return metric.of_method(model, method, x, target), model.counts


@dataclass(frozen=True)
class Brightness:
    """A map that is the image itself: as stable as the image is under what is inverted exactly."""

    traits: ClassVar[Traits] = Edges.traits

    def attribute(self, model, x, target):
        return x[:, :1].expand(len(x), len(target.labels), *x.shape[2:]).clone()


@dataclass(frozen=True)
class Blind:
    """A network that was not asked."""

    traits: ClassVar[Traits] = Constant.traits

    def attribute(self, model, x, target):
        return x.new_zeros(len(x), len(target.labels), *x.shape[2:])


def blob(batch=1):
    """Return smooth images (N, 1, 24, 28), each bright at another place."""
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(28.0), indexing="ij")
    at = [torch.exp(-((rows - 9 - 3 * n) ** 2 + (columns - 12 + 2 * n) ** 2) / 60) for n in range(batch)]
    slope = 0.002 * (rows + columns)
    return torch.stack([a + slope for a in at])[:, None].double()


def test_a_map_that_follows_the_image_is_found_again_after_every_move():
    """The image as its own map: if it is put back where it was, it agrees; without the inverse it would not."""
    ((score, _),), _ = asked(TestRetest("CR", threshold=NEVER), Brightness(), blob(), network=SmallNet(2, channels=1))
    assert score.number > 0.99
    assert score.interval.low > 0.95
    assert score.interval.kind.startswith("range over")
    assert score.interval.level is None
    assert score.parts["control"] > 0.99
    assert score.parts["top-iou"] > 0.8
    assert score.n == 10
    # Only perturbations that move: the median cannot hide behind those that do not.
    ((moved, _),), _ = asked(
        TestRetest("CR", count=5, threshold=NEVER), Brightness(), blob(), network=SmallNet(2, channels=1)
    )
    assert moved.n == 5
    assert moved.number > 0.98


def test_a_fixed_map_loses_only_what_moving_costs_and_noise_agrees_with_nothing():
    ((centre, _),), _ = asked(TestRetest("CR", threshold=NEVER), Centre())
    assert centre.interval.high == pytest.approx(1.0), "where nothing moves, the map is the same"
    ((noise, _),), _ = asked(TestRetest("CR", threshold=NEVER), Random(), image(2, 1, 2).repeat(1, 1, 4, 4))
    assert abs(noise.number) < 0.1
    assert noise.parts["control"] < 0.1


def test_a_map_without_order_is_undefined_and_says_why():
    for method, reason in ((Constant(), "the map has one value everywhere"), (Blind(), "the map is zero everywhere")):
        ((score, _),), _ = asked(TestRetest("CR", threshold=NEVER), method)
        assert score.value == Undefined(reason)
        assert "stable" in TestRetest.traits.blind


def test_copies_whose_decision_changed_are_left_out_and_counted():
    """A threshold in the middle of the copies' own scores splits them; all the rest is compared."""
    x, found = image(2, batch=1), perturbations_of("CR", 2)
    with Network(SmallNet(2)).opened() as model:
        logits = model(torch.cat([x, *(p.apply(x, i) for i, p in enumerate(found))]))[:, 0]
    own, others = float(logits[0]), sorted(logits[2:].tolist())
    threshold = (own + min(v for v in others if v > own)) / 2 if max(others) > own else (own + others[-1]) / 2
    flipped = sum((v > threshold) != (own > threshold) for v in others)
    assert 0 < flipped <= 10
    ((score, _),), _ = asked(TestRetest("CR", threshold=threshold), Gradient(), x)
    assert score.excluded == {CHANGED: flipped}
    assert score.n == 10 - flipped
    assert score.parts["share of decisions changed"] == pytest.approx(flipped / 10)


def test_without_any_unchanged_decision_there_is_no_value():
    x = image(2, batch=1)
    with Network(SmallNet(2)).opened() as model:
        own = float(model(x)[0, 0])
        never_again = CallableTarget(lambda out: (out[:, 0] - own).abs() < 1e-12, ("only the image itself",))
        score = TestRetest("CR", threshold=0.5).of_method(model, Centre(), x, never_again)[0][0]
    assert isinstance(score.value, Undefined)
    assert score.excluded == {CHANGED: 10}
    assert score.n == 0


def test_what_a_decision_is_depends_on_the_kind_of_output():
    output = torch.tensor([[0.2, 1.0], [0.4, 0.3], [-0.2, 1.0]])
    one = LogitTarget((0,), ("a",), "multi-label")
    assert changed(output, one, None)[0][:, 0].tolist() == [False, False, True]
    assert changed(output, ProbabilityTarget((0,), ("a",), "multi-label"), None)[0][:, 0].tolist() == [
        False, False, True,
    ]  # fmt: skip
    assert changed(output, one, 0.3)[0][:, 0].tolist() == [False, True, False]
    assert changed(output, LogitTarget((0,), ("a",)), None)[0][:, 0].tolist() == [False, True, False]
    none, words = changed(output, CallableTarget(lambda out: out[:, 0]), None)
    assert not none.any()
    assert "no decision" in words


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("method", [Gradient(), GradCAM("watched"), Edges()], ids=lambda m: type(m).__name__)
def test_one_batched_call_gives_what_one_by_one_gives(axes, method):
    """As many copies as fit, or one at a time: the same scores."""
    x = image(axes, batch=2)
    for metric, small in (
        (TestRetest("MR", threshold=NEVER), TestRetest("MR", threshold=NEVER, memory_mb=1e-6)),
        (MaxSensitivity(samples=4), MaxSensitivity(samples=4, memory_mb=1e-6)),
        (MaxSensitivity("plausible"), MaxSensitivity("plausible", memory_mb=1e-6)),
    ):
        together, alone = asked(metric, method, x)[0], asked(small, method, x)[0]
        for row, other in zip(together, alone, strict=True):
            for a, b in zip(row, other, strict=True):
                assert a.number == pytest.approx(b.number, rel=1e-9)


def test_the_network_is_asked_once_for_each_copy():
    """12 forward samples for the image, the control and ten perturbations; the decisions are heard with the maps."""
    _, counts = asked(TestRetest("CR"), Gradient())
    assert counts.samples == 12
    assert counts.backward_passes == 2, "one for each score, of all copies together"
    _, counts = asked(TestRetest("CR", count=4), GradCAM("watched"))
    assert counts.samples == 6
    # A method whose runs are of other images than the copies cannot be overheard.
    _, counts = asked(TestRetest("CR"), Centre())
    assert counts.samples == 12
    _, alone = asked(MaxSensitivity(samples=1), Occlusion(window=6, stride=6))
    _, counts = asked(TestRetest("CR", count=1), Occlusion(window=6, stride=6))
    assert counts.samples == alone.samples // 2 * 3 + 3


def test_quantus_runs_200_explanations_one_after_the_other_and_ours_are_batches():
    """MaxSensitivity of Quantus explains 200 times; 200 copies are here one forward and one backward run."""
    _, counts = asked(MaxSensitivity(samples=200), Gradient(), target=LogitTarget((0,), ("a",)))
    assert counts.forward_samples == 201
    assert counts.backward_passes == 1
    assert asked(MaxSensitivity(), Gradient())[1].forward_samples == 11


def test_max_sensitivity_of_maps_whose_change_is_known():
    assert asked(MaxSensitivity(), Constant())[0][0][0].number == 0.0
    zero = asked(MaxSensitivity(), Blind())[0][0][0]
    assert zero.value == Undefined("the map is zero everywhere")
    x = blob()
    ((score, _),), _ = asked(MaxSensitivity(radius=0.05, samples=6), Brightness(), x, network=SmallNet(2, channels=1))
    copies = MaxSensitivity(radius=0.05, samples=6).noisy(x)
    expected = [float((c - x).norm() / x.norm()) for c in copies]
    assert score.number == pytest.approx(max(expected))
    assert score.interval.low == pytest.approx(min(expected))
    most = 0.05 * float(x.max() - x.min())
    assert 0.98 * most < max(float((c - x).abs().max()) for c in copies) <= most
    assert abs(float((copies[0] - x).mean())) < most / 10, "noise to both sides"


def test_max_sensitivity_puts_moved_maps_back():
    """A map that moves with the image is nearly as it was; without the inverse it would be far away."""
    x = blob()
    moves = perturbations_of("CR", 2)[1:6]
    maps = torch.cat([x[0], *(p.apply(x, 0)[0] for p in moves)])
    score = MaxSensitivity("plausible")._score(maps, moves)  # of moves alone
    moved = max(float((m - maps[0]).norm() / maps[0].norm()) for m in maps)
    assert moved > 0.07
    assert score.number < moved / 5
    assert score.n == 5
    ((whole, _),), _ = asked(MaxSensitivity("plausible"), Brightness(), x, network=SmallNet(2, channels=1))
    assert whole.n == 10


def test_each_image_of_a_batch_keeps_its_own_question():
    x = image(2, batch=2)
    questions = PerImage((LogitTarget((2,), ("c",)), LogitTarget((0,), ("a",))))
    together, _ = asked(MaxSensitivity(samples=2), Gradient(), x, questions)
    for n, k in ((0, 2), (1, 0)):
        alone, _ = asked(MaxSensitivity(samples=2), Gradient(), x[n : n + 1], LogitTarget((k,), ("?",)))
        assert together[n][0].number == pytest.approx(alone[0][0].number, rel=1e-9)


def test_maps_of_a_batch_answer_each_images_own_question():
    x = image(2, batch=3)
    questions = PerImage(tuple(LogitTarget((k,), (LABELS[k],)) for k in (2, 0, 1)))
    with Network(SmallNet(2)).opened() as model:
        for memory_mb in (1024, 1e-6):
            maps = maps_of(model, Gradient(), x, questions, memory_mb)
            for n in range(3):
                alone = Gradient().attribute(model, x[n : n + 1], questions.of(n))
                assert torch.allclose(maps[n], alone[0])


def test_maps_of_a_layer_lie_on_the_image_before_they_are_compared():
    x = image(2, batch=1)
    with Network(SmallNet(2)).opened() as model:
        maps = maps_of(model, GradCAM("watched"), x, TARGET, on_input=True)
        own = maps_of(model, GradCAM("watched"), x, TARGET)
        assert maps.shape[2:] == x.shape[2:]
        assert own.shape[2:] != x.shape[2:]
        assert maps.dtype == torch.float64
        with pytest.raises(MetricError, match="not named"):
            maps_of(model, GradCAM(), x, TARGET, on_input=True)


@pytest.mark.parametrize(
    "wrong", [lambda: MaxSensitivity(radius=0), lambda: MaxSensitivity(samples=0), lambda: MaxSensitivity("wild")]
)
def test_fields_that_mean_nothing_are_refused(wrong):
    with pytest.raises(MetricError):
        wrong()


def test_no_global_generator_is_touched():
    network = SmallNet(2)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    asked(TestRetest("MR"), Gradient(), network=network)
    asked(MaxSensitivity(), Gradient(), network=network)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # noqa: NPY002
