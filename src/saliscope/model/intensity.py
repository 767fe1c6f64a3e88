"""Steps that change values and channels and leave the grid alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from saliscope.core.errors import CardError, GeometryError
from saliscope.model.frame import Frame


@dataclass(frozen=True)
class Window:
    """Map [low, high] to 0..1 and clip outside: a CT window in HU."""

    low: float
    high: float

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame between 0 and 1."""
        if not self.high > self.low:
            raise CardError(f"window from {self.low} to {self.high}", expected="low below high", do="Correct the card.")
        return replace(
            frame, values=np.clip((frame.values - self.low) / (self.high - self.low), 0, 1).astype(np.float32)
        )


@dataclass(frozen=True)
class Clip:
    """Clip to these percentiles of the scan, padding left out."""

    low_percentile: float = 0.0
    high_percentile: float = 100.0

    def __call__(self, frame: Frame) -> Frame:
        """Return the clipped frame."""
        low, high = np.percentile(frame.inside(), [self.low_percentile, self.high_percentile])
        return replace(frame, values=np.clip(frame.values, low, high).astype(np.float32))


@dataclass(frozen=True)
class Scale:
    """Multiply by a factor or, with none, map the scan's own minimum and maximum to 0..1; constant becomes 0."""

    factor: float | None = None

    def __call__(self, frame: Frame) -> Frame:
        """Return the scaled frame."""
        if self.factor is not None:
            return replace(frame, values=(frame.values * np.float32(self.factor)).astype(np.float32))
        low, high = float(frame.inside().min()), float(frame.inside().max())
        span = high - low if high > low else 1.0
        return replace(frame, values=((frame.values - low) / span).astype(np.float32))


@dataclass(frozen=True)
class Normalise:
    """Subtract a mean and divide by a standard deviation, each one for all channels or one for each.

    With neither given, by the scan's own.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __call__(self, frame: Frame) -> Frame:
        """Return the normalised frame."""
        column = (-1, *[1] * frame.geometry.ndim)
        mean = np.array(self.mean if self.mean is not None else (frame.inside().mean(),)).reshape(column)
        std = np.array(self.std if self.std is not None else (frame.inside().std() or 1.0,)).reshape(column)
        if (std <= 0).any() or any(a.shape[0] not in (1, frame.values.shape[0]) for a in (mean, std)):
            raise CardError(
                f"normalise with mean {self.mean} and std {self.std} on {frame.values.shape[0]} channels",
                expected="positive, one for all channels or one for each",
                do="Correct the card.",
            )
        return replace(frame, values=((frame.values - mean) / std).astype(np.float32))


@dataclass(frozen=True)
class Channels:
    """Make this many channels: three to one by luminance (ITU-R 601), one to many by repeating."""

    count: int

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame with `count` channels; raises GeometryError where neither rule fits."""
        have = frame.values.shape[0]
        if have == self.count:
            return frame
        if have == 1:
            return replace(frame, values=np.repeat(frame.values, self.count, axis=0))
        if have == 3 and self.count == 1:
            grey = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), frame.values, axes=1)[None]
            return replace(frame, values=grey.astype(np.float32))
        raise GeometryError(f"{have} channels", expected=f"{self.count}, or 1, or 3 for 1", do="Choose another image.")
