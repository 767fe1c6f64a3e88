"""ROAD again, slowly, in float64 with explicit loops; nothing here knows saliscope's metrics or fills."""

import itertools

import numpy as np


def weights(axes):
    """Return the weight of every neighbour by its offset; in a plane 1/6 along an axis and 1/12 diagonally."""
    found = {}
    for offset in itertools.product((-1, 0, 1), repeat=axes):
        moved = sum(o != 0 for o in offset)
        if moved:
            found[offset] = 1 / 2**moved
    total = sum(found.values())
    return {offset: w / total for offset, w in found.items()}


def imputed(image, gone):
    """Return an image (C, *S) with what is gone (*S) solved for, by a dense system with one row for each element."""
    places = list(zip(*np.nonzero(gone), strict=True))
    number = {place: i for i, place in enumerate(places)}
    left, right = np.zeros((len(places), len(places))), np.zeros((len(places), len(image)))
    for place, i in number.items():
        for offset, weight in weights(gone.ndim).items():
            other = tuple(p + o for p, o in zip(place, offset, strict=True))
            if any(not 0 <= p < n for p, n in zip(other, gone.shape, strict=True)):
                continue
            left[i, i] += weight
            if other in number:
                left[i, number[other]] -= weight
            else:
                right[i] += weight * image[(slice(None), *other)]
    found = image.copy()
    found[:, gone] = np.linalg.solve(left, right).T
    return found


def road(score, image, ranked, shares):
    """Return the score, MoRF and LeRF of an image (C, *S) for places ranked from the most relevant to the least."""
    morf, lerf = [], []
    for share in shares:
        count = int(share * len(ranked) + 0.5)
        for ends, places in ((morf, ranked[:count]), (lerf, ranked[len(ranked) - count :])):
            gone = np.zeros(image.shape[1:], bool)
            for place in places:
                gone[place] = True
            ends.append(score(imputed(image, gone)))
    halves = [(last - first) / 2 for first, last in zip(morf, lerf, strict=True)]
    return np.mean(halves), np.mean(morf), np.mean(lerf)
