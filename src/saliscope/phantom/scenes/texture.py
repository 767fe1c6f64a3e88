"""Random fields with a grain: what makes a drawn background look like tissue."""

from __future__ import annotations

import numpy as np

from saliscope.core.geometry import Geometry
from saliscope.phantom.scene import Floats


def grain(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> Floats:
    """Return a smooth Gaussian field (*S) of mean 0 and variance 1; `size` is the smoothing's deviation in elements."""
    return _filtered(rng, shape, lambda f: np.exp(-2 * (np.pi * size * f) ** 2))


def power_law(rng: np.random.Generator, shape: tuple[int, ...], slope: float) -> Floats:
    """Return a Gaussian field (*S) of mean 0 and variance 1 whose power falls as 1 / frequency**slope.

    About 3 is what was measured for the background of mammograms (burgess2001).
    """

    def gain(f: Floats) -> Floats:
        lowest = 0.5 / max(shape)
        return np.where(f > 0, np.maximum(f, lowest) ** (-slope / 2), 0)

    return _filtered(rng, shape, gain)


def _filtered(rng: np.random.Generator, shape: tuple[int, ...], gain: object) -> Floats:
    noise = rng.standard_normal(shape, dtype=np.float32)
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    frequency = np.sqrt(sum(a**2 for a in grid))
    field = np.fft.irfftn(np.fft.rfftn(noise) * gain(frequency), shape)  # type: ignore[operator]
    field = field - field.mean()
    found: Floats = (field / field.std()).astype(np.float32)
    return found


def waves(
    rng: np.random.Generator,
    geometry: Geometry,
    sizes_mm: tuple[float, float],
    slope: float = 0.0,
    centre: tuple[float, ...] | None = None,
    count: int = 120,
) -> Floats:
    """Return a field (*S) of mean 0 and variance 1 in expectation: a sum of plane waves, periods drawn in millimetres.

    The periods lie within `sizes_mm`, evenly in their logarithm; the power falls as 1 / frequency**slope per octave.
    The field hangs on millimetres from `centre` (an index; the middle by default) and on nothing else of the grid, so
    that one seed gives one pattern at every resolution.
    """
    n = geometry.ndim
    middle = centre if centre is not None else tuple((s - 1) / 2 for s in geometry.shape)
    periods = np.exp(rng.uniform(np.log(sizes_mm[0]), np.log(sizes_mm[1]), count))
    towards = rng.standard_normal((count, n))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    weight = periods ** (slope / 2)
    weight *= np.sqrt(2 / np.sum(weight**2))
    field = (weight * np.exp(2j * np.pi * rng.random(count))).astype(np.complex64)[:, None]
    for axis in range(n):
        along = (np.arange(geometry.shape[axis]) - middle[axis]) * geometry.spacing[axis]
        angle = (2 * np.pi * along * (towards[:, axis] / periods)[:, None]).astype(np.float32)
        turn = np.cos(angle) + np.complex64(1j) * np.sin(angle)
        if axis < n - 1:
            field = (field[:, :, None] * turn[:, None, :]).reshape(count, -1)
    # Not a matrix product: that of a library may round in another way with another number of threads.
    pairs = ((field.real, turn.real), (field.imag, turn.imag))
    cosine, sine = (np.einsum("wi,wj->ij", *map(np.ascontiguousarray, pair)) for pair in pairs)
    found: Floats = (cosine - sine).reshape(geometry.shape).astype(np.float32)
    return found
