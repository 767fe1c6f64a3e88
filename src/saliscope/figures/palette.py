"""Colours of maps: even steps of lightness, no rainbow, and nothing where there is nothing."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Palette = Literal["sequential", "diverging"]
Bytes = npt.NDArray[np.uint8]

#: Below this share of the scale's limit nothing is drawn.
THRESHOLD = 0.1
#: How strongly the highest value covers the image.
MAX_ALPHA = 0.5
#: The dark ends of the tables are left out: on a dark image they would hide, not show.
_SKIPPED = {"sequential": 0.35, "diverging": 0.3}
#: inferno: Smith and van der Walt; berlin: Crameri, dark in the middle, equally light at both ends.
_TABLE = {"sequential": "inferno", "diverging": "berlin"}


@lru_cache(maxsize=2)
def table(palette: Palette) -> Bytes:
    """Return the colours (511, 3) of -1..1; a sequential palette uses the upper half."""
    from matplotlib import colormaps

    t = np.linspace(-1, 1, 511)
    dark = _SKIPPED[palette]
    strength = dark + (1 - dark) * np.abs(t)
    position = strength if palette == "sequential" else 0.5 + np.sign(t) * strength / 2
    colours: Bytes = np.round(colormaps[_TABLE[palette]](position)[:, :3] * 255).astype(np.uint8)
    colours.setflags(write=False)
    return colours


def colours(t: npt.ArrayLike, palette: Palette) -> Bytes:
    """Return RGB (..., 3) of t in -1..1, beyond which it is clipped."""
    index = np.round((np.clip(np.asarray(t, dtype=np.float32), -1, 1) + 1) * 255).astype(np.intp)
    return np.asarray(table(palette)[index])


def alpha(t: npt.ArrayLike, palette: Palette, most: float = MAX_ALPHA) -> npt.NDArray[np.float32]:
    """Return how strongly t in -1..1 covers the image: 0 below the threshold, rising evenly to `most`."""
    t = np.asarray(t, dtype=np.float32)
    strength = np.abs(t) if palette == "diverging" else t
    return np.asarray(most * np.clip((strength - THRESHOLD) / (1 - THRESHOLD), 0, 1), dtype=np.float32)
