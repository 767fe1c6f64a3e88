"""Random fields with a grain: what makes a drawn background look like tissue."""

from __future__ import annotations

import numpy as np

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
