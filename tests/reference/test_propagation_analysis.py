"""What must hold of propagation methods whatever the numbers: identities, conservation, what is seen of a network."""

import gc

import pytest
import replica_propagation as replica
import torch
from torch import nn
from torch.nn import functional

from saliscope.core.errors import MethodError, ModelError
from saliscope.core.target import CallableTarget, LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.propagation.linear import normalising, shifted
from saliscope.methods.propagation.pools import at_maxima
from saliscope.model.network import Network
from saliscope.model.rewrite import Rewriting
from saliscope.testing.networks import AFTER, SmallNet, image, seeded

TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))


def run(method, net, x, target=TARGET):
    with Network(net).opened() as model:
        return method.attribute(model, x, target)


def noted(method, net, x, target=TARGET):
    with Network(net).opened() as model:
        method.attribute(model, x, target)
        return " ".join(model.notes)


def close(found, right, tolerance=1e-12):
    assert float(right.abs().max()) > 1e-9
    torch.testing.assert_close(found, right, rtol=0, atol=tolerance * float(right.abs().max()))


class Built(nn.Module):
    """A convolution, then whatever a test puts between it and a linear head over the mean."""

    def __init__(self, axes, between, *modules, bias=True):
        super().__init__()
        self.first = (nn.Conv2d, nn.Conv3d)[axes - 2](2, 4, 3, padding=1, bias=bias)
        self.held, self.between = nn.ModuleList(modules), between
        self.head = nn.Linear(4, 3, bias=bias)
        seeded(self)
        self.double()

    def forward(self, x):
        return self.head(self.between(self.first(x), *self.held).flatten(2).mean(2))


class Linear(nn.Module):
    def __init__(self, x):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, *x.shape[1:], dtype=x.dtype))
        seeded(self)

    def forward(self, x):
        return torch.einsum("n...,k...->nk", x, self.weight)


@pytest.mark.parametrize("axes", [2, 3])
def test_all_agree_on_a_linear_network(axes):
    x = image(axes)
    net = Linear(x)
    product = run(METHODS.make("input-x-gradient"), net, x)
    close(run(METHODS.make("integrated-gradients", baseline="zero", steps=3), net, x), product)
    close(run(METHODS.make("deeplift", baseline="zero"), net, x), product)
    close(run(METHODS.make("lrp", composite="epsilon", epsilon=0.0), net, x), product)


def deep(kind, axes):
    from monai.networks.nets import DenseNet, ResNet, UNet

    if kind == "densenet":
        net = DenseNet(axes, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2, 2))
    elif kind == "resnet":
        net = ResNet("basic", [1, 1, 1, 1], [4, 6, 8, 8], spatial_dims=axes, n_input_channels=1, num_classes=3)
    else:
        net = UNet(axes, 1, 3, (4, 6, 8), (2, 2), num_res_units=1, norm="batch")
    replica.filled(net, seed=3)
    return net


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ["densenet", "resnet", "unet"])
def test_lrp_without_epsilon_is_input_x_gradient_in_a_network_of_relus_and_norms(kind, axes):
    """An identity of ReLU networks; it tells a norm, a sum or a pool whose relevance went astray."""
    net, x = deep(kind, axes), scan(axes)
    found = run(METHODS.make("lrp", composite="epsilon", epsilon=0.0), net, x, segmented(kind))
    close(found, run(METHODS.make("input-x-gradient"), net, x, segmented(kind)), 1e-9)


