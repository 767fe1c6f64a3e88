"""The causal effect of every element on a network: against explicit orders, and where it is known by hand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saliscope.core.errors import InputError, ModelError
from saliscope.core.target import CallableTarget, LogitTarget, PerImage
from saliscope.model.intensity import Normalise
from saliscope.model.network import Network
from saliscope.model.view import Viewing
from saliscope.phantom.case import Case
from saliscope.phantom.effects.counterfactual import cohort_effects, effects
from saliscope.phantom.effects.effect import Cost, Effects
from saliscope.phantom.element import Plant, Role, Site
from saliscope.phantom.findings.nodule import Nodule
from saliscope.phantom.scene import Acquisition, Floats
from saliscope.phantom.scenes.field import Field
from saliscope.testing.networks import SmallNet

torch.set_num_threads(1)
FLAT = Field((16, 16), noise=0.0)
ABOVE = 100.0


@dataclass(frozen=True)
class Square:
    """Four by four pixels, brighter by 100; the row of squares and the column say where."""

    kind: ClassVar[str] = "square"

    name: str
    at: int
    role: Role = "finding"

    def plant(self, site: Site) -> Plant:
        mask = np.zeros(site.anatomy.geometry.shape, bool)
        mask[self.rows, self.columns] = True

        def body(signal: Floats) -> Floats:
            return (signal + np.float32(ABOVE) * mask).astype(np.float32)

        return Plant(mask, body=body)

    @property
    def rows(self) -> slice:
        return slice(4 * (self.at // 4), 4 * (self.at // 4) + 4)

    @property
    def columns(self) -> slice:
        return slice(4 * (self.at % 4), 4 * (self.at % 4) + 4)


@dataclass(frozen=True)
class Brighter:
    """More exposure: an element that lies nowhere."""

    kind: ClassVar[str] = "brighter"

    name: str = "exposure"
    role: Role = "shortcut"
    factor: float = 1.1

    def plant(self, site: Site) -> Plant:
        def taking(a: Acquisition) -> Acquisition:
            return Acquisition(a.exposure * self.factor, a.noise, a.blur_mm, a.pixel)

        return Plant(None, taking=taking)


#: Of every run how many images, kept outside of the network, which is put back.
SAMPLES: list[int] = []


class Means(nn.Module):
    """Some function of how far the sixteen squares lie above the background (N, 16), as logits (N, K)."""

    def __init__(self, of: object) -> None:
        super().__init__()
        self.of = of
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        SAMPLES.append(len(x))
        return self.of(nn.functional.avg_pool2d(x - 1500, 4).flatten(1) / ABOVE * self.weight)  # type: ignore[operator]


def squares(count: int, roles: tuple[Role, ...] = ("finding",), scene: Field = FLAT) -> Case:
    return Case(scene, 3, tuple(Square(f"s{i}", i, roles[i % len(roles)]) for i in range(count)))


def two(scores: int = 2) -> LogitTarget:
    return LogitTarget(tuple(range(scores)), tuple(f"score {i}" for i in range(scores)))


def test_the_values_are_those_of_all_orders_one_by_one() -> None:
    case = Case(Field((32, 32)), 5, (*(Nodule(f"n{i}", diameter_mm=(5, 9)) for i in range(3)), Brighter()))
    network = Network(SmallNet(2, channels=1, classes=2), viewing=Viewing((Normalise((1500.0,), (300.0,)),)))
    found = effects(case, network, two(), batch=5)
    names = [e.name for e in case.elements]
    scores = {}

    def score(on: frozenset[str]) -> np.ndarray:
        if on not in scores:
            with network.opened() as model:
                x = network.viewing(case.render(on)).tensor.double()
                scores[on] = model(x)[0].numpy()
        return scores[on]

    every = frozenset(names)
    orders = list(permutations(names))
    for i, name in enumerate(names):
        gains = [score(frozenset(o[: o.index(name) + 1])) - score(frozenset(o[: o.index(name)])) for o in orders]
        assert np.allclose(found.shapley[i], np.mean(gains, axis=0), atol=1e-12)
        assert np.allclose(found.removal[i], score(every) - score(every - {name}), atol=1e-12)
        assert np.allclose(found.alone[i], score(frozenset({name})) - score(frozenset()), atol=1e-12)
    assert found.elements == tuple(names)
    assert np.abs(found.interaction).max() > 1e-6, "a network that adds up shows nothing"
    assert np.allclose(found.shapley.sum(axis=0), found.total, atol=1e-12)
    assert found.cost == Cost(16, 16)
    assert len(scores) == 16
    assert found.error is None


def test_of_a_linear_network_each_element_has_its_own_product() -> None:
    weights = np.random.default_rng(0).normal(size=(2, 256))
    linear = nn.Linear(256, 2, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weights))
    case = squares(5, ("finding", "shortcut", "distractor"))
    found = effects(case, Network(nn.Sequential(nn.Flatten(), linear)), two())
    by_hand = np.array([weights @ (ABOVE * case.plants[e.name].mask.ravel()) for e in case.elements])
    for values in (found.shapley, found.removal, found.alone):
        assert np.allclose(values, by_hand, rtol=1e-9)
    assert np.abs(found.interaction).max() < 1e-9
    size = np.abs(by_hand)
    assert np.allclose(found.share, size / size.sum(axis=0))
    roles = found.share_by_role
    assert np.allclose(roles["shortcut"], (size[1] + size[4]) / size.sum(axis=0))
    assert set(roles) == {"finding", "shortcut", "distractor"}
    assert np.allclose(sum(roles.values()), 1)
    assert np.allclose(found.shapley_by_role["finding"], by_hand[0] + by_hand[3])


def test_what_two_elements_do_together_is_halved() -> None:
    def both(m: Tensor) -> Tensor:
        return torch.stack([7 * m[:, 0] * m[:, 1], torch.maximum(m[:, 0], m[:, 1])], dim=1)

    found = effects(squares(3), Network(Means(both)), two())
    assert np.allclose(found.shapley, [[3.5, 0.5], [3.5, 0.5], [0, 0]])
    assert np.allclose(found.removal, [[7, 0], [7, 0], [0, 0]])
    assert np.allclose(found.alone, [[0, 1], [0, 1], [0, 0]])
    assert np.allclose(found.interaction, [[7, -1], [7, -1], [0, 0]])


def test_an_element_without_a_place_has_its_effect() -> None:
    module = Means(lambda m: m.mean(1, keepdim=True))
    case = Case(FLAT, 1, (Square("s", 0), Brighter()))
    found = effects(case, Network(module), two(1))
    rises = {on: (1500 + (100 / 16 if "s" in on else 0)) * (1.1 if "e" in on else 1) for on in ("", "s", "e", "se")}
    score = {on: (value - 1500) / 100 for on, value in rises.items()}
    lonely = [score["s"] - score[""], score["e"] - score[""]]
    last = [score["se"] - score["e"], score["se"] - score["s"]]
    assert np.allclose(found.shapley[:, 0], np.mean([lonely, last], axis=0), atol=1e-3)
    assert "exposure" not in case.regions
    assert found.share_by_role["shortcut"][0] > 0.9


def test_the_cost_is_what_went_through_the_network() -> None:
    module = Means(lambda m: m[:, :2])
    effects(squares(4), Network(module), two(), batch=3)  # what is learnt of a network is learnt once
    SAMPLES.clear()
    assert effects(squares(4), Network(module), two(), batch=3).cost == Cost(16, 16)
    assert sum(SAMPLES) == 16
    SAMPLES.clear()
    drawn = effects(squares(12), Network(module), two(), pairs=4)
    # One image of the first batch that is larger than what was tried is looked at by itself.
    assert drawn.cost.forward_samples == sum(SAMPLES) - 1 == drawn.cost.renderings
    assert 26 <= sum(SAMPLES) <= 2 + 8 * 11 + 24


def test_beyond_the_limit_orders_are_drawn_in_pairs() -> None:
    gain = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def pairwise(m: Tensor) -> Tensor:
        return torch.stack([((m @ gain) * m).sum(1), (m[:, :5].prod(1) + m[:, 0])], dim=1)

    case, network = squares(5), Network(Means(pairwise))
    exact = effects(case, network, two(), limit=5)
    drawn = effects(case, network, two(), limit=4, pairs=40, seed=1)
    # Of a sum over pairs of elements, one order and its reverse already give the exact value.
    assert np.allclose(drawn.shapley[:, 0], exact.shapley[:, 0], atol=1e-9)
    assert np.abs(drawn.error[:, 0]).max() < 1e-9
    # Five at once do not: the error says how far off it may be.
    assert np.allclose(exact.shapley[:, 1], [1.2, 0.2, 0.2, 0.2, 0.2])
    assert drawn.error[:, 1].min() > 0
    assert (np.abs(drawn.shapley - exact.shapley)[:, 1] < 4 * drawn.error[:, 1]).all()
    assert np.allclose(drawn.shapley.sum(axis=0), drawn.total)
    assert np.array_equal(drawn.removal, exact.removal)
    assert np.array_equal(drawn.alone, exact.alone)
    again = effects(case, network, two(), limit=4, pairs=40, seed=1)
    assert np.array_equal(again.shapley, drawn.shapley)
    assert drawn.seed == 1
    assert exact.seed is None
    other = effects(case, network, two(), limit=4, pairs=40, seed=2)
    assert not np.array_equal(other.shapley, drawn.shapley)


def test_the_error_tells_how_the_estimate_scatters() -> None:
    network = Network(Means(lambda m: m[:, :5].prod(1, keepdim=True)))
    drawn = [effects(squares(5), network, two(1), limit=0, pairs=10, seed=s) for s in range(60)]
    scatter = np.std([d.shapley[:, 0] for d in drawn], axis=0, ddof=1).mean()
    said = np.sqrt(np.mean([d.error[:, 0] ** 2 for d in drawn]))
    assert said == pytest.approx(scatter, rel=0.2)


def test_a_region_that_is_held_is_that_of_the_whole_picture() -> None:
    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([torch.full_like(x, 50.0), x - 1500], dim=1)

    found = effects(
        squares(2), Network(Bright(), kind="segmentation"), LogitTarget((1,), ("bright",), "segmentation"), batch=1
    )
    # Without a square its place falls from 100 to 0 and still counts, as half of the region.
    assert np.allclose(found.everything, 100)
    assert np.allclose(found.removal[:, 0], [50, 50])
    assert np.allclose(found.nothing, 0)


def test_how_pictures_are_batched_changes_nothing() -> None:
    cases = [squares(n) for n in (3, 0, 2, 1)] + [squares(2, scene=Field((24, 16), noise=0.0))]
    network = Network(SmallNet(2, channels=1, classes=2))
    one = cohort_effects(cases, network, two(), batch=1)
    many = cohort_effects(cases, network, two(), batch=32)
    alone = [effects(c, network, two()) for c in cases]
    assert [len(e.elements) for e in many.each] == [3, 0, 2, 1, 2]
    for a, b, c in zip(one.each, many.each, alone, strict=True):
        assert np.allclose(a.shapley, b.shapley, atol=1e-9)
        assert np.allclose(a.shapley, c.shapley, atol=1e-9)
        assert a.cost == b.cost == c.cost
    assert many.cost == Cost(8 + 1 + 4 + 2 + 4, 8 + 1 + 4 + 2 + 4)


def test_volumes_and_callables() -> None:
    case = Case(Field((8, 16, 16)), 2, (Nodule("a", diameter_mm=5), Nodule("b", "shortcut", diameter_mm=4)))
    network = Network(SmallNet(3, channels=1, classes=2))
    by_word = effects(case, network, two())
    by_call = effects(case, network, CallableTarget(lambda output: output[:, 1]))
    assert np.allclose(by_call.shapley[:, 0], by_word.shapley[:, 1])


def test_each_case_of_a_cohort_may_be_asked_another_question() -> None:
    cases = [squares(2), squares(2)]
    network = Network(Means(lambda m: torch.stack([m[:, 0], 2 * m[:, 1]], dim=1)))
    asked = PerImage((LogitTarget((0,), ("first",)), LogitTarget((1,), ("second",))))
    first, second = cohort_effects(cases, network, asked).each
    assert np.allclose(first.shapley[:, 0], [1, 0])
    assert np.allclose(second.shapley[:, 0], [0, 2])
    assert (first.labels, second.labels) == (("first",), ("second",))


def test_a_cohort_is_the_mean_over_the_cases_that_moved() -> None:
    module = Means(lambda m: torch.stack([3 * m[:, 0] + m[:, 1] - m[:, 2], torch.zeros(len(m))], dim=1))
    shares = ("finding", "shortcut", "distractor", "finding")
    cases = [squares(3, shares), squares(1), squares(2, shares), squares(0), Case(FLAT, 1, (Square("dead", 9),))]
    found = cohort_effects(cases, Network(module), two())
    s0 = found.element("s0", "score 0")
    assert s0 is not None
    assert s0.share.mean == pytest.approx(np.mean([3 / 5, 1, 3 / 4]))
    assert s0.effect.mean == pytest.approx(3)
    assert s0.share.cases == 3
    draws = np.random.default_rng(0).integers(3, size=(2000, 3))
    means = np.array([3 / 5, 1, 3 / 4])[draws].mean(axis=1)
    assert (s0.share.low, s0.share.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    shortcut = found.role("shortcut", "score 0")
    assert shortcut is not None
    assert shortcut.share.mean == pytest.approx(np.mean([1 / 5, 1 / 4]))
    distractor = found.role("distractor", "score 0")
    assert distractor is not None
    assert (distractor.effect.mean, distractor.share.low, distractor.share.cases) == (pytest.approx(-1), None, 1)
    # Score 1 never moves, score 0 not in the case whose only square is not looked at; a case of nothing is neither.
    assert found.still == {"score 0": 1, "score 1": 4}
    assert found.element("dead", "score 0") is None
    assert found.element("s0", "score 1") is None


def test_no_share_of_what_is_only_rounding() -> None:
    found = effects(squares(2), Network(Means(lambda m: 1000 + 1e-7 * m[:, :2])), two())
    assert not found.moved.any()
    assert np.array_equal(found.share, np.zeros((2, 2)))


def test_what_is_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        effects(squares(1), Network(Means(lambda m: m[:, :2] / 0)), two())
    with pytest.raises(InputError, match="pairs"):
        effects(squares(1), Network(Means(lambda m: m[:, :2])), two(), pairs=1)
    one = np.ones((1, 1))
    with pytest.raises(ModelError, match="add up"):
        Effects("c", ("l",), ("e",), ("finding",), 2 * one, one, one, one[0], 0 * one[0], Cost(2, 2))


def test_the_network_is_left_as_it_was() -> None:
    module = SmallNet(2, channels=1, classes=2).train()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    effects(squares(2), Network(module), two())
    assert all(m.training for m in module.modules())
    assert all(p.requires_grad for p in module.parameters())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(p.grad is None for p in module.parameters())


def test_a_result_is_read_only() -> None:
    found = effects(squares(2), Network(Means(lambda m: m[:, :2])), two())
    with pytest.raises(ValueError, match="read-only"):
        found.shapley[0, 0] = 1
