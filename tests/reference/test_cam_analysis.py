"""CAM methods on networks and activations so simple that the right map can be written down."""

import pytest
import torch
from replica_cams import PooledNet, ReluNet
from torch import nn

from saliscope.core.errors import LayerError, MethodError
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing.networks import SmallNet, image, seeded

TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))


def run(name, net, x, target=TARGET, **fields):
    with Network(net).opened() as model:
        return METHODS.make(name, **fields).attribute(model, x, target)


def close(found, right, tolerance=1e-12):
    torch.testing.assert_close(found, right, rtol=0, atol=tolerance * float(right.abs().max()))


def diagnosed(net, x, target=TARGET, **fields):
    """Return FullGrad's map, what it says of it, and the notes that it left."""
    method = METHODS.make("full-grad", **fields)
    with Network(net).opened() as model:
        found = method.attribute(model, x, target)
        return found, method.diagnose(model, x, target, found), model.take_notes()


@pytest.mark.parametrize("axes", [2, 3])
def test_after_pooling_and_a_linear_layer_four_methods_are_one(axes):
    """CAM is the number of cells times Grad-CAM, HiResCAM and XGrad-CAM, and its mean is the logit without bias."""
    x, net = image(axes), PooledNet(axes).eval()
    cells = x[0, 0].numel() // 2**axes
    cam = run("cam", net, x, layer="relu")
    for name in ("grad-cam", "hirescam", "xgrad-cam", "seg-grad-cam", "seg-hirescam", "seg-xres-cam"):
        close(run(name, net, x, layer="relu") * cells, cam, 1e-11)
    close(cam.flatten(2).mean(2), (net(x) - net.head.bias).detach())


class Ending(nn.Module):
    """A layer, and an end that makes scores (N, 3) of its activation (N, 4, *S)."""

    def __init__(self, axes, end):
        super().__init__()
        self.layer = (nn.Conv2d if axes == 2 else nn.Conv3d)(2, 4, 2, stride=2)
        self.inner, self.head = nn.Linear(4, 5), nn.Linear(4, 3)
        self.outer = nn.Linear(5, 3)
        self.end = end
        seeded(self)
        self.double()

    def forward(self, x):
        return self.end(self, self.layer(x))


def mean(a):
    return a.flatten(2).mean(2)


ENDS = {
    "an activation before the pooling": lambda net, a: net.head(mean(a.relu())),
    "a weight for each cell": lambda net, a: net.head(mean(a * torch.arange(a[0, 0].numel()).reshape(a.shape[2:]))),
    "a maximum": lambda net, a: net.head(a.flatten(2).amax(2)),
    # Their gradients are the same in every cell.
    "a smooth hidden layer": lambda net, a: net.outer(torch.tanh(net.inner(mean(a)))),
    "a hidden layer of ReLUs": lambda net, a: net.outer(net.inner(mean(a)).relu()),
    "a softmax": lambda net, a: net.head(mean(a)).softmax(1),
    "a square": lambda net, a: net.head(mean(a)) ** 2,
}


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("end", ENDS)
def test_cam_refuses_every_other_end_and_says_what_to_use(end, axes):
    with pytest.raises(MethodError, match=r"global average pooling and one linear layer.*hirescam or grad-cam"):
        run("cam", Ending(axes, ENDS[end]), image(axes), layer="layer")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_cam_takes_a_pooled_linear_end_however_it_is_written_and_in_every_precision(dtype):
    x = image(2).to(dtype)
    ends = [
        lambda net, a: net.head(mean(a)),
        lambda net, a: net.head(a.flatten(2).sum(2) / 7),
        lambda net, a: mean(torch.einsum("kc,nc...->nk...", net.head.weight, a)) + 100,
        lambda net, a: net.outer(net.inner(mean(a))),
    ]
    for end in ends:
        assert run("cam", Ending(2, end).to(dtype), x, layer="layer").isfinite().all()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", ["inplace", "residual"])
def test_xgrad_cam_conserves_what_each_channel_adds(after, axes):
    x, net = image(axes), SmallNet(axes, after)
    found = run("xgrad-cam", net, x, layer="watched").flatten(2).sum(2)
    close(found, run("hirescam", net, x, layer="watched").flatten(2).sum(2), 1e-9)


def test_xgrad_cam_gives_a_channel_without_activation_no_weight():
    a, g = torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    a[0, 1] = 0
    a[0, 2] = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    found = METHODS.make("xgrad-cam").combine(a, g)
    torch.testing.assert_close(found, a[:, 0])


