"""Where DeepLIFT cannot be right it says so: another way for the baseline, values out of sight, a sum that misses."""

import pytest
import torch
from test_deeplift_rules import Operation, explained, picture
from torch import nn

from saliscope.core.errors import MethodError
from saliscope.core.target import CallableTarget, LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.propagation.deeplift import shortfall
from saliscope.model.network import Network
from saliscope.testing.networks import SmallNet, image

TARGET = LogitTarget((0, 1), ("first", "second"))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda v: v.relu() if v.max() > 1 else v.sigmoid(), "sigmoid is operation"),
        (lambda v: v[v > 0].mean().reshape(1, 1), "index is operation"),
    ],
)
def test_another_way_for_the_baseline_is_refused(function, name):
    with pytest.raises(MethodError, match=f"another way for the baseline: .*{name}"):
        explained(Operation(function), picture(2))


def test_fewer_operations_for_the_baseline_are_refused():
    class Doubled(nn.Module):
        def forward(self, x):
            scores = x.flatten(1)[:, :2].sigmoid()
            return scores * 2 if x.max() > 1 else scores

    target = CallableTarget(lambda scores: scores.view(-1, 2), ("first", "second"))
    with pytest.raises(MethodError, match=r"\d operations on the image and \d on its baseline"):
        explained(Doubled(), picture(2), target=target)


def test_a_score_that_no_seen_operation_leads_to_is_refused():
    with pytest.raises(MethodError, match="no operation on the image leads to"):
        explained(Operation(lambda v: torch.from_numpy(v.numpy() * 2)), picture(2))
    with pytest.raises(MethodError, match=r"leads to; values left the sight of torch at item\(\)"):
        explained(Operation(lambda v: torch.tensor([[v.mean().item()]], dtype=torch.float64)), picture(2))
    with pytest.raises(MethodError, match="no operation on the image leads to"):
        explained(Operation(torch.ones_like), picture(2))


def test_a_number_read_out_of_the_image_is_noted_where_the_sum_misses():
    _, gap, notes = explained(Operation(lambda v: v / (1 + v.abs().max().item())), picture(2))
    assert gap > 0.01
    assert "cannot follow a number in div that is another for the baseline, what left torch at item()" in notes
    assert f"misses {gap:.2g}" in notes


def test_a_number_that_is_the_same_for_both_is_no_matter():
    _, gap, notes = explained(Operation(lambda v: v * 2 if v.max().item() > -9 else v), picture(2))
    assert gap < 1e-12
    assert not notes


def test_an_operation_whose_rise_was_only_shared_out_is_named():
    _, gap, notes = explained(Operation(lambda v: v.gather(1, v.argmax(1, True))), picture(2))
    assert gap < 1e-12
    assert "no rescale rule for gather" in notes


def test_an_infinite_rise_is_no_small_gap():
    _, gap, notes = explained(Operation(lambda v: v.masked_fill(v < 0.1, float("-inf")).exp()), picture(2))
    assert gap == float("inf")
    assert "misses inf" in notes


def test_a_network_that_draws_draws_the_same_for_both():
    net = Operation(lambda v: v * torch.rand_like(v) + torch.nn.functional.dropout(v, 0.5))
    values, _, notes = explained(net, picture(2))
    assert values.isfinite().all()
    assert not notes


def test_gap_limit_is_a_share():
    assert METHODS.make("deeplift").gap_limit == 0.1
    for wrong in (-0.1, 2.5, float("nan")):
        with pytest.raises(MethodError, match="gap_limit"):
            METHODS.make("deeplift", gap_limit=wrong)


def test_a_small_gap_is_noted_below_a_small_limit():
    method = METHODS.make("deeplift", gap_limit=1e-4)
    net = Operation(lambda v: v + 1e-3 * v.mean().item())
    with Network(net).opened() as model:
        method.attribute(model, picture(2), TARGET)
        assert "misses" in " ".join(model.notes)


def shortfalls(values, image, start):
    found = shortfall(*(torch.tensor(v, dtype=torch.float64)[None, None] for v in (values, image, start)))
    return float(found["completeness_relative_gap"])


def test_a_gap_is_a_share_of_the_larger_unless_rounding_explains_it():
    assert shortfalls([0.5, 0.25], 2.0, 1.0) == 0.25
    assert shortfalls([1.0, 1.0], 2.0, 1.0) == 0.5
    assert shortfalls([0.0, 0.0], 1.0, 1.0) == 0
    # Terms that cancel to nothing beside a difference that is nothing.
    assert shortfalls([1.0, -1.0 + 1e-15], 1e-16, 0.0) < 1e-12
    assert shortfalls([1e-15, 0.0], 7.0 + 1e-14, 7.0) < 1e-12
    # A small gap of large terms that rounding does not explain.
    assert shortfalls([1.0, -1.0 + 1e-6], 2e-6, 0.0) == pytest.approx(0.5)
    # Terms beside which the scores are nothing.
    assert shortfalls([1e13, 2 - 1e13], 5.0, 4.0) == pytest.approx(0.5)
    assert shortfalls([float("nan"), 0.0], 1.0, 0.0) == float("inf")


@pytest.mark.parametrize("labels", [1, 3])
def test_an_image_costs_two_forward_runs_and_one_backward_for_each_score(labels):
    target = LogitTarget(tuple(range(labels)), ("first", "second", "third")[:labels])
    with Network(SmallNet(2), ("first", "second", "third")).opened() as model:
        METHODS.make("deeplift").attribute(model, image(2), target)
    assert model.counts.forward_samples == 2 * 2
    assert model.counts.backward_passes == 2 * labels


def test_nothing_of_a_run_stays_in_the_network_that_keeps_what_it_sees():
    class Keeps(nn.Module):
        def forward(self, x):
            self.seen = x.relu()
            return self.seen.flatten(1)[:, :2] * 2

    net = Keeps()
    x = picture(2)
    explained(net, x)
    again = explained(net, x)[0]
    assert not hasattr(net, "seen")
    torch.testing.assert_close(again, explained(net, x)[0], rtol=0, atol=0)
