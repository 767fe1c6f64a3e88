"""The breast under a linear probe: skin, fat with its ligaments, glandular tissue, muscle, ribs, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from saliscope.core.region import Mask
from saliscope.phantom.scenes.ultrasound_waves import Reals, Waves

#: Mean echo of each tissue (dB against glandular tissue).
ECHO_DB = {"skin": -5.0, "fat": -11.0, "glandular": 0.0, "muscle": -16.0, "chest_wall": -22.0}
#: How soft the step from one tissue to the next is (mm).
SEAM_MM = 0.35


@dataclass(frozen=True, eq=False)
class Layers:
    """Depths (columns,) of the layers' upper ends in mm below the probe, at depths `z` and widths `x` (mm).

    `sheet` is the smooth depth along which the texture lies; `ligaments` are the widths where ligaments rise.
    """

    z: Reals = field(repr=False)
    x: Reals = field(repr=False)
    skin: Reals = field(repr=False)
    fat: Reals = field(repr=False)
    glandular: Reals = field(repr=False)
    muscle: Reals = field(repr=False)
    chest_wall: Reals = field(repr=False)
    sheet: Reals = field(repr=False)
    ligaments: Reals = field(repr=False)

    @property
    def masks(self) -> Mapping[str, Mask]:
        """Return where each tissue lies (*S)."""
        z = self.z[:, None]
        ends = [self.skin, self.fat, self.glandular, self.muscle, self.chest_wall, np.full(self.x.shape, np.inf)]
        return {name: (z >= a) & (z < b) for name, a, b in zip(ECHO_DB, ends[:-1], ends[1:], strict=True)}


def layers(rng: np.random.Generator, z: Reals, x: Reals) -> Layers:
    """Return the layers of a breast; `z` and `x` are the depths and widths (mm) of rows and columns."""
    skin = np.full(x.shape, 0.7) + 0.15 * wave(rng, x, 40)
    fat = skin + rng.uniform(1.2, 2.0)
    roots = np.sort(rng.uniform(2, 46, rng.integers(3, 6)))
    peaks = np.zeros_like(x)
    for root in roots:
        peaks += rng.uniform(0.8, 2.6) * np.exp(-np.abs(x - root) / rng.uniform(1.0, 2.2))
    thick = rng.uniform(4, 12) + rng.uniform(0.6, 1.6) * wave(rng, x, 45) + 0.35 * wave(rng, x, 7)
    glandular = fat + np.maximum(thick - peaks, 0.8)
    bottom = rng.uniform(22, 31) + rng.uniform(0.4, 1.5) * wave(rng, x, 90) + 0.25 * wave(rng, x, 14)
    muscle = np.maximum(bottom, glandular + 8)
    chest_wall = muscle + rng.uniform(7, 12) + rng.uniform(0.2, 1.0) * wave(rng, x, 90)
    return Layers(z, x, skin, fat, glandular, muscle, chest_wall, fat + thick, roots)


def wave(rng: np.random.Generator, x: Reals, length_mm: float) -> Reals:
    """Return a smooth random curve (columns,) of variance about 1 whose slowest wave is `length_mm` long."""
    lengths = length_mm / np.array([1.0, 1.6, 2.5])
    turns = rng.uniform(0, 2 * np.pi, 3)
    result: Reals = np.sqrt(2 / 1.75) * sum(
        a * np.sin(2 * np.pi * x / n + t) for a, n, t in zip((1, 0.7, 0.5), lengths, turns, strict=True)
    )
    return result


def echoes(rng: np.random.Generator, here: Layers) -> Reals:
    """Return the echo (*S) of the tissues in dB: means, lobules, ligaments, fibres, fasciae, ribs and lung."""
    z = here.z[:, None]
    tops = [here.fat, here.glandular, here.muscle, here.chest_wall]
    means = [m + rng.normal(0, 1.5) for m in ECHO_DB.values()]
    level = np.full((here.z.size, here.x.size), means[0])
    for top, before, after in zip(tops, means[:-1], means[1:], strict=True):
        level += (after - before) * step(z - top, SEAM_MM)
    for part in (_skin, _fat, _glandular, _muscle, _chest_wall):
        level += part(rng, here)
    return level


def step(distance: Reals, width: float) -> Reals:
    """Return a soft step from 0 to 1 around 0."""
    result: Reals = 0.5 + 0.5 * np.tanh(distance / width)
    return result


def line(distance: Reals, width: float) -> Reals:
    """Return a ridge of height 1 where the distance is 0."""
    result: Reals = np.exp(-0.5 * (distance / width) ** 2)
    return result


def strands(height: Reals, here: Layers, width: float) -> Reals:
    """Return ridges (*S) of height 1 along the zero lines of a smooth field."""
    down, right = np.gradient(height, here.z, here.x)
    return line(height / np.sqrt(down**2 + right**2 + 1e-3), width)


def _within(here: Layers, top: Reals, bottom: Reals) -> Reals:
    z = here.z[:, None]
    return step(z - top, SEAM_MM) * step(bottom - z, SEAM_MM)


def _skin(rng: np.random.Generator, here: Layers) -> Reals:
    """Return the probe's own band and the two bright lines of the skin."""
    z = here.z[:, None]
    probe = 14 * line(z - 0.1, 0.25)
    upper, lower = (7 + 3 * wave(rng, here.x, 20) for _ in range(2))
    return probe + upper * line(z - here.skin, 0.18) + lower * line(z - here.fat, 0.2)


