"""A map whose method promises a sum is handed out only where the sum is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Method

if TYPE_CHECKING:
    from torch import Tensor

#: How the measurements are named that a limit is held against.
GAP = "_relative_gap"


def check_promise(name: str, method: Method, measured: Mapping[str, Tensor]) -> None:
    """Raise MethodError where a gap (N, K) that a method measured is above its own `gap_limit`, or no number.

    Methods without that field promise no sum.
    """
    limit = getattr(method, "gap_limit", None)
    if limit is None:
        return
    for key, gaps in measured.items():
        if not key.endswith(GAP):
            continue
        # The negation, so that NaN is above every limit.
        above = ~(gaps <= limit)
        if not above.any():
            continue
        n, k = (int(i) for i in above.nonzero()[0])
        worst = gaps.nan_to_num(nan=float("inf")).max()
        told = "no number" if gaps.isnan().any() else f"{float(worst):.1%}"
        raise MethodError(
            f"a map of {name} whose sum misses what is promised by {told} ({key}; first of image {n}, score {k})",
            expected=f"at most gap_limit={limit:g}, that is {limit:.1%}",
            do="Use another method, such as gradient or occlusion, or more steps where the method has them; a larger "
            "`gap_limit` gives the map all the same, with its gap in the record",
        )
