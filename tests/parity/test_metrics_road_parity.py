"""ROAD and its imputation against frozen outputs of grad-cam 1.5.7 and Quantus 0.6.0, made by make_frozen_metrics_road.

Equal where they are right: the linear imputation, and the score of a map without ties. Where they are wrong, the test
is named after the defect: the frozen output has it, ours has not.
"""

from pathlib import Path

import frozen_metrics_road_parts as parts
import numpy as np
import pytest
import torch

from saliscope.core.target import LogitTarget
from saliscope.metrics.fidelity.road import ROAD
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.plan import PerturbationPlan, run

FROZEN = np.load(Path(__file__).with_name("frozen_metrics_road.npz"))
EXACT = RoadFill(exact=True, noise=0)
SEEN: list[int] = []


def top(values, share):
    """Return what is gone (1, *S) where no value is tied."""
    return torch.from_numpy(values >= np.sort(values, axis=None)[-round(share * values.size)])[None]


def scored(attribution, fill=EXACT, scale=1.0, channels=3, memory_mb=1024):
    plan = PerturbationPlan(torch.from_numpy(scale * parts.image(channels)).float()[None])
    ask = ROAD(fill=fill).ask(plan, torch.from_numpy(attribution))
    run([plan], parts.Quadratic(channels), [LogitTarget((0,), ("first",))], memory_mb)
    return ask()


class Counting(RoadFill):
    """A fill that keeps in SEEN how many elements were gone."""

    def __call__(self, x, gone):
        SEEN.extend(gone.flatten(1).sum(1).tolist())
        return super().__call__(x, gone)


def removed(attribution):
    """Return how many elements each share takes, the most relevant first and the least relevant first."""
    SEEN.clear()
    scored(attribution, Counting(exact=False, noise=0))
    return SEEN[:9], SEEN[9:]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_exact_imputation_is_grad_cams_and_quantus(share):
    gone = top(parts.smooth_map(), share)
    found = EXACT(torch.from_numpy(parts.image())[None], gone)[0].numpy()
    np.testing.assert_allclose(found, FROZEN[f"grad-cam-imputed-{share}"], rtol=0, atol=2e-7)
    np.testing.assert_allclose(found[:1], FROZEN[f"quantus-imputed-{share}"], rtol=0, atol=2e-7)


def test_the_score_of_a_map_without_ties_is_grad_cams():
    score = scored(parts.smooth_map())
    # grad-cam's percentile is of what it keeps of the ranking: its 90 removes a tenth.
    morf, lerf = FROZEN["grad-cam-morf"][::-1], FROZEN["grad-cam-lerf"][::-1]
    assert score.parts["morf"] == pytest.approx(morf.mean(), abs=1e-5)
    assert score.parts["lerf"] == pytest.approx(lerf.mean(), abs=1e-5)
    np.testing.assert_allclose([y for _, y in score.curve], (lerf - morf) / 2, atol=1e-5)
    # Its own class adds noise without a seed.
    assert score.number == pytest.approx(float(FROZEN["grad-cam-combined"][0]), abs=0.5)


def test_a_map_with_zeros_does_not_lose_the_whole_image_as_in_grad_cam():
    size = parts.smooth_map().size
    asked = [round(s * size) for s in parts.SHARES]
    peer_most, peer_least = FROZEN["grad-cam-morf-removed"][::-1], FROZEN["grad-cam-lerf-removed"][::-1]
    assert list(peer_most[-2:]) == [size, size]
    assert peer_least[0] == round(parts.ZEROS * size)
    most, least = removed(parts.rectified_map())
    assert most == asked
    assert least == asked


def test_most_relevant_means_removed_not_kept_as_in_grad_cams_auto():
    peer, relevant = FROZEN["grad-cam-auto-removed"], parts.rectified_map()
    assert relevant[peer].max() < relevant[~peer].min(), "grad-cam took the least relevant away"
    gone = ROAD()._removals(relevant.astype(float))[0][2].numpy()
    assert relevant[gone].min() > relevant[~gone].max()


def test_every_image_counts_not_the_first_batch_as_in_quantus():
    assert not np.allclose(FROZEN["quantus-batches-of-12"], FROZEN["quantus-batches-of-4"])
    one_by_one, together = (scored(parts.smooth_map(), memory_mb=m) for m in (1e-6, 1024))
    assert one_by_one == together


def test_colour_is_no_index_error_as_in_quantus():
    assert str(FROZEN["quantus-three-channels"]) == "IndexError"
    assert scored(parts.smooth_map(), channels=3).defined


def test_both_ends_are_scored_not_the_most_relevant_alone_as_in_quantus():
    score = scored(parts.smooth_map())
    assert set(score.parts) == {"morf", "lerf", "unchanged"}
    assert score.number == pytest.approx((score.parts["lerf"] - score.parts["morf"]) / 2)
