"""What a method may know of the image beside its tensor: millimetres, physical values, other subjects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core import nesting
from saliscope.core.errors import InputError, MethodError
from saliscope.core.image import MedicalImage
from saliscope.core.nesting import has
from saliscope.core.protocols import Method
from saliscope.model.frame import Frame, Step
from saliscope.model.intensity import Channels, Clip, Normalise, Scale, Window
from saliscope.model.network import Network
from saliscope.model.view import View
from saliscope.perturb.baseline import FILE, PHYSICAL
from saliscope.perturb.reference import References

if TYPE_CHECKING:
    from torch import Tensor

Values = npt.NDArray[np.float64]

#: Hounsfield units of air, by definition, and of soft tissue about.
AIR_HU, TISSUE_HU = -1000.0, 40.0
#: Values nearer to the image's own than this share of its range are taken as among them.
NEAR = 0.01


def settled(method: Method, image: MedicalImage, view: View, network: Network) -> Method:
    """Return the method, and every method inside it, with what only the image and its view can tell.

    A field `spacing` that is None becomes the view's spacing in millimetres where that is known. A `baseline` of "air",
    "tissue" or "file:PATH", and `references` of "file:PATH" (a file or a folder), become numbers or references in
    units of the view. Raises MethodError for what cannot be told, and for a baseline "zero" of a CT, which after a
    view's steps is any tissue; InputError where a file cannot be read.
    """

    def change(one: Method) -> Method:
        found: dict[str, Any] = {}
        if has(one, "spacing") and one.spacing is None and view.geometry.unit == "mm":  # type: ignore[attr-defined]
            found["spacing"] = view.geometry.spacing
        for field in ("baseline", "references"):
            value = getattr(one, field, None) if has(one, field) else None
            if isinstance(value, str):
                found[field] = _told(value, image, view, network)
        return replace(one, **found) if found else one  # type: ignore[type-var]

    return nesting.settled(method, change)


def _told(value: str, image: MedicalImage, view: View, network: Network) -> str | float | References:
    if value == "zero" and image.modality == "CT":
        raise MethodError(
            "baseline 'zero' for a CT, where the view's zero is whatever its steps make it",
            expected="a baseline that means something",
            do=f"Write air ({AIR_HU:.0f} HU), tissue ({TISSUE_HU:.0f} HU), or the number in units of the view",
        )
    if value.startswith(FILE):
        return _others(value.removeprefix(FILE), view, network)
    if value in PHYSICAL:
        return _uniform(in_view(_physical(value, image, network), image, view, network), view.tensor)
    return value


def _others(path: str, view: View, network: Network) -> References:
    """Return the images behind a path as the network sees them; raises MethodError where they have another shape."""
    import torch

    from saliscope.read import discover

    sources, failures = discover([path])
    if failures or not sources:
        raise failures[0].error if failures else InputError(f"{path}: no image", do="Check the path")
    views = [network.viewing(source.load()).tensor for source in sources]
    for source, one in zip(sources, views, strict=True):
        if one.shape != view.tensor.shape:
            raise MethodError(
                f"reference {source.name} whose view has the shape {tuple(one.shape[1:])}",
                expected=f"that of the image, {tuple(view.tensor.shape[1:])}",
                do="Take references of the same kind and size, or a network whose view resizes",
            )
    return References.of(torch.cat(views))


def _uniform(values: Values, like: Tensor) -> float | References:
    """Return one number, or, where channels differ, an image (1, C, *S) that is constant in each."""
    if len(set(values.tolist())) == 1:
        return float(values[0])
    column = like.new_tensor(values.tolist()).reshape(-1, *[1] * (like.ndim - 2))
    return References.of(column.expand(like.shape[1:])[None])


def _physical(name: str, image: MedicalImage, network: Network) -> Values:
    """Return air or tissue (C,) in units of what the view begins at: the image's values, or what is displayed."""
    display = network.viewing.source == "display"
    if image.modality == "CT" and len(image.values) == 1:
        value = AIR_HU if name == "air" else TISSUE_HU
        return _displayed(value, image) if display else np.array([value])
    start = np.asarray(image.display if display else image.values, np.float64)
    shown = image.display.mean(axis=0)
    inside = np.ones(shown.shape, bool) if image.padding is None or image.padding.all() else ~image.padding
    if name == "air":
        if display:
            return np.zeros(len(start))
        darkest = np.where(inside, shown, np.inf).argmin()
        found: Values = start.reshape(len(start), -1)[:, darkest]
        return found
    from skimage.filters import threshold_otsu

    body = inside & (shown > threshold_otsu(shown[inside])) if np.ptp(shown[inside]) > 0 else inside
    mean: Values = start[:, body].mean(axis=1)
    return mean


