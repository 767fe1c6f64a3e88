"""A round lesion, in two or three dimensions: from below one cell of a CAM to a mass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.scene import Floats

#: A finding's mask holds what it changes by more than this part of its peak.
SEEN = 0.1
#: Modalities that show a body's depth in one plane: a ball is brightest where it is deepest.
PROJECTIONS = frozenset(("CR", "DX", "MG", "RF", "XA"))


@dataclass(frozen=True)
class Nodule:
    """A disc or ball with a soft rim; `contrast` in parts of the scene's own (chest: 1 is soft tissue in air).

    `diameter_mm` is where it changes the signal by a tenth of its peak, and so is its mask; `edge` is the width of its
    rim as a share of its radius. In a projection it is the shadow of a ball. Where it lies is drawn in a compartment.
    """

    kind: ClassVar[str] = "nodule"

    name: str = "nodule"
    role: Role = "finding"
    diameter_mm: Range = (16.0, 28.0)
    contrast: Range = (0.4, 0.65)
    edge: float = 0.35
    within: str = "home"

    def plant(self, site: Site) -> Plant:
        """Return the nodule in its place."""
        radius = site.drawn(self.diameter_mm) / 2
        height = site.drawn(self.contrast) * site.scene.contrast
        ratio = site.distance_mm(site.spot(self.within, radius)) / np.float32(radius)
        soft = profile(ratio, self.edge, site.scene.modality in PROJECTIONS)
        return Plant(ratio <= 1, body=added(soft, height))


def tiny(name: str = "tiny", contrast: Range = (0.45, 0.7), role: Role = "finding") -> Nodule:
    """Return a nodule of 4 to 6 mm: in a chest radiograph smaller than a cell of most class activation maps."""
    return Nodule(name, role, (4.0, 6.0), contrast)


def added(effect: Floats, height: float) -> Callable[[Floats], Floats]:
    """Return what adds an effect (*S), `height` at its peak, to a signal (*S)."""

    def body(signal: Floats) -> Floats:
        found: Floats = (signal + np.float32(height) * effect).astype(np.float32)
        return found

    return body


def profile(ratio: Floats, edge: float, projected: bool) -> Floats:
    """Return how much of its peak a soft body shows (*S) at a ratio (*S) of the way from its centre to its rim.

    1 at the centre and SEEN at ratio 1; projected: the depth of a soft ball, which falls as that of a circle does.
    """
    at, shown = _table(edge, projected)
    found: Floats = np.interp(ratio, at, shown).astype(np.float32)
    return found


@lru_cache(maxsize=64)
def _table(edge: float, projected: bool) -> tuple[Floats, Floats]:
    width = max(edge / 2, 1e-3)
    at = np.linspace(0, 3, 601)
    depth = np.linspace(0, 3, 601) if projected else np.zeros(1)
    shown = (0.5 - 0.5 * np.tanh((np.hypot(at[:, None], depth) - 1) / width)).sum(1)
    shown = shown / shown[0]
    rim = float(np.interp(-SEEN, -shown, at))
    return (at / rim).astype(np.float32), shown.astype(np.float32)
