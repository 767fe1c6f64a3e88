"""The order of the values of a map, exact by rank, with ties that are declared and never decided by position.

Maps are full of ties: a rectified map is zero nearly everywhere. A threshold takes all of them or none, and the order
of the elements takes those in the first corner; both were seen to turn a measurement round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saliscope.core.metric import Map

    Order = npt.NDArray[np.int64]
    Share = npt.NDArray[np.float64]


def descending(attribution: Map, seed: int = 0) -> Order:
    """Return the flat indices of a map (*S) from the largest value to the smallest; ties in an order drawn from `seed`.

    Raises MetricError for a map that is not finite.
    """
    import numpy as np

    flat = finite(attribution).ravel()
    drawn = np.random.default_rng(seed).permutation(flat.size)
    order: Order = drawn[np.argsort(-flat[drawn], kind="stable")]
    return order


def counts_of(shares: tuple[float, ...], size: int) -> tuple[int, ...]:
    """Return how many of `size` elements each share is, rounded half up; raises MetricError outside 0 to 1."""
    for share in shares:
        if not 0 <= share <= 1:
            raise MetricError(f"share {share}", expected="0 to 1", do="Give a part of the image.")
    return tuple(int(share * size + 0.5) for share in shares)


def top(attribution: Map, count: int) -> Share:
    """Return for every element (*S) its chance, 0 to 1, of being among the `count` largest if ties are drawn.

    It is 1 above the value at rank `count`, 0 below it, and the same for all elements tied with it; the chances add up
    to `count` exactly. Raises MetricError for a count that the map does not have.
    """
    import numpy as np

    values = finite(attribution)
    if not 0 <= count <= values.size:
        raise MetricError(
            f"the top {count} of {values.size} elements", expected="no more than there are", do="Lower it."
        )
    if count == 0:
        return np.zeros(values.shape)
    limit = np.partition(values.ravel(), values.size - count)[values.size - count]
    above, tied = values > limit, values == limit
    chance: Share = above + tied * ((count - above.sum()) / tied.sum())
    return chance


def finite(attribution: Map) -> npt.NDArray[np.float64]:
    """Return a map as float64; raises MetricError for one that is empty or not finite."""
    import numpy as np

    values = np.asarray(attribution, np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise MetricError(
            f"a map of shape {values.shape} with values that are not finite"
            if values.size
            else "a map without elements",
            expected="finite values",
            do="Do not score a map that could not be made.",
        )
    return values


def no_order(attribution: Map) -> str:
    """Return why a map puts its elements in no order; empty where it does."""
    values = finite(attribution)
    low, high = float(values.min()), float(values.max())
    if low < high:
        return ""
    return "the map is zero everywhere" if low == 0 else "the map has one value everywhere"
