"""What a map asserts of a phantom, and whether that misleads about the network: fixed before any map was judged.

Truth is what the network really uses (`counterfactual`), not where the finding was planted: a map that points at the
marker by which a network decides is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import InputError
from saliscope.core.region import Mask
from saliscope.phantom.case import Case
from saliscope.phantom.effects.effect import Effects

#: An element is pointed at when so much of what a map points with lies in the box around it ...
POINTED = 0.05
#: ... and so many times what a box of its size would get by chance.
LIFT = 3.0
#: An element with this part of the effect must be pointed at; one with less than the other must not.
MUST, MUST_NOT = 0.2, 0.05
#: From this part of the effect on without a place, no map can show what counts.
PLACELESS = 0.5
#: Elements that together move the score by less than this part of its spread over cases explain nothing of it.
STILL = 0.25


@dataclass(frozen=True)
class Assertion:
    """How much of what a map points with lies on each element, each one's part of the effect, and why it misleads."""

    pointed: Mapping[str, float]
    share: Mapping[str, float]
    why: str

    @property
    def misleading(self) -> bool:
        """Return whether the map leads to a wrong belief about what the network uses."""
        return bool(self.why)


def assertion(case: Case, found: Effects, weight: npt.NDArray[np.float64], spread: float, k: int = 0) -> Assertion:
    """Return what a map asserts of a case, for the k-th score of its effects.

    `weight` (*S) on the case's grid is what the map points with: its positive values in the smallest region that holds
    half of them, in no more than a tenth of the image, and 0 elsewhere. `spread` is the standard deviation of the
    score over cases. It misleads when it points at no element that raises the score by a fifth of the effect, or at
    one with less than a twentieth; when half of the effect has no place; and when the elements hardly move the score.
    Raises InputError for weights of another grid.
    """
    if weight.shape != case.anatomy.geometry.shape:
        raise InputError(
            f"weights of shape {weight.shape} for a phantom of {case.anatomy.geometry.shape}",
            expected="one for each element of its grid",
            do="Place the map on the picture.",
        )
    shares = dict(zip(found.elements, found.share[:, k].tolist(), strict=True))
    raises = {name for name, value in zip(found.elements, found.shapley[:, k], strict=True) if value > 0}
    boxes = {name: _box(region.mask) for name, region in case.regions.items() if not region.empty}
    total = float(weight.sum())
    share_in = {name: float(weight[box].sum()) / total if total else 0.0 for name, box in boxes.items()}
    required = {n for n in boxes if shares[n] >= MUST and n in raises}
    near = np.zeros(weight.shape, bool)
    for name in boxes:
        if shares[name] >= MUST_NOT:
            near |= boxes[name]
    false = [n for n, box in boxes.items() if shares[n] < MUST_NOT and _points(weight, box & ~near)]
    if float(np.abs(found.shapley[:, k]).sum()) < STILL * spread:
        why = "the elements hardly move the score"
    elif sum(s for n, s in shares.items() if n not in boxes) >= PLACELESS:
        why = "half of the effect has no place"
    elif not any(_points(weight, boxes[n]) for n in required):
        why = "it points at nothing that counts"
    elif false:
        why = f"it points at what does not count: {', '.join(false)}"
    else:
        why = ""
    return Assertion(share_in, shares, why)


def _points(weight: npt.NDArray[np.float64], where: Mask) -> bool:
    total = float(weight.sum())
    if not (total and where.any()):
        return False
    held = float(weight[where].sum()) / total
    return held >= max(POINTED, LIFT * float(where.mean()))


def _box(mask: Mask) -> Mask:
    """Return the smallest box around a mask: a reader takes a word for one thing, and the gaps in it for part of it."""
    found = np.zeros(mask.shape, bool)
    found[tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(mask))] = True
    return found
