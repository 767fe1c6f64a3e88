"""What a method measures on its way is parted from its maps by name, recorded, and held to the method's promise."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import saliscope
from saliscope.core.errors import MethodError
from saliscope.methods import METHODS
from saliscope.methods.gradient.gradient import Gradient
from saliscope.testing.networks import SmallNet, image

LABELS = ("a", "b", "c")


@dataclass(frozen=True)
class Measuring:
    """The gradient, its square beside it, and two measurements of image n and score k: n + 10 k, and a gap."""

    gap: float = 0.0
    gap_limit: float = 0.1
    without: str = ""
    more: str = ""
    traits: ClassVar = Gradient.traits
    beside: ClassVar[tuple[str, ...]] = ("square",)
    measures: ClassVar[tuple[str, ...]] = ("place", "sum_relative_gap")

    def attribute(self, model, x, target):
        return Gradient().attribute(model, x, target)

    def attribute_with(self, model, x, target):
        own = self.attribute(model, x, target)
        place = torch.arange(len(x))[:, None] + 10 * torch.arange(own.shape[1])
        # A measurement is no map: it may be no finite number.
        place = torch.where(place == 20, torch.inf, place)
        gap = torch.full(own.shape[:2], self.gap)
        every = {"map": own, "square": own**2, "place": place, "sum_relative_gap": gap, self.more: own}
        return {name: v for name, v in every.items() if name and name != self.without}

    def diagnose(self, model, x, target, attribution):
        return {"largest": attribution.flatten(2).amax(2)}


class NamesOnlyMaps(Gradient):
    beside: ClassVar[tuple[str, ...]] = ("square",)

    def attribute_with(self, model, x, target):
        own = self.attribute(model, x, target)
        return {"map": own, "square": own**2}


def explained(method, axes=2):
    return saliscope.explain(image(axes).float(), SmallNet(axes).float(), method, "all", labels=LABELS)


@pytest.mark.parametrize("axes", [2, 3])
def test_maps_stand_beside_the_map_and_measurements_in_the_record(axes):
    every = explained(Measuring(), axes)
    assert len(every) == 6
    for i, one in enumerate(every):
        n, k = divmod(i, 3)
        assert set(one.beside) == {"square"}
        np.testing.assert_allclose(one.beside["square"], one.values**2, rtol=1e-6)
        told = one.provenance.diagnostics
        assert set(told) == {"place", "sum_relative_gap", "largest"}
        assert told["place"] == (float("inf") if n + 10 * k == 20 else n + 10 * k)
        assert told["largest"] == pytest.approx(one.values.max(), rel=1e-6)


def test_a_measured_gap_is_held_to_the_promise():
    assert explained(Measuring(gap=0.09))[0].provenance.diagnostics["sum_relative_gap"] == pytest.approx(0.09)
    with pytest.raises(MethodError, match=r"misses what is promised by 20\.0% \(sum_relative_gap"):
        explained(Measuring(gap=0.2))


@pytest.mark.parametrize(
    ("method", "given"),
    [
        (Measuring(without="square"), "map, place, sum_relative_gap"),
        (Measuring(without="place"), "map, square, sum_relative_gap"),
        (Measuring(more="other"), "map, other, place, square, sum_relative_gap"),
        (NamesOnlyMaps(), "map"),
    ],
    ids=["no map", "no measurement", "a name too many", "no measures"],
)
def test_what_is_given_and_what_is_named_must_be_the_same(method, given):
    with pytest.raises(MethodError, match=f"gave {given};.*names: map, square.*`beside` and `measures`"):
        explained(method)


def test_the_record_holds_what_an_extremal_mask_keeps_and_shows():
    method = METHODS.make("extremal-perturbation", steps=3, cells=3, areas=(0.2,))
    one = saliscope.explain(
        image(2, batch=1).float(),
        SmallNet(2).float(),
        method,
        "a",
        labels=LABELS,
    )
    assert set(one.provenance.diagnostics) == {"area_asked", "mask_mean", "score_kept", "score_kept_elsewhere"}
    assert not one.beside


def test_the_record_of_kernel_shap_holds_its_draws_and_its_gap():
    method = METHODS.make("kernel-shap", samples=60, segments=12)
    one = saliscope.explain(image(2, batch=1).float(), SmallNet(2).float(), method, "a", labels=LABELS)
    told = one.provenance.diagnostics
    assert set(told) == {"completeness_gap", "samples_drawn", "sampling_relative_error"}
    assert told["completeness_gap"] == pytest.approx(0, abs=1e-4)
