"""Fidelity metrics against frozen outputs of quantus 0.6.0 and captum 0.9, made by make_frozen_metrics_fidelity.py.

Tolerances: 1e-5 for Quantus, which runs networks in float32; 1e-12 for captum, which stays in float64.
"""

from pathlib import Path

import frozen_metrics_fidelity_parts as frozen
import numpy as np
import pytest

from saliscope.core.target import LogitTarget
from saliscope.metrics import METRICS
from saliscope.model.network import Network
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.plan import PerturbationPlan, run

FROZEN = np.load(Path(__file__).with_name("frozen_metrics_fidelity.npz"))
LABELS = ("first", "second", "third")
DRAWN = {"share": frozen.SHARE, "samples": frozen.SAMPLES, "seed": frozen.SEED}


def scored(name, axes, sign=1, **fields):
    """Return the score of a metric for the label that was frozen."""
    net, x, a = frozen.parts(axes)
    plan = PerturbationPlan(x)
    score = METRICS.make(name, fill=BaselineFill(frozen.FILL), **fields).ask(plan, sign * a, frozen.LABEL)
    with Network(net, LABELS).opened() as model:
        run([plan], model, [LogitTarget((0, 1, 2), LABELS)])
    return score()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(("name", "sign"), [("deletion", 1), ("insertion", -1)])
def test_scores_along_an_order_equal_quantus_pixel_flipping(name, sign, axes):
    """Theirs begins after the first step and is not normalised; insertion takes the same steps from the other end."""
    right = FROZEN[f"pixel-flipping/{axes}"]
    assert len(right) == frozen.STEPS
    found = scored(name, axes, sign, levels=frozen.STEPS)
    first, last = found.parts["unchanged"], found.parts["filled"]
    raw = np.array([y for _, y in found.curve]) * (first - last) + last
    assert np.ptp(right) > 0.01
    np.testing.assert_allclose(raw[::sign][1:], right, rtol=0, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize("axes", [2, 3])
def test_correlation_over_subsets_of_elements_equals_quantus_faithfulness_correlation(axes):
    found = scored("faithfulness-correlation", axes, partition="elements", **DRAWN)
    (right,) = FROZEN[f"faithfulness-correlation/{axes}"]
    assert abs(right) > 1e-3
    assert found.number == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("units", ["contribution", "gradient"])
def test_scaled_infidelity_equals_captum(units, axes):
    found = scored("infidelity", axes, units=units, segments=frozen.SEGMENTS, partition="grid", **DRAWN)
    (right,) = FROZEN[f"infidelity/{units}/{axes}"]
    assert right > 1e-6
    assert found.number == pytest.approx(right, rel=1e-12)