@pytest.mark.parametrize("name", ["eigen-cam", "eigen-grad-cam"])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4), (1, 2)])
def test_the_first_component_of_one_pattern_is_the_pattern(name, shape):
    """Of rank one, u times p: the map is |u| p, with the sign of the sum of u."""
    generator = torch.Generator().manual_seed(4)
    pattern = torch.rand(shape, generator=generator, dtype=torch.float64)
    ones = torch.ones(1, 3, *shape, dtype=torch.float64)
    for u in (torch.tensor([1.0, -2.0, 3.0]), torch.tensor([-1.0, 2.0, -3.0])):
        values = u.double().reshape(1, 3, *[1] * len(shape)) * pattern
        found = METHODS.make(name, centred=False).combine(values, ones)
        close(found[0], u.sum().sign() * u.double().norm() * pattern, 1e-9)


def test_eigen_cam_knows_no_class_and_no_order_of_channels():
    x, net = image(2), SmallNet(2)
    found = run("eigen-cam", net, x, layer="watched")
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])
    assert not METHODS.make("eigen-cam").traits.class_discriminative
    a = torch.randn(2, 6, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for centred in (False, True):
        method = METHODS.make("eigen-cam", centred=centred)
        close(method.combine(a[:, [3, 1, 5, 0, 2, 4]], a), method.combine(a, a), 1e-9)


@pytest.mark.parametrize("channels", [2, 40])
def test_the_sign_of_a_component_agrees_with_the_sum_over_channels(channels):
    generator = torch.Generator().manual_seed(6)
    for _ in range(10):
        a = torch.randn(1, channels, 4, 5, dtype=torch.float64, generator=generator)
        found = METHODS.make("eigen-cam").combine(a, a)
        assert (found * a.sum(1)).sum() > 0
        torch.testing.assert_close(METHODS.make("eigen-cam").combine(-a, a), -found)


def test_components_of_nothing_are_nothing():
    zero = torch.zeros(1, 3, 2, 2)
    for name in ("eigen-cam", "eigen-grad-cam"):
        for centred in (False, True):
            assert (METHODS.make(name, centred=centred).combine(zero, zero + 1) == 0).all()
    constant = torch.ones(1, 3, 2, 2)
    assert METHODS.make("eigen-cam", centred=True).combine(constant, constant).abs().max() < 1e-6


def test_components_need_no_matrix_of_cells_by_cells():
    """grad-cam takes the full decomposition, which for this layer holds 64000 x 64000 numbers."""
    a = torch.rand(1, 4, 40, 40, 40, generator=torch.Generator().manual_seed(3))
    found = METHODS.make("eigen-cam").combine(a, a)
    assert found.shape == (1, 40, 40, 40)
    direction = torch.linalg.lstsq(a.flatten(2)[0].T, found.flatten()).solution
    torch.testing.assert_close(direction.norm(), torch.tensor(1.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["xgrad-cam", "eigen-cam", "eigen-grad-cam", "seg-xres-cam", "full-grad"])
def test_half_precision_is_combined_in_single(name):
    fields = {} if name == "full-grad" else {"layer": "last"}
    x, net = image(2).to(torch.bfloat16), SmallNet(2).to(torch.bfloat16)
    found = run(name, net, x, **fields)
    assert found.dtype == torch.float32
    right = run(name, net.double(), x.double(), **fields).float()
    assert torch.corrcoef(torch.stack([found.flatten(), right.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize("axes", [2, 3])
def test_smooth_grad_cam_plus_plus_without_noise_is_grad_cam_plus_plus(axes):
    x, net = image(axes), SmallNet(axes)
    method = METHODS.make("smooth-grad-cam++", layer="watched", sigma=0.0, samples=3)
    with Network(net).opened() as model:
        found = method.attribute_with(model, x, TARGET)
    assert list(found) == ["map", *method.beside, *method.measures]
    close(found["map"], run("grad-cam++", net, x, layer="watched"))
    assert found["variance"].max() < 1e-24


def test_smooth_grad_cam_plus_plus_takes_noise_relative_to_the_range():
    class Scaled(SmallNet):
        def forward(self, x):
            return super().forward(x / 1000)

    x, fields = image(2), {"layer": "watched", "samples": 4}
    close(
        run("smooth-grad-cam++", Scaled(2), x * 1000, **fields),
        run("smooth-grad-cam++", SmallNet(2), x, **fields),
        1e-6,
    )


def test_smooth_grad_cam_plus_plus_does_not_underflow():
    """The square of 1e-25 is below the smallest number in float32."""
    x, net = image(2), SmallNet(2)
    right = run("smooth-grad-cam++", net, x, layer="watched", samples=2)
    with torch.no_grad():
        net.head.weight *= 1e-25
    found = run("smooth-grad-cam++", net.float(), x.float(), layer="watched", samples=2)
    small = run("smooth-grad-cam++", net.double(), x, layer="watched", samples=2)
    close(found.double(), small, 1e-3)
    assert right.abs().max() > 1e20 * small.abs().max() > 0


def test_fusion_of_one_layer_is_its_positive_part_as_a_share():
    x, net = image(2), SmallNet(2)
    found = run("layercam-fusion", net, x, layers="watched")
    plain = run("layercam", net, x, layer="watched", relu=True)
    with Network(net).opened() as model:
        close(found, model.onto_input(plain / plain.amax((2, 3), keepdim=True), x, "watched"))


def test_fusion_takes_layers_for_themselves_and_names_them():
    x, net = image(3), ReluNet(3)
    with Network(net).opened() as model:
        assert model.stages(x) == ("relu#1", "relu#2")
        auto = METHODS.make("layercam-fusion").attribute(model, x, TARGET)
        assert model.take_notes() == ("Layers fused: relu#1, relu#2.",)
        named = METHODS.make("layercam-fusion", layers=("relu#1", "relu#2"))
        close(named.attribute(model, x, TARGET), auto)


def test_fusion_ignores_a_layer_without_positive_evidence():
    """The second class is the first one's opposite, and the shallow layer has nothing for it."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shallow, self.deep = nn.Identity(), nn.Identity()

        def forward(self, x):
            seen = self.deep(1 - self.shallow(x))
            return seen.flatten(1).sum(1, keepdim=True)

    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    target = LogitTarget((0,), ("sum",), "regression")
    found = run("layercam-fusion", Net(), x, target, layers=("shallow", "deep"))
    close(found, (1 - x) / (1 - x).max())


def test_fusion_amplifies_all_but_the_deepest():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shallow, self.deep = nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.deep(self.shallow(x).clone()).flatten(1).sum(1, keepdim=True)

    x = torch.linspace(0.1, 1, 16, dtype=torch.float64).reshape(1, 1, 4, 4)
    target = LogitTarget((0,), ("sum",), "regression")
    close(run("layercam-fusion", Net(), x, target, layers=("shallow", "deep")), torch.maximum((2 * x).tanh(), x))
    close(run("layercam-fusion", Net(), x, target, layers=("deep", "shallow"), gamma=0.5), x)


@pytest.mark.parametrize("axes", [2, 3])
def test_full_grad_is_complete_for_piecewise_linear_networks(axes):
    found, said, notes = diagnosed(ReluNet(axes), image(axes))
    assert said["completeness_gap"].shape == found.shape[:2]
    assert said["completeness_relative_gap"].max() < 1e-12
    assert notes == ()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", ["DenseNet121", "resnet18"])
def test_full_grad_is_complete_for_the_networks_of_monai(name, axes):
    from monai.networks import nets

    given = {"num_classes": 3, "n_input_channels": 1} if name == "resnet18" else {"in_channels": 1, "out_channels": 3}
    torch.manual_seed(0)
    net = getattr(nets, name)(spatial_dims=axes, **given).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
    x = torch.rand(1, 1, *([16] * 3 if name == "resnet18" and axes == 3 else [32] * axes), dtype=torch.float64)
    _, said, notes = diagnosed(net, x, LogitTarget((0, 2), ("first", "third")))
    assert said["completeness_relative_gap"].max() < 1e-9
    assert notes == ()


def test_full_grad_says_where_it_is_not_complete():
    _, said, notes = diagnosed(ReluNet(2, "group"), image(2))
    assert said["completeness_relative_gap"].max() > 0.01
    assert notes == ("Norms that depend on the image add more than their bias: norm.",)
    _, said, notes = diagnosed(SmallNet(2), image(2))
    assert said["completeness_relative_gap"].max() > 1e-3, "tanh is not piecewise linear"


@pytest.mark.parametrize("axes", [2, 3])
def test_full_grad_without_biases_is_input_x_gradient(axes):
    x, net = image(axes), ReluNet(axes)
    with torch.no_grad():
        net.norm.running_mean.zero_()
        for name, value in net.named_parameters():
            if name.endswith("bias"):
                value.zero_()
    close(run("full-grad", net, x), run("input-x-gradient", net, x))


def test_full_grad_counts_each_run_of_a_shared_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(2, 3)
            self.unused = nn.Linear(2, 3)
            seeded(self)
            self.double()

        def forward(self, x):
            self.unused(mean(x))
            return self.head(mean(self.layer(self.layer(x).relu_()).relu_()))

    _, said, _ = diagnosed(Twice(), image(2))
    assert said["completeness_relative_gap"].max() < 1e-12


def test_full_grad_counts_what_has_no_place_and_places_channels_that_stand_last():
    """The bias of a linear layer on channels that stand last lies on the grid, that of the last layer nowhere."""

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Linear(2, 4), nn.Linear(4, 3)
            seeded(self)
            self.double()

        def forward(self, x):
            return self.head(self.mix(x.movedim(1, -1)).relu().mean((1, 2)))

    x = image(2)
    found, said, _ = diagnosed(Last(), x)
    assert said["completeness_relative_gap"].max() < 1e-12
    assert said["without_place"].abs().min() > 0
    assert (found - run("input-x-gradient", Last(), x)).abs().max() > 0
    close(said["without_place"], Last().head.bias.detach().expand(2, 3))
    close(found.flatten(2).sum(2) + said["without_place"], Last()(x).detach())


@pytest.mark.parametrize("axes", [2, 3])
def test_seg_xres_cam_lies_between_seg_hirescam_and_seg_grad_cam(axes):
    x, net = image(axes), SmallNet(axes)
    for pool in ("mean", "max"):
        found = run("seg-xres-cam", net, x, layer="watched", window=1, pool=pool)
        close(found, run("seg-hirescam", net, x, layer="watched"))
    whole = run("seg-xres-cam", net, x, layer="watched", window=100)
    close(whole, run("seg-grad-cam", net, x, layer="watched"))


class Segmenter(nn.Module):
    """Three classes over space, each predicted somewhere."""

    def __init__(self, axes):
        super().__init__()
        convolution = nn.Conv2d if axes == 2 else nn.Conv3d
        self.first, self.last = convolution(2, 4, 3, padding=1), convolution(4, 3, 3, padding=1)
        seeded(self)
        self.double()

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


@pytest.mark.parametrize("axes", [2, 3])
def test_seg_cams_explain_the_region_of_each_image(axes):
    """Vinogradova's and Hasany's sums over the predicted region, divided by its size, image by image."""
    x, net = image(axes), Segmenter(axes)
    target = LogitTarget((1, 2), ("first", "second"), "segmentation")
    found = {name: run(name, net, x, target, layer="first") for name in ("seg-grad-cam", "seg-hirescam")}
    for n in range(len(x)):
        a = net.first(x[n : n + 1]).detach().requires_grad_()
        logits = net.last(torch.tanh(a))
        for k, c in enumerate((1, 2)):
            region = logits.argmax(1)[0] == c
            (g,) = torch.autograd.grad(logits[0, c][region].sum(), a, retain_graph=True)
            weight = g.flatten(2).mean(2).reshape(4, *[1] * axes)
            close(found["seg-grad-cam"][n, k], (weight * a[0]).sum(0).detach() / region.sum())
            close(found["seg-hirescam"][n, k], (g * a)[0].sum(0).detach() / region.sum())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("cam", {"layer": "auto"}),
        ("cam", {"layer": "head"}),
        ("smooth-grad-cam++", {"layer": "auto"}),
        ("smooth-grad-cam++", {"layer": "head"}),
        ("smooth-grad-cam++", {"samples": 0}),
        ("smooth-grad-cam++", {"sigma": -1.0}),
        ("layercam-fusion", {"layers": ()}),
        ("layercam-fusion", {"layers": ""}),
        ("layercam-fusion", {"layers": "head"}),
        ("layercam-fusion", {"gamma": 0.0}),
        ("seg-xres-cam", {"window": 0}),
        ("seg-xres-cam", {"window": ()}),
        ("seg-xres-cam", {"window": (2, 2, 2), "layer": "watched"}),
        ("seg-xres-cam", {"pool": "median"}),
        ("full-grad", {"terms": "paper"}),
    ],
    ids=str,
)
def test_senseless_fields_are_refused_in_one_sentence(name, fields):
    with pytest.raises((MethodError, LayerError), match=r"expected"):
        run(name, SmallNet(2), image(2), **fields)
