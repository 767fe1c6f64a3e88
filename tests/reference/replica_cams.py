"""More CAM papers again, slowly and literally, in float64 with loops; nothing here knows saliscope's methods."""

import itertools
import math

import numpy as np
import replica
import torch
from torch import nn

from saliscope.testing.networks import seeded


def cells_of(values):
    return list(np.ndindex(values.shape[1:]))


def cam(a, row):
    """zhou2016 eq. 2: the sum over units k of w_k^c f_k(x, y)."""
    found = np.zeros(a.shape[1:])
    for i in cells_of(a):
        for k in range(len(a)):
            found[i] += row[k] * a[k][i]
    return found


def xgrad_cam(a, g):
    """fu2020: the weight of channel k is the sum over cells of A / sum(A) times the gradient."""
    found = np.zeros(a.shape[1:])
    for k in range(len(a)):
        total = sum(a[k][i] for i in cells_of(a))
        weight = sum(a[k][i] / total * g[k][i] for i in cells_of(a))
        for i in cells_of(a):
            found[i] += weight * a[k][i]
    return found


def first_component(values, centred):
    """muhammad2020: the matrix of cells by channels, by a full SVD, times its first right singular vector."""
    matrix = np.zeros((len(cells_of(values)), len(values)))
    for row, i in enumerate(cells_of(values)):
        for k in range(len(values)):
            matrix[row, k] = values[k][i]
    if centred:
        for k in range(len(values)):
            matrix[:, k] -= sum(matrix[:, k]) / len(matrix)
    _, _, right = np.linalg.svd(matrix)
    flat = [sum(matrix[row, k] * right[0, k] for k in range(len(values))) for row in range(len(matrix))]
    agreement = sum(flat[row] * sum(matrix[row]) for row in range(len(matrix)))
    found = np.zeros(values.shape[1:])
    for row, i in enumerate(cells_of(values)):
        found[i] = flat[row] if agreement >= 0 else -flat[row]
    return found


def eigen_cam(a, g, centred=False):
    return first_component(a, centred)


def eigen_grad_cam(a, g, centred=True):
    return first_component(a * g, centred)


def windows(size, width):
    """The cells of each of the fewest windows that cover an axis, as evenly as they go: those that it overlaps."""
    count = math.ceil(size / width)
    return [
        [c for c in range(size) if c + 1 > i * size / count + 1e-9 and c < (i + 1) * size / count - 1e-9]
        for i in range(count)
    ]


def seg_xres_cam(a, g, window, pool):
    """hasany2023 eq. 5: up(pool(gradient)) times activation, summed over channels."""
    found = np.zeros(a.shape[1:])
    blocks = [list(itertools.product(*some)) for some in itertools.product(*map(windows, a.shape[1:], window))]
    for k in range(len(a)):
        pooled = [[g[k][i] for i in block] for block in blocks]
        pooled = [max(p) if pool == "max" else sum(p) / len(p) for p in pooled]
        for i in cells_of(a):
            holding = [p for p, block in zip(pooled, blocks, strict=True) if i in block]
            found[i] += sum(holding) / len(holding) * a[k][i]
    return found


def noisy_gradients(net, image, samples, sigma, seed):
    """Return the activation (C, *S') of an image, and of its noisy copies activations and gradients (K, C, *S')."""
    generator = torch.Generator().manual_seed(seed)
    spread = sigma * (max(image.flatten().tolist()) - min(image.flatten().tolist()))
    noise = [torch.randn(image.shape, generator=generator).to(image.dtype) * spread for _ in range(samples)]
    runs = [replica.split_run(net, image + one) for one in noise]
    return replica.split_run(net, image)[0], [own for own, _ in runs], [gradients for _, gradients in runs]


def smooth_map(a, gradients):
    """omeiza2019: the map (K, *S') of an activation, alpha from the derivatives averaged over noisy copies."""
    derivatives = [sum(g ** (p + 1) for g in gradients) / len(gradients) for p in range(3)]
    found = np.zeros((len(gradients[0]), *a.shape[1:]))
    for c in range(len(found)):
        for k in range(len(a)):
            total, weight = sum(a[k][i] for i in cells_of(a)), 0.0
            for i in cells_of(a):
                first, second, third = (d[c][k][i] for d in derivatives)
                weight += second / (2 * second + total * third) * max(first, 0.0)
            for i in cells_of(a):
                found[c][i] += weight * a[k][i]
    return found


def smooth_grad_cam_plus_plus(net, image, samples, sigma, seed):
    """omeiza2019: the map, and the variance of the Grad-CAM++ maps of the copies."""
    a, own, gradients = noisy_gradients(net, image, samples, sigma, seed)
    maps = [
        np.stack([replica.grad_cam_plus_plus(o, g) for g in several]) for o, several in zip(own, gradients, strict=True)
    ]
    middle = sum(maps) / samples
    return smooth_map(a, gradients), sum((m - middle) ** 2 for m in maps) / samples


def interpolated(values, shape, stride, offset):
    """Values of cells whose cell j is centred on element offset + stride j, linear between, constant beyond."""
    found = np.zeros(shape)
    for i in np.ndindex(shape):
        at = [min(max((n - offset) / stride, 0), size - 1) for n, size in zip(i, values.shape, strict=True)]
        for corner in itertools.product(*[(math.floor(t), math.ceil(t)) for t in at]):
            share = 1.0
            for t, c in zip(at, corner, strict=True):
                # Where a centre is hit, floor and ceil are one cell, met twice.
                share *= 0.5 if math.floor(t) == math.ceil(t) else 1 - abs(t - c)
            found[i] += share * values[corner]
    return found


