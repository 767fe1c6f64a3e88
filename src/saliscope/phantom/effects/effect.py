"""What was found of one phantom and one network: what each element does to each score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import ModelError
from saliscope.phantom.element import Role

Doubles = npt.NDArray[np.float64]
#: A score that moves less than this part of itself did not move: some steps of float32.
STEADY = 1e-5


@dataclass(frozen=True)
class Cost:
    """What it took: pictures that were rendered, and samples that went through the network."""

    renderings: int
    forward_samples: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.renderings + other.renderings, self.forward_samples + other.forward_samples)


@dataclass(frozen=True, eq=False)
class Effects:
    """What each of m elements of one case does to K scores; arrays (m, K) in the order of `elements` and `labels`.

    `removal` is the score of the whole picture minus that of the picture without the element; `alone` that of the
    picture with only this element minus that with none; `shapley` the mean over all orders in which elements may come
    in. `everything` and `nothing` (K,) are the scores with all elements and with none. `error` is the standard error
    of `shapley` where orders were drawn with `seed`, else None: then it is exact. Arrays are read-only.
    Raises ModelError when the Shapley values do not add up to the total.
    """

    case: str
    labels: tuple[str, ...]
    elements: tuple[str, ...]
    roles: tuple[Role, ...]
    shapley: Doubles = field(repr=False)
    removal: Doubles = field(repr=False)
    alone: Doubles = field(repr=False)
    everything: Doubles = field(repr=False)
    nothing: Doubles = field(repr=False)
    cost: Cost
    error: Doubles | None = field(default=None, repr=False)
    seed: int | None = None

    def __post_init__(self) -> None:
        arrays = (self.shapley, self.removal, self.alone, self.everything, self.nothing)
        for array in (*arrays, *(() if self.error is None else (self.error,))):
            array.setflags(write=False)
        gap = np.abs(self.shapley.sum(axis=0) - self.total)
        if not (gap <= 1e-9 * np.maximum(1, np.abs(self.everything) + np.abs(self.nothing))).all():
            raise ModelError(
                f"Shapley values of {self.case!r} that miss the total by {gap.max():.3g}",
                expected="values that add up to it",
                do="Check that the network gives the same scores for the same picture.",
            )

    @property
    def total(self) -> Doubles:
        """Return the scores (K,) with all elements minus those with none: what the Shapley values add up to."""
        return self.everything - self.nothing

    @property
    def interaction(self) -> Doubles:
        """Return removal minus alone (m, K): above 0 it needs the others, below 0 they can stand in for it."""
        return self.removal - self.alone

    @property
    def moved(self) -> npt.NDArray[np.bool_]:
        """Return for which scores (K,) any element did anything that is more than rounding."""
        floor = STEADY * np.maximum(1, np.maximum(np.abs(self.everything), np.abs(self.nothing)))
        found: npt.NDArray[np.bool_] = np.abs(self.shapley).sum(axis=0) > floor
        return found

    @property
    def share(self) -> Doubles:
        """Return each element's part (m, K) of the sum of absolute Shapley values; all 0 for a score that stood still.

        Absolute, so that two elements that pull a score in opposite directions do not seem to do nothing.
        """
        size = np.abs(self.shapley)
        whole = size.sum(axis=0)
        return np.where(self.moved, size / np.where(whole > 0, whole, 1), 0.0)

    @property
    def share_by_role(self) -> Mapping[Role, Doubles]:
        """Return the parts (K,) of the elements of each role together, for the roles that are there."""
        return {r: self._of_role(self.share, r) for r in dict.fromkeys(self.roles)}

    @property
    def shapley_by_role(self) -> Mapping[Role, Doubles]:
        """Return the Shapley values (K,) of the elements of each role together, for the roles that are there."""
        return {r: self._of_role(self.shapley, r) for r in dict.fromkeys(self.roles)}

    def _of_role(self, values: Doubles, role: Role) -> Doubles:
        found: Doubles = values[[r == role for r in self.roles]].sum(axis=0)
        return found
