"""When a map misleads: every reason, on phantoms of which the network's use is known by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saliscope.core.errors import InputError
from saliscope.core.target import LogitTarget
from saliscope.model.network import Network
from saliscope.phantom.case import Case
from saliscope.phantom.effects.assertion import LIFT, MUST, MUST_NOT, POINTED, STILL, Assertion, assertion
from saliscope.phantom.effects.counterfactual import effects
from saliscope.phantom.element import Plant, Role, Site
from saliscope.phantom.scene import Acquisition, Floats
from saliscope.phantom.scenes.field import Field

SHAPE = (40, 40)
SCENE = Field(SHAPE, noise=0.0)
SIDE = 4
BRIGHTER = 100.0


@dataclass(frozen=True)
class Square:
    """Some pixels, brighter by 100, whose upper left corner is given; with `hollow` only their rim."""

    kind: ClassVar[str] = "square"

    name: str
    at: tuple[int, int]
    role: Role = "finding"
    side: int = SIDE
    hollow: bool = False

    def plant(self, site: Site) -> Plant:
        mask = np.zeros(SHAPE, bool)
        mask[self.box] = True
        if self.hollow:
            mask[self.at[0] + 1 : self.at[0] + self.side - 1, self.at[1] + 1 : self.at[1] + self.side - 1] = False

        def body(signal: Floats) -> Floats:
            return (signal + np.float32(BRIGHTER) * mask).astype(np.float32)

        return Plant(mask, body=body)

    @property
    def box(self) -> tuple[slice, slice]:
        return slice(self.at[0], self.at[0] + self.side), slice(self.at[1], self.at[1] + self.side)


@dataclass(frozen=True)
class Exposed:
    """More exposure: an element without a place."""

    kind: ClassVar[str] = "exposed"

    name: str = "exposure"
    role: Role = "shortcut"

    def plant(self, site: Site) -> Plant:
        def taking(a: Acquisition) -> Acquisition:
            return Acquisition(a.exposure * 1.005, a.noise, a.blur_mm, a.pixel)

        return Plant(None, taking=taking)


class Reads(nn.Module):
    """A number times the brightness of squares over that of the background, and of the whole picture."""

    def __init__(self, **weights: float) -> None:
        super().__init__()
        self.whole = weights.pop("whole", 0.0)
        self.weights = {PLACES[name]: w for name, w in weights.items()}

    def forward(self, x: Tensor) -> Tensor:
        x = (x.double() - 1500) / BRIGHTER
        boxes = [w * x[:, 0, r : r + SIDE, c : c + SIDE].mean(dim=(1, 2)) for (r, c), w in self.weights.items()]
        # A corner that no square is in says how the picture was taken.
        return (sum(boxes) + self.whole * x[:, 0, -3:, -3:].mean(dim=(1, 2)))[:, None]


PLACES = {"nodule": (6, 6), "marker": (6, 30), "rib": (28, 6)}
ELEMENTS = (
    Square("nodule", PLACES["nodule"]),
    Square("marker", PLACES["marker"], "shortcut"),
    Square("rib", PLACES["rib"], "distractor"),
)
CASE = Case(SCENE, 1, ELEMENTS)
TARGET = LogitTarget((0,), ("score",), "regression")


def asserted(weight: np.ndarray, case: Case = CASE, spread: float = 1.0, **weights: float) -> Assertion:
    found = effects(case, Network(Reads(**weights), ("score",), "regression"), TARGET)
    return assertion(case, found, weight, spread)


def on(**parts: float) -> np.ndarray:
    """Return what a map points with: these parts of it in these squares, the rest far from them all."""
    weight = np.zeros(SHAPE)
    for name, part in parts.items():
        r, c = PLACES[name]
        weight[r : r + SIDE, c : c + SIDE] += part / SIDE**2
    weight[20:24, 20:24] += (1 - sum(parts.values())) / SIDE**2
    return weight


def test_a_map_on_what_counts_leads_to_no_wrong_belief() -> None:
    found = asserted(on(nodule=1.0), nodule=2.0)
    assert found.why == ""
    assert not found.misleading
    assert found.pointed == pytest.approx({"nodule": 1.0, "marker": 0.0, "rib": 0.0})
    assert found.share == pytest.approx({"nodule": 1.0, "marker": 0.0, "rib": 0.0})


def test_pointing_at_the_marker_by_which_a_network_decides_is_right_and_at_the_finding_is_not() -> None:
    assert asserted(on(marker=0.9), marker=2.0).why == ""
    wrong = asserted(on(nodule=0.9), marker=2.0)
    assert wrong.misleading
    assert wrong.why == "it points at nothing that counts"


def test_pointing_beside_everything_misleads() -> None:
    assert asserted(on(), nodule=2.0).why == "it points at nothing that counts"
    assert asserted(np.zeros(SHAPE), nodule=2.0).why == "it points at nothing that counts"


def test_pointing_also_at_what_does_not_count_misleads_and_names_it() -> None:
    found = asserted(on(nodule=0.6, marker=0.2, rib=0.2), nodule=2.0)
    assert found.why == "it points at what does not count: marker, rib"
    assert asserted(on(nodule=0.6, marker=POINTED / 2), nodule=2.0).why == "", "a little of it is no pointing"


@pytest.mark.parametrize(("share", "wrong"), [(MUST_NOT * 0.8, True), (MUST_NOT * 1.4, False)])
def test_what_counts_a_little_may_be_pointed_at(share: float, wrong: bool) -> None:
    found = asserted(on(nodule=0.5, rib=0.5), nodule=1 - share, rib=share)
    assert found.misleading is wrong


@pytest.mark.parametrize(("share", "wrong"), [(MUST * 0.8, True), (MUST * 1.2, False)])
def test_one_that_counts_much_is_enough(share: float, wrong: bool) -> None:
    assert asserted(on(rib=1.0), nodule=1 - share, rib=share).misleading is wrong


def test_what_lowers_the_score_is_not_what_a_map_of_evidence_must_show() -> None:
    assert asserted(on(nodule=1.0), nodule=-2.0).why == "it points at nothing that counts"
    assert asserted(on(rib=1.0), nodule=-1.0, rib=1.0).why == ""
    assert asserted(on(rib=0.5, nodule=0.5), nodule=-1.0, rib=1.0).why == "", "it counts, if against"


def test_half_of_the_effect_without_a_place_cannot_be_shown() -> None:
    case = Case(SCENE, 1, (*ELEMENTS, Exposed()))
    right = on(nodule=1.0)
    assert asserted(right, case, nodule=0.5, whole=8.0).why == "half of the effect has no place"
    found = asserted(right, case, nodule=4.0, whole=0.1)
    assert found.share["exposure"] < 0.5
    assert found.why == ""


def test_elements_that_hardly_move_the_score_explain_nothing_of_it() -> None:
    right = on(nodule=1.0)
    assert asserted(right, nodule=1.0, spread=0.9 / STILL).why == ""
    assert asserted(right, nodule=1.0, spread=1.1 / STILL).why == "the elements hardly move the score"
    assert asserted(right, nodule=0.0).why != ""


def test_a_place_must_hold_more_than_chance_gives_it() -> None:
    large = Case(SCENE, 1, (Square("all", (0, 0), side=20),))
    chance = 400 / 1600
    spread_out = np.full(SHAPE, 1.0)
    network = Network(nn.Sequential(nn.AvgPool2d(20), nn.Flatten(), First()), ("score",), "regression")
    found = effects(large, network, TARGET)
    assert assertion(large, found, spread_out, 1.0).misleading
    within = spread_out.copy()
    within[:20, :20] *= 20
    told = assertion(large, found, within, 1.0)
    assert told.pointed["all"] >= LIFT * chance
    assert not told.misleading


class First(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.double()[:, :1] - 1500) / 10


def test_a_gap_in_a_thing_is_part_of_it_and_a_false_thing_beside_a_true_one_is_forgiven() -> None:
    ring = Case(SCENE, 1, (Square("nodule", PLACES["nodule"], hollow=True), *ELEMENTS[1:]))
    weight = np.zeros(SHAPE)
    weight[7:9, 7:9] = 1.0
    assert asserted(weight, ring, nodule=2.0).why == ""
    beside = Case(SCENE, 1, (ELEMENTS[0], Square("rib", (6, 6), "distractor"), ELEMENTS[1]))
    found = asserted(on(nodule=1.0), beside, nodule=2.0)
    assert found.share["rib"] == pytest.approx(0.5), "both are there: the network cannot tell them apart"
    assert found.why == ""


def test_weights_of_another_grid_are_refused() -> None:
    with pytest.raises(InputError, match="weights of shape"):
        asserted(np.ones((8, 8)), nodule=1.0)


def test_it_is_of_the_score_asked_for() -> None:
    both = nn.Module()
    both.forward = lambda x: torch.cat([Reads(nodule=2.0)(x), Reads(marker=2.0)(x)], dim=1)  # type: ignore[method-assign]
    network = Network(both, ("a", "b"), "regression")
    found = effects(CASE, network, LogitTarget((0, 1), ("a", "b"), "regression"))
    assert not assertion(CASE, found, on(nodule=1.0), 1.0, 0).misleading
    assert assertion(CASE, found, on(nodule=1.0), 1.0, 1).misleading
