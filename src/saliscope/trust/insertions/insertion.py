"""What is planted: marks of film and scanner at several places, and changes of the whole picture; and their controls.

A control has the same amount of change at the same place and no form: letters become a haze. What it does to the score
is what any disturbance there would do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from saliscope.core.image import MedicalImage
from saliscope.phantom.element import Element
from saliscope.phantom.shortcuts.calipers import Calipers
from saliscope.phantom.shortcuts.collimation import Collimation
from saliscope.phantom.shortcuts.device import Device
from saliscope.phantom.shortcuts.marker import Corner, Marker, Words
from saliscope.phantom.shortcuts.ruler import Ruler
from saliscope.phantom.shortcuts.sun import Columns, Tag
from saliscope.phantom.shortcuts.sun import Corner as WedgeBelow
from saliscope.trust.insertions.picture import PictureScene

if TYPE_CHECKING:
    import numpy.typing as npt

    from saliscope.core.region import Mask
    from saliscope.phantom.scene import Floats

#: A control is the change smoothed by this share of the shorter side of what was planted.
HAZE = 0.5
#: The field that takes the form from a change of the whole picture varies over this share of its shorter side.
PATCHES = 0.12
#: Controls of a change of the whole picture are drawn from the seed of the picture and this number.
FIELD = 7


#: Where it stands: marks in the upper corners are beside the anatomy in most pictures, so that a network has no reason
#: of its own to mind them; what lies inside may look like a finding.
Family = Literal["upper corner", "lower corner", "edge", "inside", "whole"]


@dataclass(frozen=True, eq=False)
class Inserted:
    """A picture with something planted, its control, and where it lies (*S), None for the whole picture."""

    image: MedicalImage
    control: MedicalImage
    mask: Mask | None


@dataclass(frozen=True)
class Insertion:
    """Something that can be planted in any picture: an element with a place, or a change of the whole brightness."""

    name: str
    family: Family
    element: Element | None = None
    whole: Callable[[Floats, np.random.Generator], Floats] | None = None

    def into(self, image: MedicalImage, seed: int) -> Inserted:
        """Return the picture with it and with its control; raises MetricError for a volume."""
        scene = PictureScene.of(image)
        before = scene.anatomy.signal
        if self.element is not None:
            element = fitted(self.element, scene)
            after, mask = scene.planted(element, seed)
            control = before + hazed(after - before, mask)
            return Inserted(scene.changed(after), scene.changed(np.clip(control, 0, 1)), mask)
        assert self.whole is not None
        after = np.clip(self.whole(before, np.random.default_rng([seed, 0])), 0, 1).astype(np.float32)
        sign = patches(before.shape, np.random.default_rng([seed, FIELD]))
        control = np.clip(before + (after - before) * sign, 0, 1)
        return Inserted(scene.changed(after), scene.changed(control), None)


def fitted(element: Element, scene: PictureScene) -> Element:
    """Return an element with lengths that suit the picture."""
    if isinstance(element, Calipers):
        geometry = scene.anatomy.geometry
        side = min(n * s for n, s in zip(geometry.shape, geometry.spacing, strict=True))
        return replace(element, length_mm=(0.2 * side, 0.4 * side))
    return element


def hazed(change: Floats, mask: Mask) -> Floats:
    """Return a change (*S) without its form: smoothed, and summing up to as much within the picture."""
    if not mask.any():
        return np.zeros_like(change)
    sides = [int(np.ptp(line)) + 1 for line in np.nonzero(mask)]
    return smoothed(change, max(1.0, HAZE * min(sides))).astype(np.float32)


def smoothed(values: npt.NDArray[np.floating], sigma: float) -> npt.NDArray[np.float64]:
    """Return values (*S) under a Gaussian, reflected at the rims: that of scipy.ndimage, by cosine transforms.

    A haze as wide as the picture costs seconds by sums, and a cohort has thousands.
    """
    from scipy.fft import dctn, idctn

    radius = int(4 * sigma + 0.5)
    at = np.arange(1, radius + 1)
    kernel = np.exp(-0.5 * (at / sigma) ** 2)
    middle = 1 / (1 + 2 * kernel.sum())
    found = dctn(np.asarray(values, np.float64))
    for axis, n in enumerate(values.shape):
        response = middle * (1 + 2 * np.cos(np.outer(np.pi * np.arange(n) / n, at)) @ kernel)
        found *= response.reshape([n if a == axis else 1 for a in range(values.ndim)])
    back: npt.NDArray[np.float64] = idctn(found)
    return back


def patches(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return a smooth field (*S) from -1 to 1, half of it negative: times a change, it leaves no form of it."""
    field = smoothed(rng.standard_normal(shape), PATCHES * min(shape))
    field = field - np.median(field)
    sign: Floats = np.clip(field / max(1e-12, float(np.abs(field).mean())), -1, 1).astype(np.float32)
    return sign


