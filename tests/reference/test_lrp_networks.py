"""LRP on what networks of strangers do: writes in place, gates however written, hooks, rules by name, refusals."""

import gc
import json

import pytest
import replica_propagation as replica
import torch
from test_propagation_analysis import TARGET, Built, close, noted, run
from torch import nn
from torch.nn import functional

from saliscope.core.errors import MethodError, ModelError
from saliscope.core.target import CallableTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.study.asking import described
from saliscope.study.plan import options_of
from saliscope.testing.networks import SmallNet, image, seeded

PLAIN = METHODS.make("lrp", composite="epsilon", epsilon=0.0)
COMPOSITES = ("epsilon", "epsilon-plus-flat", "epsilon-gamma-box", "epsilon-alpha-beta")


def measured(method, net, x, target=TARGET):
    with Network(net).opened() as model:
        return method.diagnose(model, x, target, method.attribute(model, x, target))


def wide(v):
    """Return a vector of channels in a shape that meets v."""
    return v[(...,) + (None,) * 2]


def squeezed(v):
    return v.flatten(2).mean(2)


#: pairs that are one function: the second as torch has it under one name.
ALIKE = {
    "silu": (lambda v: v * torch.sigmoid(v), functional.silu),
    "silu, gate first": (lambda v: v.sigmoid().mul(v), functional.silu),
    "gelu by erf": (lambda v: 0.5 * v * (1 + torch.erf(v / 2**0.5)), functional.gelu),
    "gelu by tanh": (
        lambda v: 0.5 * v * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (v + 0.044715 * v**3))),
        lambda v: functional.gelu(v, approximate="tanh"),
    ),
    "mish": (lambda v: v * torch.tanh(functional.softplus(v)), functional.mish),
    "hardswish": (lambda v: v * functional.relu6(v + 3) / 6, functional.hardswish),
    "relu by a mask": (lambda v: v * (v > 0), functional.relu),
    "relu by where": (lambda v: torch.where(v > 0, v, 0), functional.relu),
    "relu by a method": (lambda v: v.where(v > 0, torch.zeros_like(v)), functional.relu),
    "relu by filling": (lambda v: v.masked_fill(v < 0, 0), functional.relu),
    "relu by filling in place": (lambda v: (v + 0).masked_fill_(v < 0, 0), lambda v: functional.relu(v + 0)),
    "relu by maximum": (lambda v: torch.maximum(v, torch.zeros_like(v)), functional.relu),
    "leaky by where": (lambda v: torch.where(v > 0, v, 0.1 * v), lambda v: functional.leaky_relu(v, 0.1)),
    "glu": (
        lambda v: functional.glu(torch.cat([v, v], 1), 1),
        lambda v: v * torch.sigmoid(v),
    ),
    "layer norm": (
        lambda v: (v - v.mean((1, 2), keepdim=True)) / (v.var((1, 2), correction=0, keepdim=True) + 1e-5).sqrt(),
        lambda v: functional.layer_norm(v.permute(0, 3, 1, 2), v.shape[1:3]).permute(0, 2, 3, 1),
    ),
    "rms norm": (
        lambda v: v * torch.rsqrt(v.pow(2).mean(-1, keepdim=True) + 1e-6),
        lambda v: functional.rms_norm(v, v.shape[-1:], eps=1e-6),
    ),
    "attention": (
        lambda v: torch.softmax(v @ v.transpose(-2, -1) / v.shape[-1] ** 0.5, -1) @ v,
        lambda v: functional.scaled_dot_product_attention(v, v, v),
    ),
    "causal attention": (
        lambda v: (
            torch.softmax(
                (v @ v.mT / v.shape[-1] ** 0.5).masked_fill(
                    ~torch.ones(v.shape[-2], v.shape[-2]).tril().bool(), -torch.inf
                ),
                -1,
            )
            @ v
        ),
        lambda v: functional.scaled_dot_product_attention(v, v, v, is_causal=True),
    ),
    "products by einsum": (lambda v: torch.einsum("ncij,ncjk->ncik", v, v.mT) @ v, lambda v: v @ v.mT @ v),
    "log of a softmax": (
        lambda v: v - torch.logsumexp(v, 1, keepdim=True),
        lambda v: functional.log_softmax(v, 1),
    ),
    "by its length": (lambda v: v / v.norm(dim=1, keepdim=True), lambda v: functional.normalize(v, dim=1)),
    "squares": (lambda v: v * v, lambda v: v**2),
    "largest": (lambda v: v + v.amax(1, keepdim=True), lambda v: v + v.max(1, keepdim=True)[0]),
}


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("kind", ALIKE)
def test_one_function_has_one_map_however_it_is_written(kind, composite):
    written, named = ALIKE[kind]
    x, method = image(2), METHODS.make("lrp", composite=composite, epsilon=1e-13)
    close(run(method, Built(2, written), x), run(method, Built(2, named), x), 1e-6)


