"""The standard errors of sampled maps again, slowly and literally, in float64; nothing here knows saliscope."""

import math
from statistics import NormalDist

import numpy as np


def of_mean(draws):
    """The standard error of a mean: the root of the sample variance by the number of draws."""
    count = len(draws)
    mean = sum(draws) / count
    return np.sqrt(sum((d - mean) ** 2 for d in draws) / (count - 1) / count)


def jackknife(estimate, groups):
    """busing1999 as printed: pseudo-values of an estimate from a list of groups of draws, each left out once."""
    every = [d for g in groups for d in g]
    total, count = len(every), len(groups)
    found = estimate(every)
    without = [estimate([d for j, g in enumerate(groups) if j != i for d in g]) for i in range(count)]
    shares = [total / len(g) for g in groups]
    middle = count * found - sum((1 - len(g) / total) * w for g, w in zip(groups, without, strict=True))
    square = 0.0
    for h, w in zip(shares, without, strict=True):
        pseudo = h * found - (h - 1) * w
        square = square + (pseudo - middle) ** 2 / (h - 1) / count
    return np.sqrt(square)


def dealt(draws, groups=16):
    """Return draws dealt to groups in turn."""
    count = min(groups, len(draws))
    return [draws[g::count] for g in range(count)]


def vargrad(draws):
    """Leaving out one draw at a time of the variance (mean squared distance), summed over channels."""

    def variance(some):
        mean = sum(some) / len(some)
        return sum((d - mean) ** 2 for d in some).sum(1) / len(some)

    return jackknife(variance, [[d] for d in draws])


def hc2(rows, weights, values, ridge, wanted, fixed=0):
    """mackinnon1985, HC2, of weighted ridge regression, from full matrices; rows before `fixed` were not drawn."""
    rows, weights = np.asarray(rows, dtype=float), np.diag(weights)
    inverse = np.linalg.inv(rows.T @ weights @ rows + np.diag(ridge))
    hat = rows @ inverse @ rows.T @ weights
    residual = values - hat @ values
    found = np.zeros((len(wanted), values.shape[1]))
    for k in range(values.shape[1]):
        root = np.sqrt(1 - np.diag(hat))
        parts = [rows[i] * weights[i, i] * residual[i, k] / root[i] for i in range(fixed, len(rows))]
        mean = sum(parts) / len(parts)
        middle = sum(np.outer(p - mean, p - mean) for p in parts)
        found[:, k] = np.sqrt(np.diag(wanted @ inverse @ middle @ inverse @ wanted.T))
    return found


def hsic(kept, scores):
    """hoeffding1948: the variance of a U-statistic of degree 2, every pair by itself; and what the width may do."""
    count = len(scores)
    distances = sorted(abs(scores[i] - scores[j]) for i in range(count) for j in range(i + 1, count))
    centre = np.eye(count) - 1 / count

    def likeness(at):
        return centre @ np.exp(-((scores[:, None] - scores) ** 2) / (2 * distances[at] ** 2)) @ centre

    last = len(distances) - 1
    width = distances[last // 2]
    within = [sum(abs(scores[i] - scores[j]) <= width for j in range(count)) / count for i in range(count)]
    step = 2 * np.std(within, ddof=1) / math.sqrt(count)
    quantiles = [NormalDist().inv_cdf(p) for p in (0.1, 0.3, 0.5, 0.7, 0.9)]
    others = [likeness(min(max(0, round((0.5 + t * step) * last - 1e-9)), last)) for t in quantiles]
    found = []
    for cell in range(kept.shape[1]):
        z = kept[:, cell] - kept[:, cell].mean()
        h = 2 * z[:, None] * z * likeness(last // 2)
        pairs = [h[i, j] for i in range(count) for j in range(count) if i != j]
        single = [sum(h[i, j] for j in range(count) if i != j) / (count - 1) for i in range(count)]
        second = sum(p**2 for p in pairs) / len(pairs) - (sum(pairs) / len(pairs)) ** 2
        first = np.var(single, ddof=1) - second / count
        likely = [2 * z @ other @ z / (count - 1) ** 2 for other in others]
        own = 4 * max(first, 0) / count + 2 * max(second, 0) / count**2
        found.append(math.sqrt(own + np.var(likely)))
    return np.array(found)


def stratified(draws, which, places, references):
    """wolter2007: second differences along the line, less what the references explain, by full matrices."""
    order = np.argsort(places)
    y, which = np.stack([draws[i].ravel() for i in order]), np.asarray(which)[order]
    count = len(y)
    second = np.zeros((count - 2, count))
    for i in range(count - 2):
        second[i, i : i + 3] = 1, -2, 1
    used = sorted(set(which.tolist()))
    every = ((second @ y) ** 2).sum(0) / np.trace(second @ second.T)
    if count - 2 - (len(used) - 1) < 3:
        return np.sqrt(every / count).reshape(draws[0].shape)
    explained = second @ np.array([[float(w == u) for u in used] for w in which])
    project = np.eye(count - 2) - explained @ np.linalg.pinv(explained)
    own = ((project @ second @ y) ** 2).sum(0) / np.trace(project @ second @ second.T)
    rest = count % references
    between = rest * (1 - rest / references) * np.maximum(every - own, 0) / count**2
    return np.sqrt(own / count + between).reshape(draws[0].shape)
