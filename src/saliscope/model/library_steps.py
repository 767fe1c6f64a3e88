"""Steps that other libraries take before their networks, as they take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from saliscope.core.errors import CardError, GeometryError
from saliscope.model.frame import Frame


@dataclass(frozen=True)
class ShorterSide:
    """Resize until the shorter side of a picture has `size` elements, the ratio of the sides kept, as torchvision does.

    Interpolated between the elements, over as many as one new element covers.
    """

    size: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame on another number of elements; raises GeometryError for a volume."""
        import torch
        from torch.nn.functional import interpolate

        now = frame.geometry.shape
        if len(now) != 2 or self.size < 1 or self.interpolation not in ("bilinear", "bicubic"):
            raise GeometryError(
                f"shorter-side {self.size} ({self.interpolation}) of a {len(now)}D image",
                expected="a picture, a positive size, bilinear or bicubic",
                do="Correct the card.",
            )
        # The longer side is cut off to a whole number, as torchvision does.
        shape = tuple(self.size if n == min(now) else int(self.size * n / min(now)) for n in now)
        if shape == now:
            return frame

        def resized(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], mode: str) -> torch.Tensor:
            given = torch.from_numpy(np.array(values, dtype=np.float32))[None]
            return interpolate(given, shape, mode=mode, antialias=True, align_corners=False)[0]

        padding = frame.padding
        if padding is not None:
            padding = (resized(padding[None].astype(np.float32), "bilinear")[0] > 0.5).numpy()
        return Frame(resized(frame.values, self.interpolation).numpy(), frame.geometry.on_grid(shape), padding)


@dataclass(frozen=True)
class Transpose:
    """Reverse the order of the axes: MONAI reads (column, row) and (column, row, plane) where we read the reverse."""

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame with its axes in the other order."""
        order = tuple(range(frame.geometry.ndim))[::-1]
        padding = None if frame.padding is None else frame.padding.transpose(order)
        values = frame.values.transpose(0, *(n + 1 for n in order))
        return Frame(values, frame.geometry.permuted(order), padding)


@dataclass(frozen=True)
class NormaliseNonzero:
    """Normalise each channel by the mean and deviation of its elements other than zero, as MONAI; zero stays zero."""

    def __call__(self, frame: Frame) -> Frame:
        """Return the normalised frame."""
        values = frame.values.copy()
        for channel in values:
            there = channel != 0
            if there.any():
                channel[there] = (channel[there] - channel[there].mean()) / (channel[there].std() or 1.0)
        return replace(frame, values=values)


@dataclass(frozen=True)
class Affine:
    """Map [low, high] to [to_low, to_high], without clipping."""

    low: float
    high: float
    to_low: float
    to_high: float

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame in another range; raises CardError where low and high are the same."""
        if self.low == self.high:
            raise CardError(f"affine from {self.low} to {self.high}", expected="two values", do="Correct the card.")
        values = frame.values - self.low
        values /= self.high - self.low  # in place: of a volume there is one copy and not four
        values *= self.to_high - self.to_low
        values += self.to_low
        return replace(frame, values=values.astype(np.float32, copy=False))


@dataclass(frozen=True)
class Divisible:
    """Surround by `value` until each axis is a multiple of `by`, the image in the middle, as MONAI's DivisiblePad."""

    by: int
    value: float = 0.0

    def __call__(self, frame: Frame) -> Frame:
        """Return the padded frame; raises CardError for a divisor below one."""
        if self.by < 1:
            raise CardError(f"divisible by {self.by}", expected="a positive whole number", do="Correct the card.")
        now = frame.geometry.shape
        size = [-(-n // self.by) * self.by for n in now]
        before = [(m - n) // 2 for n, m in zip(now, size, strict=True)]
        width = [(b, m - n - b) for n, m, b in zip(now, size, before, strict=True)]
        padding = None if frame.padding is None else np.pad(frame.padding, width, constant_values=True)
        values = np.pad(frame.values, [(0, 0), *width], constant_values=self.value)
        return Frame(values, frame.geometry.cropped([-b for b in before], size), padding)


@dataclass(frozen=True)
class CentreCrop:
    """Keep the middle box of this many elements; half an element is rounded to the even side, as torchvision does."""

    shape: tuple[int, ...]

    def __call__(self, frame: Frame) -> Frame:
        """Return the middle of the frame; raises GeometryError for an image that is smaller."""
        now = frame.geometry.shape
        if len(now) != len(self.shape) or any(n < m for n, m in zip(now, self.shape, strict=True)):
            raise GeometryError(
                f"centre-crop to {self.shape} of {now}", expected="an image that is larger", do="Correct the card."
            )
        start = [round((n - m) / 2) for n, m in zip(now, self.shape, strict=True)]
        box = tuple(slice(s, s + m) for s, m in zip(start, self.shape, strict=True))
        padding = None if frame.padding is None else frame.padding[box]
        return Frame(frame.values[(slice(None), *box)], frame.geometry.cropped(start, self.shape), padding)