def test_where_an_activation_is_silent_the_same_relevance_passes():
    """The rule "flat" sends relevance also to what is zero; a mask must then hand on as a ReLU does."""
    method, x = METHODS.make("lrp", rules=(("held.0", "flat"),)), image(2)
    right = run(method, Built(2, lambda v, conv: conv(functional.relu(v)), nn.Conv2d(4, 4, 3)), x)
    for name in ("relu by where", "relu by filling", "relu by a mask", "relu by maximum"):
        close(run(method, Built(2, lambda v, conv, f=ALIKE[name][0]: conv(f(v)), nn.Conv2d(4, 4, 3)), x), right)


def frozen_scale(v, axes):
    centred = v - v.mean(axes, keepdim=True)
    return centred / (centred.detach().square().mean(axes, keepdim=True) + 1e-5).sqrt()


#: what LRP without an epsilon is, as input x gradient of a network whose gates, scales and halves are held still.
STILL = {
    "squeeze and excitation": (
        lambda v: v * wide(torch.sigmoid(squeezed(v))),
        lambda v: v * wide(torch.sigmoid(squeezed(v))).detach(),
    ),
    "gate of a place": (
        lambda v: v * v.sum(1, keepdim=True).sigmoid(),
        lambda v: v * v.sum(1, keepdim=True).sigmoid().detach(),
    ),
    "gated attention": (
        lambda v: torch.tanh(v) * torch.sigmoid(v.flip(1)),
        lambda v: v * (torch.tanh(v) * torch.sigmoid(v.flip(1)) / v).detach(),
    ),
    "two branches": (lambda v: v * v.flip(1), lambda v: v * v.flip(1).detach() / 2 + v.detach() * v.flip(1) / 2),
    "instance norm": (
        lambda v: torch.relu(functional.instance_norm(v)),
        lambda v: torch.relu(frozen_scale(v, (2, 3))),
    ),
    "layer norm": (lambda v: functional.layer_norm(v, v.shape[1:]), lambda v: frozen_scale(v, (1, 2, 3))),
    "batch norm of itself": (
        lambda v: torch.relu(functional.batch_norm(v, None, None, training=True)),
        lambda v: torch.relu(frozen_scale(v, (0, 2, 3))),
    ),
    "a deviation": (
        lambda v: v / v.std((1, 2, 3), keepdim=True),
        lambda v: v / v.std((1, 2, 3), keepdim=True).detach(),
    ),
    "spread as a feature": (lambda v: v + wide(v.flatten(2).std(2)), lambda v: v + wide(v.flatten(2).std(2))),
    "variance as a feature": (
        lambda v: v + wide(v.flatten(2).var(2)),
        lambda v: (
            v
            + wide(
                (v.flatten(2) * (v - squeezed(v)[..., None, None]).flatten(2).detach()).sum(2) / (v[0, 0].numel() - 1)
            )
        ),
    ),
    "dynamic convolution": (
        lambda v: functional.conv2d(v, squeezed(v)[0].view(4, 1, 1, 1), groups=4),
        lambda v: (
            functional.conv2d(v, squeezed(v)[0].view(4, 1, 1, 1).detach(), groups=4) / 2
            + functional.conv2d(v.detach(), squeezed(v)[0].view(4, 1, 1, 1), groups=4) / 2
        ),
    ),
    "sampled": (
        lambda v: functional.grid_sample(v, torch.tanh(v[:, :2]).permute(0, 2, 3, 1), align_corners=False),
        lambda v: functional.grid_sample(v, torch.tanh(v[:, :2]).permute(0, 2, 3, 1).detach(), align_corners=False),
    ),
    "statistics at once": (
        lambda v: (lambda s: (v - s[1]) * torch.rsqrt(s[0] + 1))(torch.var_mean(v, 1, keepdim=True)),
        lambda v: (v - v.mean(1, keepdim=True)) * torch.rsqrt(v.var(1, keepdim=True) + 1).detach(),
    ),
    "local response": (
        lambda v: functional.local_response_norm(v, 3),
        lambda v: v * (functional.local_response_norm(v, 3) / v).detach(),
    ),
    "sums and folds": (
        lambda v: functional.fold(functional.unfold(v.cumsum(1), 3, stride=2), v.shape[2:], 3, stride=2),
        lambda v: functional.fold(functional.unfold(v.cumsum(1), 3, stride=2), v.shape[2:], 3, stride=2),
    ),
    "a mixture": (lambda v: torch.lerp(v, v.flip(1), 0.3), lambda v: 0.7 * v + 0.3 * v.flip(1)),
    "by parts": (
        lambda v: torch.addcmul(v, v, wide(torch.sigmoid(squeezed(v))), value=2),
        lambda v: v + 2 * v * wide(torch.sigmoid(squeezed(v))).detach(),
    ),
}


