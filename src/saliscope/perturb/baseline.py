"""Inputs without evidence: what stands where something was taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from saliscope.core.errors import MethodError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

#: "zero": the view's own zero, which after a normalisation is a mean grey; "min" and "mean": of each channel of the
#: image itself, "min" being air or black where the view keeps brightness in order; "blur": the image without detail.
#: A number is in units of the view.
Baseline = Literal["zero", "min", "mean", "blur"] | float

NAMES = ("zero", "min", "mean", "blur")


def check_baseline(baseline: Baseline | str) -> None:
    """Raise MethodError unless a baseline is one of the names or a finite number."""
    if baseline not in NAMES:
        try:
            finite = abs(float(baseline)) < float("inf")
        except ValueError:
            finite = False
        if not finite:
            raise MethodError(
                f"baseline {baseline!r}",
                expected="zero, min, mean, blur or a finite number",
                do=did_you_mean(str(baseline), NAMES),
            )


def absent(x: Tensor, baseline: Baseline | str) -> Tensor:
    """Return, for each image of x (N, C, *S) by itself, the input of the same shape that stands for no evidence."""
    check_baseline(baseline)
    axes = tuple(range(2, x.ndim))
    if baseline == "blur":
        return blurred(x, [size / 8 for size in x.shape[2:]])
    if baseline == "min":
        return x.amin(dim=axes, keepdim=True).expand_as(x).clone()
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
