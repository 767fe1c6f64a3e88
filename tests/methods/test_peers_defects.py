"""What was seen to go wrong in other libraries, each as one test that would see it here."""

import itertools

import pytest
import torch
from quick import QUICK, REFUSING
from torch import nn

from saliscope.core.errors import LayerError, MethodError
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.kernel import kernel_maps
from saliscope.model.network import Network
from saliscope.testing import contract
from saliscope.testing.networks import SmallNet, image

LABELS = ("first", "second", "third")
TARGET = LogitTarget((0, 1, 2), LABELS)
CAMS = ("grad-cam", "hirescam", "layercam", "grad-cam++")
ON_INPUT = ("gradient", "input-x-gradient", "smoothgrad", "integrated-gradients", "occlusion")


def made(name, **fields):
    return METHODS.make(name, **({"layer": "watched"} | fields if name in CAMS else fields))


def run(method, net, x, target=TARGET):
    with Network(net).opened() as model:
        return method.attribute(model, x, target)


def close(found, right, tolerance=1e-9):
    torch.testing.assert_close(found, right, rtol=0, atol=tolerance * float(right.abs().max()))


@pytest.mark.parametrize("name", CAMS)
@pytest.mark.parametrize("axes", [2, 3])
def test_an_inplace_activation_after_the_layer_does_not_rewrite_it(axes, name):
    """Trap 1: grad-cam and torchcam store the activation that an in-place ReLU then overwrites."""
    x = image(axes)
    close(run(made(name), SmallNet(axes, "inplace"), x), run(made(name), SmallNet(axes, "functional"), x), 1e-14)


def test_grad_cam_plus_plus_divides():
    """Trap 2: torchcam divides a copy, so that its weights are the sum of g² relu(g)."""
    a = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    g = torch.tensor([[[[1.0, 0.5], [0.0, -1.0]]]])
    weight = 1 / (2 + 10) + 0.5 / (2 + 5)
    torch.testing.assert_close(made("grad-cam++").combine(a, g), weight * a[:, 0])
    assert not torch.allclose(made("grad-cam++").combine(a, g), (g**2 * g.relu()).sum() * a[:, 0])


def test_grad_cam_plus_plus_has_the_denominator_of_the_paper():
    """Trap 3: the sum is over A alone, and not over A g³."""
    a = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    g = torch.tensor([[[[1.0, 0.5], [0.0, -1.0]]]])
    dialect = (g**2 / (2 * g**2 + (a * g**3).sum())).nan_to_num() * g.relu()
    assert not torch.allclose(made("grad-cam++").combine(a, g), dialect.sum() * a[:, 0], rtol=0.01)


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12])
def test_grad_cam_plus_plus_neither_under_nor_overflows(size):
    """Trap 3: g² and g³ in single precision, and a guard of 1e-6 in the denominator, lose small gradients."""
    a = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    g = size * torch.ones(1, 1, 2, 2)
    right = 4 * size / (2 + size * 10)
    torch.testing.assert_close(made("grad-cam++").combine(a, g), right * a[:, 0], rtol=1e-5, atol=0)


def test_grad_cam_plus_plus_of_a_zero_denominator_is_finite():
    a, g = -torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)
    assert (made("grad-cam++").combine(a, g) == 0).all()


@pytest.mark.parametrize("name", [*CAMS, *ON_INPUT])
def test_a_large_logit_changes_no_map(name):
    """Traps 3 and 15: exp(score) overflows at a logit of 99, and a softmax has no gradient left there."""
    x, net = image(2), SmallNet(2)
    right = run(made(name), net, x)
    with torch.no_grad():
        net.head.bias += torch.tensor([1000.0, -1000.0, 0.0])
    close(run(made(name), net, x), right, 1e-8)


