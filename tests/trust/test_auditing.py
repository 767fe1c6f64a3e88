"""What an audit says of networks, methods and tables of which the truth is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_subjects import LABEL, SHAPE, TARGET, A, B, C, D, Given, disc, network, picture
from torch import Tensor, nn

from saliscope.core.geometry import Geometry
from saliscope.core.region import Region
from saliscope.core.score import Undefined
from saliscope.model.network import Network
from saliscope.trust.auditing import consistency, fidelity, shortcuts
from saliscope.trust.auditing.audited import audited
from saliscope.trust.auditing.material import Extent, Item, Material
from saliscope.trust.checks.held_against import OTHERS_HIGH, OTHERS_MIDDLE, SPREAD
from saliscope.trust.checks.hidden import Decision
from saliscope.trust.insertions.audit import planted
from saliscope.trust.insertions.insertion import INSERTIONS

EXTENT = Extent()
NOISE = np.random.default_rng(3).normal(size=SHAPE)
ON_A, ON_B = disc(A) + 0.05 * NOISE, disc(B) + 0.05 * NOISE


def material(
    count: int = 6, weights: dict | None = None, map_: np.ndarray = ON_A, extent: Extent = EXTENT, **more: object
) -> Material:
    """Return a cohort of pictures whose disc at A is more or less bright, each of its own patient."""
    images = [picture(A, B, seed=i, height=40.0 + 15 * i) for i in range(count)]
    items = [Item(image, f"p{i}", **more) for i, image in enumerate(images)]  # type: ignore[arg-type]
    decision = Decision(LABEL, 0.0)
    return Material(items, network(weights or {A: 1.0}, bias=6.0), Given(map_), TARGET, decision, extent)


# -- material ----------------------------------------------------------------------------------------------------------


def test_called_images_come_first_and_their_maps_are_made_first() -> None:
    m = material(6, extent=Extent(maps=3))
    assert (np.diff(m.scores) > 0).all()
    called = [i for i, s in enumerate(m.scores) if s >= 0]
    assert 0 < len(called) < 6
    assert m.called == called
    assert m.order == [*called, *(i for i in range(6) if i not in called)]
    assert m.mapped == m.order[:3]
    assert len(m.maps) == 3
    assert m.samples == 6, "the maps of this method cost nothing"
    assert m.scores[2] == pytest.approx((m.views[2].tensor.numpy()[0, 0][disc(A)].mean() - 90) / 10 - 6)


# -- planted and hidden ------------------------------------------------------------------------------------------------

CORNERS = ("text, top-left", "letter, top-left", "text, bottom-right")


class Brightest(nn.Module):
    """The brightest element of some rows and columns of a picture, as a logit (N, 1)."""

    def __init__(self, at: tuple[int, int]) -> None:
        super().__init__()
        self.at = at

    def forward(self, x: Tensor) -> Tensor:
        r, c = self.at
        return x[:, :, r : r + 14, c : c + 28].amax(dim=(1, 2, 3))[:, None] / 10 - 12


def corner_material(at: tuple[int, int]) -> Material:
    images = [picture(C, D, seed=i, modality="CR") for i in range(10)]
    items = [Item(image, i) for i, image in enumerate(images)]
    net = Network(Brightest(at), (LABEL,), "multi-label")
    return Material(items, net, Given(ON_A), TARGET, Decision(LABEL, 0.0))


def test_a_network_that_reads_an_upper_corner_is_flagged_and_another_is_not() -> None:
    chosen = [i for i in INSERTIONS if i.name in CORNERS]
    found = {}
    for where, at in (("upper", (0, 0)), ("lower", (50, 36)), ("middle", (24, 20))):
        m = corner_material(at)
        ready = [planted([item.image for item in m.items], m.network.viewing, one, m.seed) for one in chosen]
        found[where] = {i.what: i for i in shortcuts.insertions(m, ready=ready)}
        assert m.samples == 10 + 2 * 10 * len(chosen)
    assert {w for w, i in found["upper"].items() if i.flagged} in ({CORNERS[0]}, {CORNERS[1]}, set(CORNERS[:2]))
    moved = found["lower"]["text, bottom-right"].scores[0].parts
    assert abs(moved["relative"]) >= shortcuts.MOVES
    assert moved["p"] <= 0.01
    assert not any(i.flagged for i in found["lower"].values()), "there it may be part of the picture"
    assert not any(i.flagged for i in found["middle"].values())
    told = {found[w]["text, bottom-right"].sentence for w in ("lower", "middle")}
    assert len(told) == 2, "it is told all the same"
    none = corner_material((0, 0))
    none.items[:] = none.items[:1]
    assert shortcuts.insertions(none) == ()


def with_text(m: Material, count: int) -> Material:
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 4:20] = True
    region = Region(mask, Geometry.of_picture(SHAPE), "burnt-in text", "drawn")
    for i, item in enumerate(m.items):
        values = item.image.values.copy()
        values[0][mask] = np.where(np.arange(64) % 2, 250, 90)
        m.items[i] = replace(item, image=replace(item.image, values=values, display=values.astype(np.uint8)))
    m.__dict__["regions"] = {
        i: SimpleNamespace(regions={"burnt-in text": region} if n < count else {}) for n, i in enumerate(m.order)
    }
    return m


def test_hiding_text_counts_against_a_network_that_reads_it() -> None:
    (reads,) = shortcuts.marks_hidden(with_text(material(8, {(4, 10): 3.0, A: 0.3}), 8))
    (not_,) = shortcuts.marks_hidden(with_text(material(8, {A: 1.0}), 8))
    assert reads.flagged
    assert reads.result.outcome == "against"
    assert not reads.result.decisive
    assert reads.result.scores[0].parts["p"] <= 0.05
    assert not not_.flagged
    assert not_.result.outcome == "supports"
    assert not_.result.scores[0].number == pytest.approx(0, abs=1e-6)


def test_text_in_two_images_is_too_little_to_tell_and_none_is_nothing() -> None:
    (few,) = shortcuts.marks_hidden(with_text(material(8), 2))
    assert few.result.outcome == "not-run"
    assert not few.flagged
    assert shortcuts.marks_hidden(with_text(material(8), 0)) == []


# -- fidelity and localisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("map_", "outcome"), [(ON_A, "supports"), (-ON_A, "against")], ids=["right", "reversed"])
def test_fidelity_tells_a_map_that_follows_the_network(map_: np.ndarray, outcome: str) -> None:
    m = material(6, map_=map_)
    found = fidelity.fidelity(m)
    assert found.outcome == outcome
    assert found.samples > 0
    assert found.scores[0].metric == "road"
    assert (found.scores[0].number > 0) == (outcome == "supports")


def test_one_patient_makes_no_interval_and_a_flat_map_no_order() -> None:
    assert fidelity.fidelity(material(1)).outcome == "unclear"
    assert fidelity.fidelity(material(3, map_=np.ones(SHAPE))).outcome == "not-run"


def outlined(map_: np.ndarray, at: tuple[int, int] | None) -> Material:
    m = material(6, map_=map_)
    if at is not None:
        for i, item in enumerate(m.items):
            # The finding moves, so that the mean of the others' outlines is not the answer.
            mask = disc((at[0] + i - 3, at[1]))
            truth = Region(mask, item.image.geometry, "outline", "drawn")
            m.items[i] = replace(item, truth=truth)
    return m


def test_maps_on_the_outlines_beat_the_best_control_and_maps_beside_do_not() -> None:
    controls = {"beside": Given(ON_B), "noise": Given(NOISE)}
    ring = disc(A, 7.0) + 0.01 * NOISE
    right = fidelity.localisation(outlined(2 * disc(A, 3.0) + ring, A), controls)
    wrong = fidelity.localisation(outlined(ON_B, A), controls)
    assert right is not None
    assert wrong is not None
    assert wrong.outcome == "against"
    assert right.scores[0].number > wrong.scores[0].number
    assert right.outcome in ("supports", "unclear", "against")
    assert not right.decisive
    assert "the mean outline" in right.threshold, "the best control is told"
    assert fidelity.localisation(outlined(ON_A, None), controls) is None


def test_maps_beat_controls_of_which_none_has_seen_an_outline() -> None:
    m = outlined(ON_A, A)
    for i, item in enumerate(m.items):
        m.items[i] = Item(item.image, "one patient", truth=Region(disc(A), item.image.geometry, "outline", "drawn"))
    m.items[0] = replace(m.items[0], patient="another", truth=Region(disc(A), m.items[0].image.geometry, "o", "drawn"))
    found = fidelity.localisation(m, {"beside": Given(ON_B)})
    assert found is not None
    assert found.outcome in ("against", "unclear"), "where all lie in one place their mean is as good"


# -- consistency -------------------------------------------------------------------------------------------------------


def test_the_spread_is_that_of_the_scores_and_none_of_one_score() -> None:
    m = material(6)
    told = consistency.spread(m)[SPREAD]
    assert told.value == pytest.approx(m.scores.std())
    assert told.n == 6
    flat = material(1)
    assert isinstance(consistency.spread(flat)[SPREAD].value, Undefined)


def test_maps_of_other_patients_are_compared_and_never_those_of_one() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=SHAPE)
    m = material(8)
    m.items[:] = [replace(item, patient=i // 2) for i, item in enumerate(m.items)]
    m.__dict__["maps"] = [shared + rng.normal(size=SHAPE) for _ in range(8)]
    for twin in range(0, 8, 2):
        # Two maps of one patient are one map: if they were compared the high end would be 1.
        a, b = (n for n, i in enumerate(m.mapped) if i in (twin, twin + 1))
        m.maps[b] = m.maps[a]
    found = consistency.other_patients(m)
    assert found[OTHERS_HIGH].n == found[OTHERS_MIDDLE].n == 28 - 4
    assert 0.3 < found[OTHERS_MIDDLE].value <= found[OTHERS_HIGH].value < 0.7
    few = material(2)
    assert isinstance(consistency.other_patients(few)[OTHERS_HIGH].value, Undefined)


def test_one_image_cannot_be_randomised() -> None:
    found, barred = consistency.randomisation(material(1))
    assert (found.outcome, barred) == ("not-run", "")


def test_a_map_that_does_not_hear_the_network_is_barred_and_so_is_one_that_runs_against_it() -> None:
    extent = Extent(maps=4, randomised=3, retested=2, hidden_by_rank=4, hidden=2, planted=2)
    deaf = audited(material(6, extent=extent), "given", others={}, controls={}, planted=())
    told = {r.check: r for r in deaf.results}
    assert told["randomisation"].outcome == "against"
    assert deaf.barred
    assert told["localisation"].outcome == "not-applicable"
    assert set(deaf.thresholds) == {SPREAD, OTHERS_HIGH, OTHERS_MIDDLE}
    assert deaf.samples > 0
    assert deaf.insertions == deaf.findings == ()
    assert {"randomisation", "class-discrimination", "fidelity", "test-retest", "agreement-methods"} <= set(told)


def test_a_map_that_fails_fidelity_is_barred(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = consistency.CheckResult("randomisation", "Fidelity", "?", "supports", "It passed.")
    monkeypatch.setattr(consistency, "randomisation", lambda m: (passed, ""))
    extent = Extent(maps=4, randomised=3, retested=1, hidden_by_rank=4, hidden=2)
    right, wrong = (
        audited(material(6, map_=map_, extent=extent), "given", others={}, controls={}, planted=())
        for map_ in (ON_A, -ON_A)
    )
    assert right.barred == ""
    assert wrong.barred == next(r.sentence for r in wrong.results if r.check == "fidelity")
