"""Metrics of a map beside a region, again from their papers: loops over elements, float64, any number of axes."""

from itertools import permutations, product
from math import sqrt

import numpy as np


def elements(array):
    """Return (index, value) of every element."""
    return [(index, float(array[index])) for index in product(*(range(n) for n in array.shape))]


def positive(attribution):
    return np.where(attribution > 0, attribution, 0.0)


def away(index, mask, geometry):
    """Return the distance in mm of an element's centre from the nearest element of a region."""
    here = geometry.to_world(np.array(index, float))
    inside = [i for i, v in elements(mask) if v]
    return min(sqrt(float(((geometry.to_world(np.array(i, float)) - here) ** 2).sum())) for i in inside)


def pointing_game(attribution, mask, tolerance=0.0, geometry=None):
    """zhang2018: whether the largest value lies on the region, or near it; the share of several largest that does."""
    values = positive(attribution)
    largest = [i for i, v in elements(values) if v == values.max()]
    hits = [mask[i] or (tolerance > 0 and away(i, mask, geometry) <= tolerance) for i in largest]
    return sum(hits) / len(hits)


def otsu(counts):
    """Return the step, of 256, at which the variance between what is below or on it and what is above is largest."""
    best, at, n = -1.0, 0, sum(counts)
    for t in range(255):
        low = sum(counts[: t + 1])
        if low in (0, n):
            continue
        mean_low = sum(i * counts[i] for i in range(t + 1)) / low
        mean_high = sum(i * counts[i] for i in range(t + 1, 256)) / (n - low)
        between = low * (n - low) / n**2 * (mean_low - mean_high) ** 2
        if between > best * (1 + 1e-12):
            best, at = between, t
    return at


def iou(attribution, mask, rule, threshold=0.5):
    """saporta2022: the elements above a threshold, against the region."""
    values = positive(attribution)
    stretched = (values - values.min()) / (values.max() - values.min())
    if rule == "otsu":
        steps = [(i, int(255 * v)) for i, v in elements(stretched)]
        limit = otsu([sum(s == step for _, s in steps) for step in range(256)])
        chosen = {i for i, s in steps if s > limit}
    elif rule == "threshold":
        chosen = {i for i, v in elements(stretched) if v > threshold}
    else:
        count = int(mask.sum())
        chosen = {i for i, _ in sorted(elements(values), key=lambda e: -e[1])[:count]}  # for maps without ties
    region = {i for i, v in elements(mask) if v}
    return len(chosen & region) / len(chosen | region)


def average_precision(attribution, mask):
    """arun2021: over the distinct values from the largest down, precision times the gain in recall."""
    values = positive(attribution)
    total, before, found = int(mask.sum()), 0.0, 0.0
    for limit in sorted({v for _, v in elements(values)}, reverse=True):
        taken = values >= limit
        recall = (taken & mask).sum() / total
        found += (recall - before) * (taken & mask).sum() / taken.sum()
        before = recall
    return found


def auroc(attribution, mask):
    """The share of pairs of an element inside and one outside of which the first has the larger value."""
    values = positive(attribution)
    inside = [v for i, v in elements(values) if mask[i]]
    outside = [v for i, v in elements(values) if not mask[i]]
    return sum((a > b) + 0.5 * (a == b) for a in inside for b in outside) / (len(inside) * len(outside))


def relevance_mass(attribution, mask):
    """arras2022: the sum inside the region over the whole sum."""
    values = positive(attribution)
    return sum(v for i, v in elements(values) if mask[i]) / sum(v for _, v in elements(values))


def relevance_rank(attribution, mask):
    """arras2022: how many of the |region| largest elements lie inside; the mean over all orders of ties."""
    values = positive(attribution)
    count = int(mask.sum())
    ranked = sorted((v for _, v in elements(values)), reverse=True)
    limit = ranked[count - 1]
    sure = [i for i, v in elements(values) if v > limit]
    tied = [i for i, v in elements(values) if v == limit]
    left = count - len(sure)
    certain = sum(mask[i] for i in sure)
    if len(tied) <= 6:
        orders = list(permutations(tied))
        return (certain + sum(sum(mask[i] for i in o[:left]) for o in orders) / len(orders)) / count
    return (certain + left * sum(mask[i] for i in tied) / len(tied)) / count


def region_distance(attribution, mask, geometry, of):
    """The distance of the largest value, or of the centre of mass, from the region, and what knowing nothing gives."""
    values = positive(attribution)
    if of == "peak":
        largest = [i for i, v in elements(values) if v == values.max()]
        every = [away(i, mask, geometry) for i, _ in elements(values)]
        return sum(away(i, mask, geometry) for i in largest) / len(largest), sum(every) / len(every)
    total = sum(v for _, v in elements(values))
    centre = [sum(v * i[axis] for i, v in elements(values)) / total for axis in range(values.ndim)]
    middle = [(n - 1) / 2 for n in values.shape]
    found = []
    for point in (centre, middle):
        on = tuple(int(c + 0.5) for c in point)
        found.append(0.0 if mask[on] else away(point, mask, geometry))
    return tuple(found)
