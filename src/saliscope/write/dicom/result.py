"""One explanation with all that DICOM objects say of it, made by the rooms that know how; here it is only encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.write.record import json_bytes, plain


@dataclass(frozen=True)
class Outline:
    """A closed line of (row, column) element indices (n, 2), fractions allowed, around a region on one plane."""

    plane: int
    region: int
    points: npt.NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Result:
    """An explanation of `image`: `values` (*S), the raw signed map on the image's own grid, and what was read there.

    `labels` (*S) are the numbers of the listed regions, 0 for none; `reading` is the record of the reading (regions,
    focus, scale, sentences), `card` that of the explanation card, if there is one. A map that its card hides
    (`hidden`) is in no object that a viewer draws. What costs is made when it is asked for: `capture` the pictures
    (F, H, W, 3) uint8 of a secondary capture (one, or one for each plane), `outlines` the lines around the regions,
    `report` the page as PDF.
    """

    explanation: Explanation
    image: MedicalImage
    values: npt.NDArray[np.float32] = field(repr=False)
    labels: npt.NDArray[np.uint8] = field(repr=False)
    reading: Mapping[str, Any] = field(repr=False)
    card: Mapping[str, Any] | None = field(repr=False)
    capture: Callable[[], npt.NDArray[np.uint8]] = field(repr=False)
    outlines: Callable[[], tuple[Outline, ...]] = field(repr=False)
    report: Callable[[], bytes] = field(repr=False)

    @property
    def hidden(self) -> bool:
        """Return whether the card hides the map."""
        return self.card is not None and bool(self.card["map_hidden"])

    @property
    def volume(self) -> bool:
        """Return whether the image is a volume."""
        return self.image.geometry.ndim == 3

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of what makes two results the same: image, weights, view, method, target, card."""
        p = self.explanation.provenance
        words = (p.image, p.weights, p.view, p.method, p.fields, p.layer, p.target, p.versions, self.card)
        return hashlib.sha256(json_bytes([plain(w) for w in words])).hexdigest()

    @property
    def title(self) -> str:
        """Return in a few words which map of which answer this is, for series and content descriptions."""
        return f"{self.explanation.provenance.method} map: {self.explanation.target}"
