"""A map under examination lies on the elements that the network saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_subjects import A, explanation, network, picture, subject

from saliscope.core.errors import MetricError
from saliscope.core.geometry import Geometry
from saliscope.core.prediction import Prediction
from saliscope.trust.subject import on_view

SAID = Prediction(("sum",), (1.0,), (0.7,), "multi-label", (None,))


def test_a_map_of_another_grid_is_refused() -> None:
    with (
        subject(picture(A), network({A: 1.0}), np.eye(64)) as s,
        pytest.raises(MetricError, match="for a view of"),
    ):
        replace(s, attribution=np.zeros((7, 7), np.float32))


def test_a_map_on_the_view_is_itself_and_a_coarse_one_is_linear_between_its_cells() -> None:
    image, of = picture(A), network({A: 1.0})
    view = of.viewing(image)
    own = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    assert np.allclose(on_view(explanation(own, SAID), view), own, atol=1e-6)
    coarse = np.arange(64, dtype=np.float32).reshape(8, 8)
    told = replace(
        explanation(np.zeros((64, 64)), SAID), values=coarse, geometry=view.geometry.cells((8, 8), (3.5, 3.5), (8, 8))
    )
    placed = on_view(told, view)
    assert placed.shape == (64, 64)
    centre = (placed[11, 11] + placed[12, 12]) / 2
    assert centre == pytest.approx(coarse[1, 1], abs=1e-3), "the middle of a cell has its value"
    rows = np.diff(placed[8:56, 30])
    assert np.allclose(rows, 1.0, atol=1e-3), "8 a cell, over 8 elements"
    assert isinstance(view.geometry, Geometry)
