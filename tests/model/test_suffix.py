"""The seam cut at a layer: only what comes after runs, with the values that a whole run would have."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from monai.networks.nets import DenseNet121
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from saliscope.core.errors import LayerError, ModelError
from saliscope.core.protocols import INPUT
from saliscope.model.network import Network
from saliscope.model.output import selected
from saliscope.testing.networks import AFTER, SmallNet, image, seeded


class Pair(NamedTuple):
    first: Tensor
    second: int


def whole(module: nn.Module, x: Tensor, layer: nn.Module, a: Tensor, call: int = 0) -> Tensor:
    """Return the logits of activations a by whole runs with the layer's output replaced, one at a time."""
    outputs = []
    for one in a:
        calls = iter(range(100))
        handle = layer.register_forward_hook(
            lambda _m, _i, out, one=one, calls=calls: one[None].clone() if next(calls) == call else out
        )
        outputs.append(selected(module(x.clone()), None))
        handle.remove()
    return torch.cat(outputs)


def changes(activation: Tensor, count: int = 3) -> Tensor:
    """Return activations (M, C', *S') far from the layer's own, the first of them equal to it."""
    generator = torch.Generator().manual_seed(5)
    drawn = torch.randn((count, *activation.shape[1:]), generator=generator, dtype=activation.dtype)
    return torch.cat([activation, drawn, 0 * activation])


def agrees(module: nn.Module, x: Tensor, name: str, *, replayed: bool = True, atol: float = 1e-11) -> None:
    key, _, call = name.partition("#")
    left = traces(module)
    with Network(module).opened() as model, torch.no_grad():
        suffix = model.suffix(x, name)
        a = changes(suffix.activation)
        before = a.clone()
        found = [suffix(a), torch.cat([suffix(one[None]) for one in a]), suffix(a)]
        right = whole(module, x, module.get_submodule(key), a, int(call or 0))
        for one in found:
            torch.testing.assert_close(one, right, rtol=0, atol=atol * float(right.abs().max()))
        torch.testing.assert_close(found[0][:1], suffix.output, rtol=0, atol=atol * float(right.abs().max()))
        assert torch.equal(a, before), "the suffix wrote into the activations it was given"
        assert torch.equal(suffix.activation, a[:1])
        assert (model.counts.forward_samples == 1) == replayed
        assert bool(model.notes) != replayed
    assert traces(module) == left


def traces(module: nn.Module) -> list[object]:
    """Return what a cut could leave on modules."""
    return [(id(vars(m).get("forward")), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()]


def volume(axes: int, channels: int = 2, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(1, channels, *[size] * axes, generator=generator, dtype=torch.float64)


class Block(nn.Module):
    """A residual block as torchvision writes it: one in-place activation for all, and `+=`."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.conv1, self.conv2 = conv(4, 4, 3, padding=1), conv(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.conv2(self.relu(self.conv1(x)))
        out += identity
        return self.relu(out)


class Blocks(nn.Module):
    """Residual blocks between a stem with functional operations and a head."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.stem = (nn.Conv2d if axes == 2 else nn.Conv3d)(2, 4, 3, padding=1)
        self.blocks = nn.Sequential(Block(axes), Block(axes), Block(axes))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)
        x -= 0.1
        y = functional.relu(self.stem(x), inplace=True)
        return self.head(self.blocks(y * 2).flatten(2).mean(2))


class Shared(nn.Module):
    """One convolution that runs three times, and its first output again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.act = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.act(self.conv(self.stem(x)))
        second = self.act(self.conv(first))
        third = self.act(self.conv(second))
        return self.head((third + 2 * first).flatten(2).mean(2))


class Inside(nn.Module):
    """One activation module inside a block, again before the layer, and again after it."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()
        self.block = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), self.act, nn.Conv2d(4, 4, 1))
        self.layer, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.block(x) * 3)
        return self.head(self.act(self.layer(y) + y).flatten(2).mean(2))


class Nested(nn.Module):
    """An encoder that gives a dict of tuples, read after the layer, and a head that gives a dict."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> dict[str, object]:
            first = self.a(x)
            return {"skips": (first, [first * 2]), "last": self.b(first), "count": 2}

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.middle, self.head = self.Encoder(), nn.Conv2d(4, 4, 1), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.encoder(x)
        middle = self.middle(found["last"])
        joined = torch.cat([middle, found["skips"][0], found["skips"][1][0] * found["count"]], 1)
        return {"logits": self.head(torch.tanh(joined).flatten(2).mean(2))}


class Keeper(nn.Module):
    """A stem that keeps a branch as its attribute, which no replay of outputs can know."""

    class Stem(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            self.kept = torch.tanh(super().forward(x))
            return 2 * self.kept

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer, self.head = self.Stem(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([torch.tanh(self.layer(self.stem(x))), self.stem.kept], 1)
        return self.head(joined.flatten(2).mean(2))


class Rewriter(nn.Module):
    """An in-place activation module whose input is read once more: its effect is more than its output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.layer, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        rectified = self.relu(stem)
        return self.head((self.layer(rectified) + stem).flatten(2).mean(2))