@pytest.mark.parametrize("kind", STILL)
def test_lrp_without_epsilon_is_input_x_gradient_of_what_is_held_still(kind):
    net, still = (Built(2, f) for f in STILL[kind])
    x = image(2, 1)
    with torch.no_grad():
        close(net(x), still(x))
    close(run(PLAIN, net, x), run(METHODS.make("input-x-gradient"), still, x), 1e-7)


def added(v):
    v += 1
    return v.relu_()


def sliced(v):
    v[:, :2].mul_(2)
    v[..., 1:].relu_()
    return functional.leaky_relu_(v[..., 1:], 0.2)


def chained(v):
    v = v.add_(v.detach() * 0 + 0.3)
    v.sub_(0.2).mul_(1.5)
    v.mul_(torch.sigmoid(squeezed(v))[..., None, None])
    functional.silu(v, inplace=True)
    return v.add_(v.flip(1)).clamp_(min=0.1)


def filled(v):
    out = torch.zeros_like(v)
    out[:, :2] = v[:, 2:]
    out[:, 2:] += v[:, :2]
    return out


PLACED = {
    "added": (added, lambda v: functional.relu(v + 1)),
    "activation of a slice": (
        lambda v: functional.hardswish(v[..., 1:-1, 1:], inplace=True),
        lambda v: functional.hardswish(v[..., 1:-1, 1:]),
    ),
    "slices": (
        sliced,
        lambda v: functional.leaky_relu(torch.cat([v[:, :2] * 2, v[:, 2:]], 1)[..., 1:].relu(), 0.2),
    ),
    "filled": (filled, lambda v: torch.cat([v[:, 2:], v[:, :2]], 1)),
    "normalised": (
        lambda v: functional.instance_norm(v).mul_(2).add_(1).relu_(),
        lambda v: functional.relu(functional.instance_norm(v) * 2 + 1),
    ),
    "residual": (
        lambda v: functional.relu_(v.clone().mul_(2).add_(v)),
        lambda v: functional.relu(v * 2 + v),
    ),
    "of what a product saw": (
        lambda v: (lambda m: (m.relu_(), m)[1])(v @ v.mT) @ v,
        lambda v: functional.relu(v @ v.mT) @ v,
    ),
    "by a part": (
        lambda v: (v + 0).addcmul_(v, v.sigmoid()),
        lambda v: torch.addcmul(v + 0, v, v.sigmoid()),
    ),
}


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("kind", PLACED)
def test_writes_in_place_have_the_map_of_new_tensors(kind, composite):
    method, x = METHODS.make("lrp", composite=composite, epsilon=1e-13), image(2)
    close(run(method, Built(2, PLACED[kind][0]), x), run(method, Built(2, PLACED[kind][1]), x), 1e-6)
    assert measured(method, Built(2, PLACED[kind][0]), x)["conservation_relative_gap"].max() < 1e-9


