"""Each paper again, slowly and literally, in float64 with explicit loops; nothing here knows saliscope's methods."""

import itertools

import numpy as np
import torch

LABELS = ("first", "second", "third")


def split_run(net, image):
    """Return activation A and gradients g (K, C, *S') at SmallNet's layer "watched", by cutting the network by hand."""
    with torch.no_grad():
        x = image[None]
        scale = net.norm.weight / torch.sqrt(net.norm.running_var + net.norm.eps)
        column = (1, -1, *[1] * net.axes)
        stem = (net.stem(x) - net.norm.running_mean.reshape(column)) * scale.reshape(column)
        before = torch.relu(stem + net.norm.bias.reshape(column))
        activation = net.watched(before)
    root = activation.clone().requires_grad_()
    leaky = torch.where(root > 0, root, 0.2 * root)
    if net.after == "concat":
        after = torch.cat([leaky, before], 1)
    else:
        after = before + leaky if net.after == "residual" else leaky
    scores = net.head(torch.tanh(net.last(after)).flatten(2).mean(2))[0]
    gradients = [torch.autograd.grad(s, root, retain_graph=True)[0][0].numpy() for s in scores]
    return activation[0].numpy(), np.stack(gradients)


def input_gradients(net, image):
    """Return the gradient (K, C, *S) of every score at the image, by plain autograd in evaluation mode."""
    x = image[None].clone().requires_grad_()
    modes = [(m, m.training) for m in net.modules()]
    net.eval()
    gradients = [torch.autograd.grad(s, x, retain_graph=True)[0][0] for s in net(x)[0]]
    for module, mode in modes:
        module.training = mode
    return torch.stack(gradients)


def scores(net, image):
    """Return the scores (K,) of an image (C, *S) in evaluation mode."""
    modes = [(m, m.training) for m in net.modules()]
    net.eval()
    with torch.no_grad():
        found = net(image[None])[0]
    for module, mode in modes:
        module.training = mode
    return found


def grad_cam(a, g):
    """selvaraju2017 eq. 1, 2 without ReLU."""
    cells = list(np.ndindex(a.shape[1:]))
    found = np.zeros(a.shape[1:])
    for k in range(len(a)):
        alpha = sum(g[k][i] for i in cells) / len(cells)
        for i in cells:
            found[i] += alpha * a[k][i]
    return found


def hirescam(a, g):
    """draelos2020."""
    found = np.zeros(a.shape[1:])
    for k in range(len(a)):
        for i in np.ndindex(a.shape[1:]):
            found[i] += a[k][i] * g[k][i]
    return found


def layercam(a, g):
    """jiang2021 eq. 5 to 7 without the last ReLU."""
    found = np.zeros(a.shape[1:])
    for k in range(len(a)):
        for i in np.ndindex(a.shape[1:]):
            found[i] += max(g[k][i], 0.0) * a[k][i]
    return found


def grad_cam_plus_plus(a, g):
    """chattopadhay2018 eq. 19, as printed, with the derivatives of exp(score) divided by exp(score)."""
    cells = list(np.ndindex(a.shape[1:]))
    found = np.zeros(a.shape[1:])
    for k in range(len(a)):
        total = sum(a[k][i] for i in cells)
        weight = 0.0
        for i in cells:
            denominator = 2 * g[k][i] ** 2 + total * g[k][i] ** 3
            alpha = g[k][i] ** 2 / denominator if denominator else 0.0
            weight += alpha * max(g[k][i], 0.0)
        for i in cells:
            found[i] += weight * a[k][i]
    return found


def smoothgrad(net, image, samples, sigma, seed):
    """smilkov2017: the mean of n gradients at the image plus noise of sigma times its range."""
    generator = torch.Generator().manual_seed(seed)
    spread = sigma * (max(image.flatten().tolist()) - min(image.flatten().tolist()))
    total = 0
    for _ in range(samples):
        noise = torch.randn(image.shape, generator=generator).to(image.dtype) * spread
        total = total + input_gradients(net, image + noise).sum(1)
    return (total / samples).numpy()


def integrated_gradients(net, image, start, steps):
    """sundararajan2017 eq. 1, the integral as a midpoint sum."""
    total = torch.zeros_like(input_gradients(net, image))
    for i in range(steps):
        alpha = (i + 0.5) / steps
        total += input_gradients(net, start + alpha * (image - start)) / steps
    return ((image - start) * total).sum(1).numpy()


def occlusion(net, image, without, window, stride):
    """zeiler2014 section 4.2: drops of the score, added and counted element by element."""
    shape = image.shape[1:]
    places = []
    for size, width, step in zip(shape, window, stride, strict=True):
        begin = 0
        places.append([])
        while begin + width < size:
            places[-1].append(begin)
            begin += step
        places[-1].append(size - width)
    full = scores(net, image)
    total, count = np.zeros((len(full), *shape)), np.zeros(shape)
    for corner in itertools.product(*places):
        changed = image.clone()
        cells = [
            tuple(c + d for c, d in zip(corner, offset, strict=True))
            for offset in itertools.product(*map(range, window))
        ]
        for cell in cells:
            changed[(slice(None), *cell)] = without[(slice(None), *cell)]
        drop = (full - scores(net, changed)).numpy()
        for cell in cells:
            total[(slice(None), *cell)] += drop
            count[cell] += 1
    return total / count


def edges(image, sigma):
    """The gradient magnitude after a Gaussian: the image against the Gaussian's derivative, element by element."""
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    gaussian = np.exp(-(offsets**2) / (2 * sigma**2))
    gaussian /= gaussian.sum()
    slope = -offsets / sigma**2 * gaussian
    square = np.zeros(image.shape[1:])
    for channel in image.numpy():
        for axis in range(channel.ndim):
            filtered = channel
            for other in range(channel.ndim):
                filtered = correlated(filtered, slope[::-1] if other == axis else gaussian, other)
            square += filtered**2
    return np.sqrt(square)


def correlated(values, kernel, axis):
    """Return values against a kernel along an axis, the edge element mirrored with itself."""
    radius, size = len(kernel) // 2, values.shape[axis]
    moved = np.moveaxis(values, axis, 0)
    found = np.zeros_like(moved)
    for i in range(size):
        for j, weight in enumerate(kernel):
            at = (i + j - radius) % (2 * size)
            found[i] += weight * moved[at if at < size else 2 * size - 1 - at]
    return np.moveaxis(found, 0, axis)
