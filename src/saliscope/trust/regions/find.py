"""All regions that can be found in a picture by simple means, on the grid that the network saw, and why others cannot.

How far each finder errs is measured by docs/make_region_errors.py, where there is truth, and shown in
docs/how-to/regions-and-interventions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.region import Mask, Region
from saliscope.figures.place import within
from saliscope.trust.regions.lungs import lungs
from saliscope.trust.regions.marks import letters, text
from saliscope.trust.regions.onto import onto
from saliscope.trust.regions.outline import beam_field, body, border, outside_body, shutters

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.image import MedicalImage
    from saliscope.model.view import View

Finder = Callable[["MedicalImage"], tuple[Mask | None, str]]


@dataclass(frozen=True, eq=False)
class Found:
    """Regions by name on the grid of a view, how each was found, and why others are absent.

    The `source` of each region names its finder.
    """

    regions: Mapping[str, Region] = field(repr=False)
    how: Mapping[str, str]
    absent: Mapping[str, str]


@dataclass(frozen=True)
class Means:
    """One simple way of finding: the finder, and whether its region is made of thin marks."""

    finder: Finder
    thin: bool = False


#: The finders by the name of what they find. Marks are found before the network's view makes them small.
FINDERS: Mapping[str, Means] = MappingProxyType(
    {
        "body": Means(body),
        "outside the body": Means(outside_body),
        "burnt-in text": Means(text, thin=True),
        "markers": Means(letters, thin=True),
        "shutters": Means(shutters),
        "lungs": Means(lungs),
        "ultrasound field": Means(beam_field),
    }
)
BORDER = "border"


def find(image: MedicalImage, view: View) -> Found:
    """Return what simple means find in an image, on the grid of the network's view of it.

    A region of which nothing, or nothing else, is in the view is absent, with the reason.
    """
    regions: dict[str, Region] = {}
    how: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name, means in FINDERS.items():
        mask, said = means.finder(image)
        if mask is None:
            absent[name] = said
            continue
        placed = onto(mask, image.geometry, view.geometry, whole=means.thin)
        if not placed.any() or placed.all():
            absent[name] = f"{'nothing' if not placed.any() else 'nothing else'} is in what the network saw; {said}"
            continue
        regions[name] = Region(placed, view.geometry, name, f"found: {means.finder.__name__.replace('_', ' ')}")
        how[name] = said
    # Of the picture, not of what preprocessing padded around it.
    seen = within(view.geometry, image.geometry)
    strip = border(view.geometry.shape) & seen
    if strip.any() and not strip.all():
        regions[BORDER] = Region(strip, view.geometry, BORDER, "found: border")
        how[BORDER] = "the outer twentieth of what the network saw, on each side"
    else:
        absent[BORDER] = "the network's view is too small to have a border"
    return Found(MappingProxyType(regions), MappingProxyType(how), MappingProxyType(absent))


def drawn(mask: Mask, geometry: Geometry, view: View, name: str) -> Region:
    """Return a region that the user drew, on the grid of the view; raises MetricError where nothing of it is there."""
    placed = onto(mask, geometry, view.geometry)
    if not placed.any():
        raise MetricError(
            f"region {name!r}, of which nothing lies in what the network saw",
            expected="a region within the view",
            do="Draw it on this image, inside the crop of the preprocessing.",
        )
    return Region(placed, view.geometry, name, "drawn by the user")
