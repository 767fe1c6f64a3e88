"""Interventions on regions: exact on networks whose answer is known, honest about room, counted, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from saliscope.core.errors import MetricError
from saliscope.core.score import Undefined
from saliscope.core.target import LogitTarget
from saliscope.metrics.statistics.permutation import stopped
from saliscope.model.load import load
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.plan import PerturbationPlan, run
from saliscope.perturb.reference import References
from saliscope.phantom.catalogue import phantom_set
from saliscope.trust.interventions.fills import RingFill, SwapFill, ring_mean
from saliscope.trust.interventions.organ import ask_organ_tests, organ_tests
from saliscope.trust.interventions.places import ENOUGH, same_shape_nulls
from saliscope.trust.interventions.region_test import STEP, ask_region_test, question, region_test
from saliscope.trust.regions.find import find

if TYPE_CHECKING:
    from saliscope.trust.subject import Subject

TARGET = LogitTarget((0,), ("sum",), "regression")
ZERO = BaselineFill(0.0)
SHAPES = [(24, 30), (12, 14, 16)]


def box(shape: tuple[int, ...], start: int, size: int) -> np.ndarray:
    mask = np.zeros(shape, np.bool_)
    mask[tuple(slice(start, start + size) for _ in shape)] = True
    return mask


def sums(where: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Return a network that adds up what lies in a region, and counts the samples that it saw."""
    weights = torch.from_numpy(where.copy()).double()

    def model(x: Tensor) -> Tensor:
        model.samples += len(x)  # type: ignore[attr-defined]
        return (x.double() * weights).flatten(1).sum(dim=1, keepdim=True)

    model.samples = 0  # type: ignore[attr-defined]
    return model


