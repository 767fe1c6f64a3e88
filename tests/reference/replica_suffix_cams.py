"""The methods that run what comes after a layer, again, slowly and literally, in float64 with explicit loops.

Nothing here knows saliscope's methods: the network is cut by hand, and every change is run alone.
"""

import itertools

import numpy as np
import torch


def cut(net, image):
    """Return the activation (C, *S') of SmallNet's layer "watched" and what runs the rest on another one."""
    with torch.no_grad():
        column = (1, -1, *[1] * net.axes)
        scale = (net.norm.weight / torch.sqrt(net.norm.running_var + net.norm.eps)).reshape(column)
        stem = (net.stem(image[None]) - net.norm.running_mean.reshape(column)) * scale
        before = torch.relu(stem + net.norm.bias.reshape(column))
        activation = net.watched(before)[0]

    def end(a):
        root = a[None]
        leaky = torch.where(root > 0, root, 0.2 * root)
        if net.after == "concat":
            after = torch.cat([leaky, before], 1)
        else:
            after = before + leaky if net.after == "residual" else leaky
        return net.head(torch.tanh(net.last(after)).flatten(2).mean(2))[0]

    return activation, end


def weighed(weights, activation):
    """Return the sum over channels of weight times activation, cell by cell."""
    found = np.zeros(activation.shape[1:])
    for k in range(len(activation)):
        for i in np.ndindex(found.shape):
            found[i] += float(weights[k]) * float(activation[k][i])
    return found


def ablation_cam(activation, end, target):
    """ramaswamy2020: w_k = (y - y_k) / y, the ratio as printed; also y, by which the tests multiply."""
    with torch.no_grad():
        y = float(end(activation)[target])
        weights = []
        for k in range(len(activation)):
            without = activation.clone()
            for i in np.ndindex(tuple(activation.shape[1:])):
                without[(k, *i)] = 0
            weights.append((y - float(end(without)[target])) / y)
    return weighed(weights, activation), y


def linear(values, place):
    """Return values (*S') at a place between cells, linear along each axis; beyond the edge cells it is theirs."""
    found = 0.0
    at = [min(max(p, 0.0), n - 1.0) for p, n in zip(place, values.shape, strict=True)]
    low = [int(np.floor(a)) for a in at]
    for corner in itertools.product((0, 1), repeat=len(at)):
        weight = 1.0
        index = []
        for a, b, c, n in zip(at, low, corner, values.shape, strict=True):
            weight *= (a - b) if c else 1 - (a - b)
            index.append(min(b + c, n - 1))
        found += weight * float(values[tuple(index)])
    return found


def score_cam(activation, image, without, score, target, dialect):
    """wang2020: H_k the upsampled channel from 0 to 1; the weight is f(x H_k) - f(x_b), or in a dialect.

    The centre of cell j of SmallNet's layer is at input index 0.5 + 2 j.
    """
    weights, used = [], []
    for k in range(len(activation)):
        up = np.zeros(tuple(image.shape[1:]))
        for i in np.ndindex(up.shape):
            up[i] = linear(activation[k], [(p - 0.5) / 2 for p in i])
        if up.max() - up.min() < 1e-12:
            continue
        mask = torch.from_numpy((up - up.min()) / (up.max() - up.min()))
        masked = torch.stack([image[c] * mask + without[c] * (1 - mask) for c in range(len(image))])
        weights.append(float(score(masked)[target]) - (float(score(without)[target]) if dialect == "cic" else 0.0))
        used.append(k)
    if dialect == "softmax":
        total = sum(np.exp(w) for w in weights)
        weights = [np.exp(w) / total for w in weights]
    return weighed(weights, activation[used])


def recipro_cam(activation, end, target):
    """byun2022: the score of every cell alone, less that of no cell."""
    found = np.zeros(tuple(activation.shape[1:]))
    with torch.no_grad():
        none = float(end(torch.zeros_like(activation))[target])
        for i in np.ndindex(found.shape):
            alone = torch.zeros_like(activation)
            for k in range(len(activation)):
                alone[(k, *i)] = activation[(k, *i)]
            found[i] = float(end(alone)[target]) - none
    return found


def shapley_cam(activation, end, target):
    """cai2025: w_k = mean over the cells of (g - H A / 2), with the whole Hessian, row by row."""
    root = activation.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(end(root)[target], root, create_graph=True)
    inner = np.zeros(tuple(activation.shape))
    for i in np.ndindex(inner.shape):
        (row,) = torch.autograd.grad(gradient[i], root, retain_graph=True)
        inner[i] = float(gradient[i].detach()) - 0.5 * sum(
            float(row[j]) * float(activation[j]) for j in np.ndindex(inner.shape)
        )
    cells = inner[0].size
    return weighed([sum(channel.ravel()) / cells for channel in inner], activation)


def finer_cam(activation, end, target, gamma, count):
    """zhang2025 on Grad-CAM: the gradient of y_c - gamma mean(y_d), d the classes with the nearest logits."""
    root = activation.clone().requires_grad_()
    logits = end(root)
    others = sorted(
        (k for k in range(len(logits)) if k != target),
        key=lambda k: abs(float(logits[k].detach() - logits[target].detach())),
    )
    others = others[:count]
    score = logits[target] - gamma * sum(logits[k] for k in others) / len(others)
    (gradient,) = torch.autograd.grad(score, root)
    return weighed([sum(channel.ravel()) / channel.size for channel in gradient.numpy()], activation)
