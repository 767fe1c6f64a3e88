"""Noise and path methods again, slowly and literally, in float64; nothing here knows saliscope's methods."""

import math

import numpy as np
import torch
from replica import input_gradients, scores


def noisy_gradients(net, image, samples, sigma, seed):
    """Return the gradients (samples, K, C, *S) at the noisy copies of smilkov2017."""
    generator = torch.Generator().manual_seed(seed)
    spread = sigma * (max(image.flatten().tolist()) - min(image.flatten().tolist()))
    noise = [torch.randn(image.shape, generator=generator).to(image.dtype) * spread for _ in range(samples)]
    return np.stack([input_gradients(net, image + one).numpy() for one in noise])


def variance(values):
    """Return the mean squared distance to the mean, over the first axis, in two passes."""
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / len(values)


def smoothgrad_squared(net, image, samples, sigma, seed):
    """hooker2019: the mean of squared gradients."""
    g = noisy_gradients(net, image, samples, sigma, seed)
    return sum(one**2 for one in g).sum(1) / samples


def vargrad(net, image, samples, sigma, seed):
    """adebayo2018a: the variance of the gradients."""
    return variance(noisy_gradients(net, image, samples, sigma, seed)).sum(1)


def smoothgrad_variance(net, image, samples, sigma, seed):
    """The variance of the copies' own maps."""
    return variance(noisy_gradients(net, image, samples, sigma, seed).sum(2))


def pieces(net, x, bend):
    """Run SmallNet by hand on x (1, C, *S), with bend(number, function, value) in place of each activation."""
    column = (1, -1, *[1] * net.axes)
    scale = net.norm.weight / torch.sqrt(net.norm.running_var + net.norm.eps)
    normed = (net.stem(x) - net.norm.running_mean.reshape(column)) * scale.reshape(column)
    before = bend(0, torch.relu, normed + net.norm.bias.reshape(column))
    after = bend(1, lambda v: torch.where(v > 0, v, 0.2 * v), net.watched(before))
    if net.after == "concat":
        after = torch.cat([after, before], 1)
    elif net.after == "residual":
        after = before + after
    return net.head(bend(2, torch.tanh, net.last(after)).flatten(2).mean(2))[0]


def chord_part(net, image, start, low, high):
    """Return (K, *S): the step from low to high of the way, times the gradient through all activations' chords."""
    first, second = ((start + a * (image - start))[None] for a in (low, high))
    inputs = {}

    def seen(number, function, value):
        inputs.setdefault(number, []).append(value.detach())
        return function(value)

    def chord(number, function, value):
        a, b = inputs[number]
        assert (a != b).all()
        return (function(b) - function(a)) / (b - a) * value

    for point in (first, second):
        pieces(net, point, seen)
    root = first.clone().requires_grad_()
    out = pieces(net, root, chord)
    found = [torch.autograd.grad(s, root, retain_graph=True)[0][0] for s in out]
    return torch.stack([(g * (second - first)[0]).sum(0) for g in found]).detach().numpy()


def middle_part(net, image, start, low, high):
    """Return (K, *S): the step from low to high of the way, times the gradient at its middle."""
    g = input_gradients(net, start + (low + high) / 2 * (image - start))
    return ((high - low) * (image - start) * g).sum(1).numpy()


