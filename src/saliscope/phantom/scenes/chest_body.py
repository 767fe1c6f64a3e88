"""The soft parts of a drawn chest: outline, lungs, heart and mediastinum, diaphragm; lengths in mm, depths in cm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from saliscope.phantom.scene import Floats

#: What a centimetre of aerated lung lacks against a centimetre of soft tissue.
AIR = 0.74


@dataclass(frozen=True, eq=False)
class Patient:
    """The measures that make one chest differ from another; x runs to the patient's left, y to the feet, in mm."""

    width: float  # half the inner rib cage at its widest
    apex: float  # y of the lungs' top
    dome: float  # y of the right diaphragm's top
    drop: float  # how much lower the left one is
    depth: float  # of the chest, front to back, cm
    fat: float  # of the chest wall, mm
    heart: float  # of its normal size
    shift: float  # of the midline, by rotation
    lean: float  # of the midline, mm in 100 mm
    scoliosis: float  # amplitude of the spine's curve
    phase: float
    rib_step: float
    rib_fall: float
    knob: float  # of the aorta
    breast: float  # cm of soft tissue, 0 without
    gas: float  # cm in the stomach
    shoulder: float  # how high they are drawn up

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """Return a patient, the same for the same chance."""
        u = rng.uniform
        size = u(0.9, 1.03)
        return cls(
            width=147 * size * u(0.95, 1.05),
            apex=-150 * size + u(-8, 8),
            dome=100 * size + u(-26, 16),
            drop=u(4, 15),
            depth=20.5 * size * u(0.88, 1.14),
            fat=u(8, 24),
            heart=size * u(0.86, 1.14),
            shift=u(-7, 7),
            lean=u(-2.5, 2.5),
            scoliosis=u(-6, 6),
            phase=u(0, 6.28),
            rib_step=25.5 * size * u(0.93, 1.05),
            rib_fall=u(0.85, 1.15),
            knob=u(4, 13),
            breast=u(1.2, 3.0) * (rng.random() < 0.45),
            gas=u(0.0, 3.5),
            shoulder=u(-12, 14),
        )

    def midline(self, y: npt.ArrayLike) -> Floats:
        """Return x of the middle at heights (...)."""
        found: Floats = np.asarray(self.shift + self.lean / 100 * np.asarray(y), np.float32)
        return found

    def wall(self, y: npt.ArrayLike) -> Floats:
        """Return how far from the midline the rib cage reaches on its inside at heights (...)."""
        y = np.asarray(y)
        t = np.clip((65 - y) / (65 - self.apex), 0, 1)
        reach = 48 + (self.width - 48) * (1 - t**2.5) ** 0.62 - 0.03 * np.maximum(y - 60, 0)
        found: Floats = np.asarray(reach, np.float32)
        return found


@dataclass(frozen=True, eq=False)
class Soft:
    """Depths (*S) of soft tissue in cm and shares (*S) of 0 to 1, all with soft borders."""

    tissue: Floats
    torso: Floats
    right: Floats
    left: Floats
    heart: Floats
    middle: Floats
    below: Floats
    dome: Floats


def ramp(distance: npt.NDArray[np.floating], width: float) -> Floats:
    """Return 0 to 1 over a width in mm around distance 0, smoothly."""
    t = np.clip(distance / np.float32(width) + np.float32(0.5), 0, 1)
    found: Floats = t * t * (3 - 2 * t)
    return found


def bulge(distance: npt.NDArray[np.floating], width: float) -> Floats:
    """Return 0 at distance 0 to 1 at a width in mm, as the depth of a round body grows inwards."""
    t = 1 - np.clip(distance / np.float32(width), 0, 1)
    found: Floats = np.sqrt(1 - t * t)
    return found


def soft_parts(p: Patient, x: Floats, y: Floats) -> Soft:
    """Return the soft parts of a patient on columns x (1, W) and rows y (H, 1)."""
    u = x - p.midline(y)
    side = np.abs(u)
    torso, depth = _torso(p, x, y)
    m_right, m_left = _borders(p, y)
    middle = ramp(u + m_right, 4) * ramp(m_left - u, 4) * ramp(y - p.apex + 30, 30)
    heart, heart_depth = _heart(p, u, y)
    dome = _diaphragm(p, x)
    above = ramp(dome - y, 3.5)
    wall = p.wall(y)
    lateral = wall - side
    steep = 1 / np.sqrt(1 + np.gradient(wall, axis=0) ** 2 / np.gradient(y, axis=0) ** 2)
    inside = ramp(lateral * steep, 4) * ramp(y - p.apex, 6) * ramp(side - _inner(p, y), 6)
    aerated = inside * (1 - middle)
    rim = bulge(lateral * steep + 4, 52) * (0.45 + 0.55 * bulge(y - p.apex + 4, 55))
    medial = 0.72 + 0.28 * bulge(side - 24, 50)
    lung = np.float32(0.76 * p.depth * AIR) * rim * medial * aerated
    # Lung lies behind the dome as well, down to the recess.
    shown = above * (1 - 0.82 * heart_depth) + (1 - above) * 0.16 * ramp(dome + 32 - y, 50)
    tissue = depth - lung * shown
    tissue += (1 - above) * ramp(y - dome, 90) * np.float32(1.5) * torso
    tissue += _breasts(p, x, y) * torso - _stomach(p, x, y, dome)
    clear = aerated * above * (1 - ramp(heart - 0.5, 0.8))
    right, left = clear * (u < 0), clear * (u > 0)
    return Soft(tissue.astype(np.float32), torso, right, left, heart * above, middle, 1 - above, dome)