def scan(axes):
    return torch.randn(2, 1, *(32, 24, 16)[:axes], generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def segmented(kind):
    return LogitTarget((0, 1, 2), TARGET.labels, "segmentation") if kind == "unet" else TARGET


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("composite", ["epsilon", "epsilon-plus-flat", "epsilon-gamma-box"])
def test_relevance_is_conserved_where_no_bias_takes_a_share(composite, axes):
    net, x = replica.Branched(axes, bias=False), replica.picture(axes)
    method = METHODS.make("lrp", composite=composite, epsilon=1e-12)
    with Network(net).opened() as model:
        found = method.attribute(model, x, TARGET)
        gap = method.diagnose(model, x, TARGET, found)
        assert gap["conservation_relative_gap"].max() < 1e-8
        assert found.abs().max() > 1e-3
        wrong = method.diagnose(model, x, TARGET, 2 * found)
        torch.testing.assert_close(wrong["conservation_gap"], TARGET.scores(model(x)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ["densenet", "resnet", *AFTER])
def test_deeplift_is_complete(kind, axes):
    net = SmallNet(axes, kind) if kind in AFTER else deep(kind, axes)
    x = image(axes) if kind in AFTER else scan(axes)
    method = METHODS.make("deeplift")
    with Network(net).opened() as model:
        found = method.attribute(model, x, TARGET)
        assert method.diagnose(model, x, TARGET, found)["completeness_relative_gap"].max() < 1e-9
        assert not model.notes
        wrong = method.diagnose(model, x, TARGET, found + 1)["completeness_gap"]
        torch.testing.assert_close(wrong, torch.full_like(wrong, x[0, 0].numel()), rtol=1e-6, atol=0)


SMOOTH = [functional.elu, functional.gelu, functional.silu, functional.softplus, torch.sigmoid, torch.tanh]


@pytest.mark.parametrize("function", [*SMOOTH, functional.relu6, functional.hardswish, lambda v: v.clamp(-0.1, 0.2)])
def test_deeplift_is_complete_for_every_activation_and_pool(function):
    net = Built(2, lambda v: functional.max_pool2d(function(v), 3, 2, padding=1))
    method, x = METHODS.make("deeplift", baseline="mean"), image(2)
    with Network(net).opened() as model:
        found = method.attribute(model, x, TARGET)
        assert method.diagnose(model, x, TARGET, found)["completeness_relative_gap"].max() < 1e-9


def test_deeplift_gives_a_plain_baseline_no_preferred_corner():
    net, x = Built(2, lambda v: functional.max_pool2d(functional.relu(v + 1), 2)), image(2, 1)
    method = METHODS.make("deeplift", baseline=0.0)
    with torch.no_grad():
        net.first.weight[...] = net.first.weight.mean((2, 3), keepdim=True)
    right = run(method, net, x)
    for axis in (2, 3):
        close(run(method, net, x.flip(axis)).flip(axis), right, 1e-9)


@pytest.mark.parametrize(
    "pool",
    [
        lambda v: functional.max_pool2d(v, 3),
        lambda v: functional.max_pool2d(v, (3, 2), (1, 3), (1, 0), (2, 1)),
        lambda v: nn.MaxPool2d(2, 2, ceil_mode=True)(v),
        lambda v: functional.max_pool1d(v.flatten(2), 3, 2, padding=1),
        lambda v: functional.max_pool3d(v[:, None], 2, padding=1, stride=1),
        lambda v: functional.adaptive_max_pool2d(v, (2, 3)),
    ],
)
def test_a_window_sends_to_its_maximum_as_autograd_does(pool):
    calls = []
    x = image(2, 2, 4)[..., :7].requires_grad_()
    with Rewriting(lambda call: calls.append(call)):
        out = pool(x.mul(1))
    amount = torch.randn(out.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    call = calls[-1]
    values = call.input.detach()
    found = at_maxima(call, values, amount)
    root = values.clone().requires_grad_()
    close(found, torch.autograd.grad(call.on(root), root, amount)[0])


def test_equal_maxima_share_alike():
    calls = []
    with Rewriting(lambda call: calls.append(call)):
        functional.max_pool2d(image(2).requires_grad_().mul(1), 2)
    values = torch.tensor([[[[3.0, 3 - 1e-12], [1, 3]]]], dtype=torch.float64)
    found = at_maxima(calls[-1], values, torch.ones(1, 1, 1, 1).double())
    close(found, torch.tensor([[[[1.0, 1], [0, 1]]]]).double() / 3)


def squeezed(v):
    return v * torch.sigmoid(v.flatten(2).mean(2))[..., None, None]


RELUS = {
    "module": (lambda v, m: m(v), nn.ReLU()),
    "module in place": (lambda v, m: m(v), nn.ReLU(inplace=True)),
    "function": (lambda v: functional.relu(v),),
    "function in place": (lambda v: functional.relu(v, inplace=True),),
    "torch": (lambda v: torch.relu(v),),
    "torch in place": (lambda v: torch.relu_(v),),
    "tensor": (lambda v: v.relu(),),
    "tensor in place": (lambda v: v.relu_(),),
    "clamp": (lambda v: v.clamp(min=0),),
    "half of it": (lambda v: torch.cat([part.relu() for part in v.chunk(2, 1)], 1),),
}


@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet", "deeplift", "lrp"])
def test_a_relu_is_seen_however_it_is_called(method):
    x = image(2)
    right = run(METHODS.make(method), Built(2, lambda v: functional.relu(functional.relu(v - 0.1))), x)
    for name, (between, *modules) in RELUS.items():
        twice = Built(2, lambda v, *m, f=between: f(f(v - 0.1, *m), *m), *modules)
        torch.testing.assert_close(run(METHODS.make(method), twice, x), right, msg=name)
    plain = run(METHODS.make("gradient"), Built(2, lambda v: functional.relu(functional.relu(v - 0.1))), x)
    assert (right - plain).abs().max() > 1e-3 * plain.abs().max()


PLACES = {
    "a slice": lambda v, f, g: f(v[..., 1:-1, 1:]) if f else g(v[..., 1:-1, 1:]),
    "after an instance norm": lambda v, f, g: (f or g)(functional.instance_norm(v)) * v,
    "after a write": lambda v, f, g: (f or g)(v.add_(1)),
    "a part": lambda v, f, g: half(v, f) if f else torch.cat([g(v[:, :2]), v[:, 2:]], 1),
    "a transposed view": lambda v, f, g: (f or g)(v.transpose(1, 2)).transpose(1, 2),
}


def half(v, function):
    function(v[:, :2])
    return v


def behind(function, relu):
    return lambda v: function(relu(v))


INPLACE = [
    (lambda v: functional.relu(v, inplace=True), functional.relu),
    (lambda v: functional.relu6(v.mul_(9), inplace=True), lambda v: functional.relu6(9 * v)),
    (lambda v: torch.clamp_(v, min=0), lambda v: v.clamp(min=0)),
    (lambda v: functional.silu(v, inplace=True), functional.silu),
    (lambda v: functional.leaky_relu(v, 0.1, inplace=True), lambda v: functional.leaky_relu(v, 0.1)),
    (lambda v: functional.hardswish(v, inplace=True), functional.hardswish),
    (lambda v: functional.elu(v, inplace=True), functional.elu),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("inside", "outside"), INPLACE)
@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet", "deeplift"])
def test_an_activation_in_place_is_that_out_of_place(method, inside, outside, place):
    if method != "deeplift" and outside in [out for _, out in INPLACE[3:]]:
        # Without a ReLU these refuse; behind one they keep the gradient of the other activations.
        inside, outside = behind(inside, functional.relu_), behind(outside, functional.relu)
    one, other = (Built(2, lambda v, f=f: PLACES[place](v, f, outside)) for f in (inside, None))
    x = image(2)
    close(run(METHODS.make(method), one, x), run(METHODS.make(method), other, x))


@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet", "guided-grad-cam"])
def test_a_network_without_a_relu_is_refused(method):
    fields = {"layer": "first"} if method == "guided-grad-cam" else {}
    with pytest.raises(MethodError, match="without a ReLU"):
        run(METHODS.make(method, **fields), Built(2, functional.gelu), image(2))


def test_other_activations_keep_their_gradient_and_that_is_noted():
    note = noted(METHODS.make("guided-backprop"), Built(2, lambda v: functional.gelu(functional.relu(v))), image(2))
    assert note == "1 ReLUs were changed; Gelu kept the gradient."


def scripted():
    return torch.jit.script(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()))


@pytest.mark.parametrize("method", ["guided-backprop", "lrp"])
def test_a_scripted_part_out_of_sight_is_refused(method):
    net = Built(2, lambda v, part: part(torch.relu(v)), scripted())
    with pytest.raises(MethodError, match="scripted"):
        run(METHODS.make(method), net, image(2))


@pytest.mark.parametrize(
    ("between", "name"),
    [
        (lambda v: 2 / (3 + torch.relu(v)), "Reciprocal"),
        (lambda v: (3 + torch.relu(v)) ** -1, "Pow"),
        (lambda v: v.prod(1, keepdim=True) + v, "Prod"),
        (lambda v: torch.fft.rfft2(v).real[..., :4], "FftR2C"),
        (lambda v: torch.atan2(v, v + 1), "Atan2"),
    ],
)
def test_lrp_refuses_what_it_has_no_rule_for_by_name(between, name):
    with pytest.raises(MethodError, match=name):
        run(METHODS.make("lrp"), Built(2, between), image(2))


@pytest.mark.parametrize(
    "between",
    [
        lambda v: functional.relu(v.mul_(2) - 0.3) + 0.1,
        lambda v: 0.4 - functional.relu(torch.rsub(v, 0.2, alpha=3)),
        lambda v: torch.add(v, functional.relu(v), alpha=-2),
        lambda v: torch.stack([v, functional.leaky_relu(v)]).sum(0),
        lambda v: functional.interpolate(functional.relu(v), scale_factor=2, mode="bilinear"),
        lambda v: functional.avg_pool2d(torch.relu(v), 2).sub_(torch.relu(functional.avg_pool2d(v, 2))),
        lambda v: functional.conv_transpose2d(torch.relu(v), torch.ones(4, 2, 2, 2).double(), groups=2, stride=2),
        lambda v: (torch.ones(4, 4).double() @ functional.relu(v).flatten(2)).reshape(v.shape),
    ],
)
def test_lrp_without_epsilon_is_input_x_gradient_through_every_operation(between):
    net, x = Built(2, between), image(2)
    found = run(METHODS.make("lrp", composite="epsilon", epsilon=0.0), net, x)
    close(found, run(METHODS.make("input-x-gradient"), net, x), 1e-9)


ONE, FOUR = torch.ones(4).double(), torch.tensor([1.0, 2, 3, -1]).double()
NORMS = [
    lambda v: functional.group_norm(v, 2, FOUR, ONE, 1e-3),
    lambda v: functional.instance_norm(v, weight=FOUR, bias=ONE, eps=1e-2),
    lambda v: functional.layer_norm(v, v.shape[2:], bias=v[0, 0].detach()),
    lambda v: functional.batch_norm(v, ONE, 2 * ONE, FOUR, eps=0.1),
    lambda v: functional.batch_norm(v, None, None, bias=FOUR, training=True),
    lambda v: functional.instance_norm(v, ONE, 2 * ONE, use_input_stats=False),
]


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_a_normalisation_is_its_scale_and_shift(norm, axes):
    calls = []
    x = image(axes, 2, 4).requires_grad_()
    with Rewriting(lambda call: calls.append(call)):
        right = norm(x.mul(1))
    layer = normalising(calls[-1])
    close(layer.run(calls[-1].input, layer.weight, layer.bias).detach(), right.detach())


@pytest.mark.parametrize(
    "operation", [lambda v: v + 2, lambda v: 2 - v, lambda v: torch.rsub(v, 3, alpha=2), lambda v: v.sub(1, alpha=4)]
)
def test_a_sum_with_a_constant_is_its_scale_and_shift(operation):
    calls = []
    x = image(2).requires_grad_()
    with Rewriting(lambda call: calls.append(call)):
        right = operation(x)
    layer = shifted(calls[-1])
    close(layer.run(x, layer.weight, layer.bias).detach(), right.detach())


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_merges_with_its_norm(groups):
    net = Built(
        2, lambda v, up, norm: torch.relu(norm(up(v))), nn.ConvTranspose2d(4, 4, 2, 2, groups=groups), nn.BatchNorm2d(4)
    )
    replica.filled(net, seed=4)
    method, x = METHODS.make("lrp", composite="epsilon", epsilon=0.0), image(2)
    close(run(method, net, x), run(METHODS.make("input-x-gradient"), net, x), 1e-9)


def test_a_norm_after_a_write_in_place_is_not_merged():
    net = Built(2, lambda v, norm: torch.relu(norm(v.mul_(3))), nn.BatchNorm2d(4))
    replica.filled(net, seed=4)
    method, x = METHODS.make("lrp", composite="epsilon", epsilon=0.0), image(2)
    close(run(method, net, x), run(METHODS.make("input-x-gradient"), net, x), 1e-9)


def test_every_layer_without_another_before_it_is_a_first_layer():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.head = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), nn.Linear(2, 3)
            seeded(self)
            self.double()

        def forward(self, x):
            one, other = (x - 0.5).chunk(2, 1)
            return self.head((self.one(one) * 0 + torch.relu(self.other(other) + 1)).flatten(2).mean(2))

    x = torch.full((1, 2, 6, 6), 0.5).double()
    assert not run(METHODS.make("lrp", composite="epsilon-plus"), Two(), x).any()
    assert run(METHODS.make("lrp", composite="epsilon-plus-flat"), Two(), x).any()


def test_relevance_starts_at_the_score_of_any_linear_target():
    net, x = SmallNet(2), image(2)
    method = METHODS.make("lrp")
    each = run(method, net, x)
    contrast = CallableTarget(lambda y: y[:, 0] - 0.5 * y[:, 2])
    close(run(method, net, x, contrast)[:, 0], each[:, 0] - 0.5 * each[:, 2])


@pytest.mark.parametrize(("composite", "fails"), [("epsilon", False), ("epsilon-plus", True), ("z-plus", True)])
def test_composites_that_forget_later_layers_say_so(composite, fails):
    assert METHODS.make("lrp", composite=composite).traits.fails_randomisation is fails


@pytest.mark.parametrize(
    "fields", [{"composite": "zplus"}, {"epsilon": -1.0}, {"alpha": 0.5}, {"low": 1.0, "high": 0.0}]
)
def test_lrp_refuses_fields_that_make_no_rule(fields):
    with pytest.raises(MethodError):
        METHODS.make("lrp", **fields)


@pytest.mark.parametrize("name", ["guided-backprop", "deeplift", "lrp"])
def test_no_mode_and_no_tensor_stays_behind(name):
    net, x, kept = Built(2, lambda v: functional.relu_(v) + 1), image(2), []
    for fail in (False, False, True):
        if fail:
            net.between = lambda v: v[:, 7]
        try:
            run(METHODS.make(name), net, x)
        except ModelError:
            assert fail
        assert torch._C._len_torch_function_stack() == 0
        assert torch._C._len_torch_dispatch_stack() == 0
        gc.collect()
        kept.append(sum(type(o) is torch.Tensor for o in gc.get_objects()))
    assert kept[0] == kept[1] == kept[2]


@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet", "deeplift", "lrp"])
def test_half_precision_is_near_single(name):
    net, x = SmallNet(2).float(), image(2).float()
    right = run(METHODS.make(name), net, x)
    found = run(METHODS.make(name), net.bfloat16(), x.bfloat16())
    assert found.dtype == torch.float32
    assert (found - right).abs().max() < 0.1 * right.abs().max()