@dataclass(frozen=True)
class Gamma:
    """The brightness to a power: above 1 darker, below brighter, black and white as they were."""

    power: float

    def __call__(self, brightness: Floats, _: np.random.Generator) -> Floats:
        """Return the changed brightness (*S)."""
        found: Floats = np.power(brightness, np.float32(self.power)).astype(np.float32)
        return found


@dataclass(frozen=True)
class Blurred:
    """Less sharp: a Gaussian whose deviation is this share of the shorter side."""

    share: float

    def __call__(self, brightness: Floats, _: np.random.Generator) -> Floats:
        """Return the changed brightness (*S)."""
        from scipy.ndimage import gaussian_filter

        found: Floats = gaussian_filter(brightness, self.share * min(brightness.shape), mode="nearest")
        return found


@dataclass(frozen=True)
class Grain:
    """More noise, of this deviation on the scale from black to white."""

    deviation: float

    def __call__(self, brightness: Floats, rng: np.random.Generator) -> Floats:
        """Return the changed brightness (*S)."""
        drawn = rng.standard_normal(brightness.shape, np.float32)
        found: Floats = brightness + np.float32(self.deviation) * drawn
        return found


def _marks(family: Family, corners: tuple[Corner, ...]) -> tuple[Insertion, ...]:
    """Return a printed remark and a lead letter in each of some corners; of no phantom network's training text."""
    texts = [Insertion(f"text, {c}", family, Words(f"text {c}", text="AP MOBILE", corner=c)) for c in corners]
    letters = [Insertion(f"letter, {c}", family, Marker(f"letter {c}", text="R", corner=c)) for c in corners]
    return (*texts, *letters)


INSERTIONS: tuple[Insertion, ...] = (
    *_marks("upper corner", ("top-left", "top-right")),
    *_marks("lower corner", ("bottom-left", "bottom-right")),
    Insertion("ruler, right", "edge", Ruler("ruler right")),
    Insertion("ruler, bottom", "edge", Ruler("ruler bottom", edge="bottom")),
    Insertion("shutters", "edge", Collimation()),
    Insertion("black wedge", "edge", WedgeBelow()),
    Insertion("black text", "lower corner", Tag()),
    Insertion("bright columns", "inside", Columns()),
    Insertion("calipers", "inside", Calipers()),
    Insertion("pacemaker", "inside", Device("pacemaker", form="pacemaker")),
    Insertion("line", "inside", Device("line", form="line")),
    Insertion("electrode", "inside", Device("electrode", form="electrode")),
    Insertion("darker", "whole", whole=Gamma(1.15)),
    Insertion("brighter", "whole", whole=Gamma(1 / 1.15)),
    Insertion("blur", "whole", whole=Blurred(0.0075)),
    Insertion("noise", "whole", whole=Grain(0.03)),
)


def suited(image: MedicalImage) -> tuple[Insertion, ...]:
    """Return the insertions that can stand in an image: none in a volume, no device of the chest in a sonogram."""
    if image.geometry.ndim != 2:
        return ()
    chest = {"pacemaker", "electrode"} if image.modality == "US" else set()
    return tuple(i for i in INSERTIONS if i.name not in chest)