class Folded(nn.Module):
    """Windows folded into the batch before the layer, as shifted-window transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(2, 4, 1), nn.Linear(4, 4)
        self.layer, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        n, c, h, w = y.shape
        windows = y.reshape(n, c, 2, h // 2, w).permute(0, 2, 3, 4, 1).reshape(n * 2, h // 2 * w, c)
        y = torch.tanh(self.inner(windows)).reshape(n, 2, h // 2, w, c).permute(0, 4, 1, 2, 3).reshape(n, c, h, w)
        return self.head(torch.tanh(self.layer(y) + y).flatten(2).mean(2))


class Sequence(nn.Module):
    """Tokens before batch, as torch's own attention has them by default: the batch is not the first axis."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.layer, self.head = (
            nn.Conv2d(2, 4, 1),
            nn.Linear(4, 4),
            nn.Conv2d(4, 4, 1),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        tokens = self.mix(y.flatten(2).permute(2, 0, 1))
        y = torch.tanh(tokens).permute(1, 2, 0).reshape(y.shape)
        return self.head(torch.tanh(self.layer(y) * y).flatten(2).mean(2))


def made(module: nn.Module) -> nn.Module:
    seeded(module)
    return module.double().eval()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
def test_a_small_network_is_cut_in_2d_and_3d(axes, after):
    agrees(SmallNet(axes, after).eval(), image(axes, batch=1), "watched")


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    "name", ["stem", "blocks.0", "blocks.1", "blocks.1.conv1", "blocks.2.conv2", "blocks.1.relu#1"]
)
def test_a_layer_inside_or_around_a_residual_block(axes, name):
    agrees(made(Blocks(axes)), volume(axes), name)


@pytest.mark.parametrize("name", ["conv#0", "conv#1", "conv#2", "act#0", "act#1", "stem"])
def test_a_shared_module_is_cut_at_the_run_that_is_named(name):
    agrees(made(Shared()), volume(2), name)


def test_outputs_of_every_kind_are_kept():
    class Kinds(nn.Module):
        def forward(self, y: Tensor) -> tuple[object, ...]:
            low = y.min(dim=1, keepdim=True)  # a struct sequence
            return low, OrderedDict(size=y.shape, doubled=[2 * y]), Pair(y, 3), torch.tensor(2.0, dtype=y.dtype)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.kinds, self.layer = nn.Conv2d(2, 4, 1), Kinds(), nn.Conv2d(4, 4, 1)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            low, named, pair, scale = self.kinds(self.stem(x))
            y = torch.tanh(self.layer(pair.first)) * scale + named["doubled"][0] * pair.second + low.values
            return self.head((y / named["size"][-1]).flatten(2).mean(2))

    agrees(made(Whole()), volume(2), "layer")


def test_a_module_shared_by_a_block_and_its_surroundings():
    agrees(made(Inside()), volume(2), "layer")


def test_nested_outputs_are_kept():
    agrees(made(Nested()), volume(2), "middle")


def test_a_batch_folded_into_a_longer_axis_is_replayed():
    agrees(made(Folded()), volume(2), "layer")


@pytest.mark.parametrize("module", [Keeper, Rewriter, Sequence], ids=lambda m: m.__name__)
def test_where_replaying_is_not_right_the_whole_network_runs(module):
    agrees(made(module()), volume(2), "layer", replayed=False)


@pytest.mark.parametrize(("axes", "layer"), [(2, "features.denseblock3"), (2, "features.norm5"), (3, "features.norm5")])
def test_monai_densenet(axes, layer):
    net = DenseNet121(spatial_dims=axes, in_channels=1, out_channels=3)
    agrees(made(net), volume(axes, 1, 64 if axes == 2 else 32), layer, atol=1e-10)


def test_the_input_itself_can_be_replaced():
    net, x = SmallNet(2).eval(), image(2, batch=3)
    with Network(net).opened() as model:
        suffix = model.suffix(x[:1], INPUT)
        torch.testing.assert_close(suffix(x), model(x))


def test_only_the_suffix_is_run():
    net, x = made(Blocks(2)), volume(2, size=16)

    def flops(run):
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    with Network(net).opened() as model, torch.no_grad():
        suffix = model.suffix(x, "blocks.1.conv1")
        a = changes(suffix.activation)
        rest = flops(lambda: net.head(net.blocks[2](net.blocks[1].conv2(a)).flatten(2).mean(2)))
        suffix(a)  # at the first batch one row is looked at by itself
        assert flops(lambda: suffix(a)) == rest
        assert model.counts.forward_samples == 1
        assert model.counts.suffix_samples == 2 + 2 * len(a)