@pytest.mark.parametrize("name", [*CAMS, *ON_INPUT])
def test_no_image_leaks_into_another_of_its_batch(name):
    """Traps 3 and 4: as many images as rows, where a wrong broadcast goes unseen; each must be as if alone."""
    x, net = image(2, batch=6), SmallNet(2)
    together = run(made(name), net, x)
    changed = x.clone()
    changed[1:] *= 5
    close(run(made(name), net, changed)[:1], together[:1])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_occlusion_measures_the_logit_whatever_the_channels(channels):
    """Trap 5: MONAI takes softmax or sigmoid by the number of input channels, and gives a probability, not a drop."""

    class Corner(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0, 0, 0] * 50, -x[:, 0, 0, 0] * 50, x[:, 0, 0, 0] * 0], 1)

    x = torch.rand(1, channels, 8, 8)
    x[0, 0, 0, 0] = 1
    found = run(made("occlusion", window=1, stride=1, baseline="zero"), Corner(), x)
    assert found[0, :, 0, 0].tolist() == [50, -50, 0]
    assert (found.flatten(2)[..., 1:] == 0).all()


@pytest.mark.parametrize("name", CAMS)
def test_a_map_stays_on_the_grid_of_its_layer(name):
    """Trap 9: peers stretch 2D and 3D maps by different rules before anyone sees them."""
    for axes in (2, 3):
        assert run(made(name), SmallNet(axes), image(axes)).shape[2:] == torch.Size(
            n // 2 for n in image(axes).shape[2:]
        )


@pytest.mark.parametrize("name", ["grad-cam", "hirescam", "layercam", *ON_INPUT])
def test_maps_keep_their_magnitude(name):
    """Trap 10: a map scaled to 0..1 says nothing of how much; twice the head is twice the map."""
    x, net = image(2), SmallNet(2)
    right = run(made(name), net, x)
    with torch.no_grad():
        net.head.weight *= 2
    close(run(made(name), net, x), 2 * right)


def test_a_constant_positive_map_is_not_zero():
    """Trap 10: grad-cam subtracts the minimum, so that even evidence everywhere is none."""
    for name in CAMS:
        found = made(name).combine(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
        assert (found == found.flatten()[0]).all()
        assert found.min() > 0


@pytest.mark.parametrize("name", ["grad-cam", "hirescam", *ON_INPUT])
def test_evidence_against_a_class_keeps_its_sign(name):
    """Trap 11: with a ReLU at the end a class with contrary evidence only has a blank map."""
    x, net = image(2), SmallNet(2)
    with torch.no_grad():
        net.head.weight[1] = -net.head.weight[0]
    found = run(made(name), net, x)
    assert found[:, 0].abs().max() > 0
    close(found[:, 1], -found[:, 0])


def test_class_zero_of_a_single_logit_is_the_negative():
    """Trap 15: peers explain +f for both classes of a binary network."""
    x, net = image(2), SmallNet(2, classes=1)
    for name in ("grad-cam", "hirescam", *ON_INPUT):
        found = run(made(name), net, x, LogitTarget((0, 1), ("no", "yes"), "binary"))
        close(found[:, 0], -found[:, 1])


@pytest.mark.parametrize("name", ["integrated-gradients", "occlusion"])
def test_the_baseline_is_not_the_views_zero_unless_asked_for(name):
    """Trap 16: zero after a normalisation is a mean grey, or, in HU, water; brightness moved by 1000 moves no map."""

    class Moved(SmallNet):
        def forward(self, x):
            return super().forward(x - 1000)

    x = image(2)
    right = run(made(name), SmallNet(2), x)
    close(run(made(name), Moved(2), x + 1000), right, 1e-6)
    zero = run(made(name, baseline="zero"), Moved(2), x + 1000)
    assert (zero - right).abs().max() > 0.1 * right.abs().max()


def test_noise_of_smoothgrad_is_relative_to_the_range_of_the_image():
    """Trap 17: captum's and torchcam's sigma is absolute, so that it is all or nothing for CT in HU."""

    class Scaled(SmallNet):
        def forward(self, x):
            return super().forward(x / 1000)

    x = image(2)
    right = run(made("smoothgrad", samples=4), SmallNet(2), x)
    close(run(made("smoothgrad", samples=4), Scaled(2), x * 1000) * 1000, right, 1e-6)


def test_noise_of_smoothgrad_has_the_sigma_asked_for():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x.detach())
            return x.flatten(1).sum(1, keepdim=True)

    x = torch.linspace(-2, 3, 20 * 20).reshape(1, 1, 20, 20)
    target = LogitTarget((0,), ("sum",), "regression")
    run(made("smoothgrad", samples=50, sigma=0.1), Spy(), x, target)
    noise = torch.cat(seen)[-50:] - x  # before them the network itself was looked at
    assert noise.std() == pytest.approx(0.1 * 5, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(noise)), "the same noise twice"