def test_a_chain_of_writes_in_place_conserves():
    assert measured(METHODS.make("lrp"), Built(2, chained), image(2))["conservation_relative_gap"].max() < 1e-9


def hidden(v):
    w = v * 1
    out = w.flip(1) @ w.mT @ v
    with torch.no_grad():
        w.add_(1)
    return out


def test_a_write_that_cannot_be_seen_is_refused():
    with pytest.raises(MethodError, match="overwrites its activations"):
        run(METHODS.make("lrp"), Built(2, hidden), image(2))


class Joined(nn.Module):
    """Tokens with one of their own, a mask, a padding and positions, then attention of torch's own module."""

    def __init__(self, axes):
        super().__init__()
        self.first = (nn.Conv2d, nn.Conv3d)[axes - 2](2, 4, 2, stride=2)
        self.token, self.place = nn.Parameter(torch.empty(1, 1, 4)), nn.Parameter(torch.empty(1, 1, 4))
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, activation="gelu", batch_first=True)
        self.head = nn.Linear(4, 3)
        seeded(self)
        self.double()

    def forward(self, x):
        v = self.first(
            functional.pad(functional.relu(self.first(x)).repeat(1, 1, *[2] * (x.ndim - 2))[:, :2], [1, 1], value=0.3)
        )
        v = torch.cat([self.token.expand(len(v), -1, -1), v.flatten(2).transpose(1, 2)], 1) + self.place
        v = v.masked_fill(v > 1.5, 1.5)
        return self.head(self.layer(v)[:, 0])


BLOCKS = {**{name: pair[0] for name, pair in {**ALIKE, **STILL, **PLACED}.items()}, "chained": chained}


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("kind", BLOCKS)
def test_map_and_what_is_absorbed_make_the_score(kind, composite):
    found = measured(METHODS.make("lrp", composite=composite), Built(2, BLOCKS[kind]), image(2, 1))
    assert found["conservation_relative_gap"].max() < 1e-9
    assert found["absorbed"].abs().max() > 1e-9


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("composite", COMPOSITES)
def test_class_token_padding_positions_and_masks_keep_their_share(composite, axes):
    found = measured(METHODS.make("lrp", composite=composite), Joined(axes), image(axes))
    assert found["conservation_relative_gap"].max() < 1e-9


def test_absorbed_is_counted_for_each_image_alone():
    x = image(2, 3)
    together = measured(METHODS.make("lrp"), SmallNet(2), x)
    for n in range(3):
        alone = measured(METHODS.make("lrp"), SmallNet(2), x[n : n + 1])
        for name, values in alone.items():
            torch.testing.assert_close(values, together[name][n : n + 1], rtol=1e-6, atol=1e-12)


def test_a_score_of_nothing_is_judged_against_its_terms():
    net, x = Built(2, lambda v: functional.instance_norm(v), bias=False), image(2)
    assert measured(METHODS.make("lrp", composite="epsilon"), net, x)["conservation_relative_gap"].max() < 1e-6
    same = CallableTarget(lambda y: y[:, 0] - y[:, 0] * 1)
    assert measured(METHODS.make("lrp"), SmallNet(2), x, same)["conservation_relative_gap"].max() < 1e-6
    # Terms of the size of one cancel to rounding, and their sum in another order to another rounding.
    linear = nn.Sequential(
        nn.Conv2d(2, 4, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False)
    )
    replica.filled(linear, seed=3)
    balanced = torch.cat([x, -x.flip(2)], 2)
    assert TARGET.scores(linear(balanced)).abs().max() < 1e-15
    assert measured(PLAIN, linear, balanced)["conservation_relative_gap"].max() < 1e-6


