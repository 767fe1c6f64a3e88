"""Path methods where the right map, or its sum, can be written down."""

import pytest
import torch
from test_method_analysis import Linear
from torch import nn

from saliscope.core.errors import MethodError
from saliscope.core.target import CallableTarget, LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.perturb.baseline import absent, blurred
from saliscope.perturb.reference import References
from saliscope.testing.networks import AFTER, SmallNet, image, seeded

TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))
AXES = pytest.mark.parametrize("axes", [2, 3])


class Pooled(nn.Module):
    """A network with what `between` makes of a convolution's cells, and a linear head."""

    def __init__(self, axes, between):
        super().__init__()
        self.first = (nn.Conv2d if axes == 2 else nn.Conv3d)(2, 6, 3, padding=1)
        self.between = between
        self.last = (nn.Conv2d if axes == 2 else nn.Conv3d)(6, 3, 1)
        seeded(self)
        self.double().eval()

    def forward(self, x):
        return self.last(torch.relu(self.between(self.first(x)))).flatten(2).mean(2)


def run(method, net, x, target=TARGET):
    with Network(net).opened() as model:
        found = method.attribute(model, x, target)
        gap = method.diagnose(model, x, target, found).get("completeness_gap") if hasattr(method, "diagnose") else None
        return found, gap, model.notes


def close(found, right, tolerance=1e-12):
    torch.testing.assert_close(found, right, rtol=0, atol=tolerance * float(right.abs().max()))


def distance(found, right):
    """Return (N, K) of the L2 distance as a share of the right map."""
    return (found - right).flatten(2).norm(dim=2) / right.flatten(2).norm(dim=2)


@AXES
def test_on_a_linear_network_every_path_is_gradient_times_way(axes):
    x = image(axes)
    net = Linear(x)
    way = x - absent(x, "min")
    right = (net.weight.detach()[None] * way[:, None]).sum(2)
    for name in ("integrated-gradients", "guided-ig"):
        close(run(METHODS.make(name), net, x)[0], right, 1e-9)
    expected = METHODS.make("expected-gradients", references="min", samples=3)
    close(run(expected, net, x)[0], right)
    sigma = [max(x.shape[2:]) / 8] * axes
    blurs = (net.weight.detach()[None] * (x - blurred(x, sigma))[:, None]).sum(2)
    close(run(METHODS.make("blur-ig", steps=3), net, x)[0], blurs)
    square = net.weight.detach() ** 2
    share = square.sum(1) / square.flatten(1).sum(1).reshape(-1, *[1] * axes)
    rise = right.flatten(2).sum(2).reshape(2, 3, *[1] * axes)
    close(run(METHODS.make("idgi", steps=3), net, x)[0], share[None] * rise)
    assert float(run(METHODS.make("vargrad", samples=3), net, x)[0].abs().max()) < 1e-20
    close(run(METHODS.make("smoothgrad-squared", samples=3), net, x)[0][0], square.sum(1))


@AXES
@pytest.mark.parametrize("after", AFTER)
def test_integrated_gradients_and_idgi_sum_to_the_difference(after, axes):
    for name, limit in (("integrated-gradients", 1e-9), ("idgi", 1e-12)):
        found, gap, _ = run(METHODS.make(name), SmallNet(axes, after), image(axes))
        assert gap.abs().max() < limit * found.flatten(2).abs().sum(2).max()


@AXES
@pytest.mark.parametrize(("name", "fields"), [("blur-ig", {}), ("guided-ig", {"max_dist": 0.02})])
def test_other_paths_come_near_the_difference_with_more_steps(name, fields, axes):
    net, x = SmallNet(axes), image(axes, batch=1)
    gaps = [float(run(METHODS.make(name, steps=n, **fields), net, x)[1].abs().max()) for n in (4, 64)]
    assert gaps[1] < gaps[0] / 4


@AXES
@pytest.mark.parametrize("after", AFTER)
def test_the_bound_of_integrated_gradients_holds(after, axes):
    """The map is nearer to the integral than the tolerance, and than the noted bound."""
    net, x = SmallNet(axes, after), image(axes)
    fine = run(METHODS.make("integrated-gradients", steps=500), net, x)[0]
    for tolerance in (0.05, 0.01):
        found, _, notes = run(METHODS.make("integrated-gradients", tolerance=tolerance), net, x)
        noted = float(notes[0].partition("at most ")[2].partition("%")[0]) / 100
        assert noted <= tolerance + 5e-4
        assert distance(found, fine).max() <= noted + 2e-3


