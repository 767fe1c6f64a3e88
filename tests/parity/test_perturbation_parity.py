"""Shapley values and LIME against frozen outputs of captum 0.9, made by make_frozen_perturbation.py.

Tolerances are shares of the largest value: 1e-6 for Shapley values, which captum adds up in float32, 1e-4 for LIME,
which it fits in float32.
"""

from pathlib import Path

import frozen_nets
import frozen_perturbation_parts as frozen
import numpy as np
import pytest

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

FROZEN = np.load(Path(__file__).with_name("frozen_perturbation.npz"))
LABELS = ("first", "second", "third")


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("name", "fields", "limit"), [("kernel-shap", frozen.SHAPLEY, 1e-6), ("lime", frozen.LIME, 1e-4)]
)
def test_values_of_segments_equal_captum(name, fields, limit, axes):
    x = frozen_nets.picture(frozen_nets.SMALL_SHAPE[axes], seed=100 + axes)
    with Network(frozen_nets.small(axes, "residual"), LABELS).opened() as model:
        found = METHODS.make(name, **fields).attribute(model, x, LogitTarget((0, 1, 2), LABELS))[0].numpy()
    right = FROZEN[f"{axes}/{name}"]
    assert np.abs(right).max() > 1e-3
    np.testing.assert_allclose(found, right, rtol=0, atol=limit * np.abs(right).max())
