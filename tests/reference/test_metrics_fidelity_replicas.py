"""Fidelity metrics against their replicas, on a network that is not linear, in 2D and 3D, for every label.

Both run in float64; they differ by the order of additions only: 1e-9 of a value's size.
"""

import numpy as np
import pytest
import replica_metrics_fidelity as replica
import torch

from saliscope.core.target import LogitTarget
from saliscope.metrics import METRICS
from saliscope.model.network import Network
from saliscope.perturb.baseline import absent
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.plan import PerturbationPlan, run
from saliscope.perturb.segments import segmented
from saliscope.testing.networks import SmallNet

SHAPE = {2: (2, 8, 10), 3: (2, 4, 6, 4)}
LABELS = ("first", "second", "third")
K = (0, 1, 2)
DRAWN = {"segments": 10, "samples": 12, "seed": 6}


def case(axes):
    """Return a network, an image (1, C, *S) and a map (*S) of which half is zero."""
    generator = torch.Generator().manual_seed({2: 5, 3: 1}[axes])
    x = 2 * torch.randn((1, *SHAPE[axes]), generator=generator, dtype=torch.float64)
    a = torch.randn(SHAPE[axes][1:], generator=generator, dtype=torch.float64)
    return SmallNet(axes, "residual").eval(), x, a.where(a.abs() > 0.6, 0.0)


def ours(axes, name, baseline="blur", **fields):
    """Return the scores for all labels."""
    net, x, a = case(axes)
    plan = PerturbationPlan(x)
    metric = METRICS.make(name, fill=BaselineFill(baseline), **fields)
    waiting = [metric.ask(plan, a, k) for k in K]
    with Network(net, LABELS).opened() as model:
        run([plan], model, [LogitTarget(K, LABELS)], memory_mb=1)
    return [score() for score in waiting]


def given(axes, k, baseline="blur"):
    """Return what replicas are given: run, image, without, map."""
    net, x, a = case(axes)

    def scored(image):
        with torch.no_grad():
            return float(net(torch.from_numpy(image)[None])[0, k])

    return scored, x[0].numpy(), absent(x, baseline)[0].numpy(), a.numpy()


def places(axes, partition, share):
    """Return the places of our subsets, from the segments of the image."""
    _, x, a = case(axes)
    if partition == "elements":
        labels = np.arange(a.numel()).reshape(a.shape)
    else:
        labels = segmented(x[0], DRAWN["segments"], partition).numpy()
    return replica.subset_places(labels, share, DRAWN["samples"], DRAWN["seed"])


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", ["deletion", "insertion"])
def test_deletion_and_insertion(name, axes):
    defined = 0
    for baseline in ("blur", "1.5"):
        found = ours(axes, name, baseline, levels=7, random_rankings=2, seed=4)
        for k, score in zip(K, found, strict=True):
            run_, image, without, a = given(axes, k, baseline)
            assert score.defined == (run_(image) - run_(without) > 1e-5)
            if not score.defined:
                continue
            value, raw, curve = replica.order_metric(run_, image, without, a, 7, 2, 4, name == "insertion")
            assert score.number == pytest.approx(value, rel=1e-9, abs=1e-12)
            assert score.parts["raw auc"] == pytest.approx(raw, rel=1e-9)
            np.testing.assert_allclose(np.array(score.curve), np.array(curve), rtol=1e-9, atol=1e-12)
            defined += 1
    assert defined >= 2


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("partition", ["slic", "grid", "elements"])
def test_correlations_over_subsets(partition, axes):
    pearson = ours(axes, "faithfulness-correlation", share=0.3, partition=partition, **DRAWN)
    spearman = ours(axes, "mu-fidelity", share=0.3, partition=partition, **DRAWN)
    for k in K:
        sums, drops = replica.sums_and_drops(*given(axes, k), places(axes, partition, 0.3))
        assert pearson[k].number == pytest.approx(replica.correlation(sums, drops), rel=1e-9)
        ranked = replica.correlation(replica.ranks(sums), replica.ranks(drops))
        assert spearman[k].number == pytest.approx(ranked, rel=1e-9)
        assert pearson[k].interval.low < pearson[k].number < pearson[k].interval.high


@pytest.mark.parametrize("axes", [2, 3])
def test_sensitivity_n(axes):
    shares = (0.2, 0.5)
    found = ours(axes, "sensitivity-n", shares=shares, partition="grid", **DRAWN)
    for k in K:
        right = [replica.correlation(*replica.sums_and_drops(*given(axes, k), places(axes, "grid", s))) for s in shares]
        assert [y for _, y in found[k].curve] == pytest.approx(right, rel=1e-9)
        assert found[k].number == pytest.approx(sum(right) / 2, rel=1e-9)
        assert found[k].n == 2


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("units", ["contribution", "gradient"])
def test_infidelity(units, axes):
    found = ours(axes, "infidelity", units=units, share=0.3, partition="slic", **DRAWN)
    for k in K:
        some = places(axes, "slic", 0.3)
        value, beta = replica.infidelity(*given(axes, k), some, units == "gradient")
        assert found[k].number == pytest.approx(value, rel=1e-9)
        assert found[k].parts["beta"] == pytest.approx(beta, rel=1e-9)
        *rest, a = given(axes, k)
        constant, _ = replica.infidelity(*rest, np.ones_like(a), some, units == "gradient")
        assert found[k].null == pytest.approx(constant, rel=1e-9)


@pytest.mark.parametrize("axes", [2, 3])
def test_completeness_and_average_drop(axes):
    complete, drop, rise = (ours(axes, name) for name in ("completeness", "average-drop", "average-increase"))
    defined = 0
    for k in K:
        assert complete[k].number == pytest.approx(replica.completeness(*given(axes, k)), rel=1e-9)
        lost, rose = replica.average_drop(*given(axes, k))
        assert rise[k].number == rose
        scored, image, *_ = given(axes, k)
        assert drop[k].defined == (scored(image) > 1e-5)
        if drop[k].defined:
            assert drop[k].number == pytest.approx(lost, rel=1e-9)
            defined += 1
    assert defined
