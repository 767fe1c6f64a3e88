"""What a plausible perturbation is to those who use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


class Plausible(Protocol):
    """A frozen dataclass of its magnitudes; `control` says that it changes nothing but what resampling does."""

    control: ClassVar[bool]

    @property
    def name(self) -> str:
        """Return words that tell it, with its magnitudes, from every other one."""

    def apply(self, x: Tensor, seed: int) -> Tensor:
        """Return the changed image (1, C, *S) of x (1, C, *S); the seed matters only where noise is drawn."""


@runtime_checkable
class Moving(Plausible, Protocol):
    """A perturbation after which things lie elsewhere."""

    def restore(self, attribution: Tensor) -> tuple[Tensor, Tensor]:
        """Return a map (*S) of the changed image on the grid of the unchanged one, and where (*S, bool) it is known."""
