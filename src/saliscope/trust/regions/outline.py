"""Outlines: what is outside of the body, shutters, the field of an ultrasound beam, and the border of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saliscope.figures.body import body_mask, luminance

if TYPE_CHECKING:
    from saliscope.core.image import MedicalImage
    from saliscope.core.region import Mask

#: The border is this share of each side; marks, shutters and edges of detectors lie there.
BORDER = 0.05
#: Darker than this share of the bright end is black: in a beam's field there is at least noise.
BLACK = 0.04
#: Shutters: rows or columns from an edge of which so much is as dark as a shutter, in no more than half of the picture.
SHUT, SHUTTER, DEEPEST = 0.97, 0.12, 0.5


def outside_body(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return what is not body (*S) or None, and how it was found or why not."""
    body, how = body_mask(image)
    return (None, how) if body is None else (~body, how)


def body(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return the body (*S), its largest connected part, or None, and how it was found or why not."""
    from scipy import ndimage

    found, how = body_mask(image)
    if found is None:
        return None, how
    labels, count = ndimage.label(found)
    if count == 0:
        return None, "nothing but background"
    sizes = np.bincount(labels.ravel())[1:]
    largest: Mask = labels == int(sizes.argmax()) + 1
    return largest, f"largest part that is no background; {how}"


def border(shape: tuple[int, ...], share: float = BORDER) -> Mask:
    """Return the strip (*S) along the edges of the last two axes, a share of each side wide, at least one element."""
    found = np.zeros(shape, np.bool_)
    for axis in (-2, -1):
        width = max(1, round(share * shape[axis]))
        lines = np.moveaxis(found, axis, 0)
        lines[:width] = lines[-width:] = True
    return found


def shutters(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return dark shutters along the edges (*S) of a radiograph or None, and how they were found or why not.

    An edge is shut as far as nearly all of each row or column beside it is dark and even, and ends at once.
    """
    if image.geometry.ndim != 2 or image.modality not in {"CR", "DX", "RF", "XA", "MG"}:
        return None, "shutters are looked for in radiographs only"
    grey = luminance(image)
    dark = grey <= SHUTTER * float(np.percentile(grey, 99))
    found = np.zeros(grey.shape, np.bool_)
    edges = 0
    for turns in range(4):
        lines = np.rot90(dark, turns)
        even = np.rot90(grey, turns).std(axis=1) <= 0.05 * 255
        shut = (lines.mean(axis=1) >= SHUT) & even
        depth = int(np.argmin(shut)) if not shut.all() else len(shut)
        if 0.01 * len(shut) <= depth <= DEEPEST * len(shut):
            np.rot90(found, turns)[:depth] = True
            edges += 1
    if not edges:
        return None, "no edge of the picture is dark and even all along"
    return found, f"dark and even along {edges} edge{'s' if edges > 1 else ''}; air beside the patient can look so too"


def beam_field(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return the field of an ultrasound beam (*S) or None, and how it was found or why not."""
    from scipy import ndimage

    if image.geometry.ndim != 2 or image.modality != "US":
        return None, "the field of a beam is looked for in ultrasound pictures only"
    grey = luminance(image)
    lit = ndimage.median_filter(grey, size=3) > BLACK * float(np.percentile(grey, 99))
    reach = max(1, round(0.02 * min(grey.shape)))
    padded = np.pad(lit, reach)
    closed = ndimage.binary_closing(padded, iterations=reach)[reach:-reach, reach:-reach]
    labels, count = ndimage.label(closed)
    if count == 0:
        return None, "the picture is black"
    sizes = np.bincount(labels.ravel())[1:]
    field: Mask = ndimage.binary_fill_holes(labels == int(sizes.argmax()) + 1)
    share = float(field.mean())
    if share < 0.2:
        return None, "no field of a beam stands out"
    return field, f"the largest part that is not black, closed: {share:.0%} of the picture"
