"""What a map points at, again by loops over elements: float64, any number of axes."""

from itertools import product

import numpy as np


def region(attribution):
    """Return the largest positive elements, one by one, until half of them all or a tenth of the map is reached.

    For maps whose positive values all differ.
    """
    cells = sorted(product(*(range(n) for n in attribution.shape)), key=lambda i: -attribution[i])
    total = sum(max(0.0, float(attribution[i])) for i in cells)
    most = max(1, int(0.1 * len(cells) + 0.5))
    taken, held = [], 0.0
    for i in cells:
        taken.append(i)
        held += float(attribution[i])
        if held >= total / 2 or len(taken) == most:
            return set(taken), held / total
    raise AssertionError("a map without anything positive")


def steps(a, b):
    return sum(abs(i - j) for i, j in zip(a, b, strict=True))


def spots(attribution, taken):
    """Return (elements, share) of each piece with a twentieth of what the region holds, gaps closed.

    Two elements belong together where, step by step, no gap is wider than twice the reach. For pieces of no more
    than a twenty-fifth of the map, which are not cut.
    """
    shape = attribution.shape
    near = max(1, round(0.03 * min(n for n in shape if n > 1)))
    around = list(product(*(range(-near, n + near) for n in shape)))
    grown = {q for q in around if any(steps(q, m) <= near for m in taken)}
    reach = [d for d in product(range(-near, near + 1), repeat=len(shape)) if sum(map(abs, d)) <= near]
    closed = {
        p
        for p in product(*(range(n) for n in shape))
        if p in taken or all(tuple(a + b for a, b in zip(p, d, strict=True)) in grown for d in reach)
    }
    total, found, left = sum(float(attribution[i]) for i in taken), [], set(closed)
    while left:
        piece, waiting = set(), [left.pop()]
        while waiting:
            here = waiting.pop()
            piece.add(here)
            beside = {q for q in left if max(abs(a - b) for a, b in zip(here, q, strict=True)) <= 1}
            left -= beside
            waiting += beside
        share = sum(float(attribution[i]) for i in piece & taken) / total
        if share >= 0.05:
            found.append((piece, share))
    return sorted(found, key=lambda pair: -pair[1])


def elements(mask):
    return {tuple(int(n) for n in i) for i in np.argwhere(mask)}
