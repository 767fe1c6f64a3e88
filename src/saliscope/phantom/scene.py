"""What a scene is: anatomy drawn from a seed, and the way it becomes a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry
from saliscope.core.region import Mask

Floats = npt.NDArray[np.float32]
Display = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Acquisition:
    """How a picture is taken, beside the scene's usual way: factors of exposure and noise, blur, larger pixels.

    `blur_mm` is the standard deviation of the blur; `pixel` says how many times larger the detector's elements are.
    """

    exposure: float = 1.0
    noise: float = 1.0
    blur_mm: float = 0.0
    pixel: float = 1.0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What a scene drew from its seed: the signal (*S) in the scene's own units, and named compartments (*S).

    `fields` are what the scene drew besides and needs again when it makes the picture (noise, speckle), so that a
    picture with an element and one without it differ in nothing else.
    """

    signal: Floats = field(repr=False)
    compartments: Mapping[str, Mask] = field(repr=False)
    geometry: Geometry
    fields: Mapping[str, Floats] = field(repr=False, default_factory=dict)


class Scene(Protocol):
    """A kind of picture: a frozen dataclass of its parameters.

    `low` and `high` are the ends of its stored values, which are whole numbers; `contrast` is the change of signal
    that a contrast of 1 stands for (chest: from lung to soft tissue); `home` names the compartment of its findings;
    `body` the compartment that holds all of the patient.
    """

    name: ClassVar[str]
    modality: ClassVar[str]
    units: ClassVar[str]
    low: ClassVar[float]
    high: ClassVar[float]
    contrast: ClassVar[float]
    home: ClassVar[str]
    body: ClassVar[str]

    def draw(self, seed: int) -> Anatomy:
        """Return the anatomy of a seed; the same seed gives the same anatomy, bit for bit."""

    def develop(self, anatomy: Anatomy, signal: Floats, acquisition: Acquisition) -> Floats:
        """Return the picture's values (*S) of a signal (*S), before they are rounded."""

    def show(self, values: Floats) -> Display:
        """Return what a clinician sees (*S) of values (*S)."""
