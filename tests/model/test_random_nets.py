"""What the generator of random networks says of them is true: checked by plain torch, without saliscope."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from model.module_state import Snapshot
from model.random_kinds import KINDS
from model.random_nets import LAYOUTS, random_net
from model.random_outputs import logits_of

SEEDS = range(50)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_facts_of_a_network_are_true(seed: int) -> None:
    (net, x, facts), (again, y, _) = random_net(seed), random_net(seed)
    state = again.state_dict()
    assert torch.equal(x, y)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items()), "a seed gives two networks"
    kept = []
    watched = random_net(seed)[0]
    dict(watched.named_modules())[facts.last].register_forward_hook(lambda m, i, o: kept.append(o.detach().clone()))
    before = Snapshot(net)
    with torch.no_grad():
        watched(x)
        single = logits_of(net(x))
        assert tuple(facts.arrange(kept[0]).shape[2:]) == facts.grid
        assert facts.axes == len(facts.grid) == len(facts.stride) == len(facts.offset) == x.ndim - 2
        assert bool(before.differences(Snapshot(net))) == facts.stateful or "weight norm of the old kind" in facts.kinds
        pair = logits_of(again(torch.cat([x, 3 * x.flip(-1) + 1])))
        apart = float((pair[:1] - single).abs().max() / single.abs().max())
        # A largest value divides the same where the first image has it.
        assert apart <= 1e-9 or facts.mixing, f"{apart} off in a batch"
        if facts.straight and facts.zero_biases and not facts.mixing:
            twice = logits_of(random_net(seed)[0](2 * x))
            torch.testing.assert_close(twice, 2 * single, rtol=1e-8, atol=1e-10)


def test_enough_networks_are_of_straight_pieces_without_biases() -> None:
    """Else the check of sums of relevance would look at few, and the test of straightness at none."""
    facts = [random_net(seed)[2] for seed in SEEDS]
    assert sum(f.straight and f.zero_biases and not f.mixing for f in facts) >= 4
    assert sum(f.zero_biases for f in facts) >= 20
    assert sum(f.mixing for f in facts) >= 6
    assert sum(f.stateful for f in facts) >= 8


@pytest.mark.long
def test_every_kind_and_layout_is_drawn_often() -> None:
    facts = [random_net(seed)[2] for seed in range(400)]
    kinds = Counter(k for f in facts for k in f.kinds)
    assert min(kinds[name] for name in KINDS) >= 2, sorted(KINDS, key=lambda n: kinds[n])[:5]
    assert min(Counter(f.layout for f in facts)[layout] for layout in LAYOUTS) >= 20
    assert len(KINDS) >= 60
    assert {f.axes for f in facts} == {2, 3}


def test_the_callers_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    random_net(3)
    assert torch.equal(torch.get_rng_state(), before)
