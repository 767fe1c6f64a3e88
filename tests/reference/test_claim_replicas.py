"""What a map points at is what a slow reading of its words gives, in 2D and 3D."""

import numpy as np
import pytest
from replica_metrics_claim import elements, region, spots
from scipy import ndimage

from saliscope.trust.claim import claim


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(24, 31), (9, 11, 12)], ids=["2D", "3D"])
@pytest.mark.parametrize("made", ["smooth", "noise", "peaks"])
def test_claim(shape, made, seed):
    rng = np.random.default_rng([seed, len(shape)])
    values = rng.normal(size=shape)
    if made == "smooth":
        values = ndimage.gaussian_filter(values, 1.5)
    if made == "peaks":
        peaks = np.zeros(shape)
        peaks[tuple(rng.integers(3, n - 3, 3) for n in shape)] = (5, 3, 2)
        values = ndimage.gaussian_filter(peaks, 0.6) + 1e-6 * values
    found = claim(values)
    taken, held = region(values)
    assert elements(found.mask) == taken
    assert found.held == pytest.approx(held, rel=1e-12)
    expected = spots(values, taken)
    if any(len(piece) > 0.04 * values.size for piece, _ in expected):
        # What is cut is told apart from what is not elsewhere; together its parts are no more than the whole.
        assert sum(s.share for s in found.spots) <= 1 + 1e-9
        return
    assert [s.share for s in found.spots] == pytest.approx([share for _, share in expected], rel=1e-9)
    assert {frozenset(elements(s.mask)) for s in found.spots} == {frozenset(piece) for piece, _ in expected}
