"""Windows of an image that are taken away one at a time, and the ways to run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

#: "full" runs every changed image whole. "exact" runs of each map only what a window changes, with the same result.
#: "approximate" cuts that region where the map hardly differs, certified on windows of the image itself. "auto" is
#: exact where that saves time, and full elsewhere.
WindowEngine = Literal["auto", "full", "exact", "approximate"]


@dataclass(frozen=True)
class Windows:
    """Windows of one size that begin at the product of `begins` along the axes, the last axis fastest.

    `changed` numbers those that change the image. `fidelity` is the least Pearson correlation of an approximate map
    with the exact one. `memory_mb` bounds what is held at once. `content` gives what stands in a window (C, *size)
    by its number, where that is not the same image for all.
    """

    size: Sequence[int]
    begins: Sequence[Sequence[int]]
    changed: Sequence[int]
    engine: WindowEngine = "auto"
    fidelity: float = 0.995
    memory_mb: float = 1024
    content: Callable[[int], Tensor] | None = None
