"""bach2015, section 2.3: what the way back leaves with biases, stabilisers and hidden terms, counted as it is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Ledger:
    """Sums relevance that no element of the image receives: `absorbed` with its sign, `size` without.

    Counting knows no axis of images, because networks fold windows, slices and tokens into it: count one at a time.
    """

    def __init__(self) -> None:
        self.absorbed, self.size = 0.0, 0.0

    def add(self, values: Tensor) -> None:
        """Count values that stay where they are."""
        amounts = values.detach().double()
        self.absorbed += float(amounts.sum())
        self.size += float(amounts.abs().sum())

    def take(self) -> tuple[float, float]:
        """Return what was counted since the last time, and its size, and begin anew."""
        found = self.absorbed, self.size
        self.absorbed = self.size = 0.0
        return found
