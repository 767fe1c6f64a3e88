"""A background without anatomy, flat or with grain: the scene of the XAI-TRIS tasks (clark2024) and of quick tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saliscope.core.geometry import Geometry
from saliscope.phantom.scene import Acquisition, Anatomy, Display, Floats
from saliscope.phantom.scenes.texture import grain


@dataclass(frozen=True)
class Field:
    """Gaussian noise (*S) of deviation `noise` around the middle grey, white for `size` 0, else with that grain."""

    name: ClassVar[str] = "field"
    modality: ClassVar[str] = "OT"
    units: ClassVar[str] = ""
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 4095.0
    contrast: ClassVar[float] = 1000.0
    home: ClassVar[str] = "field"
    body: ClassVar[str] = "field"

    shape: tuple[int, ...] = (64, 64)
    spacing_mm: float = 1.0
    noise: float = 150.0
    grain: float = 0.0

    def draw(self, seed: int) -> Anatomy:
        """Return the background of a seed."""
        rng = np.random.default_rng(seed)
        noise = grain(rng, self.shape, self.grain) if self.grain else rng.standard_normal(self.shape, np.float32)
        geometry = Geometry.of_picture(self.shape, (self.spacing_mm,) * len(self.shape))
        flat = np.full(self.shape, 1500, np.float32)
        return Anatomy(flat, {"field": np.ones(self.shape, bool)}, geometry, {"noise": noise})

    def develop(self, anatomy: Anatomy, signal: Floats, acquisition: Acquisition) -> Floats:
        """Return signal and noise; exposure is a factor on both."""
        noise = anatomy.fields["noise"] * np.float32(self.noise * acquisition.noise)
        return (signal + noise) * np.float32(acquisition.exposure)

    def show(self, values: Floats) -> Display:
        """Return the values in 256 steps."""
        shown: Display = np.rint(values * (255 / self.high)).astype(np.uint8)
        return shown
