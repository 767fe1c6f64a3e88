"""Networks so simple that the right map can be written down."""

import pytest
import torch
from torch import nn

from saliscope.core.target import CallableTarget, LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.kernel import kernel_maps
from saliscope.model.network import Network
from saliscope.testing.networks import SmallNet, image, seeded

TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))


def run(method, net, x, target=TARGET):
    with Network(net).opened() as model:
        return method.attribute(model, x, target)


def close(found, right, tolerance=1e-12):
    torch.testing.assert_close(found, right, rtol=0, atol=tolerance * float(right.abs().max()))


class Linear(nn.Module):
    """Scores are weights (3, C, *S) times the image, plus a bias."""

    def __init__(self, x):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, *x.shape[1:], dtype=x.dtype))
        self.bias = nn.Parameter(torch.empty(3, dtype=x.dtype))
        seeded(self)

    def forward(self, x):
        return torch.einsum("n...,k...->nk", x, self.weight) + self.bias


class Headed(nn.Module):
    """A convolution "layer", then one linear head, over its mean ("pooled") or over all of its cells ("flat")."""

    def __init__(self, axes, head, cells):
        super().__init__()
        self.layer = (nn.Conv2d if axes == 2 else nn.Conv3d)(2, 4, 2, stride=2)
        self.pooled = head == "pooled"
        self.head = nn.Linear(4 if self.pooled else 4 * cells, 3)
        seeded(self)
        self.double()

    def forward(self, x):
        seen = self.layer(x).flatten(2)
        return self.head(seen.mean(2) if self.pooled else seen.flatten(1))


