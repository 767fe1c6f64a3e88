"""The papers of the perturbation methods again, slowly and literally, in float64; nothing here knows saliscope."""

import itertools
import math

import numpy as np
import torch


def runner(net):
    """Return the scores (K,) of an image (C, *S) in evaluation mode, as a function of a numpy array."""

    def run(image):
        modes = [(m, m.training) for m in net.modules()]
        net.eval()
        with torch.no_grad():
            found = net(torch.as_tensor(image)[None])[0].numpy()
        for module, mode in modes:
            module.training = mode
        return found

    return run


def read_linearly(values, place):
    """Return what an array says between its elements, linearly along each axis; beyond its ends the ends hold."""
    total = 0.0
    sides = []
    for at, size in zip(place, values.shape, strict=True):
        at = min(max(at, 0.0), size - 1.0)
        low = min(math.floor(at), size - 1)
        high = min(low + 1, size - 1)
        sides.append(((low, 1 - (at - low)), (high, at - low)))
    for corner in itertools.product(*sides):
        weight = math.prod(w for _, w in corner)
        total += weight * values[tuple(i for i, _ in corner)]
    return total


def rise_mask(cells, shift, shape):
    """petsiuk2018 section 3.2: cells h x w enlarged to (h + 1) C_H x (w + 1) C_W, of which a window is cut."""
    found = np.zeros(shape)
    size = [math.ceil(n / g) for n, g in zip(shape, cells.shape, strict=True)]
    for place in np.ndindex(*shape):
        large = [(g + 1) * c for g, c in zip(cells.shape, size, strict=True)]
        at = [(i + s + 0.5) * g / n - 0.5 for i, s, g, n in zip(place, shift, cells.shape, large, strict=True)]
        found[place] = read_linearly(cells, at)
    return found


def rise(run, image, without, masks):
    """petsiuk2018 eq. 6 with counted weights, its variance by every mask's influence; with and without the mean."""
    scores = [run(mask * image + (1 - mask) * without) for mask in masks]
    count, targets = len(masks), len(scores[0])
    mean = sum(scores) / count
    found, variance, centred = (np.zeros((targets, *masks[0].shape)) for _ in range(3))
    for k in range(targets):
        for place in np.ndindex(*masks[0].shape):
            weight = sum(m[place] for m in masks)
            ratio = sum(m[place] * s[k] for m, s in zip(masks, scores, strict=True)) / weight
            found[(k, *place)] = ratio
            plain = [m[place] * (s[k] - ratio) / (weight / count) for m, s in zip(masks, scores, strict=True)]
            less = [p - (s[k] - mean[k]) for p, s in zip(plain, scores, strict=True)]
            variance[(k, *place)] = sum(p**2 for p in plain) / count**2
            centred[(k, *place)] = sum(p**2 for p in less) / count**2
    return found, variance, found - mean.reshape(-1, *[1] * masks[0].ndim), centred


def with_segments(image, without, labels, kept):
    """Return the image with only some of its segments, element by element."""
    copy = without.copy()
    for place in np.ndindex(*labels.shape):
        if kept[labels[place]]:
            copy[(slice(None), *place)] = image[(slice(None), *place)]
    return copy


def lime(run, image, without, labels, kept, width, ridge):
    """ribeiro2016 eq. 1 and 2: the normal equations of ridge regression, the intercept as a column without penalty."""
    count = labels.max() + 1
    rows, weights, scores = [], [], []
    for z in kept:
        cosine = sum(z) / (math.sqrt(sum(z)) * math.sqrt(count)) if sum(z) else 0.0
        weights.append(math.exp(-((1 - cosine) ** 2) / width**2))
        rows.append([*[float(v) for v in z], 1.0])
        scores.append(run(with_segments(image, without, labels, z)))
    matrix, right = np.zeros((count + 1, count + 1)), np.zeros((count + 1, len(scores[0])))
    for row, weight, score in zip(rows, weights, scores, strict=True):
        for i in range(count + 1):
            right[i] += weight * row[i] * score
            for j in range(count + 1):
                matrix[i, j] += weight * row[i] * row[j]
    for i in range(count):
        matrix[i, i] += ridge
    return np.linalg.solve(matrix, right)[:count].T


def shapley(run, image, without, labels):
    """The Shapley value (K, segments) by its definition: over all subsets, what a segment adds."""
    count = labels.max() + 1
    scores = {}
    for kept in itertools.product([False, True], repeat=count):
        scores[kept] = run(with_segments(image, without, labels, kept))
    found = np.zeros((len(scores[kept]), count))
    for i in range(count):
        for kept, score in scores.items():
            if not kept[i]:
                size = sum(kept)
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                more = tuple(k or j == i for j, k in enumerate(kept))
                found[:, i] += weight * (scores[more] - score)
    return found


def kernel_shap(run, image, without, labels, kept):
    """lundberg2017 theorem 2 on drawn coalitions: least squares under the constraint of the sum, by its multiplier."""
    count = labels.max() + 1
    nothing = run(with_segments(image, without, labels, [False] * count))
    whole = run(with_segments(image, without, labels, [True] * count))
    matrix, right = np.zeros((count + 1, count + 1)), np.zeros((count + 1, len(whole)))
    for z in kept:
        score = run(with_segments(image, without, labels, z)) - nothing
        for i in range(count):
            if z[i]:
                right[i] += 2 * score
                for j in range(count):
                    matrix[i, j] += 2 * z[j]
    matrix[:count, count] = matrix[count, :count] = 1
    right[count] = whole - nothing
    return np.linalg.solve(matrix, right)[:count].T


