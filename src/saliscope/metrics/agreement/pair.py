"""Two maps beside each other, ready to be compared, and why a comparison may say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from saliscope.core.errors import MetricError
from saliscope.core.score import Undefined
from saliscope.metrics.ranking import finite, no_order

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saliscope.core.metric import Map

    Floats = npt.NDArray[np.float64]

#: What of a signed map is compared: its values as they are, or without their sign.
Part = Literal["signed", "magnitude"]
HOW = {"signed": "the maps are compared with their signs", "magnitude": "the maps are compared without their signs"}


def words(part: Part) -> str:
    """Return what of two maps is compared, in words; raises MetricError for an unknown part."""
    if part not in HOW:
        raise MetricError(f"part {part!r} of a map", expected=" or ".join(HOW), do="Choose one of them.")
    return HOW[part]


def paired(first: Map, second: Map, part: Part) -> tuple[Floats, Floats] | Undefined:
    """Return two maps (*S) as float64 with what of them counts, or why they cannot be compared.

    Raises MetricError for two shapes, an unknown part, or a map that is not finite.
    """
    import numpy as np

    words(part)
    maps = [finite(m) for m in (first, second)]
    if maps[0].shape != maps[1].shape:
        raise MetricError(
            f"maps of {maps[0].shape} and {maps[1].shape}",
            expected="two maps on one grid",
            do="Resample one onto the grid of the other first.",
        )
    for values, word in zip(maps, ("first", "second"), strict=True):
        counts = values if part == "signed" else np.abs(values)
        if reason := no_order(values) or no_order(counts):
            return Undefined(f"{word} map: {reason}")
    if part == "signed":
        return maps[0], maps[1]
    return np.abs(maps[0]), np.abs(maps[1])


def correlated(first: Floats, second: Floats) -> float:
    """Return the linear correlation of two arrays that each hold two values or more."""
    import numpy as np

    a, b = (((v := m.ravel()) - v.mean()) / np.abs(v - v.mean()).max() for m in (first, second))
    return float(np.clip((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), -1, 1))