def image(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_effect_of_a_region_is_exact_and_its_p_small_and_that_of_another_is_not(shape: tuple[int, ...]) -> None:
    x, matters, other, everywhere = image(shape), box(shape, 2, 4), box(shape, 7, 4), np.ones(shape, np.bool_)
    model, plan = sums(matters), PerturbationPlan(x)
    asked = [ask_region_test(plan, m, "r", everywhere, [ZERO], nulls=40) for m in (matters, other)]
    run([plan], model, [TARGET])
    right, wrong = (a() for a in asked)
    assert right.score.number == pytest.approx(float(x[0, 0][torch.from_numpy(matters)].sum()), rel=1e-12)
    assert right.unchanged == pytest.approx(right.score.number)
    assert right.p == 1 / 41
    assert wrong.score.number == 0
    assert wrong.p == 1.0  # nothing is as small as nothing
    assert right.samples == 1 + 1 + 40
    # Two tests shared the unchanged image, and whatever places they had in both.
    assert model.samples == plan.planned <= 2 * 42 - 1  # type: ignore[attr-defined]


def test_a_region_that_matters_as_much_as_others_has_a_large_p() -> None:
    shape = (24, 30)
    everywhere = np.ones(shape, np.bool_)
    found = []
    for seed in range(12):
        plan = PerturbationPlan(image(shape, seed))
        asked = ask_region_test(plan, box(shape, 9, 5), "r", everywhere, [ZERO], nulls=30, seed=seed)
        run([plan], sums(everywhere), [TARGET])
        p = asked().p
        assert isinstance(p, float)
        found.append(p)
    # Uniform over its 31 values: twelve of them have a mean near a half, and are not all below a tenth.
    assert 0.25 < np.mean(found) < 0.75
    assert max(found) > 0.5


def test_two_sided_sees_a_region_that_holds_the_score_down() -> None:
    shape = (24, 30)
    mask, everywhere = box(shape, 2, 4), np.ones(shape, np.bool_)
    model = sums(mask)
    plan = PerturbationPlan(image(shape))
    asked = [
        ask_region_test(plan, mask, "r", everywhere, [ZERO], nulls=40, side=side) for side in ("lowers", "changes")
    ]
    run([plan], lambda x: -model(x), [TARGET])
    lowers, changes = (a() for a in asked)
    assert lowers.score.number < 0
    assert lowers.p == 1.0
    assert changes.p == 1 / 41


def test_fills_that_disagree_say_so() -> None:
    shape = (24, 30)
    mask = box(shape, 2, 4)
    plan = PerturbationPlan(image(shape))
    asked = ask_region_test(plan, mask, "letters", ~mask, [ZERO, BaselineFill(5.0)], nulls=20)
    run([plan], sums(mask), [TARGET])
    found = asked()
    assert not found.agree
    assert found.spread[0] < 0 < found.spread[1]
    assert "disagree" in found.words()["fills"]
    assert found.words()["region"] == "letters"


def test_drawing_stops_and_gives_the_p_of_besag_and_clifford() -> None:
    shape = (24, 30)
    plan, everywhere = PerturbationPlan(image(shape)), np.ones(shape, np.bool_)
    model = sums(box(shape, 2, 4))
    asked = question(plan, box(shape, 14, 4), "r", everywhere, [ZERO], nulls=50)
    while asked.more(STEP):
        run([plan], model, [TARGET])
        if asked.larger >= 3:
            break
    found = asked.answer(enough=3)
    assert model.samples < 30  # type: ignore[attr-defined]
    assert found.p == stopped(0.0, [round(v, 9) for v in found.nulls], 3)[0]
    assert found.samples == 2 + STEP


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_other_places_have_the_same_size_lie_inside_and_apart(shape: tuple[int, ...]) -> None:
    mask, within = box(shape, 1, 3), box(shape, 0, min(shape) - 1)
    found = same_shape_nulls(mask, within, 30, seed=3)
    assert len(found) == 30
    assert len({m.tobytes() for m in found.masks}) == 30
    for one in found.masks:
        assert one.sum() == mask.sum()
        assert not (one & mask).any()
        assert not (one & ~within).any()
        assert np.ptp(np.nonzero(one), axis=1).tolist() == [2] * len(shape), "the shape is the same"
    again = same_shape_nulls(mask, within, 30, seed=3)
    assert (again.masks == found.masks).all()
    assert (same_shape_nulls(mask, within, 30, seed=4).masks != found.masks).any()


def test_a_picture_turns_and_mirrors_the_shape_and_not_where_spacing_forbids() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[2:8, 2:4] = mask[6:8, 2:6] = True  # an L
    everywhere = np.ones_like(mask)

    def outlines(spacing: tuple[float, float] | None) -> set[tuple[tuple[int, ...], bytes]]:
        masks = same_shape_nulls(mask, everywhere, 400, spacing=spacing).masks
        boxes = [m[np.ix_(m.any(1), m.any(0))] for m in masks]
        return {(b.shape, b.tobytes()) for b in boxes}

    assert len(outlines(None)) == 8
    assert {shape for shape, _ in outlines((1.0, 2.0))} == {(6, 4)}


def test_too_little_room_is_said_and_never_made_up() -> None:
    mask, within = box((20, 20), 0, 3), np.zeros((20, 20), np.bool_)
    within[:3, :7] = True  # room for the square at column 3 and column 4 only
    found = same_shape_nulls(mask, within, 50)
    assert len(found) == 2 or "pieces" in found.how
    tight = same_shape_nulls(mask, mask, 50)
    assert len(tight) == 0
    assert "0 other places only, 50 were asked" in tight.how
    plan = PerturbationPlan(image((20, 20)))
    asked = ask_region_test(plan, mask, "r", mask, [ZERO], nulls=50)
    run([plan], sums(mask), [TARGET])
    answer = asked()
    assert isinstance(answer.p, Undefined)
    assert isinstance(answer.score.null, Undefined)
    assert answer.score.defined, "the effect itself is known"


def test_scattered_shapes_move_in_pieces_of_the_same_size() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((40, 40)) < 0.1
    found = same_shape_nulls(mask, np.ones_like(mask), 20)
    assert len(found) == 20
    assert "pieces" in found.how
    assert all(m.sum() == mask.sum() for m in found.masks)
    assert found.overlap <= 0.25
    assert found.overlap == pytest.approx(max((m & mask).sum() / mask.sum() for m in found.masks))


def test_a_shape_half_outside_may_lie_half_outside_elsewhere_and_no_more() -> None:
    within = np.zeros((20, 30), np.bool_)
    within[:10] = True
    mask = np.zeros_like(within)
    mask[8:12, 4:8] = True
    for one in same_shape_nulls(mask, within, ENOUGH).masks:
        assert (one & ~within).sum() <= (mask & ~within).sum()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_organ_alone_and_hidden_are_exact(shape: tuple[int, ...]) -> None:
    x, organ = image(shape), box(shape, 2, 6)
    plan = PerturbationPlan(x)
    asked = ask_organ_tests(plan, organ, "organ", [ZERO, BaselineFill(0.1)])
    model = sums(organ)
    run([plan], model, [TARGET])
    found = asked()
    whole = float((x[0, 0] * torch.from_numpy(organ)).sum())
    assert found.loss.parts["by baseline 0.0"] == pytest.approx(whole)
    assert found.outside.number == pytest.approx(0, abs=1e-12)
    assert found.loss.number == pytest.approx(whole - 0.05 * organ.sum())
    assert found.persists(threshold=whole / 2) is False
    assert found.suffices(threshold=whole / 2) is True
    assert found.persists(threshold=0.05 * organ.sum()) is None, "the fills disagree"
    assert model.samples == found.samples == 5  # type: ignore[attr-defined]


def test_what_lives_outside_the_organ_persists() -> None:
    organ = box((24, 30), 2, 6)
    plan = PerturbationPlan(image((24, 30)))
    asked = ask_organ_tests(plan, organ, "organ", [ZERO])
    run([plan], sums(~organ), [TARGET])
    assert asked().persists(threshold=1.0) is True
    assert asked().suffices(threshold=1.0) is False


def test_the_ring_is_the_mean_of_what_surrounds_each_piece() -> None:
    values = np.full((1, 30, 40), 1.0)
    values[:, :, 20:] = 3.0
    gone = np.zeros((30, 40), np.bool_)
    gone[10:14, 5:9] = gone[10:14, 30:34] = True
    values[:, gone] = 99.0
    found = ring_mean(values, gone)
    assert (found[0, 10:14, 5:9] == 1.0).all()
    assert (found[0, 10:14, 30:34] == 3.0).all()
    x = torch.from_numpy(values)[None]
    filled = RingFill()(x, torch.from_numpy(gone)[None])[0, 0].numpy()
    assert filled.max() == 3.0
    assert (filled[~gone] == values[0][~gone]).all()
    assert (ring_mean(values, np.ones_like(gone)) == values.mean()).all()


def test_a_swapped_patch_has_the_form_of_the_donor_and_the_level_of_the_surroundings() -> None:
    x, donor = torch.full((1, 1, 24, 24), 2.0), torch.zeros(1, 1, 24, 24)
    donor[..., 10, 10] = 1.0
    gone = torch.from_numpy(box((24, 24), 8, 5))[None]
    filled = SwapFill(References.of(donor))(x, gone)[0, 0]
    assert float(filled[10, 10]) == 3.0
    assert float(filled[9, 9]) == 2.0
    with pytest.raises(MetricError, match="2 donor images"):
        SwapFill(References.of(donor.repeat(2, 1, 1, 1)))


def test_what_cannot_be_asked_is_refused() -> None:
    plan, nothing = PerturbationPlan(image((8, 8))), np.zeros((8, 8), np.bool_)
    for mask in (nothing, ~nothing):
        with pytest.raises(MetricError):
            ask_region_test(plan, mask, "r", ~nothing, [ZERO])
        with pytest.raises(MetricError):
            ask_organ_tests(plan, mask, "organ")
    with pytest.raises(MetricError, match="0 fills"):
        ask_region_test(plan, box((8, 8), 2, 2), "r", ~nothing, [])


def test_a_subject_whose_network_reads_text_loses_its_score_with_it() -> None:
    """From a drawn chest to both tests: the word is found, hidden, and it was the reason; the lungs were not."""
    case = phantom_set("chest", shortcut="text", contamination=1, background=1, count=1, seed=9, size=128)[0]
    image, network = case.render(), load("phantom-chest-plain-text-100-0")
    view = network.viewing(image)
    regions = dict(find(image, view).regions)
    with network.opened() as model:
        subject = cast(
            "Subject",
            SimpleNamespace(
                view=view,
                model=model,
                target=LogitTarget((1,), ("present",), "binary"),
                plan=PerturbationPlan(view.tensor),
                regions=regions,
            ),
        )
        everywhere = np.ones(view.geometry.shape, np.bool_)
        text = region_test(subject, regions["burnt-in text"].mask, "the text", everywhere, nulls=19, enough=None)
        border = region_test(subject, box((128, 128), 100, 9), "a corner", everywhere, nulls=50, enough=3)
        lungs = organ_tests(subject, "lungs")
        ran = model.counts.forward_samples
        with pytest.raises(MetricError, match="liver"):
            organ_tests(subject, "liver")
    assert text.agree
    assert text.p == 1 / 20
    assert text.unchanged > 0 > text.unchanged - text.score.number, "the decision rests on the word"
    assert text.samples == 1 + 3 + 19
    assert border.score.number < 0.1 * text.score.number
    assert lungs.persists() is True
    assert ran == subject.plan.done


def test_a_large_volume_is_not_searched_for_minutes() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((24, 28, 30)) < 0.3
    found = same_shape_nulls(mask, np.ones_like(mask), 50)
    assert len(found) < 50
    assert f"{len(found)} other places only" in found.how or "ways only" in found.how
