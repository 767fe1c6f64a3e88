"""Parting an image into regions, of which each may be taken away: supervoxels of like brightness, or a regular grid."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Literal

from saliscope.core.errors import MethodError

if TYPE_CHECKING:
    from torch import Tensor

Partition = Literal["slic", "grid"]

#: What `spacing` may be: one step for each axis, or None for elements that are as long as they are wide.
Spacing = tuple[float, ...] | None


def check_segments(segments: int, partition: str) -> None:
    """Raise MethodError unless there are two segments or more, in a partition that is known."""
    if segments < 2 or partition not in ("slic", "grid"):
        raise MethodError(
            f"{segments} segments by {partition!r}", expected="two or more, by slic or grid", do="Correct the fields"
        )


def segmented(
    image: Tensor, segments: int, partition: Partition = "slic", spacing: Spacing = None, compactness: float = 0.1
) -> Tensor:
    """Return labels (*S), 0 to about `segments` - 1 without a gap, of an image (C, *S).

    "slic" gathers neighbours of like brightness (achanta2012), distances being measured by `spacing`: the larger
    `compactness`, the less brightness counts. Where noise leaves less than half of the segments, it is raised tenfold,
    twice at most; then it is boxes. "grid" cuts boxes that are about as long as they are wide.
    Raises MethodError for a spacing with another number of axes.
    """
    import torch

    shape = image.shape[1:]
    steps = tuple(spacing) if spacing is not None else (1.0,) * len(shape)
    if len(steps) != len(shape) or min(steps) <= 0:
        raise MethodError(
            f"spacing {steps} for an image of {len(shape)} axes", expected="one positive step for each", do="Correct it"
        )
    if partition == "slic":
        for factor in (1, 10, 100):
            labels: Tensor = torch.unique(_slic(image, segments, steps, factor * compactness), return_inverse=True)[1]
            if int(labels.max()) + 1 >= segments / 2:
                return labels.to(image.device)
    return _boxes(shape, segments, steps).to(image.device)


def _slic(image: Tensor, segments: int, steps: Sequence[float], compactness: float) -> Tensor:
    import numpy as np
    import torch
    from skimage.segmentation import slic

    # In float32 for every type of image, so that a float64 image is parted as its float32 copy is.
    values = np.moveaxis(image.detach().float().cpu().numpy(), 0, -1)
    # Relative to their mean, so that compactness means the same for millimetres and for elements.
    scale = prod(steps) ** (1 / len(steps))
    labels = slic(
        np.ascontiguousarray(values),
        n_segments=segments,
        compactness=compactness,
        spacing=[s / scale for s in steps],
        start_label=0,
        channel_axis=-1,
        convert2lab=False,
    )
    return torch.from_numpy(labels.astype(np.int64))


def _boxes(shape: Sequence[int], segments: int, steps: Sequence[float]) -> Tensor:
    import torch

    lengths = [n * s for n, s in zip(shape, steps, strict=True)]
    edge = (prod(lengths) / segments) ** (1 / len(shape))
    labels = torch.zeros(tuple(shape), dtype=torch.int64)
    for axis, (size, length) in enumerate(zip(shape, lengths, strict=True)):
        count = min(size, max(1, round(length / edge)))
        at = torch.arange(size) * count // size
        labels = labels * count + at.reshape(-1, *[1] * (len(shape) - 1 - axis))
    return labels


def painted(values: Tensor, labels: Tensor) -> Tensor:
    """Return (K, *S): at every element the value (K, segments) of its segment."""
    return values[:, labels]


def assembled(image: Tensor, without: Tensor, labels: Tensor, kept: Tensor) -> Tensor:
    """Return copies (m, C, *S) with the image (C, *S) in the segments that are kept (m, segments), else `without`."""
    return image.where(kept.to(labels.device)[:, labels][:, None], without)
