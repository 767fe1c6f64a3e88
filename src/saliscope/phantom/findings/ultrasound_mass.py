"""Lesions of a sonogram: a dark mass whose outline may decide, and a cyst; with what the beam loses behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from saliscope.core.errors import InputError, did_you_mean
from saliscope.core.region import Region
from saliscope.phantom.case import SOURCE, Case
from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.ultrasound_waves import Reals

Margin = Literal["smooth", "lobulated", "spiculated"]
#: A lobe is a disc of this radius, with its middle so far from that of the mass.
LOBE, LOBE_AT = 0.50, 0.62
#: What lies nearer to a mass than this belongs to its rim, not to its shadow.
RIM_MM = 1.5
MARGINS: tuple[Margin, ...] = ("smooth", "lobulated", "spiculated")


@dataclass(frozen=True)
class UltrasoundMass:
    """A mass darker than what lies around it by `contrast` in parts of the scene's own (20 dB).

    `width_mm` is the axis along the skin, `tall` the other axis as a share of it, `tilt` its turn in degrees. `margin`
    gives the outline: an ellipse, 3 to 5 lobes, or spicules; place, area, echo and shadow do not depend on it.
    `posterior` is what the mass does to the beam: decibels right behind it, a shadow below 0, brighter above 0; that
    change lies outside the mask (see `behind`). `grain_db` is how uneven its echo is, `kept` the share of the tissue's
    own structure that still shows in it; `edge_mm` is about the width of its soft rim, half of it outside the mask.
    Raises InputError for an unknown margin.
    """

    kind: ClassVar[str] = "ultrasound-mass"

    name: str = "mass"
    role: Role = "finding"
    margin: Margin = "smooth"
    width_mm: Range = (6.0, 13.0)
    tall: Range = (0.6, 0.9)
    tilt: Range = (-20.0, 20.0)
    contrast: Range = (0.4, 0.75)
    posterior: Range = (-5.0, 2.0)
    grain_db: float = 1.5
    kept: float = 0.3
    edge_mm: float = 1.0
    within: str = "home"

    def __post_init__(self) -> None:
        if self.margin not in MARGINS:
            raise InputError(f"margin {self.margin!r}", expected=", ".join(MARGINS), do="Name one of these.")

    def plant(self, site: Site) -> Plant:
        """Return the mass in its place."""
        rng, signal = site.rng, site.anatomy.signal
        half = site.drawn(self.width_mm) / 2
        tall, tilt = half * site.drawn(self.tall), np.deg2rad(site.drawn(self.tilt))
        darker, after_db = site.drawn(self.contrast) * site.scene.contrast, site.drawn(self.posterior)
        middle = _place(site, self.within, half)
        turns, outline = rng.uniform(0, 2 * np.pi, (6, 2)), _outline(rng, self.margin)
        spacing = site.anatomy.geometry.spacing
        down, right = ((np.arange(n) - c) * s for n, c, s in zip(signal.shape, middle, spacing, strict=True))
        down = down[:, None]
        along = (right * np.cos(tilt) + down * np.sin(tilt)) / half
        athwart = (down * np.cos(tilt) - right * np.sin(tilt)) / tall
        beyond = (np.hypot(along, athwart) / outline(np.arctan2(athwart, along)) - 1) * np.sqrt(half * tall)
        mask = beyond <= 0
        share = _ramp(0.5 - beyond / self.edge_mm)
        usual = float(signal[mask].mean())
        level = usual - darker + self.grain_db * _grain(turns, right, down) + self.kept * (signal - usual)
        across = float(np.hypot(half * np.cos(tilt), tall * np.sin(tilt)))
        deep = float(np.hypot(half * np.sin(tilt), tall * np.cos(tilt)))
        after = after_db * _after(right, down, across, deep) * (1 - share)

        def body(before: Floats) -> Floats:
            found: Floats = (before + share * (level - before) + after).astype(np.float32)
            return found

        return Plant(mask, body=body)


@dataclass(frozen=True)
class Cyst(UltrasoundMass):
    """A cyst: no echo within, smooth, wider than tall, and the tissue behind it is brighter."""

    kind: ClassVar[str] = "cyst"

    name: str = "cyst"
    tall: Range = (0.55, 0.8)
    contrast: Range = (1.6, 2.0)
    posterior: Range = (4.0, 7.0)
    grain_db: float = 0.0
    kept: float = 0.0
    edge_mm: float = 0.5


def behind(case: Case, name: str, least_db: float = 0.5) -> Region:
    """Return what an element casts: where it changes the signal by `least_db` further than 1.5 mm from its own mask.

    A network may rightly use it, and `Case.truth` does not count it: a map may be judged with it and without.
    Raises InputError for a name that is not there or an element without a place.
    """
    from scipy.ndimage import distance_transform_edt

    plant, geometry = case.plants.get(name), case.anatomy.geometry
    if plant is None or plant.body is None or plant.mask is None:
        raise InputError(f"element {name!r} of {case.name!r}", do=did_you_mean(name, case.regions or ["(none)"]))
    change = np.abs(plant.body(case.anatomy.signal) - case.anatomy.signal) >= least_db
    beyond = distance_transform_edt(~plant.mask, sampling=geometry.spacing) > RIM_MM
    seen = case.anatomy.compartments[case.scene.body]
    return Region(change & beyond & seen, geometry, f"behind {name}", SOURCE)


def _place(site: Site, within: str, radius_mm: float) -> tuple[float, float]:
    """Return an index in a compartment, away from its rim where there is room: nearly the same on every grid (mm)."""
    from scipy.ndimage import distance_transform_edt

    geometry = site.anatomy.geometry
    free = site.compartment(within) & ~site.taken
    if not free.any():
        raise InputError(f"no room left in {within!r}", expected="a compartment that is not full", do="Plant fewer.")
    room = distance_transform_edt(np.pad(free, 1), sampling=geometry.spacing)[1:-1, 1:-1]
    tried = site.rng.uniform(0, 1, (400, 2)) * np.array(geometry.shape) - 0.5
    rows, columns = np.rint(tried).astype(int).clip(0, np.array(geometry.shape) - 1).T
    wide = room[rows, columns] >= min(radius_mm, 0.9 * float(room.max()))
    chosen = tried[int(np.argmax(wide))] if wide.any() else np.argwhere(room == room.max())[0]
    return float(chosen[0]), float(chosen[1])


def _outline(rng: np.random.Generator, margin: Margin) -> Callable[[Reals], Reals]:
    """Return the radius of an outline by angle, of the area of the unit circle."""
    count = {"smooth": 1, "lobulated": int(rng.integers(3, 6)), "spiculated": int(rng.integers(9, 15))}[margin]
    places = 2 * np.pi * ((np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count + rng.uniform())
    heights, widths = rng.uniform(0.4, 1.0, count), rng.uniform(0.10, 0.16, count)
    turns, uneven = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.01, 0.06, 2)

    def plain(angle: Reals) -> Reals:
        away = np.abs((angle[..., None] - places + np.pi) % (2 * np.pi) - np.pi)
        radius = np.ones(angle.shape)
        for k, u, t in zip((2, 3), uneven, turns, strict=True):
            radius += u * np.cos(k * angle + t)
        if margin == "spiculated":
            radius = radius + (heights * np.exp(-away / widths)).max(axis=-1)
        if margin == "lobulated":
            reach = LOBE**2 - (LOBE_AT * np.sin(away)) ** 2
            facing = (reach > 0) & (away < np.pi / 2)
            lobes = np.where(facing, LOBE_AT * np.cos(away) + np.sqrt(np.maximum(reach, 0)), 0)
            radius = radius * np.maximum(0.72, (lobes * (0.8 + 0.25 * heights)).max(axis=-1))
        return radius

    size = np.sqrt(np.mean(plain(np.linspace(-np.pi, np.pi, 721)[:-1]) ** 2))

    def outline(angle: Reals) -> Reals:
        found: Reals = plain(angle) / size
        return found

    return outline


def _grain(turns: Reals, right: Reals, down: Reals) -> Reals:
    """Return an uneven echo within the mass (*S) of variance about 1."""
    sums = np.zeros(np.broadcast_shapes(right.shape, down.shape))
    for i, (a, b) in enumerate(turns):
        sums += np.sin(right / (0.5 + 0.3 * i) + a) * np.sin(down / (0.4 + 0.25 * i) + b)
    found: Reals = sums * (2 / np.sqrt(len(turns)))
    return found


def _after(right: Reals, down: Reals, across: float, deep: float) -> Reals:
    """Return how much of the change behind the mass holds (*S), 0 to 1; it fades over 15 mm."""
    column = right / across
    below = down - deep * np.sqrt(np.clip(1 - column**2, 0, 1))
    found: Reals = _ramp((1.05 - np.abs(column)) / 0.3) * _ramp(below) * np.exp(-np.maximum(below, 0) / 15)
    return found


def _ramp(value: Reals) -> Reals:
    """Return a soft step that is 0 below 0 and 1 above 1."""
    inside = np.clip(value, 0, 1)
    found: Reals = inside * inside * (3 - 2 * inside)
    return found
