"""Preprocessing, one step at a time; each moves the geometry along, so every map can be put back.

A step is a frozen dataclass and takes a Frame to a Frame. In a model card it is a table with `step = "kebab-name"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import CardError, GeometryError, did_you_mean
from saliscope.core.geometry import ENDS, Geometry
from saliscope.model.frame import Array, Frame, Step
from saliscope.model.intensity import Channels, Clip, Normalise, Scale, Window
from saliscope.model.library_steps import Affine, CentreCrop, Divisible, NormaliseNonzero, ShorterSide, Transpose


@dataclass(frozen=True)
class Orient:
    """Turn and flip a volume so that its axes (plane, row, column) run towards these letters, such as "SPL"."""

    towards: str

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame with axes reordered and reversed; no interpolation."""
        geometry = frame.geometry
        if geometry.frame == "image" or geometry.ndim != 3 or len(self.towards) != 3:
            raise GeometryError(
                f"orient {self.towards!r} on a {geometry.ndim}D image in the {geometry.frame} frame",
                expected="a volume whose orientation in the patient is known",
                do="Use a file that carries orientation, or drop the step.",
            )
        wanted = [next(((i, ends.index(c)) for i, ends in enumerate(ENDS) if c in ends), None) for c in self.towards]
        strength = np.abs(np.array(geometry.direction))
        order = [] if None in wanted else _assignment(strength, [w[0] for w in wanted if w is not None])
        if sorted(order) != [0, 1, 2]:
            raise GeometryError(
                f"orientation {self.towards!r}",
                expected="three letters, one of each pair L/R, P/A, I/S",
                do="Correct it.",
            )
        moved = _each(frame, lambda a: np.transpose(a, order), geometry.permuted(order))
        for axis, want in enumerate(wanted):
            world, end = want or (0, 0)
            if (moved.geometry.direction[axis][world] > 0) != (end == 1):
                moved = _each(moved, lambda a, axis=axis: np.flip(a, axis), moved.geometry.flipped(axis))
        return moved


@dataclass(frozen=True)
class Resample:
    """Interpolate to another spacing, in millimetres, over the same extent."""

    spacing_mm: tuple[float, ...]

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame at (about) this spacing; needs a known one."""
        geometry = frame.geometry
        if geometry.unit != "mm" or len(self.spacing_mm) != geometry.ndim:
            raise GeometryError(
                f"resample to {self.spacing_mm} mm of a {geometry.ndim}D image in {geometry.unit}",
                expected="a known spacing and one number for each axis",
                do="Use a file that carries its spacing, or 'resize' in place of 'resample'.",
            )
        sizes = [max(1, round(e / s)) for e, s in zip(geometry.extent, self.spacing_mm, strict=True)]
        return _resized(frame, sizes)


@dataclass(frozen=True)
class Resize:
    """Interpolate to a number of elements over the same extent; each axis by its own factor."""

    shape: tuple[int, ...]

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame on another number of elements."""
        _fits(self, self.shape, frame)
        return _resized(frame, self.shape)