class Sequences(nn.Module):
    """Rows of an image as a sequence, through a recurrent layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, nn.LazyLinear(3)
        self.eval()
        self(torch.zeros(1, 2, 6, 4))
        replica.filled(self, seed=8)

    def forward(self, x):
        rows = x.transpose(1, 2).flatten(2)
        made = self.layer(rows if self.layer.batch_first else rows.transpose(0, 1))
        return self.head(made[0].flatten(2).mean(1 if self.layer.batch_first else 0))


LAYERS = [
    nn.LSTM(8, 3, 2, batch_first=True, bidirectional=True),
    nn.LSTM(8, 4, proj_size=2, bias=False),
    nn.GRU(8, 3, 2, bidirectional=True),
    nn.GRU(8, 3, batch_first=True),
    nn.RNN(8, 3, 2),
    nn.RNN(8, 3, nonlinearity="relu", batch_first=True, bidirectional=True),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_recurrent_layer_runs_as_torch_runs_it_and_conserves(layer):
    net, x = Sequences(layer), torch.randn(2, 2, 6, 4, generator=torch.Generator().manual_seed(1)).double()
    outputs = []
    target = CallableTarget(lambda y: (outputs.append(y.detach()), y[:, 0])[1])
    found = measured(METHODS.make("lrp", composite="epsilon"), net, x[:1], target)
    assert found["conservation_relative_gap"].max() < 1e-9
    for output in outputs:
        close(output, net(x[:1]).detach())


class Cells(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell, self.head = cell, nn.Linear(3, 3)
        replica.filled(self, seed=9)

    def forward(self, x):
        h = None
        for row in x.transpose(1, 2).flatten(2).unbind(1):
            h = self.cell(row, h)
        return self.head(h[0] if isinstance(h, tuple) else h)


@pytest.mark.parametrize("cell", [nn.LSTMCell(8, 3), nn.GRUCell(8, 3), nn.RNNCell(8, 3)], ids=str)
def test_cells_of_recurrent_layers_conserve(cell):
    net, x = Cells(cell), torch.randn(1, 2, 6, 4, generator=torch.Generator().manual_seed(1)).double()
    assert measured(METHODS.make("lrp", composite="epsilon"), net, x)["conservation_relative_gap"].max() < 1e-9


def test_a_packed_sequence_is_refused_by_name():
    class Packed(Sequences):
        def forward(self, x):
            rows = x.transpose(1, 2).flatten(2)
            packed = nn.utils.rnn.pack_padded_sequence(rows, [rows.shape[1]] * len(x), batch_first=True)
            return self.head(nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0])[0].mean(0))

    net = Packed(nn.LSTM(8, 3, batch_first=True))
    with pytest.raises(MethodError, match="no relevance rule"):
        run(METHODS.make("lrp"), net, torch.randn(1, 2, 6, 4).double())


def test_scales_that_are_taken_as_constants_are_noted():
    method, x = METHODS.make("lrp"), image(2)
    assert "the scale of group_norm was taken as a constant" in noted(
        method, Built(2, lambda v: functional.group_norm(v, 2)), x
    )
    assert "divisor" in noted(method, Built(2, STILL["a deviation"][0]), x)
    assert "scale" in noted(method, Built(2, ALIKE["rms norm"][0]), x)
    assert "places" in noted(method, Built(2, STILL["sampled"][0]), x)
    assert not noted(method, Built(2, functional.relu), x)


@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "epsilon-gamma-box"])
def test_backward_hooks_of_others_change_nothing(composite):
    method = METHODS.make("lrp", composite=composite)
    right = run(method, replica.Branched(2), replica.picture(2))
    net, seen = replica.Branched(2), []
    for module in net.modules():
        if not getattr(module, "inplace", False) and not list(module.children()):
            module.register_full_backward_hook(lambda *_: seen.append(1))
    net.relu = nn.ReLU()
    close(run(method, net, replica.picture(2)), right)
    # They are not called, and are there again after.
    assert not seen
    assert any(module._backward_hooks for module in net.modules())


def test_no_hook_of_rules_by_name_stays_behind():
    method, x, net = METHODS.make("lrp", rules=(("*", "epsilon"),)), image(2), SmallNet(2)
    run(method, net, x)
    net.fail_at = net.runs + 1
    with pytest.raises(ModelError, match="told to fail"):
        run(method, net, x)
    for module in net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize(
    ("rules", "match"),
    [
        ((("stem", "epsilonn"),), "Did you mean|epsilon"),
        ((("stem",),), "pairs"),
        ((("layer9.*", "epsilon"),), "layer9"),
        ((("dropout", "epsilon"),), "dropout"),
    ],
)
def test_rules_that_name_nothing_are_refused(rules, match):
    with pytest.raises(MethodError, match=match):
        run(METHODS.make("lrp", rules=rules), SmallNet(2), image(2))


@pytest.mark.parametrize("words", ["layer4.*:epsilon,fc:z-plus", "layer4.*:epsilon"])
def test_rules_are_the_same_as_an_option_in_a_record_and_in_python(words):
    (fields,) = options_of([f"lrp.rules={words}"]).values()
    pairs = (("layer4.*", "epsilon"), ("fc", "z-plus"))[: words.count(":")]
    method = METHODS.make("lrp", rules=pairs)
    assert METHODS.make("lrp", **fields) == method
    assert METHODS.make("lrp", **json.loads(json.dumps(described(method)))) == method
    assert hash(method)


def test_rules_of_layers_need_a_network_whose_layers_have_names():
    class Bare:
        pass

    with pytest.raises(MethodError, match="rules for layers of a Bare"):
        METHODS.make("lrp", rules=(("*", "epsilon"),)).attribute(Bare(), image(2), TARGET)


def test_rules_of_an_operation_without_a_module_are_its_blocks():
    net = Built(2, lambda v, conv: v + conv(v), nn.Conv2d(4, 4, 1))
    x, flat = image(2), METHODS.make("lrp", composite="epsilon", rules=(("first", "flat"),))
    assert (run(flat, net, x) - run(METHODS.make("lrp", composite="epsilon"), net, x)).abs().max() > 1e-3
    functionals = Built(2, lambda v: functional.conv2d(v, torch.ones(4, 4, 1, 1).double()))
    close(
        run(METHODS.make("lrp", composite="epsilon", rules=(("", "z-plus"),)), functionals, x),
        run(METHODS.make("lrp", composite="epsilon", rules=(("first", "epsilon"), ("", "z-plus"))), functionals, x),
    )


def test_a_custom_activation_that_is_known_hands_on():
    class SwishImplementation(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return g * (s + x * s * (1 - s))

    x = image(2)
    close(
        run(METHODS.make("lrp"), Built(2, SwishImplementation.apply), x),
        run(METHODS.make("lrp"), Built(2, functional.silu), x),
    )


def test_a_custom_function_that_is_unknown_is_refused_by_name():
    class Doubling(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    with pytest.raises(MethodError, match="Doubling"):
        run(METHODS.make("lrp"), Built(2, Doubling.apply), image(2))


@pytest.mark.parametrize(
    "fields", [{"gap_limit": 0.0}, {"gap_limit": float("nan")}, {"rules": (("a", "b", "c"),)}, {"rules": 3}]
)
def test_fields_that_make_no_sense_are_refused(fields):
    with pytest.raises(MethodError):
        METHODS.make("lrp", **fields)


@pytest.mark.parametrize("part", [chained, added])
def test_nothing_stays_in_memory(part):
    kept = []
    for _ in range(3):
        measured(METHODS.make("lrp", rules=(("first", "flat"),)), Built(2, part), image(2))
        gc.collect()
        kept.append(sum(type(o) is torch.Tensor for o in gc.get_objects()))
    assert kept[0] == kept[1] == kept[2]