def refined(part, tolerance, most, cost):
    """Return a map (*S), its error and the gradients it took: six steps in thirds, then thirds where it matters."""
    steps = [(i / 6, (i + 1) / 6) for i in range(6)]

    def cut(low, high):
        third = (high - low) / 3
        return [(low, low + third), (low + third, high - third), (high - third, high)]

    cells = [(s, part(*s), [part(*t) for t in cut(*s)]) for s in steps]
    count = 6 * (1 + cost)
    while True:
        halves = [(whole - sum(three)) / 2 for _, whole, three in cells]
        found = sum(sum(three) for _, _, three in cells)
        norm, error = math.sqrt((found**2).sum()), math.sqrt((sum(halves) ** 2).sum())
        if error <= tolerance * norm:
            return found, error / norm, count
        squares = [float((h**2).sum()) for h in halves]
        worst = sorted(range(len(cells)), key=lambda at: -squares[at])
        number = 1
        while sum(squares[at] for at in worst[number:]) > (tolerance * norm) ** 2 / 2:
            number += 1
        number = min(number, (most - count) // (3 * cost))
        if number == 0:
            return found, error / norm, count
        count += 3 * cost * number
        fresh = []
        for at, (step, whole, three) in enumerate(cells):
            if at in worst[:number]:
                thirds = cut(*step)
                fresh += [(t, p, [part(*u) for u in cut(*t)]) for t, p in zip(thirds, three, strict=True)]
            else:
                fresh.append((step, whole, three))
        cells = fresh


def idgi(net, image, start, steps):
    """yang2023: squared gradients over their sum, times the change of the score, at the begin of every step."""
    total = 0.0
    for j in range(steps):
        here, there = (start + (j + e) / steps * (image - start) for e in (0, 1))
        g = input_gradients(net, here).numpy()
        d = (scores(net, there) - scores(net, here)).numpy()
        total = total + np.stack([(g[k] ** 2 * d[k] / (g[k] ** 2).sum()).sum(0) for k in range(len(d))])
    return total


def blurred(image, sigma):
    """Return an image (C, *S) against a Gaussian along each axis, its weights at every element summing to one."""
    values = image.numpy()
    for axis, width in enumerate(sigma, start=1):
        size = values.shape[axis]
        moved = np.moveaxis(values, axis, 0)
        found = np.zeros_like(moved)
        for i in range(size):
            weights = [math.exp(-((i - j) ** 2) / (2 * width**2)) for j in range(size)]
            found[i] = sum(w * moved[j] for j, w in enumerate(weights)) / sum(weights)
        values = np.moveaxis(found, 0, axis)
    return torch.from_numpy(np.ascontiguousarray(values))


def blur_ig(net, image, sigma, steps):
    """xu2020: from the largest blur (elements for each axis) to none, the gradient half-way through every step."""

    def at(place):
        share = 1 - place / steps
        return blurred(image, [share * s for s in sigma]) if share > 0 else image

    total = 0.0
    for i in range(steps):
        total = total + ((at(i + 1) - at(i)) * input_gradients(net, at(i + 0.5))).sum(1).numpy()
    return total


def expected_gradients(net, image, references, samples, seed):
    """erion2021: the samples (samples, K, *S) of (x - x') times the gradient at a place between them."""
    generator = torch.Generator().manual_seed(seed)
    order = []
    while len(order) < samples:
        order += torch.randperm(len(references), generator=generator).tolist()
    part = torch.randperm(samples, generator=generator).tolist()
    drawn = torch.rand(samples, generator=generator, dtype=torch.float64).tolist()
    found = []
    for which, p, u in zip(order, part, drawn, strict=False):
        start = references[which]
        g = input_gradients(net, start + (p + u) / samples * (image - start))
        found.append(((image - start) * g).sum(1).numpy())
    return np.stack(found)


def guided_ig(net, image, start, k, steps, fraction, max_dist):
    """kapishnikov2021: elements of smallest gradient first, within a distance of the straight line."""
    end, begin = image.flatten().tolist(), start.flatten().tolist()
    x, count = list(begin), len(begin)
    total = sum(abs(e - b) for e, b in zip(end, begin, strict=True))
    found = [0.0] * count
    for step in range(steps):
        g = input_gradients(net, torch.tensor(x, dtype=image.dtype).reshape(image.shape))[k].flatten().tolist()
        alpha = (step + 1) / steps
        low, high = max(alpha - max_dist, 0), min(alpha + max_dist, 1)
        ceiling = [b + high * (e - b) for b, e in zip(begin, end, strict=True)]
        due = total * (1 - alpha)
        old = list(x)
        for i in range(count):
            way = end[i] - begin[i]
            if way and (x[i] - begin[i]) / way < low:
                x[i] = begin[i] + low * way
        while True:
            left = sum(abs(e - v) for e, v in zip(end, x, strict=True))
            if math.isclose(left, due, rel_tol=1e-9, abs_tol=1e-9 * total):
                break
            sizes = [math.inf if x[i] == ceiling[i] else abs(g[i]) for i in range(count)]
            limit = sorted(sizes)[int(fraction * (count - 1))]
            chosen = [i for i in range(count) if sizes[i] <= limit and sizes[i] < math.inf]
            room = sum(abs(ceiling[i] - x[i]) for i in chosen)
            if room == 0:
                break
            part = (left - due) / room
            for i in chosen:
                x[i] = ceiling[i] if part > 1 else x[i] + part * (ceiling[i] - x[i])
            if part <= 1:
                break
        found = [f + (v - o) * d for f, v, o, d in zip(found, x, old, g, strict=True)]
    return np.array(found).reshape(image.shape).sum(0)
