"""How often a network is run for many metrics of many maps: the counts behind benchmarks/metrics.py."""

import torch
from torch import nn

from saliscope.core.target import LogitTarget
from saliscope.metrics import METRICS
from saliscope.model.network import Network
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.plan import PerturbationPlan, run

SHAPE, LEVELS, SAMPLES = (24, 20), 16, 100
SUBSETS = {"fill": BaselineFill("zero"), "share": 0.2, "samples": SAMPLES, "partition": "elements"}
BATTERY = (
    METRICS.make("deletion", fill=BaselineFill("zero"), levels=LEVELS, random_rankings=1),
    METRICS.make("road"),
    METRICS.make("faithfulness-correlation", **SUBSETS),
    METRICS.make("infidelity", **SUBSETS),
)
#: What Quantus runs for each map: 16 steps, 9 shares, an image and 100 subsets, an image and about 100 patches.
QUANTUS = 16 + 9 + 101 + 101


def forward_samples(maps):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.LazyLinear(2))
    x = torch.rand((1, 1, *SHAPE), generator=torch.Generator().manual_seed(0))
    net(x)
    plan = PerturbationPlan(x)
    asked = [metric.ask(plan, one) for one in maps for metric in BATTERY]
    with Network(net, ("a", "b")).opened() as model:
        before = model.counts.forward_samples
        run([plan], model, [LogitTarget((0,), ("a",))])
        assert len({give().metric for give in asked}) == len(BATTERY)
        return model.counts.forward_samples - before


def random_maps(count):
    return list(torch.rand((count, *SHAPE), generator=torch.Generator().manual_seed(1)))


def test_one_map_shares_the_image_the_ends_and_the_subsets():
    image, curve, random, road = 1, LEVELS, LEVELS - 1, 18
    assert forward_samples(random_maps(1)) == image + curve + random + road + SAMPLES


def test_another_map_adds_its_own_removals_only():
    assert forward_samples(random_maps(5)) == 1 + SAMPLES + LEVELS - 1 + 5 * (LEVELS - 1 + 18) + 1
    assert 4 * forward_samples(random_maps(5)) < 5 * QUANTUS