def given_out(values, shape, stride, offset):
    """Every cell's value shared among the elements by how `interpolated` weighs it there: the sum stays."""
    found = np.zeros(shape)
    for cell in np.ndindex(values.shape):
        one = np.zeros(values.shape)
        one[cell] = 1
        weights = interpolated(one, shape, stride, offset)
        found += values[cell] * weights / weights.sum()
    return found


def layercam_fusion(maps, gamma, shape, cells):
    """jiang2021 eq. 8 and 9 of maps (after eq. 7), from shallow to deep, with the stride and offset of each."""
    fused = np.zeros(shape)
    for n, (found, (stride, offset)) in enumerate(zip(maps, cells, strict=True)):
        positive = np.maximum(found, 0)
        most = positive.max()
        scaled = np.zeros(found.shape)
        for i in np.ndindex(found.shape):
            share = positive[i] / most if most > 0 else 0.0
            scaled[i] = share if n == len(maps) - 1 else math.tanh(gamma * share)
        fused = np.maximum(fused, interpolated(scaled, shape, stride, offset))
    return fused


class PooledNet(nn.Module):
    """A network that ends as CAM wants it: a ReLU, global average pooling, dropout and one linear layer."""

    def __init__(self, axes):
        super().__init__()
        conv, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[axes - 2]
        self.stem, self.norm, self.last = conv(2, 4, 2, stride=2), norm(4), conv(4, 6, 3, padding=1)
        self.relu, self.dropout, self.head = nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(6, 3)
        seeded(self)
        self.double()

    def forward(self, x):
        seen = self.relu(self.last(self.norm(self.stem(x))))
        return self.head(self.dropout(seen.flatten(2).mean(2)))


class ReluNet(nn.Module):
    """Convolutions, batch norm, in-place ReLUs, pooling, a residual and two linear layers: piecewise linear."""

    def __init__(self, axes, norm="batch"):
        super().__init__()
        conv, pool = ((nn.Conv2d, nn.MaxPool2d), (nn.Conv3d, nn.MaxPool3d))[axes - 2]
        norms = {"batch": (nn.BatchNorm2d, nn.BatchNorm3d)[axes - 2], "group": lambda c: nn.GroupNorm(2, c)}
        self.axes = axes
        self.stem, self.norm = conv(2, 4, 2, stride=2, bias=False), norms[norm](4)
        self.middle, self.relu, self.pool = conv(4, 4, 3, padding=1), nn.ReLU(inplace=True), pool(2, ceil_mode=True)
        self.last, self.hidden, self.head = conv(4, 6, 1), nn.Linear(6, 5), nn.Linear(5, 3)
        seeded(self)
        self.double()

    def forward(self, x):
        before = self.relu(self.norm(self.stem(x)))
        after = self.pool(before + self.relu(self.middle(before)))
        pooled = self.relu(self.last(after)).flatten(2).mean(2)
        return self.head(self.relu(self.hidden(pooled)))


def full_gradient(net, image):
    """srinivas2019: for each class, g x at the input and g b at every bias, each bias a tensor of its own per cell.

    Of ReluNet, written out: a convolution without bias, then plus the bias laid out over the output.
    """
    column = (1, -1, *[1] * net.axes)
    convolve = (nn.functional.conv2d, nn.functional.conv3d)[net.axes - 2]
    x = image[None].clone().requires_grad_()
    laid = {}

    def plus(name, value, bias):
        laid[name] = bias.detach().expand(value.shape).clone().requires_grad_()
        return value + laid[name]

    scale = net.norm.weight / torch.sqrt(net.norm.running_var + net.norm.eps)
    shift = net.norm.bias - net.norm.running_mean * scale
    before = plus("norm", convolve(x, net.stem.weight, stride=2) * scale.reshape(column), shift.reshape(column)).relu()
    middle = plus("middle", convolve(before, net.middle.weight, padding=1), net.middle.bias.reshape(column)).relu()
    last = plus("last", convolve(net.pool(before + middle), net.last.weight), net.last.bias.reshape(column)).relu()
    hidden = plus("hidden", last.flatten(2).mean(2) @ net.hidden.weight.T, net.hidden.bias).relu()
    scores = plus("head", hidden @ net.head.weight.T, net.head.bias)[0]
    terms = []
    for score in scores:
        grads = torch.autograd.grad(score, [x, *laid.values()], retain_graph=True)
        factors = [x, *laid.values()]
        names = ["input", *laid]
        terms.append({n: (g * f).detach()[0].numpy() for n, g, f in zip(names, grads, factors, strict=True)})
    return scores.detach().numpy(), terms


def full_grad(terms, shape, cells, shown):
    """The map of the terms (C, *S') that have a place, each layer with the stride and offset of its cells."""
    found = np.zeros(shape)
    for name, (stride, offset) in cells.items():
        term = terms[name] if shown == "signed" else np.abs(terms[name])
        if shown == "rescaled":
            term = (term - term.min()) / (term.max() - term.min())
            found += interpolated(sum(term), shape, stride, offset)
        else:
            found += given_out(sum(term), shape, stride, offset)
    return found