def _fat(rng: np.random.Generator, here: Layers) -> Reals:
    """Return lobules, their septa, and the ligaments that rise from the glandular tissue to the skin."""
    inside = _within(here, here.fat, here.glandular)
    lobules = Waves.drawn(rng, 1.7, 5.0).along(here.z, here.x, 0.5 * here.sheet)
    fibres = Waves.drawn(rng, 0.35, 1.9).along(here.z, here.x, 0.5 * here.sheet)
    broken = step(fibres.imag + lobules.imag - 0.8, 0.5)
    septa = 14 * strands(lobules.real, here, 0.2) * broken + 8 * np.maximum(fibres.real - 1.2, 0)
    found = inside * (1.5 * lobules.imag + 1.0 * fibres.imag + septa)
    z = here.z[:, None]
    for root in here.ligaments:
        end = float(np.interp(root, here.x, here.glandular))
        start = float(np.interp(root, here.x, here.fat))
        way = np.clip((end - z) / max(end - start, 1), 0, 1)
        lean, bow, bright = rng.normal(0, 4), rng.normal(0, 1), rng.uniform(3, 10)
        beside = (here.x - root - lean * way - bow * np.sin(np.pi * way)) / np.hypot(1, lean / max(end - start, 1))
        along = step(z - start, 0.3) * step(end + 0.6 - z, 0.3) * np.clip(1 + 0.6 * fibres.imag, 0, 2)
        found += bright * line(beside, 0.28) * along
    edge = np.maximum(3.0 + 3.5 * wave(rng, here.x, 16), 0)
    result: Reals = found + edge * line(z - here.glandular, 0.3)
    return result


def _glandular(rng: np.random.Generator, here: Layers) -> Reals:
    """Return patches of stroma and lobules, short streaks, and dark ducts."""
    inside = _within(here, here.glandular, here.muscle)
    sheet = 0.5 * (here.sheet + here.muscle)
    patches = Waves.drawn(rng, 1.5, 3.6).along(here.z, here.x, sheet)
    streaks = Waves.drawn(rng, 0.34, 1.7).along(here.z, here.x, sheet)
    lobules = Waves.drawn(rng, 0.6, 1.4).along(here.z, here.x, sheet)
    texture = 2.5 * patches.real + 2.6 * streaks.real + 9 * np.maximum(streaks.imag - 1.1, 0)
    ducts = -9.0 * step(lobules.real - 1.35, 0.25) - 3.5 * np.maximum(lobules.imag, 0) * step(patches.imag, 0.5)
    retro = rng.uniform(0.6, 3.0) + 0.5 * wave(rng, here.x, 18)
    fatty = step(here.z[:, None] - (here.muscle - retro), 0.5)
    result: Reals = inside * ((texture + ducts) * (1 - 0.5 * fatty) - 10 * fatty)
    return result


