"""Inputs without evidence: what stands where something was taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from saliscope.core.errors import MethodError, did_you_mean
from saliscope.perturb.reference import References

if TYPE_CHECKING:
    from torch import Tensor

#: "zero": the view's own zero, which after a normalisation is a mean grey; "min", "max", "mean": of each channel of the
#: image itself, "min" being air or black where the view keeps brightness in order; "blur": the image without detail.
#: "air", "tissue" and "file:PATH" are settled to numbers or references where the image and the view are known
#: (`saliscope.study.settle`). "inpaint" stands for the smooth fill of a window from what surrounds it, for methods
#: that take windows away. A number is in units of the view; references are other images, of which the first stands in.
Baseline = Literal["zero", "min", "max", "mean", "blur", "air", "tissue", "inpaint"] | str | float | References

NAMES = ("zero", "min", "max", "mean", "blur")
#: Names that only mean something beside the image that was read, and the beginning of a file's name.
PHYSICAL, FILE = ("air", "tissue"), "file:"
INPAINT = "inpaint"


def check_baseline(baseline: Baseline, *, windows: bool = False) -> None:
    """Raise MethodError unless a baseline is a known name, a file, references or a finite number.

    With `windows` also "inpaint", which only means something where a window is taken away.
    """
    if isinstance(baseline, References) or (windows and baseline == INPAINT):
        return
    names = (*NAMES, *PHYSICAL, *((INPAINT,) if windows else ()))
    if baseline in names or (isinstance(baseline, str) and baseline.startswith(FILE)):
        return
    try:
        finite = abs(float(baseline)) < float("inf")
    except ValueError:
        finite = False
    if not finite:
        raise MethodError(
            f"baseline {baseline!r}",
            expected=f"{', '.join(names)}, file:PATH or a finite number",
            do="It needs windows: use occlusion" if baseline == INPAINT else did_you_mean(str(baseline), names),
        )


def absent(x: Tensor, baseline: Baseline) -> Tensor:
    """Return, for each image of x (N, C, *S) by itself, the input of the same shape that stands for no evidence.

    Raises MethodError for "air", "tissue" and files, which a tensor alone cannot tell.
    """
    check_baseline(baseline)
    axes = tuple(range(2, x.ndim))
    if isinstance(baseline, References):
        return baseline.like(x)[:1].expand_as(x).clone()
    if baseline in PHYSICAL or (isinstance(baseline, str) and baseline.startswith(FILE)):
        raise MethodError(
            f"baseline {baseline!r} for a tensor, which has no units and no view",
            expected="a number in units of the view, or references",
            do="Call saliscope.explain with the image, which settles it",
        )
    if baseline == "blur":
        return blurred(x, [size / 8 for size in x.shape[2:]])
    if baseline == "min":
        return x.amin(dim=axes, keepdim=True).expand_as(x).clone()
    if baseline == "max":
        return x.amax(dim=axes, keepdim=True).expand_as(x).clone()
    if baseline == "mean":
        return x.mean(dim=axes, keepdim=True).expand_as(x).clone()
    return x.new_full(x.shape, 0.0 if baseline == "zero" else float(baseline))


def blurred(x: Tensor, sigma: list[float]) -> Tensor:
    """Return x (N, C, *S) smoothed by a Gaussian of `sigma` elements per axis; at the edge the weights sum to one."""
    import torch

    for axis, width in enumerate(sigma, start=2):
        at = torch.arange(x.shape[axis], device=x.device, dtype=x.dtype)
        weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * width**2))
        x = (x.movedim(axis, -1) @ (weights / weights.sum(dim=1, keepdim=True)).T).movedim(-1, axis)
    return x
