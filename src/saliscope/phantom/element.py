"""What an element is: something planted in a scene that can be taken out again, and nothing else changes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, Self

import numpy as np

from saliscope.core.errors import InputError
from saliscope.core.region import Mask
from saliscope.phantom.scene import Acquisition, Anatomy, Floats, Scene

#: A finding decides the label; a distractor says nothing of it; a suppressor says nothing of it but helps to read what
#: does; a shortcut goes with the label and is no part of the disease.
Role = Literal["finding", "distractor", "suppressor", "shortcut"]

#: A number, or two between which it is drawn evenly.
Range = float | tuple[float, float]


@dataclass(frozen=True, eq=False)
class Plant:
    """An element in its place: where it lies (*S), None where it has no place, and what it changes.

    `body` changes the signal in the patient, `taking` how the picture is taken, `film` the finished values.
    """

    mask: Mask | None = field(repr=False)
    body: Callable[[Floats], Floats] | None = None
    taking: Callable[[Acquisition], Acquisition] | None = None
    film: Callable[[Floats], Floats] | None = None


@dataclass(frozen=True, eq=False)
class Site:
    """Where an element is to be planted: the scene, its anatomy, what is taken already (*S), and its own chance."""

    scene: Scene
    anatomy: Anatomy
    taken: Mask = field(repr=False)
    rng: np.random.Generator = field(repr=False)

    @classmethod
    def of(cls, scene: Scene, anatomy: Anatomy, taken: Mask, seed: int, name: str) -> Self:
        """Return the site of a named element: its chance hangs on the seed and its name, never on other elements."""
        return cls(scene, anatomy, taken, np.random.default_rng([seed, zlib.crc32(name.encode())]))

    def drawn(self, value: Range) -> float:
        """Return a number as it is, or one drawn evenly between two."""
        return float(self.rng.uniform(*value)) if isinstance(value, tuple) else float(value)

    def compartment(self, name: str) -> Mask:
        """Return a compartment (*S) by name, "home" for that of findings; raises InputError where there is none."""
        wanted = {"home": self.scene.home, "body": self.scene.body}.get(name, name)
        if wanted not in self.anatomy.compartments:
            raise InputError(
                f"compartment {name!r} of scene {self.scene.name!r}",
                expected=", ".join(self.anatomy.compartments),
                do="Name one of these.",
            )
        return self.anatomy.compartments[wanted]

    def spot(self, within: str, radius_mm: Range) -> tuple[float, ...]:
        """Return an index in a compartment, `radius_mm` from its rim and from what is taken where there is room."""
        from scipy.ndimage import distance_transform_edt

        free = self.compartment(within) & ~self.taken
        room = distance_transform_edt(np.pad(free, 1), sampling=self.anatomy.geometry.spacing)
        room = room[tuple(slice(1, -1) for _ in free.shape)]
        if not free.any():
            raise InputError(
                f"no room left in {within!r} of scene {self.scene.name!r}",
                expected="a compartment that is not full",
                do="Plant fewer or smaller elements.",
            )
        wide = room >= min(float(np.max(radius_mm)), float(room.max()))
        places = np.argwhere(wide)
        return tuple(float(v) for v in places[self.rng.integers(len(places))])

    def distance_mm(self, centre: tuple[float, ...]) -> Floats:
        """Return how far every element of the grid (*S) lies from an index, in millimetres."""
        geometry = self.anatomy.geometry
        axes = np.ogrid[tuple(slice(n) for n in geometry.shape)]
        squares = [((a - c) * s) ** 2 for a, c, s in zip(axes, centre, geometry.spacing, strict=True)]
        return np.sqrt(sum(squares)).astype(np.float32)


class Element(Protocol):
    """Something that can be planted: a frozen dataclass of its parameters, with a name of its own in the case."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Return the name under which it is switched on and off."""

    @property
    def role(self) -> Role:
        """Return what it has to do with the label."""

    def plant(self, site: Site) -> Plant:
        """Return the element in its place; raises InputError where it does not fit the scene."""
