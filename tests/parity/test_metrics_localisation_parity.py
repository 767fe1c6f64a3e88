"""Localisation and complexity against frozen outputs of quantus 0.6.0, scikit-learn and OpenCV, where they are right.

Where quantus is wrong its own outputs stand in the file, and ours must not be.
Tolerances: 1e-12; where quantus adds a small number, 1e-9 for the entropy and 1e-7 for Gini, 1e-5 on zeros.
"""

from pathlib import Path

import frozen_metrics_parts as parts
import numpy as np
import pytest

from saliscope.metrics import METRICS
from saliscope.metrics.summary import summary

FROZEN = np.load(Path(__file__).with_name("frozen_metrics_localisation.npz"))
RIGHT = [key for key in FROZEN.files if key.startswith("right/")]


def scored(name, maps, masks):
    """Return our scores of maps beside masks."""
    metric = METRICS.make(name)
    if hasattr(metric, "of_map"):
        return [metric.of_map(a) for a in maps]
    return [metric.of_place(a, m) for a, m in zip(maps, masks, strict=True)]


@pytest.mark.parametrize("key", RIGHT)
def test_where_peers_are_right_ours_is_the_same(key):
    _, axes, kind, name = key.split("/")
    found = [s.number for s in scored(name, parts.maps(int(axes), kind), parts.masks(int(axes)))]
    close = {"gini": 1e-5 if kind == "zero-heavy" else 1e-7, "entropy": 1e-9}.get(name, 1e-12)
    np.testing.assert_allclose(found, FROZEN[key].astype(float), rtol=1e-12, atol=close)


def test_the_frozen_values_say_something():
    assert len(RIGHT) == 28
    for key in RIGHT:
        assert FROZEN[key].std() > 1e-4, key


def test_empty_masks_are_excluded_and_counted_and_never_hits():
    masks = parts.masks(2)
    masks[1:] = False
    assert FROZEN["fault/pointing game of empty masks"][1:].all(), "quantus counts each as a hit"
    scores = scored("pointing-game", parts.maps(2, "positive"), masks)
    assert not any(s.defined for s in scores[1:])
    found = summary(scores)
    assert (found.n, dict(found.excluded)) == (1, {"the mask is empty": parts.COUNT - 1})


def test_the_lift_that_stands_for_a_weighted_pointing_game_is_there():
    assert "2 dimensions" in str(FROZEN["fault/weighted pointing game"]), "quantus raises TypeError"
    for score in scored("pointing-game", parts.maps(2, "positive"), parts.masks(2)):
        assert score.parts["lift"] == score.number / score.parts["area"]


@pytest.mark.parametrize("name", ["pointing-game", "relevance-mass", "relevance-rank", "auroc", "auprc", "iou"])
def test_a_zero_map_has_no_score_and_the_others_keep_theirs(name):
    assert np.isnan(FROZEN["fault/relevance mass of a zero map"][0])
    assert FROZEN["fault/pointing game of a zero map"][0], "a hit for quantus"
    assert FROZEN["fault/relevance rank of a zero map"][0] > 0, "by the order of elements"
    maps, masks = parts.maps(2, "positive"), parts.masks(2)
    right = scored(name, maps, masks)
    maps[0] = 0
    first, *rest = scored(name, maps, masks)
    assert first.value.reason == "the map is zero everywhere"
    assert rest == right[1:]


def test_weighing_by_area_does_not_change_with_the_batch():
    once, twice = (FROZEN[f"fault/weighted localisation{end}"] for end in ("", " of the batch twice"))
    assert (once > 2 * twice).all(), "with quantus the same images score less than half in a batch twice as large"
    maps, masks = parts.maps(2, "positive"), parts.masks(2)
    alone = [s.parts["lift"] for s in scored("relevance-mass", maps, masks)]
    more = [s.parts["lift"] for s in scored("relevance-mass", np.concatenate([maps, maps]), [*masks, *masks])]
    assert more == alone * 2


def test_negative_values_do_not_enter_the_relevance_mass():
    fault = FROZEN["fault/relevance mass of signed maps"]
    assert (fault < 0).any() or (fault > 1).any(), "a share outside 0 to 1"
    maps, masks = parts.maps(2, "signed"), parts.masks(2)
    found = scored("relevance-mass", maps, masks)
    assert found == scored("relevance-mass", np.maximum(maps, 0), masks)
    assert all(0 <= s.number <= 1 for s in found)


@pytest.mark.parametrize("name", ["gini", "entropy", "effective-size"])
def test_the_caller_s_array_is_left_alone(name):
    assert FROZEN["fault/sparseness changes its input by"] > 0
    own = parts.maps(2, "positive")[0]
    before = own.copy()
    METRICS.make(name).of_map(own)
    np.testing.assert_array_equal(own, before)


def test_areas_need_nothing_that_numpy_took_away():
    assert "trapz" in str(FROZEN["fault/area under a curve"])
    source = Path(METRICS.get("auroc").__module__.replace(".", "/"))
    folder = Path(__file__).resolve().parents[2] / "src" / source.parent.parent
    assert not [p for p in folder.rglob("*.py") if "np.trapz" in p.read_text()]