@pytest.mark.parametrize("name", [*CAMS, *ON_INPUT])
def test_dropout_and_batch_statistics_rest_and_modes_come_back(name):
    """Trap 18: a network left in training mode drops units at random and learns from the image that it explains."""
    x, net = image(2), SmallNet(2)
    right = run(made(name), net.eval(), x)
    net.train()
    net.norm.eval()
    close(run(made(name), net, x), right, 1e-14)
    assert net.training
    assert net.dropout.training
    assert not net.norm.training


def test_integrated_gradients_multiply_by_the_way_from_the_baseline():
    """Trap 20: tf-explain gave the mean gradient alone; where image and baseline agree, nothing may be attributed."""
    x = image(2)
    x[..., 3:6, 2:5] = 0.75
    found = run(made("integrated-gradients", baseline=0.75), SmallNet(2), x)
    assert (found[..., 3:6, 2:5] == 0).all()
    assert (found[..., :3, :] != 0).all()


class Twice(nn.Module):
    """A shared layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.layer(torch.tanh(self.layer(x)))).flatten(2).mean(2)


def test_a_layer_that_runs_twice_is_refused_or_named_by_its_run():
    """Trap 21: peers take the last run, the sum, or whatever their list holds."""
    target, x = LogitTarget((0, 1), LABELS[:2]), image(2).float()
    with pytest.raises(LayerError, match="layer#0, layer#1"):
        run(made("grad-cam", layer="layer"), Twice(), x, target)
    first, second = (run(made("hirescam", layer=f"layer#{i}"), Twice(), x, target) for i in (0, 1))
    assert not torch.allclose(first, second)


def test_order_of_methods_is_not_the_order_of_layers():
    """Trap 21: grad-cam pairs lists by position, wrong where layers are not named in the order in which they run."""
    x, net = image(2), SmallNet(2)
    with Network(net).opened() as model:
        late, early = kernel_maps(model, x, TARGET, [made("grad-cam", layer="last"), made("grad-cam", layer="stem")])
        close(late, made("grad-cam", layer="last").attribute(model, x, TARGET))
        close(early, made("grad-cam", layer="stem").attribute(model, x, TARGET))


@pytest.mark.parametrize("name", [n for n in METHODS.table if n not in REFUSING])
def test_a_constant_image_in_a_batch_gives_no_nan(name):
    """Trap 23: medcam's normalisation divides by zero for one constant map in a batch."""
    x = image(2)
    x[1] = 0.5
    method = contract.watching(METHODS.make(name, **QUICK.get(name, {})))
    assert run(method, SmallNet(2), x).isfinite().all()


@pytest.mark.parametrize("name", CAMS)
def test_half_precision_is_combined_in_single(name):
    """A sum over many channels overflows float16 long before it overflows a map."""
    found = run(made(name), SmallNet(2).to(torch.bfloat16), image(2).to(torch.bfloat16))
    assert found.dtype == torch.float32
    right = run(made(name), SmallNet(2), image(2)).float()
    assert torch.corrcoef(torch.stack([found.flatten(), right.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("smoothgrad", {"samples": 0}),
        ("smoothgrad", {"sigma": -0.1}),
        ("smoothgrad", {"memory_mb": 0}),
        ("integrated-gradients", {"steps": 0}),
        ("integrated-gradients", {"baseline": "blak"}),
        ("integrated-gradients", {"baseline": float("nan")}),
        ("occlusion", {"window": 0}),
        ("occlusion", {"window": (3, 3, 3)}),
        ("occlusion", {"window": 3, "stride": 4}),
        ("edges", {"sigma": 0}),
        ("centre", {"width": -1}),
        ("grad-cam", {"layer": "auto"}),
        ("grad-cam", {"layer": "head"}),
    ],
    ids=str,
)
def test_senseless_fields_are_refused_in_one_sentence(name, fields):
    with pytest.raises((MethodError, LayerError), match=r"expected"):
        run(made(name, **fields), SmallNet(2), image(2))
