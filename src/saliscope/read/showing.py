"""What the clinician sees: VOI LUT, window or range, then inversion, then 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.read.guard import Guard
from saliscope.read.pixels import Mask, Values, numbers_of

if TYPE_CHECKING:
    from pydicom import Dataset

Bytes = npt.NDArray[np.uint8]
Look = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
#: Soft tissue: level 40 HU, width 400 HU.
SOFT_TISSUE = (-160.0, 240.0)


def displayed(
    values: Values, padding: Mask | None, header: Dataset, units: str, photometric: str, label: str
) -> tuple[Bytes, list[str]]:
    """Return the display (1 or 3, *S) of values (1 or 3, *S) by the looks of one header, and what was assumed."""
    if values.shape[0] == 3:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8), []
    with Guard(label, "applying its display window"), np.errstate(over="ignore"):
        look, notes = _look(values, padding, header, units)
        display = np.empty(values.shape, dtype=np.uint8)
        planes = values.reshape(-1, *values.shape[-2:])
        for shown, plane in zip(display.reshape(planes.shape), planes, strict=True):
            shown[...] = np.rint(255 * np.clip(look(plane), 0, 1)).astype(np.uint8)
    shape = str(header.get("PresentationLUTShape", "") or "")
    if photometric == "MONOCHROME1" or shape == "INVERSE":
        display = 255 - display
        notes.append("display is inverted, as the header asks: low values are shown bright")
    if padding is not None:
        display[:, padding] = 0
    return display, notes


def between(low: float, high: float) -> Look:
    """Return the linear look that maps low..high to 0..1."""
    span = high - low if high > low else 1.0
    return lambda a: (a - low) / span


def _look(values: Values, padding: Mask | None, header: Dataset, units: str) -> tuple[Look, list[str]]:
    if header.get("VOILUTSequence"):
        return _table(header), []
    notes = []
    if "WindowCenter" in header or "WindowWidth" in header:
        if _window_holds(header):
            return _window(header), []
        notes.append("the display window in the header makes no sense and was not used")
    if units == "HU":
        low, high = SOFT_TISSUE
        return between(low, high), [*notes, f"no display window in the header: shown from {low:g} to {high:g} HU"]
    valid = values if padding is None else values[:, ~padding]
    low, high = float(valid.min()), float(valid.max())
    return between(low, high), [*notes, "no display window in the header: shown from minimum to maximum"]


def _window_holds(header: Dataset) -> bool:
    centre, width = numbers_of(header, "WindowCenter"), numbers_of(header, "WindowWidth")
    kind = str(header.get("VOILUTFunction", "") or "LINEAR").upper()
    if centre is None or width is None or kind not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return False
    return width >= 1 if kind == "LINEAR" else width > 0


def _window(header: Dataset) -> Look:
    from pydicom.pixels.processing import apply_windowing

    plain = deepcopy(header)
    # The output range is a matter of stored bits and slope, which may be negative; asking for it keeps low dark.
    plain.PhotometricInterpretation = "MONOCHROME2"
    plain.VOILUTFunction = str(plain.get("VOILUTFunction", "") or "LINEAR")
    if "BitsStored" not in plain or "PixelRepresentation" not in plain:  # float pixels
        plain.BitsStored, plain.PixelRepresentation = 16, 0
    low, high = apply_windowing(np.array([-1e12, 1e12]), plain)
    inner = between(min(low, high), max(low, high))
    turned = high < low
    return lambda a: 1 - inner(apply_windowing(a, plain)) if turned else inner(apply_windowing(a, plain))


def _table(header: Dataset) -> Look:
    from pydicom.pixels.processing import apply_voi

    plain = deepcopy(header)
    item = plain.VOILUTSequence[0]
    entries, first, depth = (int(v) for v in item.LUTDescriptor)
    # pydicom indexes the table in the type of its entries; sixteen bits hold every index.
    item.LUTDescriptor = [entries, first, 16]
    last = first + (entries or 2**16) - 1
    return lambda a: apply_voi(np.clip(np.rint(a), first, last).astype(np.int64), plain) / (2.0**depth - 1)