@AXES
def test_a_max_pool_has_chords(axes):
    net = Pooled(axes, (nn.MaxPool2d if axes == 2 else nn.MaxPool3d)(2))
    x = image(axes)
    found, gap, notes = run(METHODS.make("integrated-gradients", tolerance=0.02), net, x)
    assert gap.abs().max() < 1e-10
    assert len(notes) == 1
    assert distance(found, run(METHODS.make("integrated-gradients", steps=500), net, x)[0]).max() < 0.006


@AXES
def test_a_normalisation_by_the_image_itself_takes_midpoints(axes):
    net = Pooled(axes, (nn.InstanceNorm2d if axes == 2 else nn.InstanceNorm3d)(6))
    x = image(axes)
    found, gap, notes = run(METHODS.make("integrated-gradients", tolerance=0.03), net, x)
    assert "chords are not known for" in notes[-1]
    assert "instance_norm" in notes[-1]
    assert distance(found, run(METHODS.make("integrated-gradients", steps=500), net, x)[0]).max() < 0.031
    assert gap.abs().max() <= 0.03 * found.flatten(2).norm(dim=2).max().maximum((found.flatten(2).sum(2)).abs().max())


def test_a_target_that_is_no_sum_of_logits_takes_midpoints():
    target = CallableTarget(lambda output: output.softmax(1)[:, 0])
    found, _, notes = run(METHODS.make("integrated-gradients"), SmallNet(2), image(2), target)
    assert "Softmax" in notes[-1]
    right = run(METHODS.make("integrated-gradients", steps=500), SmallNet(2), image(2), target)[0]
    assert distance(found, right).max() < 0.05


def test_an_image_that_is_its_baseline_has_an_empty_map():
    x = torch.zeros(1, 2, 12, 10, dtype=torch.float64)
    for name in ("integrated-gradients", "idgi", "guided-ig", "blur-ig"):
        found, gap, _ = run(METHODS.make(name), SmallNet(2), x)
        assert (found == 0).all()
        assert (gap == 0).all()


@AXES
def test_expected_gradients_with_one_reference_converge_to_integrated_gradients(axes):
    """The squared distance has the mean that the variance beside the map says, or less for the stratified draws."""
    net, x = SmallNet(axes), image(axes, batch=1)
    start = torch.full_like(x, 0.3)
    method = METHODS.make("expected-gradients", references=References.of(start), samples=256)
    with Network(net).opened() as model:
        found = method.attribute_with(model, x, TARGET)
    right = run(METHODS.make("integrated-gradients", steps=1000, baseline=0.3), net, x)[0]
    said = found["variance"].flatten(2).sum(2)
    assert ((found["map"] - right) ** 2).flatten(2).sum(2).le(2 * said).all()
    # Strata leave only what changes within one: far less than independent draws would.
    assert distance(found["map"], right).max() < 0.02


def test_expected_gradients_refuse_to_make_up_references():
    with pytest.raises(MethodError, match=r"References\.of"):
        run(METHODS.make("expected-gradients"), SmallNet(2), image(2))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("integrated-gradients", {"steps": 0}),
        ("integrated-gradients", {"tolerance": 0.0}),
        ("integrated-gradients", {"max_gradients": 23}),
        ("expected-gradients", {"samples": 1}),
        ("expected-gradients", {"references": "nothing"}),
        ("guided-ig", {"fraction": 0.0}),
        ("guided-ig", {"max_dist": 1.5}),
        ("blur-ig", {"sigma_mm": -1.0}),
        ("blur-ig", {"sigma_mm": 0.0}),
        ("blur-ig", {"spacing": (1.0, 0.0)}),
        ("idgi", {"steps": 0}),
        ("vargrad", {"samples": 0}),
        ("smoothgrad-squared", {"sigma": -1.0}),
    ],
)
def test_fields_without_a_meaning_are_refused(name, fields):
    with pytest.raises(MethodError):
        METHODS.make(name, **fields)


def test_a_spacing_of_other_axes_is_refused():
    with pytest.raises(MethodError, match="one size for each axis"):
        run(METHODS.make("blur-ig", spacing=(1.0, 1.0, 1.0)), SmallNet(2), image(2))
