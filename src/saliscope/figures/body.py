"""Which part of an image is the body, where that can be told at all."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from saliscope.core.image import MedicalImage

Mask = npt.NDArray[np.bool_]
_found: WeakKeyDictionary[MedicalImage, tuple[Mask | None, str]] = WeakKeyDictionary()

#: Modalities in which the air around the body is dark. In ultrasound a dark area may be fluid or shadow.
DARK_AIR = frozenset({"CT", "MR", "PT", "CR", "DX", "MG", "RF", "XA"})
#: Air is darker than this share of the image's bright end (99th percentile).
DARK = 0.1
#: With less of its edge in the dark than this, an image is taken to be filled by the body.
LEAST_EDGE = 0.15


def luminance(image: MedicalImage) -> npt.NDArray[np.float32]:
    """Return the display (*S) in grey, 0..255 (ITU-R 601)."""
    if image.display.shape[0] == 1:
        return np.asarray(image.display[0], dtype=np.float32)
    grey: npt.NDArray[np.float32] = np.tensordot(
        np.array([0.299, 0.587, 0.114], np.float32), image.display.astype(np.float32), axes=1
    )
    return grey


def body_mask(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return what `_body_mask` finds, once for each image: maps of many targets and methods are laid over one."""
    if image not in _found:
        _found[image] = _body_mask(image)
    return _found[image]


def _body_mask(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return (mask (*S) or None, how it was found or why not).

    Outside the body is what is darker than a tenth of the bright end of the display and connected with the edge of
    its slice; lungs, enclosed by the body, stay inside. A volume of unknown modality is treated so too, and it is said;
    a picture of unknown modality is not, because it may be ultrasound.
    """
    guessed = not image.modality and image.geometry.ndim == 3
    if image.modality not in DARK_AIR and not guessed:
        why = f"in modality {image.modality}" if image.modality else "where the modality is not known"
        return None, f"the outline of the body is not determined {why}"
    grey = luminance(image) if image.display.shape[0] > 1 else image.display[0]
    dark = grey <= DARK * _bright_end(grey)
    if image.padding is not None:
        dark |= image.padding
    slices = dark if dark.ndim == 3 else dark[None]
    for s in slices:  # in place: of a volume there is one mask
        s[...] = _from_edge(s)
    edge = np.concatenate([np.r_[s[0], s[-1], s[:, 0], s[:, -1]] for s in slices])
    share = float(dark.mean())
    if edge.mean() < LEAST_EDGE or share > 0.95:
        return None, "no background was found, so nothing is said about it"
    mask: Mask = np.logical_not(dark, out=dark)
    why = "; the modality is not known, so dark is taken for air" if guessed else ""
    return mask, f"background: dark and connected with the edge, {share:.0%} of the image{why}"


def _from_edge(dark: Mask) -> Mask:
    from scipy import ndimage

    labels, count = ndimage.label(dark)
    touching = np.zeros(count + 1, dtype=np.bool_)
    touching[np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]]] = True
    touching[0] = False
    found: Mask = touching[labels]
    return found


def _bright_end(grey: npt.NDArray[Any]) -> float:
    """Return the 99th percentile; of bytes by counting them, which needs no copy of a volume."""
    if grey.dtype != np.uint8:
        return float(np.percentile(grey, 99))
    counts = sum(np.bincount(plane.reshape(-1), minlength=256) for plane in grey)
    upto = np.cumsum(counts)
    at = 0.99 * (grey.size - 1)
    low, high = (int(np.searchsorted(upto, int(at) + k, side="right")) for k in (0, 1))
    return low + (at - int(at)) * (min(high, 255) - low)