@dataclass(frozen=True)
class Crop:
    """Keep the middle box of this many elements; an axis that is smaller stays; with no shape, a square or cube."""

    shape: tuple[int, ...] | None = None

    def __call__(self, frame: Frame) -> Frame:
        """Return the middle of the frame."""
        now = frame.geometry.shape
        wanted = self.shape or (min(now),) * len(now)
        _fits(self, wanted, frame)
        size = [min(n, m) for n, m in zip(now, wanted, strict=True)]
        start = [(n - m) // 2 for n, m in zip(frame.geometry.shape, size, strict=True)]
        box = tuple(slice(s, s + m) for s, m in zip(start, size, strict=True))
        return _each(frame, lambda a: a[box], frame.geometry.cropped(start, size))


@dataclass(frozen=True)
class Pad:
    """Surround to at least this many elements, the image in the middle; with no shape, to a square or cube."""

    shape: tuple[int, ...] | None = None
    value: float | Literal["edge", "reflect", "min"] = 0.0

    def __call__(self, frame: Frame) -> Frame:
        """Return the padded frame."""
        now = frame.geometry.shape
        wanted = self.shape or (max(now),) * len(now)
        _fits(self, wanted, frame)
        before = [max(0, m - n) // 2 for n, m in zip(now, wanted, strict=True)]
        after = [max(0, m - n) - b for n, m, b in zip(now, wanted, before, strict=True)]
        width = list(zip(before, after, strict=True))
        if self.value in ("edge", "reflect"):
            values = np.pad(frame.values, [(0, 0), *width], mode="symmetric" if self.value == "reflect" else "edge")
        else:
            fill = frame.inside().min() if self.value == "min" else float(self.value)
            values = np.pad(frame.values, [(0, 0), *width], constant_values=fill)
        padding = None if frame.padding is None else np.pad(frame.padding, width, constant_values=True)
        size = [n + b + a for n, b, a in zip(now, before, after, strict=True)]
        return Frame(values, frame.geometry.cropped([-b for b in before], size), padding)


STEPS: Mapping[str, type[Any]] = {
    "orient": Orient,
    "resample": Resample,
    "resize": Resize,
    "crop": Crop,
    "pad": Pad,
    "window": Window,
    "clip": Clip,
    "scale": Scale,
    "normalise": Normalise,
    "channels": Channels,
    "shorter-side": ShorterSide,
    "centre-crop": CentreCrop,
    "transpose": Transpose,
    "affine": Affine,
    "divisible": Divisible,
    "normalise-nonzero": NormaliseNonzero,
}


def step_name(step: Step) -> str:
    """Return the kebab-case name of a step."""
    return next(name for name, cls in STEPS.items() if cls is type(step))


def make_step(words: Mapping[str, Any]) -> Step:
    """Return the step of a card's table; raises CardError for a name or a field that is not there."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in words.items() if k != "step"}
    name = str(words.get("step", ""))
    if name not in STEPS:
        raise CardError(f"view step {name!r}", expected="a known step", do=did_you_mean(name, STEPS))
    known = [f.name for f in fields(STEPS[name])]
    for key in given:
        if key not in known:
            raise CardError(f"field {key!r} of view step {name!r}", do=did_you_mean(key, known))
    try:
        made: Step = STEPS[name](**given)
    except TypeError as error:
        raise CardError(f"view step {name!r} with {given} ({error})", do="Give every field it needs") from error
    return made


def _each(frame: Frame, change: Any, geometry: Geometry) -> Frame:
    """Apply a change of the grid (*S) to every channel and to the padding."""
    values = np.stack([change(channel) for channel in frame.values])
    return Frame(values, geometry, None if frame.padding is None else change(frame.padding))


def _fits(step: Step, shape: tuple[int, ...], frame: Frame) -> None:
    if len(shape) != frame.geometry.ndim or min(shape) < 1:
        raise GeometryError(
            f"{step_name(step)} to {shape} of a {frame.geometry.ndim}D image",
            expected=f"{frame.geometry.ndim} positive sizes",
            do="Use a model for this kind of image, or correct its card.",
        )


def _resized(frame: Frame, shape: Any) -> Frame:
    size = tuple(int(n) for n in shape)
    if size == frame.geometry.shape:
        return frame
    values = np.stack([_by_axes(c, size) for c in frame.values])
    padding = frame.padding
    if padding is not None:
        padding = _by_axes(padding, size) > 0.5
    return Frame(values, frame.geometry.on_grid(size), padding)


def _by_axes(values: npt.NDArray[Any], size: tuple[int, ...]) -> Array:
    """Return an array (*S) resized edge to edge, axis by axis: linear after a Gaussian where an axis shrinks.

    Smoothing keeps fine detail from folding into coarse patterns. Axis by axis it is a product with a small matrix, so
    that of a volume nothing is worked out that is not kept; skimage.transform.resize gives the same to rounding.
    """
    found = np.asarray(values)
    # The axis that shrinks most goes first: what follows is smaller.
    for axis in sorted(range(found.ndim), key=lambda a: size[a] / found.shape[a]):
        if size[axis] != found.shape[axis]:
            found = _along(found, axis, _weights(found.shape[axis], size[axis]))
    return np.ascontiguousarray(found, dtype=np.float32)


def _along(values: npt.NDArray[Any], axis: int, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the product of weights (m, n) with an axis of n elements; of a volume plane by plane."""
    if values.ndim < 3 or axis == 0:
        moved = np.moveaxis(values, axis, 0)
        flat = moved.reshape(len(moved), -1)
        # In blocks of columns, so that no copy of a volume is made in double precision.
        block = max(1, 2**22 // len(moved))
        parts = [weights @ flat[:, i : i + block].astype(np.float64) for i in range(0, flat.shape[1], block)]
        return np.moveaxis(np.concatenate(parts, axis=1).reshape(-1, *moved.shape[1:]), 0, axis)
    return np.stack([_along(plane, axis - 1, weights) for plane in values])


@lru_cache(maxsize=32)
def _weights(n: int, m: int) -> npt.NDArray[np.float64]:
    """Return the weights (m, n) of n elements in each of m that lie over the same extent."""
    from scipy.ndimage import gaussian_filter1d

    # As skimage has it: the sigma of half of how much coarser, the Gaussian cut at four sigma, edges repeated.
    sigma = max(0.0, (n / m - 1) / 2)
    smooth = gaussian_filter1d(np.eye(n), sigma, axis=0, mode="nearest") if sigma > 0 else np.eye(n)
    at = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
    after = np.minimum(at.astype(np.intp), max(0, n - 2))
    share = (at - after)[:, None]
    weights: npt.NDArray[np.float64] = smooth[after] * (1 - share) + smooth[np.minimum(after + 1, n - 1)] * share
    weights.setflags(write=False)
    return weights


def _assignment(strength: Array, worlds: list[int]) -> list[int]:
    from scipy.optimize import linear_sum_assignment

    arrays, axes = linear_sum_assignment(-strength)
    of_world = dict(zip(axes.tolist(), arrays.tolist(), strict=True))
    return [of_world[w] for w in worlds]
