"""Whether a map sums to what its method promises, judged by the size of what is summed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, held

if TYPE_CHECKING:
    from torch import Tensor

#: The largest share by which a map may miss its sum: twice the tolerance to which paths are refined, so that only one
#: that stopped early is above, and less than what makes two places change their order on a page.
GAP_LIMIT = 0.1
#: Scores that differ by less than this share of their size do not differ: gradients of what cancels inside a network,
#: as in a norm of the image whose mean is the score, sum in float32 to 1e-4 of the score where they should to nothing.
ROUNDING = 5e-3
#: Where values for and against a score cancel, their sum is judged by at least this share of their L2 norm, as which a
#: sum of independent values would be about as large: a score that is by chance near zero is no reason to refuse a map.
CANCELLED = 0.1


def check_limit(limit: float) -> None:
    """Raise MethodError for a limit that no gap could be held against."""
    if not limit > 0:
        raise MethodError(f"gap_limit={limit}", expected="a share above 0", do="Give one, or inf for any gap but NaN")


def completeness(model: Model, x: Tensor, target: Target, attribution: Tensor, starts: Tensor) -> Mapping[str, Tensor]:
    """Return (N, K): by how much a map (N, K, *S) misses score(x) - score(starts), also as a share; see `sum_gap`."""
    import torch

    ends = []
    for n, (image, start) in enumerate(zip(x.detach().split(1), starts.split(1), strict=True)):
        own = held(model, image, target, n)
        ends.append(torch.stack([at_least_single(own.scores(model(end))) for end in (image, start)]))
    after, before = torch.cat(ends, dim=1)
    return sum_gap(attribution, after - before, after.abs() + before.abs())


def sum_gap(attribution: Tensor, right: Tensor, size: Tensor, beside: Tensor | float = 0) -> dict[str, Tensor]:
    """Return, each (N, K), by how much the sum of a map (N, K, *S) misses what is right, and that as a share.

    What belongs to the sum and is not in the map is `beside` it. The share is one of the larger of the sum and what is
    right, or of a tenth of the map's L2 norm where they cancel to less. `size` (N, K) is that of the numbers of which
    the right one is made, whose rounding is no gap. The share is zero for a complete map, never above 2, and NaN for a
    map with a NaN.
    """
    flat = attribution.flatten(2)
    total = flat.sum(dim=2) + beside
    gap = total - right
    largest = total.abs().maximum(right.abs()).maximum(CANCELLED * flat.norm(dim=2)).maximum(ROUNDING * size)
    share = gap.abs() / largest.masked_fill(largest == 0, 1)
    return {"completeness_gap": gap, "completeness_relative_gap": share}