class Pointwise(nn.Module):
    """The sum of a function of every element."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x).flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("axes", [2, 3])
def test_gradient_of_a_linear_network_is_its_weights(axes):
    x = image(axes)
    net = Linear(x)
    close(run(METHODS.make("gradient"), net, x), net.weight.detach().sum(1)[None].expand(2, 3, *x.shape[2:]))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_integrated_gradients_of_a_linear_network_is_input_x_gradient(steps, axes):
    x = image(axes)
    net = Linear(x)
    product = run(METHODS.make("input-x-gradient"), net, x)
    close(product, (net.weight.detach()[None] * x[:, None]).sum(2))
    close(run(METHODS.make("integrated-gradients", steps=steps, baseline="zero"), net, x), product)


@pytest.mark.parametrize("axes", [2, 3])
def test_smoothgrad_of_a_linear_network_is_its_gradient(axes):
    x = image(axes)
    net = Linear(x)
    close(run(METHODS.make("smoothgrad", samples=3), net, x), run(METHODS.make("gradient"), net, x))


@pytest.mark.parametrize("axes", [2, 3])
def test_occlusion_of_a_linear_network_is_the_share_of_the_window(axes):
    x = image(axes)
    net = Linear(x)
    product = run(METHODS.make("input-x-gradient"), net, x)
    close(run(METHODS.make("occlusion", window=1, stride=1, baseline="zero"), net, x), product)
    whole = METHODS.make("occlusion", window=tuple(x.shape[2:]), stride=1, baseline="zero")
    total = product.flatten(2).sum(2).reshape(2, 3, *[1] * axes)
    close(run(whole, net, x), total.expand_as(product))


@pytest.mark.parametrize("axes", [2, 3])
def test_after_pooling_and_a_linear_head_grad_cam_is_hirescam_is_cam(axes):
    x = image(axes)
    cells = x[0, 0].numel() // 2**axes
    net = Headed(axes, "pooled", cells)
    cam = torch.einsum("kc,nc...->nk...", net.head.weight, net.layer(x)).detach()
    close(run(METHODS.make("grad-cam", layer="layer"), net, x), cam / cells)
    close(run(METHODS.make("hirescam", layer="layer"), net, x), cam / cells)


@pytest.mark.parametrize("head", ["pooled", "flat"])
@pytest.mark.parametrize("axes", [2, 3])
def test_before_a_linear_head_hirescam_sums_to_the_logit_and_grad_cam_need_not(axes, head):
    x = image(axes)
    net = Headed(axes, head, x[0, 0].numel() // 2**axes)
    logit = (net(x) - net.head.bias).detach()
    close(run(METHODS.make("hirescam", layer="layer"), net, x).flatten(2).sum(2), logit)
    averaged = run(METHODS.make("grad-cam", layer="layer"), net, x).flatten(2).sum(2)
    assert ((averaged - logit).abs().max() < 1e-9) == (head == "pooled")


def test_grad_cam_plus_plus_of_an_even_gradient_has_a_closed_weight():
    x = image(2)
    net = Headed(2, "pooled", 30)
    g = net.head.weight.detach()[:, :, None, None] / 30
    a = net.layer(x).detach()
    weight = 30 * g.relu() / (2 + g * a.sum((2, 3), keepdim=True)[:, None])
    close(run(METHODS.make("grad-cam++", layer="layer"), net, x), (weight * a[:, None]).sum(2))


@pytest.mark.parametrize("baseline", ["zero", "min", "mean", "blur", -1.5])
def test_integrated_gradients_of_a_square_are_exact_from_any_baseline(baseline):
    x = image(2)
    method = METHODS.make("integrated-gradients", steps=1, baseline=baseline)
    target = CallableTarget(lambda output: output)
    found = run(method, Pointwise(torch.square), x, target)
    from saliscope.perturb.baseline import absent

    close(found, (x**2 - absent(x, baseline) ** 2).sum(1, keepdim=True))


def test_integrated_gradients_converge_as_the_midpoint_rule():
    """Of a cube, n midpoints give 1 - 1/(4 n²) of the integral; sums that take an end point are far from that."""
    x = image(2).abs() + 0.1
    target = CallableTarget(lambda output: output)
    for steps in (1, 2, 5, 25):
        method = METHODS.make("integrated-gradients", steps=steps, baseline="zero")
        found = run(method, Pointwise(lambda v: v**3), x, target)
        close(found, (1 - 1 / (4 * steps**2)) * (x**3).sum(1, keepdim=True))


@pytest.mark.parametrize("axes", [2, 3])
def test_integrated_gradients_are_complete_and_say_by_how_much_not(axes):
    x, net, gaps = image(axes), SmallNet(axes), []
    for steps in (4, 256):
        method = METHODS.make("integrated-gradients", steps=steps)
        with Network(net).opened() as model:
            found = method.attribute(model, x, TARGET)
            said = method.diagnose(model, x, TARGET, found)
            start = x.amin(tuple(range(2, x.ndim)), keepdim=True).expand_as(x)
            difference = model(x) - model(start)
        close(said["completeness_gap"], found.flatten(2).sum(2) - difference)
        larger = found.flatten(2).sum(2).abs().maximum(difference.abs())
        close(said["completeness_relative_gap"], said["completeness_gap"].abs() / larger)
        gaps.append(float(said["completeness_gap"].abs().max() / difference.abs().max()))
    assert gaps[1] < 0.01
    assert gaps[1] < gaps[0] / 4


def test_diagnose_of_no_difference_is_zero_without_a_gap_and_one_with_one():
    x = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    method = METHODS.make("integrated-gradients", baseline="zero")
    with Network(Linear(x)).opened() as model:
        found = method.attribute(model, x, TARGET)
        assert (method.diagnose(model, x, TARGET, found)["completeness_relative_gap"] == 0).all()
        assert (method.diagnose(model, x, TARGET, found + 1)["completeness_relative_gap"] == 1).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_one_probe_of_several_layers_gives_each_method_its_own_map(axes):
    """Methods of three layers and of the input, asked for out of the order in which the layers run."""
    x, net = image(axes), SmallNet(axes, "concat")
    methods = [METHODS.make("gradient")]
    for layer in ("last", "stem", "watched"):
        methods += [METHODS.make(name, layer=layer) for name in ("grad-cam", "grad-cam++")]
    methods.append(METHODS.make("input-x-gradient"))
    with Network(net).opened() as model:
        together = kernel_maps(model, x, TARGET, methods)
        assert model.counts.forward_samples == len(x)
        for method, found in zip(methods, together, strict=True):
            close(found, method.attribute(model, x, TARGET), 1e-9)