def in_cells(values, shape):
    """Return at every element the value of the cell it lies in, cells laid edge to edge."""
    found = np.zeros(shape)
    for place in np.ndindex(*shape):
        found[place] = values[tuple(i * g // n for i, g, n in zip(place, values.shape, shape, strict=True))]
    return found


def sobol(run, image, without, first, second, cells):
    """jansen1999 by loops: total-order indices (K, cells) from designs A and B."""
    shape = image.shape[1:]

    def score(row):
        mask = in_cells(np.asarray(row).reshape(cells), shape)
        return run(mask * image + (1 - mask) * without)

    plain = [score(a) for a in first]
    mean = sum(plain) / len(plain)
    variance = sum((p - mean) ** 2 for p in plain) / (len(plain) - 1)
    found = []
    for i in range(first.shape[1]):
        total = 0.0
        for n in range(len(first)):
            mixed = first[n].copy()
            mixed[i] = second[n, i]
            total = total + (plain[n] - score(mixed)) ** 2
        found.append(total / (2 * len(first) * variance))
    return np.array(found).T.reshape(-1, *cells)


def hsic(kept, scores):
    """gretton's trace tr(K H L H) / (n - 1)² with full matrices, for each cell."""
    count = len(scores)
    distances = sorted(abs(scores[i] - scores[j]) for i in range(count) for j in range(i + 1, count))
    width = distances[(len(distances) - 1) // 2]
    likeness, centre = np.zeros((count, count)), np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            likeness[i, j] = math.exp(-((scores[i] - scores[j]) ** 2) / (2 * width**2))
            centre[i, j] = (i == j) - 1 / count
    found = []
    for cell in range(kept.shape[1]):
        same = np.zeros((count, count))
        for i in range(count):
            for j in range(count):
                same[i, j] = float(kept[i, cell] == kept[j, cell])
        found.append(np.trace(same @ centre @ likeness @ centre) / (count - 1) ** 2)
    return np.array(found)


def xrai(attribution, labels):
    """kapishnikov2019 algorithm 1: at each step every region is looked at, and the one of largest gain is taken."""
    shape = attribution.shape
    regions = [{p for p in np.ndindex(*shape) if one[p] == r} for one in labels for r in range(one.max() + 1)]
    found, taken = np.zeros(shape), set()
    while len(taken) < attribution.size:
        best, gain = None, -math.inf
        for region in regions:
            new = region - taken
            if new:
                mean = sum(attribution[p] for p in new) / len(new)
                # Regions may be the same at two scales: then their means differ by rounding at most.
                if mean > gain + 1e-12:
                    best, gain = new, mean
        for place in best:
            found[place] = gain
        taken |= best
    return found


def enlarged(cells, shape):
    """Return cells laid edge to edge over a shape, read linearly."""
    found = np.zeros(shape)
    for place in np.ndindex(*shape):
        at = [(i + 0.5) * g / n - 0.5 for i, g, n in zip(place, cells.shape, shape, strict=True)]
        found[place] = read_linearly(cells, at)
    return found


def bells(cells, shape, temperature, width):
    """fong2019: the smooth maximum over the cells of Gaussian bells times their values, one axis after the other."""
    values = cells
    for axis, size in enumerate(shape):
        count = values.shape[axis]
        moved = np.moveaxis(values, axis, -1)
        larger = np.zeros((*moved.shape[:-1], size))
        for place in np.ndindex(*moved.shape[:-1]):
            for i in range(size):
                at = (i + 0.5) * count / size - 0.5
                one = [math.exp(-((at - j) ** 2) / (2 * width**2)) * moved[(*place, j)] for j in range(count)]
                weights = [math.exp(v / temperature) for v in one]
                larger[(*place, i)] = sum(v * w for v, w in zip(one, weights, strict=True)) / sum(weights)
        values = np.moveaxis(larger, -1, axis)
    return values


def slope(function, at, step=1e-6):
    """Return the gradient of a function of an array by central differences."""
    found = np.zeros(at.shape)
    for place in np.ndindex(*at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        found[place] = (function(up) - function(down)) / (2 * step)
    return found


def meaningful_perturbation(run, image, without, k, cells, steps, rate, size, roughness, power):
    """fong2017 with the score as a share of its fall, by Adam on slopes from differences of the whole objective."""
    fall = run(image)[k] - run(without)[k]

    def objective(mask):
        large = enlarged(mask, image.shape[1:])
        rough = 0.0
        for axis in range(mask.ndim):
            moved = np.moveaxis(mask, axis, 0)
            for i in range(len(moved) - 1):
                rough += (np.abs(moved[i + 1] - moved[i]) ** power).sum()
        score = run(large * image + (1 - large) * without)[k]
        return size * (1 - mask).mean() + roughness * rough / mask.size + score / fall

    mask, first, second = np.ones(cells), 0.0, 0.0
    for step in range(1, steps + 1):
        gradient = slope(objective, mask)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        move = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        mask = np.clip(mask - rate * move, 0, 1)
    return 1 - enlarged(mask, image.shape[1:])


def extremal_perturbation(run, image, without, k, cells, area, steps, rate, weight):
    """fong2019 with the score as a share of its fall, by momentum on slopes from differences of the whole objective."""
    fall = run(image)[k] - run(without)[k]
    elements = image[0].size
    ideal = [0.0] * (elements - round(area * elements)) + [1.0] * round(area * elements)

    def objective(mask):
        large = bells(mask, image.shape[1:], 1 / 20, 0.75)
        gap = sum((v - i) ** 2 for v, i in zip(sorted(large.ravel()), ideal, strict=True)) / elements
        return weight * gap - run(large * image + (1 - large) * without)[k] / fall

    mask, speed = np.full(cells, 0.5), 0.0
    for _ in range(steps):
        speed = 0.9 * speed + slope(objective, mask)
        mask = np.clip(mask - rate * speed, 0, 1)
    return bells(mask, image.shape[1:], 1 / 20, 0.75)
