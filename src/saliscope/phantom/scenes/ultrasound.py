"""A sonogram of the breast, as a linear probe shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saliscope.core.errors import InputError
from saliscope.core.geometry import Geometry
from saliscope.phantom.scene import Acquisition, Anatomy, Display, Floats
from saliscope.phantom.scenes.ultrasound_layers import echoes, layers, shade
from saliscope.phantom.scenes.ultrasound_waves import Reals, Waves

#: Sides of the picture; the black rim above the sonogram and beside it; how deep it reaches (mm).
SIDE_MM, ABOVE_MM, BESIDE_MM, DEEP_MM = 50.0, 2.0, 1.0, 44.0
#: Grain of the point spread along depth, and along width in the focus, and the focus (mm).
AXIAL_MM, LATERAL_MM, FOCUS_MM = 0.14, 0.24, 17.0
#: The width of the beam has grown by the root of 2 so far from its focus (mm).
FOCAL_ZONE_MM = 16.0
#: The gain rises so many decibels from top to bottom, and with it the noise of the receiver.
GAIN_DB = 18.0
#: Grey of glandular tissue, and the coarsest grid (elements per side) on which speckle is drawn before it is averaged.
GREY, FINEST = 160.0, 256


@dataclass(frozen=True)
class BreastUltrasound:
    """A sonogram of the breast of `size` pixels square over 50 mm: rows are depth; values are greys, 0 to 255.

    The signal is the echo in decibels against glandular tissue. Speckle is the envelope of a complex Gaussian field
    under a point spread that widens away from the focus (wagner1983), smoothed as scanners do, and multiplies the
    echo; `range_db` decibels make 255 greys. `noise_db` is the receiver's noise at the top. One seed gives one breast
    at every size. Raises InputError below 32 pixels.
    """

    name: ClassVar[str] = "ultrasound"
    modality: ClassVar[str] = "US"
    units: ClassVar[str] = ""
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 255.0
    contrast: ClassVar[float] = 20.0
    home: ClassVar[str] = "glandular"
    body: ClassVar[str] = "body"

    size: int = 256
    range_db: float = 62.0
    noise_db: float = -53.0
    smoothing_mm: float = 0.13

    def __post_init__(self) -> None:
        if self.size < 32:
            raise InputError(f"a sonogram of {self.size} pixels", expected="32 or more", do="Ask for a larger picture.")

    def draw(self, seed: int) -> Anatomy:
        """Return the breast of a seed: "body" is the sonogram, the tissues lie within it, the rest is black."""
        rng = np.random.default_rng(seed)
        spacing = SIDE_MM / self.size
        z, x = _places(self.size)
        here = layers(rng, z, x)
        signal = echoes(rng, here) + shade(rng, here)
        wide = SIDE_MM - 2 * BESIDE_MM
        body = ((z >= 0) & (z < DEEP_MM))[:, None] & ((x >= 0) & (x < wide))
        compartments = {"body": body} | {name: mask & body for name, mask in here.masks.items()}
        hiss = np.abs(np.random.default_rng([seed, 2]).standard_normal((2, self.size, self.size), np.float32))
        fields = {"speckle": self._speckle(rng), "noise": _decibels(self._smooth(np.hypot(*hiss), spacing))}
        geometry = Geometry.of_picture((self.size, self.size), (spacing, spacing))
        return Anatomy(signal.astype(np.float32), compartments, geometry, fields)

    def develop(self, anatomy: Anatomy, signal: Floats, acquisition: Acquisition) -> Floats:
        """Return the greys of an echo in decibels.

        `exposure` is the gain, a factor of amplitude (2 is 6 dB); `noise` multiplies the amplitude of the receiver's
        noise; `blur_mm` and `pixel` act on the finished greys.
        """
        from scipy.ndimage import gaussian_filter

        z, _ = _places(self.size)
        louder = 20 * np.log10(max(acquisition.noise, 1e-6))
        floor = self.noise_db + louder + GAIN_DB * np.clip(z / DEEP_MM, 0, 1)[:, None]
        power = 10 ** ((signal + anatomy.fields["speckle"]) / 10) + 10 ** ((anatomy.fields["noise"] + floor) / 10)
        level = 10 * np.log10(power) + 20 * np.log10(acquisition.exposure)
        grey = np.clip(GREY + level * (255 / self.range_db), 0, 255)
        if acquisition.blur_mm > 0:
            grey = gaussian_filter(grey, acquisition.blur_mm * self.size / SIDE_MM, mode="nearest")
        seen: Floats = np.where(anatomy.compartments["body"], _coarser(grey, acquisition.pixel), 0).astype(np.float32)
        return seen

    def show(self, values: Floats) -> Display:
        """Return the greys as they are."""
        shown: Display = np.rint(values).astype(np.uint8)
        return shown

    def _speckle(self, rng: np.random.Generator) -> Floats:
        """Return the speckle (*S) in decibels; a pixel is the mean over its own area."""
        parts = -(-FINEST // self.size)
        fine = self.size * parts
        seen = self._smooth(envelope(rng, *_places(fine)), SIDE_MM / fine)
        return _decibels(seen.reshape(self.size, parts, self.size, parts).mean(axis=(1, 3)))

    def _smooth(self, amplitude: Reals, spacing: float) -> Reals:
        from scipy.ndimage import gaussian_filter

        found: Reals = gaussian_filter(amplitude, self.smoothing_mm / spacing, truncate=3.0)
        return found


def envelope(rng: np.random.Generator, z: Reals, x: Reals) -> Reals:
    """Return the envelope (*S) of fully developed speckle at these depths and widths (mm), before compression."""
    width = LATERAL_MM * np.sqrt(1 + ((z - FOCUS_MM) / FOCAL_ZONE_MM) ** 2)
    found: Reals = np.abs(Waves.drawn(rng, AXIAL_MM, LATERAL_MM).spread(z, x, width))
    return found


def _places(size: int) -> tuple[Reals, Reals]:
    """Return the depth of every row below the probe and the width of every column (mm)."""
    place = (np.arange(size) + 0.5) * (SIDE_MM / size)
    return place - ABOVE_MM, place - BESIDE_MM


def _decibels(amplitude: Reals) -> Floats:
    return (20 * np.log10(np.maximum(amplitude, 1e-6))).astype(np.float32)


def _coarser(grey: Reals, pixel: float) -> Reals:
    """Return the greys (*S) of elements `pixel` times larger, on the grid that they had."""
    if pixel <= 1:
        return grey
    for axis in (0, 1):
        element = (np.arange(grey.shape[axis]) / pixel).astype(int)
        starts = np.searchsorted(element, np.arange(element[-1] + 1))
        means = np.add.reduceat(grey, starts, axis=axis) / np.expand_dims(np.bincount(element), 1 - axis)
        grey = np.take(means, element, axis=axis)
    return grey
