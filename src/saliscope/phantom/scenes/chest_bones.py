"""The bones of a drawn chest: ribs as rings seen from the front, spine, clavicles, scapulae; depths in cm of tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.chest_body import Patient, bulge, ramp


@dataclass(frozen=True, eq=False)
class Bones:
    """What bone adds (*S), in cm of soft tissue, by kind."""

    ribs: Floats
    clavicles: Floats
    spine: Floats
    scapulae: Floats


def bones(p: Patient, rng: np.random.Generator, x: Floats, y: Floats) -> Bones:
    """Return the bones of a patient on columns x (1, W) and rows y (H, 1)."""
    uneven = rng.uniform(-3, 3, 4).astype(np.float32)
    return Bones(_ribs(p, uneven[:2], x, y), _clavicles(p, uneven[2:], x, y), _spine(p, x, y), _scapulae(p, x, y))


def spine_at(p: Patient, y: Floats) -> Floats:
    """Return x of the spine at heights (...)."""
    found: Floats = (p.midline(y) * 0.6 + p.scoliosis * np.sin(y / 70 + p.phase)).astype(np.float32)
    return found


def _tube(t: Floats) -> Floats:
    """Return the depth of a hollow bone across its width (-1 to 1), brighter towards its edges."""
    t2 = np.minimum(t * t, 1)
    found: Floats = (1 - t2**4) * (0.62 + 0.75 * t2)
    return found


def _ribs(p: Patient, uneven: Floats, x: Floats, y: Floats) -> Floats:
    """Return ten pairs: tilted ellipses, whose upper half is the rib's back and whose lower half is its front."""
    found = np.zeros((y.size, x.size), np.float32)
    for number in range(10):
        start = p.apex + 2 + p.rib_step * (0.86 * number + 0.012 * number**2)
        drop = (19 + 4.2 * min(number, 6)) * p.rib_fall
        reach = float(p.wall(start + 0.8 * drop)) + 1
        rows = slice(*np.searchsorted(y[:, 0], (start - 14, start + 2 * drop + 14)))
        ys = y[rows]
        side = np.abs(x - spine_at(p, ys))
        off = np.where(x < 0, uneven[0], uneven[1]).astype(np.float32)
        across, down = side / np.float32(reach), (ys - off - np.float32(start)) / np.float32(drop) - 1
        f = np.sqrt(across**2 + down**2) + np.float32(1e-6)
        slope = np.sqrt((across / np.float32(reach)) ** 2 + (down / np.float32(drop)) ** 2) / f + np.float32(1e-6)
        front = ramp(down, 0.5)
        tube = _tube((f - 1) / slope / (np.float32(5.4 + 0.1 * number) + 1.6 * front))
        ends = ramp(side - 14, 4) * (1 - front * (1 - ramp(side - np.float32(66 + 4 * number), 26)))
        # Seen along its edge at the side, a rib is deeper than it is from the front.
        found[rows] += tube * ends * (np.float32(2.0) - 0.7 * front + 0.7 * np.minimum(across, 1) ** 6)
    return found


def _clavicles(p: Patient, uneven: Floats, x: Floats, y: Floats) -> Floats:
    """Return two S-shaped bands from the breastbone to the shoulders."""
    side = np.abs(x - np.float32(p.shift))
    off = np.where(x < 0, uneven[0], uneven[1])
    t = (side - 18) / 150
    middle = p.apex + 47 + off - (30 + 0.8 * p.shoulder) * t - 8 * np.sin(2 * np.pi * np.clip(t, 0, 1))
    half = 5.6 + 2.6 * np.exp(-((t / 0.12) ** 2)) + 1.5 * ramp(side - 140, 50)
    steep = 1 / np.sqrt(1 + np.gradient(middle, axis=1) ** 2 / np.gradient(x, axis=1) ** 2)
    band = _tube(((y - middle) * steep / half).astype(np.float32))
    found: Floats = band * (ramp(side - 18, 5) * ramp(172 - side, 8) * 3.0).astype(np.float32)
    return found


def _spine(p: Patient, x: Floats, y: Floats) -> Floats:
    """Return vertebral bodies with discs between them, their pedicles and spinous processes."""
    u = x - spine_at(p, y)
    pitch = np.float32(p.rib_step * 0.96)
    phase = (y - np.float32(p.apex)) / pitch
    within = np.abs(phase - np.rint(phase)) * pitch
    half = np.float32(15.5) + (y + 200) * np.float32(0.014)
    waist = half - 2.2 * (1 - (within / (pitch / 2)) ** 2)
    column = bulge(waist - np.abs(u) + 1, 9)
    disc = ramp(pitch / 2 - 2.2 - within, 2.5)
    rim = np.exp(-(((within - pitch / 2 + 4) / 1.8) ** 2))
    found = column * (1.5 + 0.75 * disc + 0.4 * rim)
    pedicle = np.exp(-(((np.abs(u) - half * 0.66) / 3.2) ** 2)) * np.exp(-(((within - 3) / 5.0) ** 2))
    process = np.exp(-((u / 2.8) ** 2)) * np.exp(-(((within - 6) / 6) ** 2))
    transverse = 0.5 * ramp(half + 13 - np.abs(u), 8) * np.exp(-((within / 5) ** 2)) * (1 - column)
    result: Floats = (found + 0.7 * pedicle + 0.6 * process + transverse).astype(np.float32)
    return result


def _scapulae(p: Patient, x: Floats, y: Floats) -> Floats:
    """Return the blades beside the lungs with their denser rims, and the heads of the humeri."""
    side = np.abs(x - p.midline(y))
    t = np.clip((y - p.apex - 8) / 135, 0, 1)
    inner = p.width - 6 + 20 * (t - 0.5) ** 2
    outer = inner + 58 * (1 - t) ** 1.3 + 9
    tall = ramp(y - p.apex - 8, 8) * ramp(p.apex + 143 - y, 8)
    blade = ramp(side - inner, 4) * ramp(outer - side, 4) * tall
    rims = np.exp(-(((side - outer + 4) / 3.5) ** 2)) + 0.6 * np.exp(-(((side - inner - 2) / 2.5) ** 2))
    head = np.sqrt((side - 184) ** 2 + (y - p.apex - 18 + p.shoulder * 0.5) ** 2)
    shaft = ramp(side - 172, 6) * ramp(y - p.apex - 18, 10) * ramp(p.apex + 75 - y, 70)
    found = 0.9 * blade + 2.2 * rims * tall * ramp(t, 0.1) + 3.4 * bulge(25 - head, 14) + 2.0 * shaft
    result: Floats = found.astype(np.float32)
    return result
