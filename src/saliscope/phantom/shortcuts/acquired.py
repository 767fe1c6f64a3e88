"""Shortcuts without a place: how the picture was taken. No map can show where they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.scene import Acquisition


@dataclass(frozen=True)
class Exposure:
    """The exposure, or the gain, times a factor."""

    kind: ClassVar[str] = "exposure"

    name: str = "exposure"
    role: Role = "shortcut"
    factor: Range = 1.15

    def plant(self, site: Site) -> Plant:
        """Return the change of the acquisition."""
        factor = site.drawn(self.factor)

        def taking(usual: Acquisition) -> Acquisition:
            return replace(usual, exposure=usual.exposure * factor)

        return Plant(None, taking=taking)


@dataclass(frozen=True)
class Noise:
    """The noise times a factor."""

    kind: ClassVar[str] = "noise"

    name: str = "noise"
    role: Role = "shortcut"
    factor: Range = 1.8

    def plant(self, site: Site) -> Plant:
        """Return the change of the acquisition."""
        factor = site.drawn(self.factor)

        def taking(usual: Acquisition) -> Acquisition:
            return replace(usual, noise=usual.noise * factor)

        return Plant(None, taking=taking)


@dataclass(frozen=True)
class Blur:
    """A scanner that draws less sharply: a Gaussian of this standard deviation more, in millimetres."""

    kind: ClassVar[str] = "blur"

    name: str = "blur"
    role: Role = "shortcut"
    blur_mm: Range = 1.5

    def plant(self, site: Site) -> Plant:
        """Return the change of the acquisition."""
        more = site.drawn(self.blur_mm)

        def taking(usual: Acquisition) -> Acquisition:
            return replace(usual, blur_mm=(usual.blur_mm**2 + more**2) ** 0.5)

        return Plant(None, taking=taking)


@dataclass(frozen=True)
class Resolution:
    """A detector whose elements are so many times larger."""

    kind: ClassVar[str] = "resolution"

    name: str = "resolution"
    role: Role = "shortcut"
    pixel: Range = 2.0

    def plant(self, site: Site) -> Plant:
        """Return the change of the acquisition."""
        larger = site.drawn(self.pixel)

        def taking(usual: Acquisition) -> Acquisition:
            return replace(usual, pixel=usual.pixel * larger)

        return Plant(None, taking=taking)