def _displayed(value: float, image: MedicalImage) -> Values:
    """Return how a value is displayed (1 or 3,): as the nearest one of the image is, or as the end of the window."""
    flat = image.values[0].reshape(-1)
    nearest = int(np.abs(flat - value).argmin())
    shown: Values = image.display.reshape(len(image.display), -1)[:, nearest].astype(np.float64)
    beyond = abs(float(flat[nearest]) - value) > NEAR * float(np.ptp(flat))
    if beyond and not np.isin(shown, (0, 255)).all():
        raise MethodError(
            f"a value of {value:.0f} HU, which is not in this image, so that nobody can tell how it is displayed",
            expected="a value that the image holds, or one beyond its window",
            do="Give the baseline as a number in units of the view, or 'min'",
        )
    return shown


def in_view(values: Values, image: MedicalImage, view: View, network: Network) -> Values:
    """Return what the network's steps, as they are fitted to this image, make of uniform values (C,).

    Raises MethodError where the view was not made by these steps, or where a step has nothing to be fitted to.
    """
    array = image.values if network.viewing.source == "values" else image.display
    frame = Frame(np.asarray(array, np.float32), image.geometry, image.padding)
    for step in network.viewing.steps:
        after = step(frame)
        values, frame = _through(step, values, frame, after), after
    seen = view.tensor[0].float().cpu().numpy()
    if seen.shape != frame.values.shape or not np.allclose(seen, frame.values, atol=1e-4 * (np.ptp(seen) + 1e-12)):
        raise MethodError(
            "a physical baseline for a tensor that was not made from an image by the network's own view",
            expected="an image, or its path",
            do="Give the baseline as a number in units of the view",
        )
    return values


def _through(step: Step, values: Values, before: Frame, after: Frame) -> Values:
    """Return what one step makes of uniform values (C,); a step that fits itself to the scan is read off the scan."""
    if isinstance(step, Clip):
        return values.clip(after.values.min(), after.values.max())
    if (isinstance(step, Scale) and step.factor is None) or (isinstance(step, Normalise) and step.mean is None):
        return _on_the_line(values, before.values, after.values)
    if isinstance(step, Normalise) and step.std is None:
        return _on_the_line(values, before.values, after.values)
    if isinstance(step, Window | Scale | Normalise | Channels):
        geometry = before.geometry.cropped([0] * before.geometry.ndim, [1] * before.geometry.ndim)
        one = values.reshape(-1, *[1] * geometry.ndim).astype(np.float32)
        made: Values = step(Frame(one, geometry)).values.reshape(-1).astype(np.float64)
        return made
    # The others move elements about and leave a uniform image as it is.
    return values


def _on_the_line(values: Values, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Values:
    """Return values (C,) put through the affine step that took each channel from before to after."""
    found = []
    for c, value in enumerate(values):
        ends = [before[c].argmin(), before[c].argmax()]
        a, b = before[c].reshape(-1)[ends].astype(np.float64)
        p, q = after[c].reshape(-1)[ends].astype(np.float64)
        if not b > a:
            raise MethodError(
                "a physical baseline for an image of one value, to which a step of the view fits itself",
                expected="an image with contrast",
                do="Give the baseline as a number in units of the view",
            )
        found.append(p + (value - a) * (q - p) / (b - a))
    return np.array(found, np.float64)
