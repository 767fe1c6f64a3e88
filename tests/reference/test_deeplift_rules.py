"""DeepLIFT's rule of every kind of operation: against its formula, written out, and that what it sends back sums.

A network here is one operation on an image and a linear head, so that the map is the rule times the image's rise.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from saliscope.core.target import CallableTarget, LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.propagation.pieces import lstm
from saliscope.model.network import Network
from saliscope.testing.networks import seeded

TARGET = LogitTarget((0, 1), ("first", "second"))


class Operation(nn.Module):
    """An operation on the image, and two sums of its result by fixed weights."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def weights(self, count):
        return torch.randn(2, count, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def forward(self, x):
        values = self.function(x).reshape(len(x), -1)
        return values @ self.weights(values.shape[1]).T


def picture(axes, batch=1):
    size = (4, 6) if axes == 2 else (4, 2, 4)
    return torch.randn(batch, 4, *size, generator=torch.Generator().manual_seed(axes), dtype=torch.float64)


def explained(net, x, baseline=0.2, target=TARGET):
    """Return the map (N, K, *S), its gap and the notes."""
    method = METHODS.make("deeplift", baseline=baseline)
    with Network(net).opened() as model:
        values = method.attribute(model, x, target)
        gap = method.diagnose(model, x, target, values)["completeness_relative_gap"].max()
        return values, float(gap), " ".join(model.notes)


def close(found, right):
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-11 * np.abs(right).max())


def literal(axes, function, back):
    """Return the maps that a rule (K, C, *S) gives of gradients (K, ...), and DeepLIFT's."""
    net, x = Operation(function), picture(axes)
    start = torch.full_like(x, 0.2)
    made = function(x)
    sent = net.weights(made.numel()).reshape(2, *made.shape[1:]).numpy()
    right = np.stack([back(g, x[0].numpy(), start[0].numpy()) for g in sent])
    return explained(net, x)[0][0].numpy(), (right * (x - start)[0].numpy()).sum(1)


AXES = pytest.mark.parametrize("axes", [2, 3])


@AXES
def test_a_function_of_one_argument_has_its_rise_over_the_arguments(axes):
    found, right = literal(axes, torch.sinh, lambda g, x, o: g * (np.sinh(x) - np.sinh(o)) / (x - o))
    close(found, right)


@AXES
def test_a_product_has_the_mean_of_the_other_factor(axes):
    def back(g, x, o):
        one, other = np.split((x + o) / 2, 2)
        return np.concatenate([g * other, g * one])

    close(*literal(axes, lambda v: v[:, :2] * v[:, 2:], back))


@AXES
@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_a_quotient_is_a_mean_of_two_weighed_by_the_squares_of_the_divisors(shift, axes):
    """Without a shift the divisor's sign is another one in the baseline."""

    def back(g, x, o):
        (a, b), (a0, b0) = np.split(x, 2), np.split(o, 2)
        b, b0 = b + shift, b0 + shift
        weight = b**2 / (b**2 + b0**2)
        by_a = weight / b + (1 - weight) / b0
        by_b = -weight * (a0 / b0) / b - (1 - weight) * (a / b) / b0
        return np.concatenate([g * by_a, g * by_b])

    close(*literal(axes, lambda v: v[:, :2] / (v[:, 2:] + shift), back))


def test_a_norm_of_a_baseline_without_a_spread_multiplies_by_no_more_than_the_images():
    """The baseline is divided by the root of eps alone; ten such layers by the mean of both would double ten times."""

    def deep(v):
        for _ in range(10):
            v = functional.layer_norm(v, v.shape[1:])
        return v

    values, gap, _ = explained(Operation(deep), picture(2), baseline=0.0)
    once, _, _ = explained(Operation(lambda v: functional.layer_norm(v, v.shape[1:])), picture(2), baseline=0.0)
    assert gap < 1e-9
    assert values.abs().sum() < 3 * once.abs().sum()


@AXES
@pytest.mark.parametrize("function", [torch.hypot, torch.maximum, lambda a, b: torch.where(a > b, a * 2, b)])
def test_a_function_of_two_arguments_has_the_shapley_value_of_each(function, axes):
    def back(g, x, o):
        def f(a, b):
            return function(torch.from_numpy(a), torch.from_numpy(b)).numpy()

        (a, b), (a0, b0) = np.split(x, 2), np.split(o, 2)
        by_a = (f(a, b) - f(a0, b) + f(a, b0) - f(a0, b0)) / 2
        by_b = (f(a, b) - f(a, b0) + f(a0, b) - f(a0, b0)) / 2
        return np.concatenate([g * by_a / (a - a0), g * by_b / (b - b0)])

    if function in (torch.hypot, torch.maximum):
        close(*literal(axes, lambda v: function(v[:, :2], v[:, 2:]), back))
    else:
        # Several operations: only the sum is that of the Shapley values.
        found, right = literal(axes, lambda v: function(v[:, :2], v[:, 2:]), back)
        close(found.reshape(2, -1).sum(1), right.reshape(2, -1).sum(1))


