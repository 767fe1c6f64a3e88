"""The maps and masks on which metrics were frozen; those of the peers and ours are drawn by this one file."""

import numpy as np

SIZES = {2: (24, 20), 3: (9, 8, 10)}
KINDS = ("signed", "positive", "zero-heavy")
COUNT = 6


def maps(axes, kind):
    """Return COUNT maps (COUNT, *S); every other has its largest value in its mask."""
    rng = np.random.default_rng([7, axes, KINDS.index(kind)])
    found = rng.normal(size=(COUNT, *SIZES[axes]))
    for n in range(0, COUNT, 2):
        found[n][(n + 1,) * axes] = 9 + n
    if kind == "signed":
        return found
    return abs(found) * (1 if kind == "positive" else (rng.random(found.shape) < 0.02) | (found > 5))


def masks(axes):
    """Return a mask of another place and size for each map (COUNT, *S)."""
    found = np.zeros((COUNT, *SIZES[axes]), bool)
    for n in range(COUNT):
        found[n][tuple(slice(n, n + 3 + n % 3) for _ in range(axes))] = True
    return found
