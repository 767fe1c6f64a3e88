"""Networks drawn anew, and the tests that ask whether a map depends on the weights or on the class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from saliscope.core.errors import LayerError, MetricError
from saliscope.core.protocols import Traits
from saliscope.core.score import Undefined
from saliscope.core.target import CallableTarget, LogitTarget, PerImage, ProbabilityTarget
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.control.centre import Centre
from saliscope.methods.control.constant import Constant
from saliscope.methods.control.edges import Edges
from saliscope.methods.gradient.gradient import Gradient
from saliscope.metrics.randomisation.efficient_mprt import EfficientMPRT, histogram_entropy
from saliscope.metrics.randomisation.mprt import MPRT
from saliscope.metrics.randomisation.random_logit import RandomLogit
from saliscope.model.network import Network
from saliscope.model.randomised import cascade, draw, layers_with_weights, randomised, stages_of
from saliscope.testing.networks import SmallNet, image

LABELS = ("a", "b", "c")
ONE = LogitTarget((0,), ("a",))


def net(axes=2, **fields):
    return Network(SmallNet(axes, **fields), LABELS)


def logits(network, x):
    with network.opened() as model:
        return model(x)


class Linear(nn.Module):
    """A score that is a sum of the elements, each with a weight of its own: its gradient is that weight."""

    def __init__(self, axes, classes=1):
        super().__init__()
        size = (12, 10) if axes == 2 else (8, 6, 10)
        self.head = nn.Linear(2 * int(np.prod(size)), classes).double()

    def forward(self, x):
        return self.head(x.flatten(1))


@dataclass(frozen=True)
class Negated:
    """The map of a network, turned over wherever its first weight is negative: a sign and nothing else."""

    traits: ClassVar[Traits] = Edges.traits

    def attribute(self, model, x, target):
        maps = Edges().attribute(model, x, target)
        return -maps if float(model.module.head.weight.detach()[0, 0]) < 0 else maps


# --- networks drawn anew


@pytest.mark.parametrize("axes", [2, 3])
def test_every_weight_of_the_copy_is_new_and_the_callers_module_untouched(axes):
    network, x = net(axes), image(axes)
    before = {k: v.clone() for k, v in network.module.state_dict().items()}
    flags = [(m.training, [p.requires_grad for p in m.parameters()]) for m in network.module.modules()]
    state = torch.get_rng_state()
    other = randomised(network, x)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in network.module.state_dict().items())
    assert flags == [(m.training, [p.requires_grad for p in m.parameters()]) for m in network.module.modules()]
    same = [k for k, v in other.module.state_dict().items() if torch.equal(v, before[k])]
    assert same == ["norm.num_batches_tracked"]
    assert torch.equal(other.module.norm.running_mean, torch.zeros(4, dtype=torch.float64)), "running statistics too"
    assert other.module.head.weight.dtype == torch.float64
    assert not torch.allclose(logits(other, x), logits(network, x))
    assert other.weights_digest() != network.weights_digest()


def test_the_cascade_goes_from_the_last_layer_down_and_keeps_what_it_drew():
    network, x = net(), image(2)
    names = layers_with_weights(network, x)
    assert names == ("head", "last", "watched", "norm", "stem")
    states = {}
    for layer, other in cascade(network, stages_of(names, None), seed=3):
        states[layer] = {k: v.clone() for k, v in other.module.state_dict().items()}
    own = network.module.state_dict()
    for i, layer in enumerate(names):
        for k, v in states[layer].items():
            drawn = k.rpartition(".")[0] in names[: i + 1] and "tracked" not in k
            assert torch.equal(v, own[k]) != drawn, (layer, k)
            assert torch.equal(v, states[names[-1]][k]) or not drawn
        down = randomised(network, x, down_to=layer, seed=3).module.state_dict()
        assert all(torch.equal(down[k], v) for k, v in states[layer].items())


def test_layers_follow_the_run_and_not_the_registration():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.first = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x):
            return self.second(self.first(x)).mean((2, 3))

    assert layers_with_weights(Network(Backwards()), torch.zeros(1, 2, 4, 4)) == ("second", "first")


def test_quantus_gives_layers_of_one_shape_the_same_weights_and_we_do_not():
    """It seeds the generator anew with one number before every layer."""
    module = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1))
    other = randomised(Network(module), torch.zeros(1, 2, 6, 6)).module
    assert not torch.equal(other[0].weight, other[1].weight)


def test_seeds_differ_and_repeat():
    network, x = net(), image(2)
    one, again, two = (randomised(network, x, seed=s).module.state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["head.weight"], two["head.weight"])


def test_a_parameter_without_a_reset_is_drawn_with_its_own_mean_and_spread():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(5 + 3 * torch.randn(4000, generator=torch.Generator().manual_seed(0)))
            self.scale = nn.Parameter(torch.ones(1000))

    module = Token()
    before = module.token.detach().clone()
    draw(module, 1)
    assert not torch.equal(module.token, before)
    assert float(module.token.detach().mean()) == pytest.approx(5, abs=0.3)
    assert float(module.token.detach().std()) == pytest.approx(3, rel=0.1)
    assert 0.01 < float(module.scale.detach().std()) < 0.03


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(LayerError, match="watched"):
        randomised(net(), image(2), down_to="watchd")
    assert stages_of(("a", "b", "c", "d", "e"), 2) == (("a", "b"), ("c", "d", "e"))
    assert stages_of(("a", "b"), 5) == (("a",), ("b",))


def test_networks_of_monai_are_drawn_anew():
    from monai.networks.nets import DenseNet121, UNet

    dense = DenseNet121(3, 1, 2, init_features=8, growth_rate=4, block_config=(1, 2))
    unet = UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=1)
    for module, x in ((dense, torch.randn(1, 1, 16, 16, 16)), (unet, torch.randn(1, 1, 16, 16))):
        network = Network(module, kind="segmentation" if module is unet else "multi-class")
        names = layers_with_weights(network, x)
        assert {n.partition(".")[0] for n in names[:1]} <= {"class_layers", "model"}
        other = randomised(network, x)
        assert not torch.allclose(logits(other, x), logits(network, x))


# --- MPRT


@pytest.mark.parametrize("axes", [2, 3])
def test_a_map_that_ignores_the_network_fails_and_the_gradient_of_a_linear_net_passes(axes):
    x = image(axes, batch=5)
    edges = MPRT().of_network(net(axes), Edges(), x, ONE)
    assert edges.passed == (False,)
    assert [s.number for s in edges.scores[0]] == [1.0, 1.0, 1.0]
    linear = Network(Linear(axes), ("a",), "binary")
    gradient = MPRT().of_network(linear, Gradient(), x, LogitTarget((1,), ("a",), "binary"))
    assert gradient.passed == (True,)
    assert gradient.scores[0][0].null == 1.0, "one gradient for all images: they agree exactly"
    assert abs(gradient.scores[0][0].number) < 0.3


@pytest.mark.parametrize("method", [Gradient(), GradCAM("watched")], ids=lambda m: type(m).__name__)
def test_maps_that_follow_the_weights_differ_from_those_of_other_weights(method):
    result = MPRT(stages=None).of_network(net(), method, image(2, batch=6), LogitTarget((0, 2), ("a", "c")))
    assert result.labels == ("a", "c")
    assert result.stages == ("head", "last", "watched", "norm", "stem")
    for scores in result.scores:
        assert [s.metric for s in scores] == ["mprt", "mprt-magnitude", "mprt-ssim"]
        assert abs(scores[0].number) < 0.9
        assert scores[0].n == 6
        assert scores[0].parts["pairs"] == 15
        assert scores[0].interval.kind.startswith("range over")


def test_quantus_averages_the_untouched_model_in_and_ours_is_never_in_curve_or_value():
    """A map beside itself agrees perfectly: with it in the average the edges of a network look better than they are."""
    result = MPRT(stages=None).of_network(net(), Gradient(), image(2, batch=3), ONE)
    curve = result.scores[0][0].curve
    assert [share for share, _ in curve] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(abs(value) < 0.99999 for share, value in curve if share > 0.2)
    assert result.scores[0][0].number == curve[-1][1]


def test_a_sign_that_turns_over_is_no_new_map():
    """The ranks of a negated map are opposite; its magnitudes are the same, and it fails by them."""
    x, network = image(2, batch=4), net()
    signs = {float(randomised(network, x, seed=s).module.head.weight.detach()[0, 0]) < 0: s for s in range(9)}
    turned = signs[float(network.module.head.weight.detach()[0, 0]) >= 0]
    result = MPRT(stages=1, seed=turned).of_network(network, Negated(), x, ONE)
    assert result.scores[0][0].number == pytest.approx(-1)
    assert result.scores[0][1].number == pytest.approx(1)
    assert result.passed == (False,)


def test_the_null_is_that_of_pairs_of_different_images():
    x = image(2, batch=7)
    edges = Edges().attribute(None, x, ONE)[:, 0].flatten(1).numpy()
    ranks = np.corrcoef(edges.argsort(1).argsort(1))
    expected = ranks[np.triu_indices(7, 1)].mean()
    assert MPRT().of_network(net(), Edges(), x, ONE).scores[0][0].null == pytest.approx(expected)
    few = MPRT(pairs=4).of_network(net(), Edges(), x, ONE)
    assert few.scores[0][0].parts["pairs"] == 4
    assert few.scores[0][0].null != pytest.approx(expected)


def test_one_image_has_no_null_and_constant_maps_no_similarity():
    alone = MPRT().of_network(net(), Edges(), image(2, batch=1), ONE)
    assert isinstance(alone.passed[0], Undefined)
    assert isinstance(alone.scores[0][0].null, Undefined)
    constant = MPRT().of_network(net(), Constant(), image(2, batch=3), ONE)
    assert isinstance(constant.passed[0], Undefined)
    assert constant.scores[0][0].n == 0
    assert sum(constant.scores[0][0].excluded.values()) == 3
    # Maps that are one and the same for every image have a null of 1, and a map that stays does not fall below it.
    assert MPRT().of_network(net(), Centre(), image(2, batch=3), ONE).passed == (False,)


def test_a_similarity_that_is_negligible_passes_whatever_the_null():
    metric = MPRT(negligible=0.1)
    made = MPRT().of_network(net(), Edges(), image(2, batch=3), ONE).scores[0]
    from dataclasses import replace

    low = [replace(s, value=0.09, null=-0.2) for s in made]
    assert metric.decided(low) is True
    assert metric.decided([replace(s, value=0.11, null=-0.2) for s in made]) is False
    assert metric.decided([*low[:2], replace(low[2], value=Undefined("small"))]) is True
    assert metric.decided([replace(low[0], value=Undefined("zero")), *low[1:]]) == Undefined("zero")
    assert "binder2023" in MPRT.traits.blind


def test_the_cost_is_the_images_once_and_for_each_stage():
    x = image(2, batch=3)
    assert MPRT(stages=4).of_network(net(), Gradient(), x, ONE).samples == 3 * 5
    assert MPRT(stages=None).of_network(net(), GradCAM("watched"), x, ONE).samples == 3 * 6
    assert MPRT(stages=4).of_network(net(), Edges(), x, ONE).samples == 0


def test_no_generator_is_moved_and_the_batch_does_not_matter():
    network, x = net(), image(2, batch=4)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    whole = MPRT().of_network(network, Gradient(), x, ONE)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # noqa: NPY002
    small = MPRT(memory_mb=1e-6).of_network(network, Gradient(), x, ONE)
    assert small.scores[0][0].number == pytest.approx(whole.scores[0][0].number, rel=1e-9)


def test_a_segmentation_is_asked_of_the_region_of_the_trained_network():
    class Segments(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(2, 3, 3, padding=1).double(), nn.Conv2d(3, 2, 3, padding=1).double()

        def forward(self, x):
            return self.two(torch.tanh(self.one(x)))

    seen = []

    @dataclass(frozen=True)
    class Spy:
        traits: ClassVar[Traits] = Gradient.traits

        def attribute(self, model, x, target):
            seen.append([target.of(n).mask.clone() for n in range(len(x))])
            return Gradient().attribute(model, x, target)

    x = image(2, batch=2)
    network = Network(Segments(), ("a", "b"), "segmentation")
    MPRT(stages=2).of_network(network, Spy(), x, LogitTarget((1,), ("b",), "segmentation"))
    assert len(seen) == 3
    for later in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], later, strict=True))


# --- efficient MPRT


def asked(metric, method, x, target=ONE, network=None):
    with (network or net(x.ndim - 2)).opened() as model:
        return metric.of_method(model, method, x, target), model.counts


def test_entropy_follows_its_definition():
    assert histogram_entropy(np.array([[0.0, 1.0], [2.0, 3.0]]), 4) == pytest.approx(np.log(4))
    assert histogram_entropy(np.array([0.0, 0.0, 0.0, 1.0]), 2) == pytest.approx(
        -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    )
    assert histogram_entropy(np.zeros(5), 10) == 0.0


def test_efficient_mprt_is_zero_for_a_map_that_ignores_the_weights():
    (row,), counts = asked(EfficientMPRT(seeds=3), Edges(), image(2, batch=1))
    assert row[0].number == 0.0
    assert row[0].parts["share of seeds with a rise"] == 0.0
    assert counts.samples == 0
    (row,), _ = asked(EfficientMPRT(), Constant(), image(2, batch=1))
    assert row[0].value == Undefined("the map has one value everywhere")


def test_efficient_mprt_is_the_mean_over_seeds_of_the_relative_rise():
    x, network = image(2, batch=2), net()
    rows, counts = asked(EfficientMPRT(bins=20, seeds=3), Gradient(), x, network=network)
    assert counts.samples == 2 * 4
    with network.opened() as model:
        own = Gradient().attribute(model, x, ONE)[1, 0].numpy()
    rises = []
    for seed in range(3):
        with randomised(network, x, seed=seed).opened() as model:
            other = Gradient().attribute(model, x, ONE)[1, 0].numpy()
        rises.append(histogram_entropy(other, 20) / histogram_entropy(own, 20) - 1)
    assert rows[1][0].number == pytest.approx(np.mean(rises))
    assert rows[1][0].parts["share of seeds with a rise"] == pytest.approx(np.mean([r > 0 for r in rises]))
    assert rows[1][0].interval.kind == "range over seeds"
    assert (rows[1][0].interval.low, rows[1][0].interval.high) == pytest.approx((min(rises), max(rises)))


def test_a_model_without_weights_to_draw_is_refused():
    with pytest.raises(MetricError, match="opened network"):
        EfficientMPRT().of_method(object(), Edges(), image(2), ONE)


# --- other classes


def test_a_map_that_ignores_the_class_is_found_by_every_other_class():
    target = LogitTarget((0, 2), ("a", "c"))
    (row, _), _ = asked(RandomLogit(), Edges(), image(2), target)
    assert [s.number for s in row] == [1.0, 1.0]
    assert [s.null for s in row] == [1.0, 1.0]
    assert row[0].n == 2
    assert row[0].parts["top-iou"] == pytest.approx(1.0)


def test_every_other_class_is_asked_and_the_largest_reported():
    """Quantus draws one class, by the global generator, which it seeds anew."""
    x, network = image(2, batch=1), Network(SmallNet(2, classes=5), tuple("abcde"))
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    ((score,),), counts = asked(RandomLogit(labels=tuple("abcde")), Gradient(), x, LogitTarget((1,), ("b",)), network)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    with network.opened() as model:
        maps = Gradient().attribute(model, x, LogitTarget(tuple(range(5)), tuple("abcde")))[0].clamp(min=0).flatten(1)
    from scipy.stats import spearmanr

    expected = {name: spearmanr(maps[1], maps[c])[0] for c, name in enumerate("abcde") if c != 1}
    assert {k: score.parts[k] for k in expected} == pytest.approx(expected)
    assert score.number == pytest.approx(max(expected.values()))
    assert score.how[-1] == f"most alike: {max(expected, key=expected.get)}"
    assert score.n == 4
    assert counts.forward_samples == 2, "one for what the network says, one for the maps of all classes"
    assert counts.backward_passes == 5


def test_multi_label_counts_absent_classes_only_where_there_are_any():
    """A finding that is there too may share its evidence."""
    x, network = image(2, batch=1), Network(SmallNet(2, classes=5), tuple("abcde"), "multi-label")
    said = logits(network, x)[0]
    middle = float(said.sort().values[2:4].mean())
    own = int(said.argmax())
    target = LogitTarget((own,), ("own",), "multi-label")
    ((score,),), _ = asked(RandomLogit(threshold=middle), Gradient(), x, target, network)
    assert score.n == 3
    assert {k for k in score.parts if k.startswith("class")} == {
        f"class {c}" for c in range(5) if float(said[c]) <= middle
    }
    ((score,),), _ = asked(RandomLogit(threshold=-1e9), Gradient(), x, target, network)
    assert score.n == 4
    assert "none is absent" in score.how[1]


def test_a_single_logit_is_asked_for_its_opposite_and_says_that_this_differs_by_construction():
    x, network = image(2, batch=1), Network(SmallNet(2, classes=1), ("no", "yes"), "binary")
    target = LogitTarget((1,), ("yes",), "binary")
    ((score,),), _ = asked(RandomLogit(), Gradient(), x, target, network)
    assert score.number < 0
    assert score.parts["with signs"] == pytest.approx(-1)
    assert any("by construction" in words for words in score.how)
    # A magnitude has no sign to turn: the maps of both classes are one and the same.
    ((blind,),), _ = asked(RandomLogit(), Gradient(magnitude=True), x, target, network)
    assert blind.number == pytest.approx(1.0)
    assert not any("by construction" in words for words in blind.how)


def test_targets_that_are_no_classes_are_asked_for_their_other_columns_or_their_opposite():
    x = image(2, batch=1)
    two = CallableTarget(lambda out: out[:, :2], ("one", "two"))
    ((first, second),), _ = asked(RandomLogit(), Gradient(), x, two)
    assert first.number == pytest.approx(second.number)
    ((one,),), _ = asked(RandomLogit(), Gradient(), x, CallableTarget(lambda out: out[:, 0] ** 2))
    assert "minus callable" in one.parts
    ((none,),), _ = asked(RandomLogit(), Edges(), x, LogitTarget((0,), ("a",), "segmentation"))
    assert isinstance(none.value, Undefined)
    ((zero,),), _ = asked(RandomLogit(), Constant(), x)
    assert isinstance(zero.value, Undefined)
    assert sum(zero.excluded.values()) == 2


def test_a_probability_is_asked_beside_those_of_the_other_classes():
    x = image(2, batch=1)
    ((score,),), _ = asked(RandomLogit(labels=LABELS), Gradient(), x, ProbabilityTarget((1,), ("b",)))
    assert {"probability of a", "probability of c"} <= set(score.parts)
    assert score.n == 2


def test_each_image_keeps_its_own_question():
    x = image(2, batch=2)
    both, _ = asked(RandomLogit(), Gradient(), x, PerImage((LogitTarget((1,), ("b",)), LogitTarget((2,), ("c",)))))
    for n, k in ((0, 1), (1, 2)):
        alone, _ = asked(RandomLogit(), Gradient(), x[n : n + 1], LogitTarget((k,), (LABELS[k],)))
        assert both[n][0].number == pytest.approx(alone[0][0].number)


@pytest.mark.parametrize(
    "wrong",
    [lambda: MPRT(stages=0), lambda: MPRT(pairs=0), lambda: MPRT(negligible=1.0), lambda: EfficientMPRT(bins=1)],
)
def test_fields_that_mean_nothing_are_refused(wrong):
    with pytest.raises(MetricError):
        wrong()
