"""A map whose method promises a sum is handed out only where the sum is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Method

if TYPE_CHECKING:
    from torch import Tensor

#: How the measurements are named that a limit is held against.
GAP = "_relative_gap"
#: The fields by which a method takes more steps on its way, the one that bounds them first.
FINER = ("max_steps", "steps")


def check_promise(name: str, method: Method, measured: Mapping[str, Tensor], causes: Sequence[str] = ()) -> None:
    """Raise MethodError where a gap (N, K) that a method measured is above its own `gap_limit`, or no number.

    Methods without that field promise no sum. `causes` are sentences on the network that may explain it.
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
        advice = (
            f"Use another method, such as gradient or occlusion{_more(method)}; a larger `gap_limit` gives the map all "
            "the same, with its gap in the record"
        )
        raise MethodError(
            f"a map of {name} whose sum misses what is promised by {told} ({key}; first of image {n}, score {k})",
            expected=f"at most gap_limit={limit:g}, that is {limit:.1%}",
            do=" ".join((*causes, advice)),
        )


def _more(method: Method) -> str:
    """Return which of a method's own fields could make the gap smaller, as a part of a sentence."""
    fields = [name for name in FINER if hasattr(method, name)]
    return f", or a larger `{fields[0]}`" if fields else ""
