"""A CT of the chest and upper abdomen: a patient on a table, in Hounsfield units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saliscope.phantom.scene import Acquisition, Anatomy, Display, Floats
from saliscope.phantom.scenes.body_ct_chest import paint_chest
from saliscope.phantom.scenes.body_ct_organs import paint_organs
from saliscope.phantom.scenes.body_ct_trunk import Trunk, paint_bones, paint_trunk
from saliscope.phantom.scenes.volume import Canvas, axial, binned

#: Elements of this size in mm have the noise that is asked for; those half as large have 2**1.5 times as much.
REFERENCE_MM = 4.0


@dataclass(frozen=True)
class BodyCT:
    """A volume (plane, row, column) of `size` elements, 300 x 300 x 360 mm by default, with contrast in the vessels.

    Any spacing shows the same patient of a seed. `noise` is its standard deviation in HU in elements of 4 mm.
    BodyCT((40, 40, 48), 7.5) is the same field of view in a size to train on.
    """

    name: ClassVar[str] = "body-ct"
    modality: ClassVar[str] = "CT"
    units: ClassVar[str] = "HU"
    low: ClassVar[float] = -1024.0
    high: ClassVar[float] = 3071.0
    contrast: ClassVar[float] = 900.0
    home: ClassVar[str] = "lungs"
    body: ClassVar[str] = "body"

    size: tuple[int, int, int] = (80, 80, 96)
    spacing_mm: float = 3.75
    noise: float = 18.0

    def draw(self, seed: int) -> Anatomy:
        """Return the patient of a seed."""
        patient, grain = (np.random.default_rng([seed, n]) for n in (10, 11))
        canvas = Canvas.blank(axial(self.size, self.spacing_mm), "air", -1000)
        trunk = Trunk.drawn(patient, canvas)
        paint_trunk(canvas, trunk, patient)
        inner = paint_chest(canvas, trunk, patient)
        paint_organs(canvas, trunk, patient)
        paint_bones(canvas, trunk)
        compartments = canvas.masks()
        compartments["body"] = ~(compartments["air"] | compartments["table"])
        lungs = compartments["lungs"]
        compartments |= {name: share & lungs for name, share in inner.items()}
        return Anatomy(canvas.signal, compartments, canvas.geometry, {"noise": _reconstructed(grain, self.size)})

    def develop(self, anatomy: Anatomy, signal: Floats, acquisition: Acquisition) -> Floats:
        """Return HU: `exposure` is the dose, and the noise falls with its root; the blur is that of the signal."""
        from scipy.ndimage import gaussian_filter

        if acquisition.blur_mm:
            signal = gaussian_filter(signal, acquisition.blur_mm / self.spacing_mm, mode="nearest")
        deviation = self.noise * acquisition.noise * (REFERENCE_MM / self.spacing_mm) ** 1.5
        noise = anatomy.fields["noise"] * np.float32(deviation / np.sqrt(acquisition.exposure))
        return binned(signal + noise, acquisition.pixel)

    def show(self, values: Floats) -> Display:
        """Return a window of -1000 to 400 HU, in which lung and soft tissue are both seen, in 256 steps."""
        shown: Display = np.rint(np.clip((values + 1000) / 1400, 0, 1) * 255).astype(np.uint8)
        return shown


def _reconstructed(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """Return noise (*S) of mean 0 and variance 1 as filtered backprojection leaves it: a ramp, rolled off."""
    noise = rng.standard_normal(size, dtype=np.float32)
    row, column = np.fft.fftfreq(size[-2])[:, None], np.fft.rfftfreq(size[-1])
    frequency = np.hypot(row, column)
    gain = np.sqrt(frequency + 0.02) * np.exp(-((frequency / 0.35) ** 2))
    field = np.fft.irfft2(np.fft.rfft2(noise) * gain, size[-2:])
    found: Floats = ((field - field.mean()) / field.std()).astype(np.float32)
    return found
