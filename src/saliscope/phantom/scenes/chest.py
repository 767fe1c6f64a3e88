"""A frontal chest radiograph: depths of tissue, air and bone along the beam, and a digital detector behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saliscope.core.errors import InputError
from saliscope.core.geometry import Geometry
from saliscope.core.region import Mask
from saliscope.phantom.scene import Acquisition, Anatomy, Display, Floats
from saliscope.phantom.scenes.chest_body import Patient, Soft, ramp, soft_parts
from saliscope.phantom.scenes.chest_bones import Bones, bones
from saliscope.phantom.scenes.chest_vessels import airways, vessels
from saliscope.phantom.scenes.texture import waves

FIELD_MM = 400.0
#: The anatomy is drawn at least this fine and averaged, so that every size shows the same patient.
FINE = 128
#: Attenuation of soft tissue per cm as the detector sees it, scattered light for each unit of direct light.
PER_CM, SCATTER, SCATTER_MM = 0.185, 0.5, 28.0
#: Deviation of quantum noise in air for a pixel of 1 mm, in parts of the exposure in air.
QUANTUM = 0.0055
#: Of the characteristic curve: the density shown in middle grey, and the steepness around it.
MIDDLE, STEEP = 2.1, 0.78


@dataclass(frozen=True)
class ChestRadiograph:
    """A frontal chest radiograph of `size` pixels square over 400 mm; the patient's right is on the reader's left.

    The signal is centimetres of soft tissue along the beam (bone counts for more, air for less); a contrast of 1 is
    10 cm of it, about what the air in a lung takes away. Raises InputError for a size below 32.
    """

    name: ClassVar[str] = "chest"
    modality: ClassVar[str] = "DX"
    units: ClassVar[str] = ""
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 4095.0
    contrast: ClassVar[float] = 10.0
    home: ClassVar[str] = "lungs"
    body: ClassVar[str] = "body"

    size: int = 256

    def __post_init__(self) -> None:
        if self.size < 32:
            raise InputError(f"a chest of {self.size} pixels", expected="32 or more", do="Ask for a larger picture.")

    @property
    def geometry(self) -> Geometry:
        """Return the grid: rows run to the feet, columns to the patient's left."""
        step = FIELD_MM / self.size
        corner = (FIELD_MM - step) / 2
        axes = ((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0))
        return Geometry((self.size, self.size), (step, step), (corner, 0.0, corner), axes)

    def draw(self, seed: int) -> Anatomy:
        """Return the patient of a seed: the same at every size."""
        finer = -(-FINE // self.size)
        n = self.size * finer
        x, y = _axes(n)
        rng = np.random.default_rng([seed, 0])
        patient = Patient.drawn(rng)
        soft, hard = soft_parts(patient, x, y), bones(patient, rng, x, y)
        lungs = soft.right + soft.left
        signal = (soft.tissue + hard.ribs + hard.clavicles + hard.spine + hard.scapulae) * ramp(soft.torso - 0.5, 1.0)
        signal, lungs, torso = _averaged(signal, finer), _averaged(lungs, finer), _averaged(soft.torso, finer)
        compartments = {k: _averaged(v, finer) > 0.5 for k, v in _compartments(soft, hard, y).items()}
        geometry = self.geometry
        x, y = _axes(self.size)
        signal += vessels(patient, rng, x, y) * (0.1 + 0.9 * lungs) - airways(patient, x, y)
        marks = waves(rng, geometry, (5.0, 45.0), 2.0)
        clouds = waves(rng, geometry, (25.0, 220.0), 2.0)
        signal = (np.maximum(signal, 0) * torso).astype(np.float32)
        signal += (lungs * 0.22 * marks + 0.35 * clouds) * np.minimum(signal / 5, 1)
        noise = np.random.default_rng([seed, 1]).standard_normal(geometry.shape, np.float32)
        return Anatomy(signal.astype(np.float32), _settled(compartments), geometry, {"noise": noise})

    def develop(self, anatomy: Anatomy, signal: Floats, acquisition: Acquisition) -> Floats:
        """Return stored values of a signal: direct and scattered light, quantum noise, density, characteristic curve.

        There is no automatic exposure: twice the light gives a darker picture with less noise. Larger elements gather
        the light of those they replace.
        """
        step = FIELD_MM / self.size
        light = np.exp(np.float32(-PER_CM) * signal)
        light = (light + np.float32(SCATTER) * _blurred(light, SCATTER_MM / step)) / np.float32(1 + SCATTER)
        if acquisition.blur_mm > 0:
            light = _blurred(light, acquisition.blur_mm / step)
        grain = QUANTUM / step * acquisition.noise / np.sqrt(acquisition.exposure)
        light = light + np.float32(grain) * np.sqrt(light) * anatomy.fields["noise"]
        light = _coarser(light, acquisition.pixel)
        density = -np.log(np.maximum(light, 1e-4) * np.float32(acquisition.exposure))
        values = self.high / (1 + np.exp((MIDDLE - density) / np.float32(STEEP)))
        return values.astype(np.float32)

    def show(self, values: Floats) -> Display:
        """Return the values in 256 steps."""
        shown: Display = np.rint(values * (255 / self.high)).astype(np.uint8)
        return shown


def _axes(n: int) -> tuple[Floats, Floats]:
    """Return x (1, n) to the patient's left and y (n, 1) to the feet of n elements, in mm from the middle."""
    at = ((np.arange(n) + 0.5) * (FIELD_MM / n) - FIELD_MM / 2).astype(np.float32)
    return at[None, :], at[:, None]


def _averaged(field: Floats, finer: int) -> Floats:
    """Return a field (*S) on elements that many times larger."""
    if finer == 1:
        return field
    n = field.shape[0] // finer
    found = np.zeros((n, n), np.float32)
    for i in range(finer):
        for j in range(finer):
            found += field[i::finer, j::finer]
    found *= np.float32(1 / finer**2)
    return found


def _blurred(field: Floats, deviation: float) -> Floats:
    """Return a field (*S) blurred by a Gaussian, deviation in elements; a wide one on larger elements."""
    from scipy.ndimage import gaussian_filter, zoom

    coarse = 1
    while 6 * coarse <= deviation and field.shape[0] % (2 * coarse) == 0:
        coarse *= 2
    if coarse == 1:
        found: Floats = gaussian_filter(field, deviation, mode="nearest", truncate=3.0)
        return found
    small = gaussian_filter(_averaged(field, coarse), deviation / coarse, mode="nearest", truncate=3.0)
    wide: Floats = zoom(small, coarse, order=1, mode="nearest", grid_mode=True)
    return wide


def _coarser(light: Floats, pixel: float) -> Floats:
    """Return the light (*S) as seen by elements `pixel` times larger, on the grid that it had."""
    if pixel <= 1:
        return light
    for axis in (0, 1):
        element = (np.arange(light.shape[axis]) / pixel).astype(int)
        first = np.flatnonzero(np.diff(element, prepend=-1))
        sums = np.add.reduceat(light, first, axis=axis)
        counts = np.diff(np.append(first, element.size)).astype(np.float32)
        means: Floats = (sums / np.expand_dims(counts, 1 - axis)).astype(np.float32)
        light = np.repeat(means, counts.astype(int), axis=axis)
    return light


def _compartments(soft: Soft, hard: Bones, y: Floats) -> dict[str, Floats]:
    """Return how much (*S, 0 to 1) of each element belongs to each compartment."""
    middle = np.maximum(soft.middle * (1 - soft.below), soft.heart)
    return {
        "body": soft.torso,
        "right lung": soft.right,
        "left lung": soft.left,
        "heart": soft.heart,
        "mediastinum": middle,
        "spine": (hard.spine > 0.9).astype(np.float32),
        "ribs": (hard.ribs > 0.3).astype(np.float32),
        "clavicles": (hard.clavicles > 0.3).astype(np.float32),
        "diaphragm": ((y > soft.dome) & (y < soft.dome + 12) & (y < soft.dome.min() + 55)).astype(np.float32),
    }


def _settled(found: dict[str, Mask]) -> Mapping[str, Mask]:
    """Return the compartments with those that follow from others: all within the body, lungs beside the heart."""
    for name in found:
        found[name] = found[name] & found["body"]
    for side in ("right lung", "left lung"):
        found[side] = found[side] & ~found["mediastinum"]
    found["lungs"] = found["right lung"] | found["left lung"]
    found["diaphragm"] &= ~found["lungs"] & ~found["mediastinum"]
    solid = found["spine"] | found["ribs"] | found["clavicles"]
    found["soft tissue"] = found["body"] & ~found["lungs"] & ~found["mediastinum"] & ~solid
    for mask in found.values():
        mask.setflags(write=False)
    return found
