"""From values to colours: the limits, in words, and the maps that have nothing to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from saliscope.figures.palette import Palette
from saliscope.figures.totals import percentile_of_magnitude

#: What a map has to show; all but "shown" and "no positive evidence" leave the image bare.
State = Literal["shown", "no positive evidence", "zero", "constant", "not finite"]

#: A range smaller than this share of the largest value is rounding, not structure.
ROUNDING = 1e-4
#: The colours end at this percentile of the values that are not zero; the few above it share the last colour.
PERCENTILE = 99.5

#: Of ranks only those above this quantile are drawn: some element always comes first, and half lie above the middle.
TOP = 0.9

WHY_EMPTY: dict[State, str] = {
    "zero": "No evidence: the map is zero everywhere.",
    "constant": "No evidence: the map is the same everywhere, so it singles out no place.",
    "not finite": "No evidence: the map holds values that are not numbers and cannot be read.",
    "no positive evidence": "No positive evidence for this label anywhere in the image.",
}


@dataclass(frozen=True)
class Scale:
    """How values become colours: -limit..limit when diverging, least..limit when sequential; `mode` says why so."""

    palette: Palette
    limit: float
    mode: str
    state: State = "shown"
    least: float = 0.0

    @property
    def drawn(self) -> bool:
        """Return whether any heat is drawn."""
        return self.state == "shown" or (self.state == "no positive evidence" and self.palette == "diverging")

    @property
    def ends(self) -> tuple[float, float]:
        """Return the values at the two ends of the colour bar."""
        return (-self.limit if self.palette == "diverging" else self.least), self.limit

    def normalised(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return -1..1 for drawing, all 0 where there is nothing to draw."""
        if not self.drawn:
            return np.zeros_like(values, dtype=np.float32)
        low = 0 if self.least else -1
        span = np.float32(self.limit - self.least)
        clipped: npt.NDArray[np.float32] = np.clip((values - np.float32(self.least)) / span, low, 1)
        return clipped


def scale_of(values: npt.NDArray[np.float32], fixed: float | None = None) -> Scale:
    """Return the scale of a raw map (*S): by its own percentile, or fixed so that several maps can be compared."""
    state, palette = state_of(values), palette_of(values)
    if state in ("zero", "constant", "not finite"):
        return Scale(palette, 1.0, "nothing to scale", state)
    if fixed is not None:
        words = f"fixed {-fixed:.3g} to {fixed:.3g}" if palette == "diverging" else f"fixed 0 to {fixed:.3g}"
        return Scale(palette, float(fixed), words, state)
    limit = percentile_of_magnitude(values, PERCENTILE)
    return Scale(palette, limit, f"per-image, {PERCENTILE:g}th percentile of the magnitude", state)


def scale_of_ranks(values: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_]) -> Scale:
    """Return the scale of ranks (*S): from the level that a tenth of what was seen reaches up to the highest."""
    state = state_of(values[seen])
    if state != "shown":
        return Scale("sequential", 1.0, "nothing to scale", state)
    level, top = float(np.quantile(values[seen], TOP)), float(values.max())
    if not top > level:
        return Scale("sequential", 1.0, "nothing to scale", "constant")
    return Scale("sequential", top, "the tenth of the image that is ranked highest", "shown", level)


def state_of(values: npt.NDArray[np.float32]) -> State:
    """Return what a raw map has to show."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return "not finite"
    most = max(abs(low), abs(high))
    if most < float(np.finfo(np.float32).tiny):
        return "zero"
    if high - low <= ROUNDING * most:
        return "constant"
    return "shown" if high > 0 else "no positive evidence"


def palette_of(values: npt.NDArray[np.float32]) -> Palette:
    """Return "diverging" for a map with negative values, else "sequential"."""
    return "diverging" if (values < 0).any() else "sequential"