@pytest.mark.parametrize("axes", [2, 3])
def test_gradient_and_second_derivative_flow_through_the_suffix(axes):
    net, x = SmallNet(axes, "residual").eval(), image(axes, batch=1)
    with Network(net).opened() as model, torch.no_grad():
        suffix = model.suffix(x, "watched")
        root = suffix.activation.clone().requires_grad_()
        with torch.enable_grad():
            score = suffix(root)[0, 1]
            (gradient,) = torch.autograd.grad(score, root, create_graph=True)
            (product,) = torch.autograd.grad(gradient, root, grad_outputs=suffix.activation)
        probe = model.probe(x, ["watched"])
        with torch.enable_grad():
            (right,) = [g["watched"] for g in probe.gradients(probe.output[:, 1:2])]
        torch.testing.assert_close(gradient.detach(), right)
        # The directional derivative of the gradient along the activation, by differences.
        ends = []
        for step in (1e-5, -1e-5):
            moved = (suffix.activation * (1 + step)).requires_grad_()
            with torch.enable_grad():
                ends.append(torch.autograd.grad(suffix(moved)[0, 1], moved)[0])
        torch.testing.assert_close(product, (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-8)
        assert not suffix(suffix.activation).requires_grad


@pytest.mark.parametrize("fail_at", [1, 3, 4, 5])
def test_an_error_comes_through_and_gives_every_forward_back(fail_at):
    net, x = SmallNet(2), image(2, batch=1)
    net.fail_at = fail_at
    own = {name: m.forward for name, m in net.named_modules()}

    def run():
        with Network(net).opened() as model:
            suffix = model.suffix(x, "watched")
            suffix(suffix.activation)

    with pytest.raises(ModelError, match="told to fail"):
        run()
    assert {name: m.forward for name, m in net.named_modules()} == own
    assert not any("forward" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_forward_that_somebody_patched_is_given_back():
    net, x = SmallNet(2).eval(), image(2, batch=1)
    own = net.stem.forward
    patched = net.stem.forward = lambda t: own(t) * 2
    with Network(net).opened() as model:
        suffix = model.suffix(x, "watched")
        torch.testing.assert_close(suffix(suffix.activation), model(x))
    assert net.stem.forward is patched


def test_hooks_of_others_act_once():
    net, x = SmallNet(2).eval(), image(2, batch=1)
    with torch.no_grad():
        plain = net(x)
    net.watched.register_forward_hook(lambda _m, _i, out: out * 3)
    with Network(net).opened() as model:
        suffix = model.suffix(x, "watched")
        torch.testing.assert_close(suffix(suffix.activation), suffix.output)
        assert not torch.allclose(suffix.output, plain)
        assert not model.notes


def test_a_wrapped_network_is_cut():
    net, x = SmallNet(2).eval(), image(2, batch=1)
    with Network(nn.DataParallel(net)).opened() as model:
        suffix = model.suffix(x, "watched")
        torch.testing.assert_close(suffix(suffix.activation), model(x))


def test_scripted_parts_run_as_one_piece():
    net, x = made(Blocks(2)), volume(2)
    net.blocks[0] = torch.jit.script(net.blocks[0])
    agrees(net, x, "blocks.1.conv1")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("watchd", "watched"), ("dropout#4", "numbered from #0"), ("conv", "which ran 3 times")],
)
def test_layers_that_cannot_be_cut_are_named(name, sentence):
    net = made(Shared()) if name == "conv" else SmallNet(2).eval()
    with Network(net).opened() as model, pytest.raises(LayerError, match=sentence):
        model.suffix(volume(2), name)


def test_several_images_and_other_shapes_are_refused():
    with Network(SmallNet(2)).opened() as model:
        with pytest.raises(ModelError, match="one image"):
            model.suffix(image(2, batch=2), "watched")
        suffix = model.suffix(image(2, batch=1), "watched")
        with pytest.raises(LayerError, match="channels and cells"):
            suffix(suffix.activation[:, :2])


def test_a_network_that_does_not_repeat_itself_is_refused():
    class Noisy(SmallNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(())

    with Network(Noisy(2)).opened() as model, pytest.raises(ModelError, match="does not repeat"):
        model.suffix(image(2, batch=1), "watched")


def test_the_growth_covers_the_largest_tensor_after_the_layer():
    with Network(made(Blocks(2))).opened() as model:
        suffix = model.suffix(volume(2), "blocks.1")
        assert suffix.growth == 8