def softmax(x):
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


def logarithmic(x, o):
    p, p0 = softmax(x), softmax(o)
    return (p - p0) / (np.log(p) - np.log(p0))


@AXES
def test_softmax_and_its_kin_have_the_logarithmic_mean(axes):
    def moved(x):  # so that the baseline's softmax is not flat
        return x * torch.arange(1.0, 5).double().reshape(1, 4, *[1] * axes)

    scale = np.arange(1.0, 5).reshape(4, *[1] * axes)

    def by_softmax(g, x, o):
        mean = logarithmic(scale * x, scale * o)
        return scale * (g * mean - mean / mean.sum(0) * (g * mean).sum(0))

    def by_log(g, x, o):
        mean = logarithmic(scale * x, scale * o)
        return scale * (g - mean / mean.sum(0) * g.sum(0))

    def by_sum(g, x, o):
        mean = logarithmic(scale * x, scale * o)
        return scale * g * mean / mean.sum(0)

    close(*literal(axes, lambda v: moved(v).softmax(1), by_softmax))
    close(*literal(axes, lambda v: moved(v).log_softmax(1), by_log))
    close(*literal(axes, lambda v: moved(v).logsumexp(1), by_sum))


@AXES
def test_a_normalisation_is_a_quotient_by_its_deviation(axes):
    lean = torch.linspace(0, 1, picture(axes)[0].numel(), dtype=torch.float64).reshape(picture(axes)[0].shape)

    def back(g, x, o):
        parts = []
        for values in (x, o):
            rest = values + lean.numpy() - (values + lean.numpy()).mean()
            spread = np.sqrt((rest**2).mean() + 1e-5)
            parts.append((rest, spread, rest / spread))
        (rest, spread, level), (rest0, spread0, level0) = parts
        square = spread**2 + spread0**2
        by_spread = -(g * (level0 * spread + level * spread0)).sum() / square
        # The deviation rises by the mean of rest's square over the sum of both deviations.
        by_rest = g * (spread + spread0) / square + by_spread * (rest + rest0) / rest.size / (spread + spread0)
        return by_rest - by_rest.mean()

    close(*literal(axes, lambda v: functional.layer_norm(v + lean, v.shape[1:]), back))


@AXES
def test_a_maximum_has_its_rise_at_the_places_of_both_maxima(axes):
    lean = 10 * torch.linspace(1, 0, picture(axes)[0].numel(), dtype=torch.float64).reshape(picture(axes)[0].shape)

    def back(g, x, o):
        x, o = x + lean.numpy(), o + lean.numpy()
        sent = np.zeros_like(x)
        top, below = x.max(), o.max()
        for values, amount in ((x, max(top, below) - below), (o, top - max(top, below))):
            at = np.unravel_index(values.argmax(), x.shape)
            sent[at] += g * amount / (x - o)[at]
        return sent

    close(*literal(axes, lambda v: (v + lean).amax(list(range(1, v.ndim))), back))
    close(*literal(axes, lambda v: -(-v - lean).flatten(1).min(1)[0], back))


def test_equal_extremes_share_alike():
    x = torch.tensor([[[[3.0, 3, 1, 0]]]], dtype=torch.float64)
    for function in (lambda v: v.amax((1, 2, 3)), lambda v: v.max(3)[0], lambda v: (-v).min()[None]):
        found = explained(Operation(function), x, baseline=0.0)[0][0, 0, 0]
        assert found[0] == found[1] != 0
        assert not found[2:].any()


@AXES
def test_a_gate_written_by_hand_is_the_activation(axes):
    pairs = [
        (functional.leaky_relu, lambda v: torch.where(v > 0, v, 0.01 * v)),
        (functional.relu, lambda v: torch.where(v > 0, v, 0)),
        (functional.relu, lambda v: v * (v > 0)),
        (functional.relu, lambda v: v * (v > 0).double()),
        (functional.relu, lambda v: v.masked_fill(v < 0, 0)),
        (functional.relu, lambda v: v.index_put((v < 0,), torch.zeros((), dtype=v.dtype))),
        (functional.relu, lambda v: put(v, v < 0, 0)),
        (functional.relu, lambda v: torch.maximum(v, torch.zeros_like(v))),
        (functional.relu, lambda v: (v + v.abs()) / 2),
        (functional.silu, lambda v: v / (1 + (-v).exp())),
    ]
    for named, by_hand in pairs[:-1]:
        close(*(explained(Operation(f), picture(axes))[0].numpy() for f in (by_hand, named)))
    right, found = (explained(Operation(f), picture(axes)) for f in pairs[-1])
    close(found[0].numpy(), right[0].numpy())


