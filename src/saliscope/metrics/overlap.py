"""jaccard1912: how much of two selections of elements is common to both, and what two random ones have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saliscope.metrics.ranking import Share

#: So many standard deviations of a hypergeometric number are summed up; what lies beyond is below 1e-20.
REACH = 12.0


def iou(first: Share, second: Share) -> float:
    """Return the intersection over the union of selections given by the chance of each element (*S) of being in them.

    Where chances stand for ties they are drawn independently; both parts of the ratio are then expected values.
    """
    both = float((first * second).sum())
    return both / (float(first.sum()) + float(second.sum()) - both)


def random_iou(first: int, second: int, size: int) -> float:
    """Return the expected intersection over union of random choices of `first` and of `second` of `size` elements."""
    import numpy as np
    from scipy.special import gammaln

    middle = first * second / size
    reach = REACH * (middle * (1 - first / size) * (size - second) / max(1, size - 1)) ** 0.5 + 1
    low = max(0, first + second - size, int(middle - reach))
    counts = np.arange(low, min(first, second, int(middle + reach) + 1) + 1)
    # The hypergeometric chance of each count but for a factor that all share, which the division takes out.
    rest = (counts, first - counts, second - counts, size - first - second + counts)
    chance = -sum(gammaln(part + 1.0) for part in rest)
    weight = np.exp(chance - chance.max())
    return float((weight * counts / (first + second - counts)).sum() / weight.sum())
