"""Metrics of two maps, again from their papers: loops over elements, float64, any number of axes."""

from itertools import product
from math import sqrt

import numpy as np


def pearson(first, second):
    """pearson1895: the covariance over the product of the standard deviations."""
    a, b = [float(v) for v in first.ravel()], [float(v) for v in second.ravel()]
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    cov = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return cov / sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def ranks(values):
    """Return for each value how many are smaller, and half of those that are equal."""
    return np.array([sum(w < v for w in values) + 0.5 * sum(w == v for w in values) for v in values])


def spearman(first, second):
    """spearman1904: the correlation of the ranks."""
    return pearson(ranks(first.ravel().tolist()), ranks(second.ravel().tolist()))


def chance(values, count):
    """Return the chance of each value of being among the `count` largest, ties drawn."""
    limit = sorted(values, reverse=True)[count - 1]
    above, tied = sum(v > limit for v in values), sum(v == limit for v in values)
    return [1.0 if v > limit else (count - above) / tied if v == limit else 0.0 for v in values]


def common(first, second, count):
    """Return the expected number of elements that both have among their `count` largest."""
    a, b = chance(first.ravel().tolist(), count), chance(second.ravel().tolist(), count)
    return sum(p * q for p, q in zip(a, b, strict=True))


def top_iou(first, second, share):
    """jaccard1912: common elements over all that either has."""
    count = int(share * first.size + 0.5)
    both = common(first, second, count)
    return both / (2 * count - both)


def feature_agreement(first, second, k):
    """krishna2022: common elements, by magnitude, over k."""
    return common(abs(first), abs(second), k) / k


def ssim(first, second, window):
    """wang2004 with a flat window and the sample variance: the mean over all windows that lie inside the maps."""
    a, b = ((m - m.min()) / (m.max() - m.min()) for m in (first, second))
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for start in product(*(range(n - window + 1) for n in a.shape)):
        x, y = (m[tuple(slice(s, s + window) for s in start)].ravel() for m in (a, b))
        n = len(x)
        cov = ((x - x.mean()) * (y - y.mean())).sum() / (n - 1)
        luminance = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
        found.append(luminance * (2 * cov + c2) / (x.var(ddof=1) + y.var(ddof=1) + c2))
    return sum(found) / len(found)
