"""Any 2D picture as a scene in which marks can be planted: its brightness, and the way back to what was stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self, cast

import numpy as np

from saliscope.core.errors import MetricError
from saliscope.core.image import MedicalImage
from saliscope.figures.body import body_mask, luminance
from saliscope.phantom.element import Element, Site
from saliscope.phantom.scene import Anatomy

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.region import Mask
    from saliscope.phantom.scene import Floats, Scene

#: The longer side of a picture whose spacing is not known, in mm: sizes of marks are shares of the picture anyway,
#: and those of devices are then as in a chest radiograph.
SIDE_MM = 400.0
#: By so much of the whole scale a device of contrast 1 is brighter than what it lies on.
CONTRAST = 0.35


@dataclass(frozen=True, eq=False)
class PictureScene:
    """A picture in brightness from 0 (black as shown) to 1 (white), where elements of phantoms can be planted.

    `dark` and `bright` are the stored values of 0 and 1. Raises MetricError for a volume.
    """

    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    contrast: ClassVar[float] = CONTRAST
    home: ClassVar[str] = "body"
    body: ClassVar[str] = "body"

    image: MedicalImage
    anatomy: Anatomy = field(repr=False)
    dark: float
    bright: float

    @classmethod
    def of(cls, image: MedicalImage) -> Self:
        """Return the scene of a picture; its body is everything where the outline cannot be found."""
        if image.geometry.ndim != 2:
            raise MetricError(
                f"marks in a volume of {image.geometry.shape}", expected="a picture", do="Plant them in pictures only."
            )
        shown = luminance(image) / np.float32(255)
        found, _ = body_mask(image)
        body = np.ones(shown.shape, np.bool_) if found is None else found
        dark, bright = scale_of(image)
        return cls(image, Anatomy(shown, {"body": body}, _measured(image.geometry)), dark, bright)

    def site(self, name: str, seed: int) -> Site:
        """Return the site of an element; its place is drawn from the seed and its name."""
        nothing = np.zeros(self.image.geometry.shape, np.bool_)
        # An element asks a scene for its range, its contrast and its compartments; it never draws one.
        return Site.of(cast("Scene", self), self.anatomy, nothing, seed, name)

    def planted(self, element: Element, seed: int) -> tuple[Floats, Mask]:
        """Return the brightness (*S) with an element, and where it lies; raises MetricError for one without a place."""
        plant = element.plant(self.site(element.name, seed))
        if plant.mask is None:
            raise MetricError(f"element {element.name!r}, which has no place", do="Change the whole picture instead.")
        seen = self.anatomy.signal
        for change in (plant.body, plant.film):
            seen = seen if change is None else change(seen)
        return np.clip(seen, 0, 1).astype(np.float32), plant.mask

    def changed(self, brightness: Floats) -> MedicalImage:
        """Return the picture with the change of its brightness (*S) on the stored values and on what is shown.

        Values that were whole numbers stay so; those beyond black and white move too, and are clipped to the range
        that the picture has.
        """
        image = self.image
        difference = brightness - self.anatomy.signal
        values = image.values + difference * np.float32(self.bright - self.dark)
        ends = (self.dark, self.bright, float(image.values.min()), float(image.values.max()))
        values = np.clip(values, min(ends), max(ends))
        if np.array_equal(image.values, np.rint(image.values)):
            values = np.rint(values)
        values = np.where(difference == 0, image.values, values).astype(np.float32)
        display = np.clip(np.rint(image.display + difference * np.float32(255)), 0, 255).astype(np.uint8)
        return replace(image, values=values, display=display)


def scale_of(image: MedicalImage) -> tuple[float, float]:
    """Return the stored values that are shown black and white: the line through what is not clipped.

    Where there is no such line, the ends of the values, in the order in which they are shown.
    """
    shown = luminance(image).ravel().astype(np.float64)
    stored = image.values.mean(axis=0).ravel().astype(np.float64)
    within = (shown > 2) & (shown < 253)
    if within.sum() >= 50 and np.ptp(stored[within]) > 0 and np.ptp(shown[within]) > 0:
        slope, start = np.polyfit(stored[within], shown[within], 1)
        if abs(np.corrcoef(stored[within], shown[within])[0, 1]) > 0.95:
            return float(-start / slope), float((255 - start) / slope)
    low, high = float(stored.min()), float(stored.max())
    high = high if high > low else low + 1
    falls = np.ptp(shown) > 0 and np.ptp(stored) > 0 and np.corrcoef(stored, shown)[0, 1] < 0
    return (high, low) if falls else (low, high)


def _measured(geometry: Geometry) -> Geometry:
    """Return the grid in millimetres; of an unknown spacing, as if the longer side had `SIDE_MM`."""
    if geometry.unit == "mm":
        return geometry
    step = SIDE_MM / max(n * s for n, s in zip(geometry.shape, geometry.spacing, strict=True))
    return replace(geometry, spacing=tuple(s * step for s in geometry.spacing), unit="mm")