def _muscle(rng: np.random.Generator, here: Layers) -> Reals:
    """Return the fascia and the long fibres of the pectoral muscle."""
    inside = _within(here, here.muscle, here.chest_wall)
    fibres = Waves.drawn(rng, 0.3, 3.6).along(here.z, here.x, here.muscle)
    broad = Waves.drawn(rng, 1.0, 6.0).along(here.z, here.x, here.muscle)
    z = here.z[:, None]
    fascia = np.maximum(6 + 5 * wave(rng, here.x, 25), 0) * line(z - here.muscle, 0.3)
    bright = 9 * np.maximum(fibres.imag + 0.4 * broad.imag - 0.8, 0)
    result: Reals = fascia + inside * (2.5 * fibres.real + 2 * broad.real + bright)
    return result


def _chest_wall(rng: np.random.Generator, here: Layers) -> Reals:
    """Return ribs, dark ovals behind a bright rim, and between them the pleura's bright line before the lung."""
    z, x = here.z[:, None], here.x
    pleura = here.chest_wall + rng.uniform(4, 6.5)
    fibres = Waves.drawn(rng, 0.4, 2.5).along(here.z, x, here.chest_wall)
    inside = step(z - here.chest_wall, SEAM_MM)
    lung = step(z - pleura, 0.3)
    bright = np.maximum(20 + 5 * wave(rng, x, 20), 0)
    found = np.maximum(7 + 5 * wave(rng, x, 25), 0) * line(z - here.chest_wall, 0.35) + bright * line(z - pleura, 0.45)
    found += inside * (1 - lung) * (2 * fibres.real + 6 * np.maximum(fibres.imag - 1, 0))
    found += lung * (9 * np.exp(-np.maximum(z - pleura, 0) / 5) - 3)
    centre = rng.uniform(-4, 22)
    while centre < x[-1] + 8:
        half, tall = rng.uniform(4.5, 7.0), rng.uniform(3.0, 4.5)
        middle = np.interp(centre, x, here.chest_wall) + tall + rng.uniform(0.0, 1.0)
        arch = np.clip(1 - ((x - centre) / half) ** 2, 0, 1)
        upper = middle - tall * arch
        behind = np.minimum(1.8 * arch, 1) * step(z - upper, 0.3)
        found = found * (1 - behind) + behind * (-5 - 6 * step(z - middle, 2.5))
        found += rng.uniform(5, 12) * arch * line(z - upper, 0.4)
        centre += 2 * half + rng.uniform(9, 15)
    return found


def shade(rng: np.random.Generator, here: Layers) -> Reals:
    """Return what the way through the tissue leaves of the beam (*S) in dB, after the gain was set by depth."""
    z = here.z[:, None]
    deep = np.clip(z / 44, 0, 1)
    tilt = rng.uniform(-4, 4) * (here.x / 48 - 0.5)
    found = tilt - rng.uniform(6, 13) * deep**2 - 1.5 * np.exp(-z / 3)
    bands = np.maximum(wave(rng, here.x, 9) + 0.6 * wave(rng, here.x, 30) - 1.1, 0)
    found -= rng.uniform(1, 5) * bands * step(z - here.fat - 2, 2)
    for root in here.ligaments:
        band, below = line(here.x - root, rng.uniform(0.3, 0.8)), z - here.glandular
        found -= rng.uniform(0, 6) * band * step(below, 0.8) * np.exp(-np.maximum(below, 0) / 9)
    ends = rng.uniform(0, 14, 2)
    contact = ends[0] * np.exp(-here.x / 3) + ends[1] * np.exp(-(48 - here.x) / 3)
    result: Reals = found - contact * step(z - 3, 3)
    return result