def put(v, at, value):
    v = v.clone()
    v[at] = value
    return v


def tokens(v):
    return v.flatten(2).transpose(1, 2)


def attention(v):
    t = tokens(v)
    return (t @ t.transpose(1, 2)).softmax(-1) @ t


COMPLETE = {
    "mean of all": lambda v: v - v.mean(),
    "deviation of all": lambda v: v / (v.std() + 1),
    "variance of all": lambda v: v / (v.var() + 1),
    "norm of all": lambda v: v / (v.norm() + 1),
    "maximum of all": lambda v: v / (v.max() + 3),
    "largest size": lambda v: v / (v.abs().max() + 1),
    "size of the sum": lambda v: v / (v.sum().abs() + 1),
    "range": lambda v: (v - v.min()) / (v.max() - v.min() + 1e-6),
    "squeeze and excitation": lambda v: v * v.flatten(2).mean(2)[(...,) + (None,) * (v.ndim - 2)].sigmoid(),
    "gated": lambda v: functional.glu(v, 1),
    "power": lambda v: (v.abs() + 0.1) ** 1.7,
    "power of two tensors": lambda v: (v.abs() + 1) ** v.flip(1),
    "attention": attention,
    "einsum": lambda v: torch.einsum("bij,bkj->bik", v.flatten(2), v.flatten(2)),
    "fused attention": lambda v: functional.scaled_dot_product_attention(*[tokens(v)[:, None]] * 3, is_causal=True),
    "group norm": lambda v: functional.group_norm(v, 2, torch.arange(4).double(), torch.ones(4).double()),
    "instance norm, in place after": lambda v: functional.leaky_relu_(functional.instance_norm(v)),
    "batch norm of the batch": lambda v: functional.batch_norm(v, None, None, training=True),
    "rms norm": lambda v: functional.rms_norm(v, v.shape[2:], v[0, 0].detach() * 0 + 2),
    "deviations": lambda v: torch.cat([*torch.var_mean(v.flatten(2), 2), v.flatten(2).std(2, correction=0)], 1),
    "norms": lambda v: torch.cat([v.flatten(2).norm(p, dim=2) for p in (1, 2, 3, float("inf"), float("-inf"), 0)], 1),
    "local response": lambda v: functional.local_response_norm(v, 3),
    "products": lambda v: (1 + v).prod(1),
    "sorted": lambda v: v.flatten(1).sort(1)[0],
    "of the 5 largest": lambda v: v.flatten(1).topk(5)[0],
    "steps": lambda v: (4 * v).round() / 4 + v.sign() + v.floor(),
    "share of the positive": lambda v: v.relu().sum(1) / ((v > 0).sum(1) + 1),
    "a boolean reduced": lambda v: v * (v > 1).any(1, keepdim=True),
    "one-hot": lambda v: v.movedim(1, -1) * functional.one_hot(v.argmax(1), 4),
    "detached": lambda v: v * v.detach().sigmoid(),
    "dynamic convolution": lambda v: functional.conv1d(v.flatten(2), v.flatten(2)[:, :, :3]),
    "Fourier": lambda v: torch.fft.rfft(v.flatten(2)).abs(),
    "filtered": lambda v: torch.fft.ifft(torch.fft.fft(v.flatten(2)) * (1 + 2j)).real.relu(),
    "distances": lambda v: torch.cdist(v.flatten(2), v.flatten(2).flip(1) * 2),
    "inverse": lambda v: torch.linalg.inv(torch.eye(4).double() + 0.1 * torch.cov(v[0].flatten(1)))[None],
    "own function": lambda v: OwnReLU.apply(v),
    "checkpointed": lambda v: checkpoint(lambda u: u.sigmoid() * u, v, use_reentrant=True),
    "half in place": lambda v: torch.cat([part.relu_() for part in (v * 1).chunk(2, 1)], 1),
    "in place on a slice": lambda v: functional.silu((v * 1)[..., 1:, 1:-1], inplace=True),
    "in place through a view": lambda v: scaled_in_part(v * 1),
    "added, then in place": lambda v: (v * 1).add_(1).relu_().mul_(v),
    "given a place": lambda v: torch.mul(v, v, out=torch.empty_like(v)),
    "into a buffer": lambda v: buffered(v),
    "windows": lambda v: v.unfold(-1, 3, 1).square().sum(-1).sqrt(),
    "spread": lambda v: v[:, :1].expand_as(v) * v,
    "masked softmax": lambda v: v.movedim(1, -1).masked_fill(torch.arange(4) < 2, -torch.inf).softmax(-1),
}  # fmt: skip


class OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x.clamp(min=0)


def scaled_in_part(v):
    v[:, :2] *= 2
    v.view(-1)[::3].relu_()
    return v


def buffered(v):
    made = v.new_ones(len(v), 6, *v.shape[2:])
    made[:, 1:5] = v
    made[:, 0] = v.mean(1)
    made[:, 1].zero_()
    return made.mul_(made.sigmoid())


@AXES
@pytest.mark.parametrize("name", COMPLETE)
def test_deeplift_is_complete_through(name, axes):
    _, gap, notes = explained(Operation(COMPLETE[name]), picture(axes))
    assert gap < 1e-9
    assert "cannot follow" not in notes
    assert "misses" not in notes


@AXES
def test_what_only_moves_values_has_their_gradient(axes):
    def moved(v):
        other = (v * 1).flip(1)
        other.view(-1)[1::2] *= -1
        windows = other.unfold(-1, 2, 1).as_strided((3, 4, 2), (4, 1, 2)) * 2
        buffer = v.new_zeros(2, 3, 4, 2)
        buffer[1] = windows
        buffer[0, ..., 0].copy_(v[:, :1].expand(1, 4, *v.shape[2:]).reshape(4, -1)[:, :3].T)
        return torch.cat([buffer.roll(1, 0).flatten()[None], functional.pad(v, (1, 2)).flatten(1)], 1)

    net, x = Operation(moved), picture(axes)
    found = explained(net, x, baseline=0.0)[0]
    root = x.clone().requires_grad_()
    for k in range(2):
        (gradient,) = torch.autograd.grad(net(root)[0, k], root)
        close(found[0, k].numpy(), (gradient * x)[0].sum(0).numpy())


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = getattr(nn, kind)(4, 3, num_layers=2, bidirectional=True, batch_first=True)
        seeded(self)

    def forward(self, x):
        return self.layer(tokens(x))[0][:, -1, :2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_deeplift_is_complete_through_recurrent_layers(kind, dtype):
    """In float32 torch runs an LSTM as one operation, in float64 as many."""
    _, gap, notes = explained(Recurrent(kind).to(dtype), picture(2).to(dtype))
    assert gap < (1e-9 if dtype == torch.float64 else 1e-5)
    assert not notes


def test_an_lstm_is_the_equations_of_its_cell():
    layer = nn.LSTM(4, 3)
    seeded(layer)
    x = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(1))
    weights = [getattr(layer, f"{n}_l0").detach() for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    state = torch.zeros(2, 3)
    for reverse in (False, True):
        made = lstm(x, *weights, state, state, reverse, [], 2)
        right, (last, memory) = layer(x.flip(0) if reverse else x)
        torch.testing.assert_close(made[0], (right.flip(0) if reverse else right).detach())
        torch.testing.assert_close(made[1:3], (last[0].detach(), memory[0].detach()))


def test_a_scripted_part_is_seen():
    part = torch.jit.script(nn.Sequential(nn.ReLU(), nn.Sigmoid()).eval())
    found, gap, notes = explained(Operation(part), picture(2))
    close(found.numpy(), explained(Operation(lambda v: v.relu().sigmoid()), picture(2))[0].numpy())
    assert gap < 1e-12
    assert not notes


def test_a_target_that_is_not_linear_is_complete_too():
    target = CallableTarget(lambda y: y.softmax(1)[:, 0], ("share",))
    _, gap, _ = explained(Operation(lambda v: v.relu().flatten(2).mean(2)), picture(2), target=target)
    assert gap < 1e-12


@pytest.mark.parametrize("name", ["deviation of all", "range", "batch norm of the batch"])
def test_every_image_is_explained_by_itself(name):
    net, x = Operation(COMPLETE[name]), picture(2, batch=3)

    class Alone(nn.Module):
        def forward(self, x):
            return torch.cat([net(one[None]) for one in x])

    found = explained(Alone(), x)[0]
    for n in range(3):
        close(found[n].numpy(), explained(net, x[n : n + 1])[0][0].numpy())
