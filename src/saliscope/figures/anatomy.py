"""Places in words: parts of a picture, or of the patient where the orientation is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import ENDS, Geometry

_WORDS = {"L": "left", "R": "right", "P": "posterior", "A": "anterior", "I": "inferior", "S": "superior"}
#: Less than this share of the way from the middle to the edge is the middle: thirds.
MIDDLE = 1 / 3


def axes_of(geometry: Geometry) -> tuple[int, int, int]:
    """Return which array axis runs most nearly along each world axis (x, y, z) of a volume."""
    from scipy.optimize import linear_sum_assignment

    arrays, worlds = linear_sum_assignment(-np.abs(np.array(geometry.direction)))
    of_world = dict(zip(worlds.tolist(), arrays.tolist(), strict=True))
    return of_world[0], of_world[1], of_world[2]


def place_of(index: Sequence[float] | npt.NDArray[np.float64], geometry: Geometry) -> str:
    """Return where an index lies, in thirds of the image: in patient words if known, else as on the picture."""
    shape = np.array(geometry.shape)
    offset = 2 * (np.asarray(index) + 0.5) / shape - 1
    if geometry.frame == "patient":
        return _in_patient(offset, geometry)
    vertical = _third(offset[-2], ("upper", "middle", "lower"))
    horizontal = _third(offset[-1], ("left", "centre", "right"))
    picture = "centre" if (vertical, horizontal) == ("middle", "centre") else f"{vertical} {horizontal}"
    if geometry.ndim == 2:
        return f"{picture} of the picture"
    return f"{_third(offset[0], ('first', 'middle', 'last'))} third of the planes, {picture} of the picture"


def _in_patient(offset: npt.NDArray[np.float64], geometry: Geometry) -> str:
    parts: list[tuple[int, str]] = []
    for axis, letters in enumerate(geometry.letters or ()):
        letter = (letters[0] if offset[axis] < 0 else letters[1])[:1]
        if letter and abs(offset[axis]) > MIDDLE:
            world = next(w for w, ends in enumerate(ENDS) if letter in ends)
            parts.append((-world, "patient's " + _WORDS[letter] if world == 0 else _WORDS[letter]))
    what = "image" if geometry.ndim == 2 else "volume"
    if not parts:
        return f"middle of the {what}"
    return f"{', '.join(words for _, words in sorted(parts))} third of the {what}"


def _third(offset: float, words: tuple[str, str, str]) -> str:
    return words[1] if abs(offset) <= MIDDLE else words[0] if offset < 0 else words[2]
