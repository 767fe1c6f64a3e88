"""The papers of the fidelity metrics again, slowly and literally, in float64; nothing here knows saliscope.

`run` gives the score of an image (C, *S), `without` is the image with everything filled, `labels` are segments (*S).
"""

import itertools
import math

import numpy as np


def erased(image, without, gone):
    """Return the image with the places that are gone (a set of indices) as in `without`, all channels together."""
    copy = image.copy()
    for place in gone:
        for channel in range(len(image)):
            copy[(channel, *place)] = without[(channel, *place)]
    return copy


def trapezoid(points):
    """Return the area under points (x, y) in the order of x."""
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(points))


def ordered(values, seed):
    """Return the places of a map from its largest value on, those that tie in an order that is drawn."""
    drawn = {int(i): at for at, i in enumerate(np.random.default_rng(seed).permutation(values.size))}
    flat = [float(v) for v in values.ravel()]
    order = sorted(range(values.size), key=lambda i: (-flat[i], drawn[i]))
    return [np.unravel_index(i, values.shape) for i in order]


def deletion_points(run, image, without, order, levels):
    """petsiuk2018: (share removed, score), the first elements of an order being removed."""
    found = []
    for step in range(levels + 1):
        count = math.floor(step * len(order) / levels + 0.5)
        found.append((count / len(order), run(erased(image, without, order[:count]))))
    return found


def insertion_points(run, image, without, order, levels):
    """petsiuk2018: (share inserted, score), the first elements of an order being put into the filled image."""
    found = []
    for step in range(levels + 1):
        gone = math.floor((levels - step) * len(order) / levels + 0.5)
        count = len(order) - gone
        found.append((count / len(order), run(erased(image, without, order[count:]))))
    return found


def normalised(points, first, last):
    """Return points with the image's score at one and the filled image's at zero."""
    return [(x, (y - last) / (first - last)) for x, y in points]


def random_places(shape, seed, ranking):
    """Return a random order of all places."""
    drawn = np.random.default_rng([seed, 1 + ranking]).permutation(math.prod(shape))
    return [np.unravel_index(int(i), shape) for i in drawn]


def order_metric(run, image, without, values, levels, rankings, seed, inserting):
    """Return the normalised area minus that of random orders, the raw area, and the normalised points."""
    first, last = run(image), run(without)
    points = insertion_points if inserting else deletion_points
    own = points(run, image, without, ordered(values, seed), levels)
    random = []
    for ranking in range(rankings):
        order = random_places(values.shape, seed, ranking)
        if inserting:
            order = order[::-1]
        random.append(trapezoid(normalised(points(run, image, without, order, levels), first, last)))
    curve = normalised(own, first, last)
    return trapezoid(curve) - sum(random) / rankings, trapezoid(own), curve


def subset_places(labels, share, samples, seed):
    """Return for each subset its places: those of a share of the segments."""
    count = int(labels.max()) + 1
    size = math.floor(share * count + 0.5)
    found = []
    for sample in range(samples):
        chosen = {int(i) for i in np.random.default_rng([seed, sample]).permutation(count)[:size]}
        found.append([place for place in np.ndindex(*labels.shape) if int(labels[place]) in chosen])
    return found


def correlation(first, second):
    """Return Pearson's correlation."""
    n = len(first)
    a, b = sum(first) / n, sum(second) / n
    above = sum((x - a) * (y - b) for x, y in zip(first, second, strict=True))
    return above / math.sqrt(sum((x - a) ** 2 for x in first) * sum((y - b) ** 2 for y in second))


def ranks(values):
    """Return ranks; values that tie have the mean of theirs."""
    return [sum(w < v for w in values) + (1 + sum(w == v for w in values)) / 2 for v in values]


def sums_and_drops(run, image, without, values, places):
    """bhatt2020: for each subset, the sum of the map over it, and what the score loses without it."""
    sums = [sum(float(values[p]) for p in some) for some in places]
    return sums, [run(image) - run(erased(image, without, some)) for some in places]


def infidelity(run, image, without, values, places, gradient):
    """yeh2019: E[(beta I.a - (f(x) - f(x - I)))^2], beta = E[I.a df] / E[(I.a)^2]."""
    said, drops = [], []
    for some in places:
        copy = erased(image, without, some)
        change = image - copy
        said.append(
            sum(float(values[p]) * (sum(float(c[p]) for c in change) if gradient else 1.0) for p in some)
        )  # fmt: skip
        drops.append(run(image) - run(copy))
    n = len(places)
    beta = (sum(s * d for s, d in zip(said, drops, strict=True)) / n) / (sum(s * s for s in said) / n)
    return sum((beta * s - d) ** 2 for s, d in zip(said, drops, strict=True)) / n, beta


def completeness(run, image, without, values):
    """sundararajan2017: how far the sum is from f(x) - f(x'), as a share of it."""
    change = run(image) - run(without)
    return abs(sum(float(v) for v in values.ravel()) - change) / abs(change)


def average_drop(run, image, without, values):
    """chattopadhay2018: the share of the score that is lost behind the min-max normalised map, and whether it rose."""
    low, high = values.min(), values.max()
    copy = np.empty_like(image)
    for place in np.ndindex(*values.shape):
        weight = (values[place] - low) / (high - low)
        for channel in range(len(image)):
            at = (channel, *place)
            copy[at] = weight * image[at] + (1 - weight) * without[at]
    score, shown = run(image), run(copy)
    return max(0.0, score - shown) / score, float(shown > score)
