"""Methods made of methods: what must hold whatever the inner method is."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Beside, Diagnosing
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.combine.ranks import ranked
from saliscope.methods.control.constant import Constant
from saliscope.methods.gradient.gradient import Gradient
from saliscope.model.network import Network
from saliscope.testing import CHECKS
from saliscope.testing.networks import SmallNet, image

TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))


def run(method, x, target=TARGET, net=None):
    with Network(net or SmallNet(x.ndim - 2)).opened() as model:
        found = method.attribute_with(model, x, target) if isinstance(method, Beside) else {}
        return {"map": method.attribute(model, x, target), **found}, model


def close(found, right, tolerance=1e-12):
    torch.testing.assert_close(found, right, rtol=0, atol=tolerance * float(right.abs().max()))


@pytest.mark.parametrize("axes", [2, 3])
def test_smoothed_gradient_is_smoothgrad(axes):
    fields = {"samples": 6, "sigma": 0.2, "seed": 4}
    x = image(axes)
    right, _ = run(METHODS.make("smoothgrad", **fields), x)
    close(run(METHODS.make("smoothed", method="gradient", **fields), x)[0]["map"], right["map"])


@pytest.mark.parametrize("axes", [2, 3])
def test_without_noise_smoothed_is_the_method_and_does_not_vary(axes):
    x = image(axes)
    found, _ = run(METHODS.make("smoothed", method=GradCAM("watched"), samples=3, sigma=0.0), x)
    close(found["map"], run(GradCAM("watched"), x)[0]["map"])
    assert found["variance"].abs().max() < 1e-24


def test_smoothed_once_has_no_variance_and_costs_its_samples():
    x = image(2)
    assert (run(METHODS.make("smoothed", samples=1), x)[0]["variance"] == 0).all()
    method = METHODS.make("smoothed", method=GradCAM("watched"), samples=7)
    with Network(SmallNet(2)).opened() as model:
        method.attribute(model, x, TARGET)
    assert model.counts.forward_samples == len(x) * 7


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("relu", [True, False])
def test_guided_grad_cam_is_its_own_method(relu, axes):
    from saliscope.methods.propagation.guided_grad_cam import GuidedGradCAM

    x = image(axes)
    right, _ = run(GuidedGradCAM("watched", relu=relu), x)
    close(run(METHODS.make("guided", method=GradCAM("watched"), relu=relu), x)[0]["map"], right["map"], 0)


@pytest.mark.parametrize("axes", [2, 3])
def test_one_layer_fused_is_that_layer_on_the_input(axes):
    x = image(axes)
    with Network(SmallNet(axes)).opened() as model:
        right = model.onto_input(GradCAM("watched").attribute(model, x, TARGET), x, "watched")
    for how in ("mean", "max"):
        close(run(METHODS.make("fused", layers="watched", how=how), x)[0]["map"], right, 0)
    shares, _ = run(METHODS.make("fused", layers="watched", scale="largest"), x)
    assert shares["map"].abs().max() <= 1


def test_fused_takes_one_forward_run_and_says_which_layers_it_chose():
    x = image(2)
    found, model = run(METHODS.make("fused"), x)
    assert model.counts.forward_samples == len(x)
    assert "Layers fused: " in model.take_notes()[0]
    assert found["map"].shape == (2, 3, *x.shape[2:])


def test_a_layer_that_says_nothing_changes_no_zero():
    x, net = image(2), SmallNet(2)
    with torch.no_grad():
        net.watched.weight.zero_()
        net.watched.bias.zero_()
        net.last.weight.zero_()
    found, _ = run(METHODS.make("fused", layers=("stem", "watched"), scale="largest"), x, net=net)
    assert (found["map"] == 0).all()


def test_values_are_ranked_as_scipy_ranks_them():
    values = torch.tensor([[[[3.0, -1.0, 2.0], [2.0, 2.0, 0.0]]]], dtype=torch.float64)
    right = (rankdata(values.numpy().ravel()) - 1) / 5
    np.testing.assert_allclose(ranked(values).numpy().ravel(), right)
    assert (ranked(torch.zeros(1, 1, 4, 4)) == 0.5).all()
    assert (ranked(torch.full((1, 1, 4, 4), 7.0)) == 0.5).all()
    assert ranked(torch.ones(2, 1, 1, 1)).tolist() == [[[[0.5]]], [[[0.5]]]]
    # What differs by rounding alone is one value.
    noise = 1 + torch.tensor([[[[0.0, 1e-7, -1e-7, 0.5]]]])
    assert ranked(noise).ravel().tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_ranks_do_not_know_units():
    values = torch.randn(1, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ranked(values * 1e-8), ranked(values))
    torch.testing.assert_close(ranked(-values), 1 - ranked(values))


@pytest.mark.parametrize("axes", [2, 3])
def test_a_method_agrees_with_itself(axes):
    x, method = image(axes), METHODS.make("consensus", methods=("gradient", "gradient"))
    found, _ = run(method, x)
    assert (found["disagreement"] == 0).all()
    close(found["map"], ranked(run(Gradient(), x)[0]["map"]))
    assert isinstance(method, Diagnosing)
    said = method.diagnose(None, x, TARGET, found["map"])["mean_spearman"]
    assert said.shape == (2, 3)
    # Where ReLUs are dead the gradient is zero, and these ties count as no agreement.
    assert 0.98 < said.min() <= said.max() < 1
    without_ties = METHODS.make("consensus", methods=("random", "random"))
    said = without_ties.diagnose(None, x, TARGET, run(without_ties, x)[0]["map"])["mean_spearman"]
    torch.testing.assert_close(said, torch.ones_like(said), rtol=0, atol=1e-4)


def test_the_measured_agreement_is_the_mean_spearman_correlation():
    x, names = image(3), ("gradient", "input-x-gradient", "random")
    method = METHODS.make("consensus", methods=names)
    found, _ = run(method, x)
    assert 0 < found["disagreement"].max() <= 0.5
    said = method.diagnose(None, x, TARGET, found["map"])["mean_spearman"]
    maps = [run(METHODS.make(name), x)[0]["map"].flatten(2).numpy() for name in names]
    for n in range(2):
        for k in range(3):
            pairs = [spearmanr(maps[i][n, k], maps[j][n, k])[0] for i, j in ((0, 1), (0, 2), (1, 2))]
            assert float(said[n, k]) == pytest.approx(np.mean(pairs), abs=2e-3)


def test_a_constant_map_agrees_with_nothing():
    x, method = image(2), METHODS.make("consensus", methods=("gradient", Constant()))
    found, _ = run(method, x)
    said = method.diagnose(None, x, TARGET, found["map"])["mean_spearman"]
    # Untied ranks against one shared rank: half of the spread of one, over two methods.
    assert found["map"].min() >= 0.25
    assert said.abs().max() < 0.51
    assert (said < 0).all()


def test_kernels_of_a_consensus_share_one_forward_run():
    x = image(2)
    method = METHODS.make("consensus", methods=(GradCAM("watched"), "gradient", "input-x-gradient"))
    with Network(SmallNet(2)).opened() as model:
        method.attribute(model, x, TARGET)
    assert model.counts.forward_samples == len(x)


def test_maps_with_and_without_a_sign_are_said_to_differ():
    x = image(2)
    _, model = run(METHODS.make("consensus", methods=("gradient", "edges")), x)
    assert "with a sign" in " ".join(model.take_notes())
    _, model = run(METHODS.make("consensus", methods=("gradient", "edges"), part="magnitude"), x)
    assert not model.take_notes()


def test_traits_are_those_of_the_method_inside():
    grad_cam, control = METHODS.make("smoothed", method="grad-cam"), METHODS.make("smoothed", method="edges")
    assert grad_cam.traits.grid == "layer"
    assert grad_cam.traits.family == control.traits.family == "combine"
    assert not control.traits.class_discriminative
    assert GradCAM().traits.cost in grad_cam.traits.cost
    assert METHODS.make("guided", method="grad-cam").traits.grid == "input"
    assert METHODS.make("guided").traits.fails_randomisation
    assert not METHODS.make("fused", how="product").traits.signed
    assert METHODS.make("consensus", methods=("guided", "gradient")).traits.fails_randomisation
    assert not METHODS.make("consensus", methods=("edges", "gradient")).traits.class_discriminative
    assert type(grad_cam).traits.grid == "input", "the class keeps what its default has"


def test_a_method_in_a_method_in_a_method():
    x = image(2)
    method = METHODS.make("tiled", tile=6, method=METHODS.make("smoothed", method=GradCAM("watched"), samples=2))
    assert run(method, x)[0]["map"].shape == (2, 3, 6, 5)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("smoothed", {"method": GradCAM("watched"), "samples": 2, "memory_mb": 1e-6}),
        ("guided", {"method": "input-x-gradient", "relu": False}),
        ("fused", {"method": "layercam", "how": "product", "scale": "largest"}),
        ("fused", {"layers": "watched", "how": "max"}),
        ("consensus", {"methods": (GradCAM("watched"), "gradient"), "part": "positive"}),
        ("tiled", {"method": GradCAM("watched"), "tile": 8, "overlap": 0.5}),
    ],
    ids=str,
)
def test_they_keep_the_contract_with_other_fields(name, fields):
    method = METHODS.make(name, **fields)
    for check in CHECKS:
        check(method)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("smoothed", {"samples": 0}, "at least one sample"),
        ("smoothed", {"method": "grad-kam"}, "Did you mean 'grad-cam'"),
        ("guided", {"method": "nothing"}, "method 'nothing'"),
        ("fused", {"how": "sum"}, "how mean or max or product"),
        ("fused", {"layers": ()}, "names of layers"),
        ("fused", {"method": "occlusion"}, "Choose a CAM method"),
        ("fused", {"method": "gradient"}, "Choose a CAM method"),
        ("consensus", {"methods": ("gradient",)}, "two methods or more"),
        ("consensus", {"methods": "gradient"}, "two methods or more"),
        ("consensus", {"part": "half"}, "part signed, positive, magnitude"),
        ("tiled", {"overlap": 1.0}, "overlap from 0 to below 1"),
        ("tiled", {"tile": (0, 4)}, "one element or more"),
        ("tiled", {"margin": -1}, "no negative margin"),
    ],
)
def test_what_does_not_fit_is_refused(name, fields, said):
    with pytest.raises(MethodError, match=said):
        METHODS.make(name, **fields)


def test_a_layer_that_is_not_named_is_refused():
    for method in (METHODS.make("guided"), METHODS.make("tiled", method="grad-cam"), METHODS.make("consensus")):
        with pytest.raises(MethodError, match="layer"):
            run(method, image(2))
