"""Robustness and randomisation again: literal, slow, in float64, without the code of the package."""

from itertools import product
from math import cos, floor, log, pi, sin, sqrt
from statistics import median

import numpy as np


def ranks(values):
    """Return the rank of each value from 1, those of equal ones averaged."""
    return [(sum(w < v for w in values) + sum(w <= v for w in values) + 1) / 2 for v in values]


def correlation(first, second):
    n = len(first)
    a, b = [v - sum(first) / n for v in first], [v - sum(second) / n for v in second]
    product_ = sum(p * q for p, q in zip(a, b, strict=True))
    return product_ / sqrt(sum(p * p for p in a) * sum(q * q for q in b))


def spearman(first, second):
    return correlation(ranks(list(first)), ranks(list(second)))


def chances(values, count):
    """Return the chance of each value of being among the `count` largest if ties are drawn."""
    found = []
    for v in values:
        above, tied = sum(w > v for w in values), sum(w == v for w in values)
        found.append(min(1.0, max(0.0, (count - above) / tied)))
    return found


def top_iou(first, second, share=0.1):
    count = int(share * len(first) + 0.5)
    a, b = chances(list(first), count), chances(list(second), count)
    both = sum(p * q for p, q in zip(a, b, strict=True))
    return both / (2 * count - both)


def moved_to(row, column, plane, move):
    """Return where an element of a plane goes: turned, scaled about the middle, then shifted."""
    middle = [(n - 1) / 2 for n in plane]
    r, c = row - middle[0], column - middle[1]
    turn = move.degrees * pi / 180
    return (
        move.scale * (cos(turn) * r - sin(turn) * c) + middle[0] + move.rows * plane[0],
        move.scale * (sin(turn) * r + cos(turn) * c) + middle[1] + move.columns * plane[1],
    )


def came_from(row, column, plane, move):
    """Return the place that a move brings to an element: its inverse, step by step backwards."""
    middle = [(n - 1) / 2 for n in plane]
    r, c = row - move.rows * plane[0] - middle[0], column - move.columns * plane[1] - middle[1]
    turn = -move.degrees * pi / 180
    return (
        (cos(turn) * r - sin(turn) * c) / move.scale + middle[0],
        (sin(turn) * r + cos(turn) * c) / move.scale + middle[1],
    )


def value_at(plane, row, column):
    """Return a plane's value at a place, linear between elements, the edge's beyond it."""
    height, width = plane.shape
    row, column = min(max(row, 0.0), height - 1.0), min(max(column, 0.0), width - 1.0)
    r, c = floor(row), floor(column)
    found = 0.0
    for i, j in product((0, 1), (0, 1)):
        weight = (1 - abs(row - (r + i))) * (1 - abs(column - (c + j)))
        found += weight * plane[min(r + i, height - 1), min(c + j, width - 1)]
    return found


def in_planes(volume, change):
    """Return an array with each of its planes (last two axes) put through a change."""
    flat = volume.reshape(-1, *volume.shape[-2:])
    return np.stack([change(plane) for plane in flat]).reshape(volume.shape)


def moved(image, move):
    """Return an image (*S) moved."""

    def change(plane):
        found = np.empty(plane.shape)
        for r, c in np.ndindex(*plane.shape):
            found[r, c] = value_at(plane, *came_from(r, c, plane.shape, move))
        return found

    return in_planes(image, change)


def restored(map_, move):
    """Return a map (*S) of a moved image where it was before, and where it is known."""
    plane_shape = map_.shape[-2:]
    known = np.zeros(plane_shape, bool)
    for r, c in np.ndindex(*plane_shape):
        row, column = moved_to(r, c, plane_shape, move)
        known[r, c] = -1e-9 <= row <= plane_shape[0] - 1 + 1e-9 and -1e-9 <= column <= plane_shape[1] - 1 + 1e-9

    def change(plane):
        found = np.empty(plane.shape)
        for r, c in np.ndindex(*plane.shape):
            found[r, c] = value_at(plane, *moved_to(r, c, plane.shape, move))
        return found

    return in_planes(map_, change), np.broadcast_to(known, map_.shape)


def compared(own, other, move):
    """Return two maps as lists of what can be compared; `move` is None where nothing moved."""
    if move is None:
        return list(own.ravel()), list(other.ravel())
    back, known = restored(other, move)
    return list(own[known]), list(back[known])


def retest(own, others, moves):
    """Return the median rank correlation and overlap of a map with those of copies, each moved or not (None)."""
    pairs = [compared(own, other, move) for other, move in zip(others, moves, strict=True)]
    return median(spearman(*p) for p in pairs), median(top_iou(*p) for p in pairs)


def max_sensitivity(own, others, moves):
    largest = 0.0
    for other, move in zip(others, moves, strict=True):
        a, b = compared(own, other, move)
        distance = sqrt(sum((q - p) ** 2 for p, q in zip(a, b, strict=True)))
        largest = max(largest, distance / sqrt(sum(p * p for p in a)))
    return largest


def entropy(map_, bins):
    """Return the entropy of a histogram: bins of equal width, the last closed at both ends."""
    values = list(map_.ravel())
    low, high = min(values), max(values)
    counts = [0] * bins
    for v in values:
        counts[min(int((v - low) / (high - low) * bins), bins - 1)] += 1
    return -sum(c / len(values) * log(c / len(values)) for c in counts if c)


def efficient_mprt(own, drawn, bins):
    before = entropy(own, bins)
    return sum((entropy(m, bins) - before) / before for m in drawn) / len(drawn)


def mprt(trained, drawn):
    """Return the mean similarity of maps (N, *S') with those of drawn weights, and that of all pairs of images."""
    n = len(trained)
    value = sum(spearman(a.ravel(), b.ravel()) for a, b in zip(trained, drawn, strict=True)) / n
    pairs = [spearman(trained[i].ravel(), trained[j].ravel()) for i in range(n) for j in range(i + 1, n)]
    return value, sum(pairs) / len(pairs)


def random_logit(maps, own):
    """Return the largest rank correlation of the positive part of map `own` with those of the other classes."""
    positive = [[max(v, 0.0) for v in m.ravel()] for m in maps]
    return max(spearman(positive[own], p) for c, p in enumerate(positive) if c != own)
