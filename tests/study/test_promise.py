"""A map whose sum misses what its method promises is refused, with the number, the limit and what to do."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

import saliscope
from saliscope.core.errors import MethodError
from saliscope.methods import METHODS
from saliscope.methods.gradient.completeness import sum_gap
from saliscope.methods.gradient.gradient import Gradient
from saliscope.study.promise import check_promise

PROMISING = ("integrated-gradients", "guided-ig", "blur-ig", "idgi", "full-grad")


def net(end=None):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), end or nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@dataclass(frozen=True)
class Missing:
    """The gradient, with a gap that was made up."""

    gaps: tuple[float, ...] = (0.0,)
    gap_limit: float = 0.1
    traits: ClassVar = Gradient.traits

    def attribute(self, model, x, target):
        return Gradient().attribute(model, x, target)

    def diagnose(self, model, x, target, attribution):
        return {"sum_relative_gap": torch.tensor(self.gaps).reshape(attribution.shape[:2]), "other": torch.ones(1, 1)}


def explained(method, **more):
    return saliscope.explain(torch.randn(1, 1, 12, 12), net(), method, 1, **more)


def test_a_gap_below_the_limit_stands_in_the_record_and_one_above_is_refused():
    assert explained(Missing((0.09,))).provenance.diagnostics["sum_relative_gap"] == pytest.approx(0.09)
    with pytest.raises(MethodError, match=r"misses what is promised by 20\.0%.*gap_limit=0\.1.*`gap_limit`"):
        explained(Missing((0.2,)))
    assert explained(Missing((0.2,), gap_limit=0.3)).provenance.diagnostics["sum_relative_gap"] == pytest.approx(0.2)


def test_no_number_is_above_every_limit():
    with pytest.raises(MethodError, match="no number"):
        explained(Missing((float("nan"),), gap_limit=float("inf")))
    assert explained(Missing((5.0,), gap_limit=float("inf"))).provenance.diagnostics["sum_relative_gap"] == 5


def test_any_image_and_any_score_counts_and_methods_without_a_limit_promise_nothing():
    gaps = torch.tensor([[0.0, 0.01], [0.0, 0.2]])
    with pytest.raises(MethodError, match="image 1, score 1"):
        check_promise("one", Missing(), {"sum_relative_gap": gaps})
    with pytest.raises(MethodError, match=r"10\.0%\. It draws at random\. Use another method, such as gradient or occ"):
        check_promise("one", Missing(), {"sum_relative_gap": gaps}, ["It draws at random."])
    check_promise("one", Missing(), {"sum_gap": gaps})
    check_promise("one", Gradient(), {"sum_relative_gap": gaps})


@pytest.mark.parametrize("name", PROMISING)
def test_methods_that_promise_a_sum_have_a_limit_and_hold_it(name):
    method = METHODS.make(name)
    assert method.gap_limit == 0.1
    assert explained(method).provenance.diagnostics["completeness_relative_gap"] <= 0.1
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(MethodError, match="gap_limit"):
            replace(method, gap_limit=bad)


@pytest.mark.parametrize(
    ("name", "field"), [("blur-ig", "`max_steps`"), ("idgi", "`steps`"), ("integrated-gradients", "`steps`")]
)
def test_what_to_do_names_a_field_that_the_method_has(name, field):
    gaps = {"sum_relative_gap": torch.ones(1, 1)}
    with pytest.raises(MethodError, match=f"or a larger {field}; a larger `gap_limit`"):
        check_promise(name, METHODS.make(name), gaps)
    with pytest.raises(MethodError, match="such as gradient or occlusion; a larger `gap_limit`"):
        check_promise("full-grad", METHODS.make("full-grad"), gaps)


def test_a_refused_map_of_a_network_that_draws_at_random_names_the_cause():
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            return self.inner(x) * torch.randn(1)

    with pytest.raises(MethodError, match=r"output twice.*Use another"):
        saliscope.explain(torch.randn(1, 1, 12, 12), Draws(), "integrated-gradients", 1)


def test_full_grad_of_a_norm_that_depends_on_the_image_is_refused():
    with pytest.raises(MethodError, match="gap_limit"):
        saliscope.explain(torch.randn(1, 1, 12, 12), net(nn.Sequential(nn.GroupNorm(2, 4), nn.SiLU())), "full-grad", 1)


def test_a_score_that_does_not_depend_on_the_image_is_no_gap():
    """Instance norm and then the mean: the scores are the last bias, and all differences are rounding."""
    same = net(nn.InstanceNorm2d(4))
    for name in ("integrated-gradients", "guided-ig", "blur-ig", "idgi"):
        found = saliscope.explain(torch.randn(1, 1, 12, 12), same, name, 1)
        assert found.provenance.diagnostics["completeness_relative_gap"] < 0.1


def test_the_share_is_one_of_the_sum_and_of_a_tenth_of_the_norm_where_values_cancel():
    found = torch.tensor([3.0, -3.0, 0.5]).reshape(1, 1, 3)
    one = sum_gap(found, torch.tensor([[0.4]]), torch.zeros(1, 1))
    assert float(one["completeness_relative_gap"]) == pytest.approx(0.1 / 0.5)
    found = torch.tensor([30.0, -30.0, 0.1]).reshape(1, 1, 3)
    one = sum_gap(found, torch.zeros(1, 1), torch.zeros(1, 1))
    assert float(one["completeness_relative_gap"]) == pytest.approx(0.1 / (0.1 * 1800.01**0.5))
    assert float(sum_gap(0 * found, torch.zeros(1, 1), torch.zeros(1, 1))["completeness_relative_gap"]) == 0
    # Rounding of the numbers of which the right one is the difference.
    tiny = sum_gap(0 * found, torch.tensor([[1e-6]]), torch.ones(1, 1))
    assert float(tiny["completeness_relative_gap"]) == pytest.approx(2e-4)
    assert sum_gap(found * float("nan"), torch.zeros(1, 1), torch.ones(1, 1))["completeness_relative_gap"].isnan().all()
