"""One phantom: a scene, a seed, and elements each of which can be left out while all else stays the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from saliscope.core.errors import InputError, did_you_mean
from saliscope.core.image import MedicalImage
from saliscope.core.region import Mask, Region
from saliscope.phantom.element import Element, Plant, Site
from saliscope.phantom.scene import Acquisition, Anatomy, Scene

SOURCE = "phantom"
#: How far beyond a finding a map may still point, in units of the finding's own radius (a convention).
MARGIN = 0.5


@dataclass(frozen=True)
class Case:
    """A phantom that is not rendered yet; equal fields give equal pictures, bit for bit.

    Raises InputError when two elements have one name.
    """

    scene: Scene
    seed: int
    elements: tuple[Element, ...] = ()
    label: int = 0
    name: str = "phantom"

    def __post_init__(self) -> None:
        names = [e.name for e in self.elements]
        if len(set(names)) != len(names):
            raise InputError(f"elements {names}", expected="a name of its own for each", do="Name them apart.")

    @cached_property
    def anatomy(self) -> Anatomy:
        """Return what the scene drew."""
        return self.scene.draw(self.seed)

    @cached_property
    def plants(self) -> Mapping[str, Plant]:
        """Return every element in its place, by name; those that come first take their place first."""
        taken = np.zeros(self.anatomy.geometry.shape, bool)
        planted: dict[str, Plant] = {}
        for element in self.elements:
            plant = element.plant(Site.of(self.scene, self.anatomy, taken, self.seed, element.name))
            if plant.mask is not None:
                plant.mask.setflags(write=False)
                taken = taken | plant.mask
            planted[element.name] = plant
        return planted

    def render(self, on: Collection[str] | None = None) -> MedicalImage:
        """Return the picture with these elements on, all by default; raises InputError for a name that is not there."""
        for name in on or ():
            if name not in self.plants:
                raise InputError(f"element {name!r} of {self.name!r}", do=did_you_mean(name, self.plants or ["(none)"]))
        chosen = [plant for name, plant in self.plants.items() if on is None or name in on]
        signal, acquisition = self.anatomy.signal, Acquisition()
        for plant in chosen:
            signal = signal if plant.body is None else plant.body(signal)
            acquisition = acquisition if plant.taking is None else plant.taking(acquisition)
        values = self.scene.develop(self.anatomy, signal, acquisition)
        for plant in chosen:
            values = values if plant.film is None else plant.film(values)
        values = np.clip(np.rint(values), self.scene.low, self.scene.high).astype(np.float32)
        return MedicalImage(
            values=values[None],
            display=self.scene.show(values)[None],
            geometry=self.anatomy.geometry,
            modality=self.scene.modality,
            units=self.scene.units,
            digest=self._digest(on),
            name=self.name,
            notes=("a phantom: a drawn picture, no patient",),
        )

    @property
    def compartments(self) -> Mapping[str, Region]:
        """Return every compartment of the anatomy as a Region."""
        found = self.anatomy.compartments
        return {name: Region(mask, self.anatomy.geometry, name, SOURCE) for name, mask in found.items()}

    @property
    def regions(self) -> Mapping[str, Region]:
        """Return where each element lies; an element without a place is not there."""
        placed = {name: plant.mask for name, plant in self.plants.items() if plant.mask is not None}
        return {name: Region(mask, self.anatomy.geometry, name, SOURCE) for name, mask in placed.items()}

    @property
    def truth(self) -> Mapping[str, Region]:
        """Return the regions "required", "allowed" and "forbidden" for a map of a network that is right.

        Required are the findings, allowed is a margin around them (half of a finding's own radius), forbidden are
        shortcuts and everything outside the body; what is none of these counts neither for a map nor against it.
        """
        from scipy.ndimage import distance_transform_edt

        geometry = self.anatomy.geometry
        nothing = np.zeros(geometry.shape, bool)
        required, margin, forbidden = nothing, nothing, ~self.anatomy.compartments[self.scene.body]
        for element in self.elements:
            mask = self.plants[element.name].mask
            if mask is None or not mask.any():
                continue
            if element.role == "finding":
                radius = float(distance_transform_edt(np.pad(mask, 1), sampling=geometry.spacing).max())
                required = required | mask
                margin = margin | (distance_transform_edt(~mask, sampling=geometry.spacing) <= MARGIN * radius)
            if element.role == "shortcut":
                forbidden = forbidden | mask
        parts: dict[str, Mask] = {
            "required": required,
            "allowed": margin & ~required & ~forbidden,
            "forbidden": forbidden & ~required,
        }
        return {name: Region(mask, geometry, name, SOURCE) for name, mask in parts.items()}

    def _digest(self, on: Collection[str] | None) -> str:
        """Return a digest of what was asked: the picture has no file that could have one."""
        words = {
            "scene": [self.scene.name, asdict(self.scene)],  # type: ignore[call-overload]
            "seed": self.seed,
            "elements": [[e.kind, asdict(e)] for e in self.elements if on is None or e.name in on],  # type: ignore[call-overload]
        }
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