def _torso(p: Patient, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the share of the patient (*S), and depth in cm (*S) as if all were soft tissue."""
    width = p.wall(np.full_like(y, 60.0)) + 20 + p.fat
    width = width + 95 * ramp(-58 - y, 130) + 8 * ramp(y - 80, 120)
    across = np.clip(1 - np.abs(x / width) ** 2.6, 0, None)
    side = np.abs(x - p.midline(y))
    # The neck, and shoulders that fall away from it.
    off = np.maximum(side - 48, 0)
    top = -207 - p.shoulder + 46 * (1 - np.exp(-off / 30)) + 0.0016 * off**2
    under = y - top
    neck = np.sqrt(np.clip(1 - (side / 56) ** 2, 0, None)) * ramp(-95 - y, 100) * np.float32(11.5)
    deep = (0.58 + 0.42 * ramp(y + 95, 150)) * np.float32(p.depth + p.fat / 8) * bulge(under, 75)
    depth = np.maximum(deep * np.sqrt(across), neck)
    torso = ramp(width - np.abs(x), 4) * np.maximum(ramp(under, 4), ramp(55 - side, 4) * (y < -120))
    return torso.astype(np.float32), depth.astype(np.float32)


def _borders(p: Patient, y: Floats) -> tuple[Floats, Floats]:
    """Return how far the mediastinum reaches to the right and to the left of the midline, by height."""

    def hump(at: float, width: float) -> Floats:
        found: Floats = np.exp(-(((y - at) / width) ** 2)).astype(np.float32)
        return found

    arch = p.apex + 66
    right = 23 + 5 * hump(arch - 10, 45) + 15 * p.heart * hump(p.dome - 38, 42)
    knob = p.knob * 1.4 * np.where(y < arch, hump(arch, 30), hump(arch, 18))
    left = 22 + knob + 11 * hump(arch + 40, 22) + 16 * p.heart * hump(p.dome - 62, 40)
    return right.astype(np.float32), left.astype(np.float32)


def _inner(p: Patient, y: Floats) -> Floats:
    """Return how far from the midline the apex of the lung begins, by height."""
    t = np.clip((p.apex + 40 - y) / 40, 0, 1)
    found: Floats = (48 - 30 * np.sqrt(1 - t * t)).astype(np.float32)
    return found


def _heart(p: Patient, u: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the share (*S) of the heart and its depth (*S), 0 to 1: an ellipse that points to the patient's left."""
    cos, sin = np.float32(np.cos(0.86)), np.float32(np.sin(0.86))
    du, dv = u - np.float32(20 * p.heart), y - np.float32(p.dome - 42 * p.heart)
    along, across = du * cos + dv * sin, dv * cos - du * sin
    r: Floats = np.sqrt((along / np.float32(82 * p.heart)) ** 2 + (across / np.float32(55 * p.heart)) ** 2)
    share = ramp((1 - r) * 60, 5)
    return share, share * bulge(1.06 - r, 0.55)


def _diaphragm(p: Patient, x: Floats) -> Floats:
    """Return y of the diaphragm for columns x (1, W): two domes that fall to the sides into the sharp angles."""
    right = x < np.float32(p.shift)
    centre = np.where(right, -62, 66) + p.shift
    out = np.abs(x - centre) * (np.sign(x - centre) == np.where(right, -1, 1))
    into = np.abs(x - centre) - out
    fall = 40 * (out / max(p.width - 62, 1)) ** 2.8 + 11 * (into / 60) ** 2
    found: Floats = (p.dome + np.where(right, 0.0, p.drop) + fall).astype(np.float32)
    return found


def _breasts(p: Patient, x: Floats, y: Floats) -> Floats:
    """Return the depth of the breasts in cm (*S), whose lower border is the sharp one."""
    if not p.breast:
        return np.zeros(1, np.float32)
    r = np.sqrt(((np.abs(x) - 92) / 62) ** 2 + ((y - p.dome + 38) / np.where(y > p.dome - 38, 62, 110)) ** 2)
    found: Floats = (np.float32(p.breast) * bulge(1 - r, 0.6)).astype(np.float32)
    return found


def _stomach(p: Patient, x: Floats, y: Floats, dome: Floats) -> Floats:
    """Return the depth of gas in cm (*S) in the stomach under the left dome."""
    cx = 62 + p.shift
    cy = p.dome + p.drop + 24
    r = np.sqrt(((x - cx) / 27) ** 2 + ((y - cy) / np.where(y < cy, 16, 11)) ** 2)
    found: Floats = (np.float32(p.gas) * bulge(1 - r, 0.5) * ramp(y - dome - 5, 4)).astype(np.float32)
    return found
