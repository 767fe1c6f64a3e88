"""ROAD: its sign, its null, what it cannot say, and how often it asks the network."""

import numpy as np
import pytest
import torch
from torch import nn

from saliscope.core.errors import MetricError
from saliscope.core.metric import Planned
from saliscope.core.score import Undefined
from saliscope.core.target import LogitTarget
from saliscope.metrics import METRICS
from saliscope.metrics.fidelity.road import ROAD
from saliscope.model.network import Network
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.plan import PerturbationPlan, run

LABELS = ("first", "second")
SHAPE = (16, 16)


class Weighed(nn.Module):
    """Two logits, each a weighted sum of every element."""

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.Parameter(torch.randn((2, 3, *shape), generator=generator))

    def forward(self, x):
        """Return the logits (N, 2)."""
        return (x[:, None] * self.weights).flatten(2).sum(2)


def picture(shape=SHAPE):
    return torch.rand((1, 3, *shape), generator=torch.Generator().manual_seed(0))


def scores(maps, metric=None, shape=SHAPE, k=0, memory_mb=1024.0):
    """Return the scores of maps (*S), the copies that were planned and the forward samples that were run."""
    metric = metric or ROAD()
    plan = PerturbationPlan(picture(shape))
    asked = [metric.ask(plan, one, k) for one in maps]
    with Network(Weighed(shape), LABELS).opened() as model:
        before = model.counts.forward_samples
        run([plan], model, [LogitTarget((0, 1), LABELS)], memory_mb)
        return [give() for give in asked], plan.planned, model.counts.forward_samples - before


def random_map(seed, shape=SHAPE):
    return torch.rand(shape, generator=torch.Generator().manual_seed(100 + seed))


def contribution(k=0, shape=SHAPE):
    x = picture(shape)
    return ((x - x.mean()) * Weighed(shape).weights[k].detach()).sum(1)[0]


def test_it_is_in_the_catalogue_and_planned():
    assert isinstance(METRICS.make("road"), Planned)
    assert METRICS.make("road", shares=(0.5,)) == ROAD(shares=(0.5,))


def test_a_map_of_what_matters_is_above_its_null_and_its_opposite_below():
    (good, bad, other), _, _ = scores([contribution(), -contribution(), contribution(1)])
    assert good.null == 0
    assert good.number > 20
    assert bad.number == pytest.approx(-good.number, abs=1e-9)
    assert good.parts["morf"] < good.parts["unchanged"] < good.parts["lerf"]
    assert abs(other.number) < good.number / 2


def test_it_scores_the_target_it_is_asked_for():
    assert scores([contribution(1)], k=1)[0][0].number > 20 > abs(scores([contribution(1)], k=0)[0][0].number)


def test_random_maps_average_to_the_null():
    found = np.array([s.number for s in scores([random_map(i) for i in range(60)])[0]])
    assert found.std() > 0.5
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))
    # The two ends of one random ranking are the ends of its reverse: on average over both there is nothing left.
    (there, back), _, _ = scores([random_map(0), -random_map(0)])
    assert there.number + back.number == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_map_without_an_order_has_no_score_and_costs_nothing(value):
    (score,), planned, ran = scores([torch.full(SHAPE, value)])
    assert isinstance(score.value, Undefined)
    assert (planned, ran) == (0, 0)


def test_it_costs_nineteen_forward_samples_and_equal_copies_none():
    a = random_map(3)
    assert scores([a])[1:] == (19, 19)
    # The same order, another scale; and a ranking's reverse has the same copies, the other way round.
    assert scores([a, 5 * a + 1, -a])[1:] == (19, 19)


@pytest.mark.parametrize("fill", [RoadFill(), RoadFill(exact=True)])
def test_no_score_depends_on_the_batch(fill):
    maps = [random_map(i) for i in range(3)]
    assert scores(maps, ROAD(fill=fill))[0] == scores(maps, ROAD(fill=fill), memory_mb=1e-6)[0]


def test_ties_are_drawn_from_the_seed_and_said():
    sparse = torch.where(contribution() > 0.5, contribution(), 0)
    first, again, other = (scores([sparse], ROAD(seed=s))[0][0] for s in (0, 0, 1))
    assert first == again
    assert first.number != other.number
    share = float((sparse == 0).float().mean())
    assert f"{share:.0%} of the elements tied, their order drawn from seed 0" in first.how
    assert "no ties" in scores([random_map(0)])[0][0].how


def test_which_imputation_it_was_is_said():
    assert any("exact sparse solve" in h for h in scores([random_map(0)], ROAD(fill=RoadFill(exact=True)))[0][0].how)
    assert any("fast pyramid imputation" in h for h in scores([random_map(0)])[0][0].how)


def test_both_imputations_order_maps_alike():
    maps = [contribution(), random_map(0), -contribution()]
    for fill in (RoadFill(), RoadFill(exact=True)):
        found = [s.number for s in scores(maps, ROAD(fill=fill))[0]]
        assert found == sorted(found, reverse=True)


def test_volumes_are_scored_as_pictures_are():
    shape = (6, 7, 8)
    (good, bad), _, _ = scores([contribution(0, shape), -contribution(0, shape)], shape=shape)
    assert good.number > 0 > bad.number


def test_the_curve_is_the_half_difference_at_each_share():
    (score,), _, _ = scores([contribution()], ROAD(shares=(0.25, 0.5)))
    assert [share for share, _ in score.curve] == [0.25, 0.5]
    assert score.number == pytest.approx(sum(y for _, y in score.curve) / 2)
    assert score.n == 2


def test_a_map_on_another_grid_is_refused():
    with pytest.raises(MetricError, match="map of shape"):
        scores([torch.rand(7, 7)])


@pytest.mark.parametrize("shares", [(), (0.0,), (0.5, 1.0), (0.5, 0.5), (float("nan"),)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(MetricError, match="shares"):
        ROAD(shares=shares)
