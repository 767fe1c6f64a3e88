"""Combinations of methods again, slowly, in float64 with explicit loops; nothing here knows saliscope's methods."""

import itertools

import numpy as np
import torch


def noisy(image, samples, sigma, seed):
    """Return the noisy copies of an image, the noise drawn in float32 one copy after the other."""
    generator = torch.Generator().manual_seed(seed)
    spread = sigma * (image.max() - image.min())
    return [image + spread * torch.randn(image.shape, generator=generator).double() for _ in range(samples)]


def mean_and_variance(maps):
    """Return the mean of maps, and their mean squared distance to it."""
    mean = np.zeros(maps[0].shape)
    for one in maps:
        mean += one / len(maps)
    variance = np.zeros(maps[0].shape)
    for one in maps:
        variance += (one - mean) ** 2 / len(maps)
    return mean, variance


def run_from(net, image, layer):
    """Return activation A (C, *S') and gradients g (K, C, *S') at SmallNet's layer "stem" or "watched", cut by hand.

    SmallNet with `after` "functional" only.
    """
    column = (1, -1, *[1] * net.axes)
    scale = net.norm.weight / torch.sqrt(net.norm.running_var + net.norm.eps)
    with torch.no_grad():
        stem = net.stem(image[None])
    root = stem.clone().requires_grad_()
    shifted = (root - net.norm.running_mean.reshape(column)) * scale.reshape(column) + net.norm.bias.reshape(column)
    watched = net.watched(torch.relu(shifted))
    if layer == "watched":
        root = watched.detach().requires_grad_()
        watched = root
    after = torch.where(watched > 0, watched, 0.2 * watched)
    scores = net.head(torch.tanh(net.last(after)).flatten(2).mean(2))[0]
    gradients = [torch.autograd.grad(s, root, retain_graph=True)[0][0].detach().numpy() for s in scores]
    return root[0].detach().numpy(), np.stack(gradients)


def grad_cam(net, image, layer):
    """Return (K, *S'): each channel of A times the mean over space of its gradient, channel by channel."""
    a, g = run_from(net, image, layer)
    found = np.zeros((len(g), *a.shape[1:]))
    for k in range(len(g)):
        for c in range(len(a)):
            found[k] += g[k, c].sum() / g[k, c].size * a[c]
    return found


def laid_on(values, shape):
    """Return values (K, *S') of cells 2 elements apart, the first centred on 0.5, linear between them on a grid S."""
    found = np.zeros((len(values), *shape))
    for element in np.ndindex(*shape):
        corners = []
        for at, count in zip(element, values.shape[1:], strict=True):
            cell = min(max((at - 0.5) / 2, 0), count - 1)
            low = int(np.floor(cell))
            corners.append([(low, 1 - (cell - low)), (min(low + 1, count - 1), cell - low)])
        for corner in itertools.product(*corners):
            weight = np.prod([w for _, w in corner])
            found[(slice(None), *element)] += weight * values[(slice(None), *[i for i, _ in corner])]
    return found


def guided_backprop(net, image):
    """Return (K, *S): at SmallNet's one ReLU only positive gradient passes, and only where the input was positive."""
    _, at_stem = run_from(net, image, "stem")
    column = (-1, *[1] * net.axes)
    scale = (net.norm.weight / torch.sqrt(net.norm.running_var + net.norm.eps)).reshape(column).detach().numpy()
    found = []
    for g in at_stem:
        # The gradient at the normalised values, which is what the ReLU sends back, is g without the scale of the norm.
        cut = np.maximum(g / scale, 0) * scale
        x = image[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(net.stem(x), x, torch.from_numpy(cut)[None])
        found.append(gradient[0].sum(0).numpy())
    return np.stack(found)


def ranks(values):
    """Return for values (*S) the share of the others that are less, equal ones counting half, equal within 2^-16."""
    flat = np.round(values.ravel() / (np.abs(values).max() * 2.0**-16))
    found = np.zeros(len(flat))
    for i, one in enumerate(flat):
        less = equal = 0
        for other in flat:
            less += other < one
            equal += other == one
        found[i] = (less + (equal - 1) / 2) / (len(flat) - 1)
    return found.reshape(values.shape)


def tiles(size, tile, step):
    """Return begin and end of the tiles along an axis, one after the other, the last moved back."""
    found, begin = [], 0
    while begin + tile < size:
        found.append((begin, begin + tile))
        begin += step
    return [*found, (size - tile, size)]


def blended(maps, shape, columns, stride=1):
    """Return the Gaussian-weighted mean (K, *S) of maps by box, cell by cell."""
    total, weight = np.zeros((columns, *shape)), np.zeros(shape)
    for box, values in maps.items():
        for cell in np.ndindex(*values.shape[1:]):
            mine = 1.0
            for at, count in zip(cell, values.shape[1:], strict=True):
                mine *= np.exp(-((at - (count - 1) / 2) ** 2) / (2 * (count / 8) ** 2))
            place = tuple(begin // stride + at for (begin, _), at in zip(box, cell, strict=True))
            total[(slice(None), *place)] += mine * values[(slice(None), *cell)]
            weight[place] += mine
    return total / weight
