"""The image as it was read: values, the same as a clinician sees it, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import InputError
from saliscope.core.geometry import Geometry


@dataclass(frozen=True, eq=False)
class MedicalImage:
    """Values (C, *S) in `units` on `geometry`, with no identifier inside.

    `values` are float32 after the modality transform (CT: HU), never windowed; `display` is uint8 (1 or 3, *S), as the
    clinician sees it: window, inversion and palette applied. `padding` (*S) marks elements outside the scan.
    `digest` is the SHA-256 of the source bytes; `notes` says whatever was assumed, handled or unknown;
    `name` is a case name that holds no identifier. Arrays are read-only. Raises InputError if they do not fit.
    """

    values: npt.NDArray[np.float32] = field(repr=False)
    display: npt.NDArray[np.uint8] = field(repr=False)
    geometry: Geometry
    modality: str
    units: str
    digest: str
    name: str
    notes: tuple[str, ...] = ()
    padding: npt.NDArray[np.bool_] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for what, array, channels in (("values", self.values, None), ("display", self.display, (1, 3))):
            if array.shape[1:] != self.geometry.shape or (channels and array.shape[0] not in channels):
                raise InputError(
                    f"{what} of shape {array.shape} on a grid of {self.geometry.shape}",
                    expected="(channels, *grid)",
                    do="Give values and display on the image's own grid.",
                )
            array.setflags(write=False)
        if not np.isfinite(self.values).all():
            raise InputError(
                "an image with NaN or infinite values", expected="finite values", do="Repair or mask the image first."
            )
        if self.padding is not None:
            self.padding.setflags(write=False)
