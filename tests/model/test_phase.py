"""The rewritten input gradient of first convolutions: equal to autograd's, and only where it is asked for."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import seeded
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from saliscope.core.errors import ModelError
from saliscope.core.protocols import INPUT
from saliscope.model import phase
from saliscope.model.network import Network
from saliscope.model.phase import blocks, input_gradient, phase_gradients

CONVOLVE = {2: functional.conv2d, 3: functional.conv3d}


def drawn(*shape, seed=0, **kwargs):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **kwargs)


def rewritten(y):
    return "FirstConvolution" in type(y.grad_fn).__name__


@st.composite
def convolutions(draw):
    axes = draw(st.sampled_from([2, 3]))
    sizes = st.integers(1, 9 if axes == 3 else 14)
    kernel = [draw(st.integers(1, 5 if axes == 3 else 8)) for _ in range(axes)]
    padding = [draw(st.integers(0, 4)) for _ in range(axes)]
    stride = [draw(st.integers(1, 4)) for _ in range(axes)]
    size = [max(draw(sizes), k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    return draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 3)), size, kernel, stride, padding


@given(convolutions())
def test_it_is_the_gradient_that_autograd_gives(case):
    n, channels, out, size, kernel, stride, padding = case
    x, w = drawn(n, channels, *size, seed=1), drawn(out, channels, *kernel, seed=2)
    x.requires_grad_()
    y = CONVOLVE[len(size)](x, w, None, stride, padding)
    g = drawn(*y.shape, seed=3)
    expected = torch.autograd.grad(y, x, g)[0]
    found = input_gradient(g, w, stride, padding, size)
    assert found.shape == x.shape
    assert (found - expected).abs().max() <= 1e-12 * max(1, float(expected.abs().max()))


@given(convolutions())
def test_the_mode_changes_nothing_but_the_way(case):
    n, channels, out, size, kernel, stride, padding = case
    x, w, b = drawn(n, channels, *size, seed=1).requires_grad_(), drawn(out, channels, *kernel, seed=2), drawn(out)
    plain = CONVOLVE[len(size)](x, w, b, tuple(stride), tuple(padding))
    with phase_gradients():
        found = CONVOLVE[len(size)](x, w, bias=b, stride=tuple(stride), padding=tuple(padding))
    assert rewritten(found) == (max(kernel) > 1 and (len(size), channels, max(kernel)) != (3, 1, 3))
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
    g = drawn(*plain.shape, seed=3)
    ours, theirs = (torch.autograd.grad(y, x, g)[0] for y in (found, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_gradient_of_the_gradient_is_right(axes):
    x, w = drawn(1, 2, *[5] * axes).requires_grad_(), drawn(3, 2, *[4, 3, 2][:axes], seed=2)

    def run(x):
        with phase_gradients():
            y = CONVOLVE[axes](x, w, None, 2, 1)
        assert rewritten(y)
        return y.tanh()

    assert torch.autograd.gradcheck(run, (x,))
    assert torch.autograd.gradgradcheck(run, (x,))


def test_several_gradients_at_once_are_right():
    x, w = drawn(1, 1, 9, 9).requires_grad_(), drawn(3, 1, 3, 3, seed=2)
    with phase_gradients():
        y = functional.conv2d(x, w, None, 2, 1)
    many = torch.autograd.grad(y, x, drawn(4, *y.shape), is_grads_batched=True, retain_graph=True)[0]
    for found, g in zip(many, drawn(4, *y.shape), strict=True):
        torch.testing.assert_close(found, torch.autograd.grad(y, x, g, retain_graph=True)[0])


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 5, 3, 3), {"stride": 2}),  # many input channels
        ((3, 1, 1, 1), {"stride": 2}),  # nothing to gain
        ((4, 2, 3, 3), {"stride": 2, "groups": 2}),
        ((3, 2, 3, 3), {"stride": 2, "dilation": 2}),
        ((3, 2, 3, 3), {"padding": "same"}),
        ((3, 1, 3, 3, 3), {"stride": 2}),
    ],
)
def test_other_convolutions_are_left_alone(shape, options):
    w = drawn(*shape)
    x = drawn(1, shape[1] * options.get("groups", 1), *[9] * (len(shape) - 2)).requires_grad_()
    with phase_gradients():
        assert not rewritten(CONVOLVE[w.ndim - 2](x, w, **options))


def test_a_weight_bias_or_input_that_needs_it_keeps_the_ordinary_gradient():
    x, w, b = drawn(1, 1, 9, 9), drawn(3, 1, 3, 3), drawn(3)
    with phase_gradients():
        assert not rewritten(functional.conv2d(x.clone().requires_grad_(), w.clone().requires_grad_(), b, 2))
        assert not rewritten(functional.conv2d(x.clone().requires_grad_(), w, b.clone().requires_grad_(), 2))
        assert functional.conv2d(x, w, b, 2).grad_fn is None
        assert not rewritten(functional.conv2d(x[0].clone().requires_grad_(), w, b, 2)), "an image without a batch"


class Stem(nn.Module):
    def __init__(self, axes=3):
        super().__init__()
        self.first = (nn.Conv2d if axes == 2 else nn.Conv3d)(1, 64, 7, stride=2, padding=3)
        seeded(self)

    def forward(self, x):
        self.seen = self.first(x)
        return self.seen.square().flatten(2).mean(2)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_probe_of_the_input_takes_it_and_no_other_run_does(axes):
    net, x = Stem(axes), drawn(1, 1, *[8] * axes)
    expected = torch.autograd.grad(net(y := x.clone().requires_grad_())[0, 1], y)[0]
    with Network(net).opened() as model:
        probe = model.probe(x, [INPUT])
        assert rewritten(net.seen)
        found = next(iter(probe.gradients(probe.output[:, 1:2])))[INPUT]
        model.probe(x, ["first"])
        assert not rewritten(net.seen)
        model(x)
        assert net.seen.grad_fn is None
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert torch._C._len_torch_function_stack() == 0


def test_it_stands_back_where_another_mode_must_see_the_convolutions():
    class Sees(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen += func is functional.conv3d
            return func(*args, **(kwargs or {}))

    net = Stem()
    with Network(net).opened() as model, Sees() as mode:
        model.probe(drawn(1, 1, 8, 8, 8), [INPUT])
        assert not rewritten(net.seen)
    assert mode.seen == 1


def test_it_is_gone_after_an_error():
    class Fails(Stem):
        def forward(self, x):
            raise RuntimeError("half-way")

    with Network(Fails()).opened() as model, pytest.raises(ModelError, match="half-way"):
        model.probe(drawn(1, 1, 8, 8, 8), [INPUT])
    assert torch._C._len_torch_function_stack() == 0


def test_its_flops_are_those_of_the_kernel_filled_up():
    """A 7x7x7 kernel with stride 2: taps of 4 where 3.5 are needed, and one more along the axis of a block of two."""
    net, x = Stem().float(), torch.randn(1, 1, 32, 32, 32)

    def flops(layers):
        with Network(net).opened() as model, FlopCounterMode(display=False) as counter:
            probe = model.probe(x, layers)
            list(probe.gradients(probe.output[:, :1]))
        return counter.get_total_flops()

    flops(["first"])  # what is learnt of a network is learnt once
    forward = flops(["first"])
    assert forward == 2 * 343 * 64 * 16**3
    cells = 9 * 18 * 18  # 32 + 3 of padding, in blocks of 4 by 2 by 2
    assert flops([INPUT]) - forward == 2 * cells * 16 * 64 * 5 * 4 * 4


@pytest.mark.parametrize("channels", range(1, phase.CHANNELS + 1))
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (4, 4), (1, 1, 1), (2, 2, 2), (1, 2, 2), (16, 16)])
def test_a_block_fills_a_vector_and_no_more(channels, stride):
    width = channels * math.prod(stride)
    filled = width * math.prod(blocks(channels, stride))
    assert filled == width or phase.VECTOR / 2 < filled <= phase.VECTOR
