"""A T1-weighted magnetic resonance volume of a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saliscope.phantom.scene import Acquisition, Anatomy, Display, Floats
from saliscope.phantom.scenes.brain_cortex import Cortex, paint_cerebellum, paint_cortex
from saliscope.phantom.scenes.brain_depths import paint_depths
from saliscope.phantom.scenes.brain_head import Head, paint_head
from saliscope.phantom.scenes.texture import waves
from saliscope.phantom.scenes.volume import Canvas, axial, binned

#: Elements of this size in mm have the noise that is asked for; those half as large have 2**1.5 times as much.
REFERENCE_MM = 2.5
#: What belongs to the brain.
BRAIN = ("grey matter", "white matter", "deep grey", "ventricles", "cerebellum", "brainstem")


@dataclass(frozen=True)
class BrainMR:
    """A volume (plane, row, column) of `size` elements, 160 x 200 x 160 mm by default; fat and white matter are bright.

    Any spacing shows the same patient of a seed. `noise` is the standard deviation of the noise in each of the two
    channels, in elements of 2.5 mm; `bias` is how far the coil's sensitivity swings.
    BrainMR((40, 48, 40), 4.0) is nearly the same field of view in a size to train on.
    """

    name: ClassVar[str] = "brain-mr"
    modality: ClassVar[str] = "MR"
    units: ClassVar[str] = ""
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1023.0
    contrast: ClassVar[float] = 470.0
    home: ClassVar[str] = "white matter"
    body: ClassVar[str] = "head"

    size: tuple[int, int, int] = (64, 80, 64)
    spacing_mm: float = 2.5
    noise: float = 14.0
    bias: float = 0.12

    def draw(self, seed: int) -> Anatomy:
        """Return the head of a seed."""
        patient, grain = (np.random.default_rng([seed, n]) for n in (20, 21))
        canvas = Canvas.blank(axial(self.size, self.spacing_mm), "air", 0)
        head = Head.drawn(patient, canvas)
        paint_head(canvas, head, patient)
        cortex = Cortex.drawn(patient, canvas, head)
        paint_cortex(canvas, cortex)
        paint_cerebellum(canvas, head, patient)
        paint_depths(canvas, head, patient)
        compartments = canvas.masks()
        compartments["head"] = ~compartments["air"]
        compartments["brain"] = np.logical_or.reduce([compartments[name] for name in BRAIN])
        coil = waves(patient, canvas.geometry, (260, 420), 0, count=30)
        real, imaginary = grain.standard_normal((2, *self.size), dtype=np.float32)
        sensitivity = np.exp(np.float32(self.bias) * np.clip(coil, -2, 2)).astype(np.float32)
        fields = {"sensitivity": sensitivity, "real": real, "imaginary": imaginary}
        return Anatomy(canvas.signal, compartments, canvas.geometry, fields)

    def develop(self, anatomy: Anatomy, signal: Floats, acquisition: Acquisition) -> Floats:
        """Return the magnitude of a signal with noise in both channels (gudbjartsson1995); `exposure` is the gain."""
        from scipy.ndimage import gaussian_filter

        fields = anatomy.fields
        seen = signal * fields["sensitivity"]
        if acquisition.blur_mm:
            seen = gaussian_filter(seen, acquisition.blur_mm / self.spacing_mm, mode="nearest")
        seen = binned(seen, acquisition.pixel)
        deviation = np.float32(self.noise * acquisition.noise * (REFERENCE_MM / self.spacing_mm) ** 1.5)
        real, imaginary = (binned(fields[part], acquisition.pixel) * deviation for part in ("real", "imaginary"))
        values: Floats = np.hypot(seen + real, imaginary) * np.float32(acquisition.exposure)
        return values

    def show(self, values: Floats) -> Display:
        """Return 0 to 900 in 256 steps."""
        shown: Display = np.rint(np.clip(values / 900, 0, 1) * 255).astype(np.uint8)
        return shown
