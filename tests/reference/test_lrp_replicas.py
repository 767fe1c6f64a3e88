"""LRP's rules for attention, gates, normalisations, recurrent layers and layers by name, each against its replica."""

import numpy as np
import pytest
import replica_lrp as literal
import replica_propagation as replica
import torch
from test_propagation_replicas import TARGET, agree, maps

from saliscope.methods import METHODS
from saliscope.model.network import Network

PLAIN = METHODS.make("lrp", composite="epsilon")


def picture(axes):
    return torch.from_numpy(np.random.RandomState(7).standard_normal((2, 2, *[2] * axes)))


def equal(net, x, right, tolerance=1e-10):
    found = maps(PLAIN, net, x)
    for n, image in enumerate(x):
        relevance, out = right(net, image)
        agree(out, net(image[None])[0].detach().numpy())
        agree(found[n], relevance, tolerance)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("fused", [False, True])
def test_attention_equals_its_replica(fused, axes):
    equal(literal.Attending(axes, fused), picture(axes), literal.attending, 1e-9)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gates_and_group_norms_equal_their_replica(groups, axes):
    equal(literal.Gated(axes, groups), picture(axes), literal.gated)


@pytest.mark.parametrize("axes", [2, 3])
def test_an_lstm_equals_its_replica(axes):
    equal(literal.Recurrent(axes), picture(axes), literal.recurrent)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_gru_equals_its_replica(axes):
    equal(literal.Gates(axes), picture(axes), literal.gates)


@pytest.mark.parametrize("axes", [2, 3])
def test_spreads_products_masks_and_logarithms_equal_their_replica(axes):
    equal(literal.Pooled(axes), picture(axes), literal.pooled, 1e-9)


LAYERS = [
    (("stem", "flat"), ("second", "z-plus"), ("after", "epsilon"), ("head", "alpha-beta")),
    (("stem", "w-square"), ("second", "alpha-beta"), ("after", "z-plus")),
]


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("layers", LAYERS)
def test_rules_of_layers_by_name_equal_their_replica(layers, axes):
    net, x = replica.Branched(axes), replica.picture(axes)
    found = maps(METHODS.make("lrp", composite="epsilon", rules=layers), net, x)
    for n, image in enumerate(x[: 4 - axes]):
        agree(found[n], replica.lrp(net, image, "epsilon", "epsilon", None, layers=layers), 1e-10)


def test_the_last_pattern_wins_over_others_and_over_the_composite():
    net, x = replica.Branched(2), replica.picture(2)
    patterns = (("*", "gamma"), ("s*", "epsilon"), ("*tem", "flat"))
    named = {"head": "gamma", "after": "gamma", "second": "epsilon", "stem": "flat"}
    found = maps(METHODS.make("lrp", composite="epsilon-gamma-box", rules=patterns), net, x)
    for n, image in enumerate(x):
        agree(found[n], replica.lrp(net, image, "gamma", "epsilon", "box", layers=named), 1e-10)


@pytest.mark.parametrize("axes", [2, 3])
def test_what_biases_and_epsilon_absorb_equals_a_sum_by_hand(axes):
    """A convolution of one tap, a ReLU and a mean: each bias takes its share of z, epsilon what z was moved by."""
    net = torch.nn.Sequential(
        (torch.nn.Conv2d, torch.nn.Conv3d)[axes - 2](2, 3, 1),
        torch.nn.ReLU(),
        torch.nn.Flatten(2),
        Mean(),
        torch.nn.Linear(3, 3),
    )
    replica.filled(net, seed=50)
    x, epsilon = picture(axes)[:1], 0.05
    s = {k: v.detach().numpy() for k, v in net.state_dict().items()}
    pixels = x[0].flatten(1).numpy().T
    z = pixels @ s["0.weight"].reshape(3, 2).T + s["0.bias"]
    a = np.maximum(z, 0)
    m, right = a.mean(0), []
    for k in range(3):
        y = float(s["4.weight"][k] @ m + s["4.bias"][k])
        share = y / replica.away(y, epsilon)
        absorbed = y - share * y + share * s["4.bias"][k]
        for c in range(3):
            r = share * s["4.weight"][k, c] * m[c]
            absorbed += r * (1 - m[c] / replica.away(m[c], 1e-6))
            for p in range(len(z)):
                part = r / replica.away(m[c], 1e-6) * a[p, c] / len(z)
                at = part / replica.away(z[p, c], epsilon)
                absorbed += part - at * z[p, c] + at * s["0.bias"][c]
        right.append(absorbed)
    method = METHODS.make("lrp", composite="epsilon", epsilon=epsilon)
    with Network(net, TARGET.labels).opened() as model:
        measured = method.diagnose(model, x, TARGET, method.attribute(model, x, TARGET))
    agree(measured["absorbed"][0].numpy(), np.array(right), 1e-12)
    assert measured["conservation_relative_gap"].max() < 1e-12


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean(2)
