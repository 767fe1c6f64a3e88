"""Propagation papers again, in float64 with explicit loops: every layer is a matrix of numbers, every rule a sum."""

import itertools

import numpy as np
import torch
from torch import nn

TINY = 1e-6


class Branched(nn.Module):
    """conv, norm, ReLU in place, max pool, a shortcut around conv and ReLU, norm, ReLU, mean, linear."""

    def __init__(self, axes, bias=True):
        super().__init__()
        conv = (nn.Conv2d, nn.Conv3d)[axes - 2]
        norm = (nn.BatchNorm2d, nn.BatchNorm3d)[axes - 2]
        self.axes = axes
        self.stem, self.norm = conv(2, 3, 3, padding=1, bias=bias), norm(3)
        self.relu = nn.ReLU(inplace=True)
        self.pool = (nn.MaxPool2d, nn.MaxPool3d)[axes - 2](2)
        self.second = conv(3, 3, 2, padding=1, stride=1, bias=bias)
        self.after = norm(3)
        self.head = nn.Linear(3, 3, bias=bias)
        filled(self, seed=10 + axes, bias=bias)

    def forward(self, x):
        pooled = self.pool(self.relu(self.norm(self.stem(x))))
        crop = (slice(None), slice(None), *[slice(1, None)] * self.axes)
        total = torch.nn.functional.relu(self.second(pooled)[crop]) + pooled
        return self.head(torch.relu(self.after(total)).flatten(2).mean(2))


def filled(module, seed, bias=True):
    """Fill a module in float64 from a stream that never changes."""
    stream = np.random.RandomState(seed)
    module.double().eval()
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.is_floating_point():
                drawn = torch.from_numpy(stream.standard_normal(tuple(value.shape)))
                if value.ndim > 1:
                    value.copy_(drawn * (2 / value[0].numel()) ** 0.5)
                elif name.endswith(("var", "norm.weight", "after.weight")):
                    value.copy_(1 + 0.4 * drawn.tanh())
                else:
                    value.copy_(0.3 * drawn if bias else 0 * drawn)


def picture(axes, seed=5):
    size = (6, 4) if axes == 2 else (4, 4, 6)
    return torch.from_numpy(np.random.RandomState(seed).standard_normal((2, 2, *size)))


def matrix(weight, bias, shape, padding):
    """Return a convolution of stride one as a matrix (out, in) and a bias (out,), and its output's shape."""
    kernel = weight.shape[2:]
    size = [n + 2 * padding - k + 1 for n, k in zip(shape[1:], kernel, strict=True)]
    out = (len(weight), *size)
    found = np.zeros((int(np.prod(out)), int(np.prod(shape))))
    for j, (channel, *at) in enumerate(np.ndindex(out)):
        for i in range(shape[0]):
            for tap in np.ndindex(*kernel):
                place = [a + t - padding for a, t in zip(at, tap, strict=True)]
                if all(0 <= p < n for p, n in zip(place, shape[1:], strict=True)):
                    found[j, np.ravel_multi_index((i, *place), shape)] += weight[(channel, i, *tap)]
    return found, np.repeat(bias, int(np.prod(size))), out


def numbers(net):
    """Return a module's parameters and buffers by name as numbers, a missing bias as zero."""
    state = {k: v.detach().numpy() for k, v in net.state_dict().items()}
    for name in ("stem", "second", "head"):
        state.setdefault(f"{name}.bias", np.zeros(len(state[f"{name}.weight"])))
    return state


def affine(state, name):
    """Return the scale and shift of a batch normalisation."""
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-5)
    return scale, state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale


def windows(shape):
    """Return for each cell of a max pool of two the flat indices that it sees."""
    out = (shape[0], *[n // 2 for n in shape[1:]])
    return out, [
        [
            int(np.ravel_multi_index((c, *[2 * a + o for a, o in zip(at, offset, strict=True)]), shape))
            for offset in itertools.product((0, 1), repeat=len(at))
        ]
        for c, *at in np.ndindex(out)
    ]


class Steps:
    """Every layer of Branched as numbers, and every value of a forward run of one image."""

    def __init__(self, net, image):
        state = numbers(net)
        self.x, shape = image.numpy().ravel(), tuple(image.shape)
        scale, shift = affine(state, "norm")
        stem = state["stem.weight"] * scale.reshape(-1, *[1] * (net.axes + 1))
        self.W1, self.b1, first = matrix(stem, state["stem.bias"] * scale + shift, shape, 1)
        self.z1 = self.W1 @ self.x + self.b1
        self.a1 = np.maximum(self.z1, 0)
        self.pooled_shape, self.windows = windows(first)
        self.winners = [max(w, key=lambda i: self.a1[i]) for w in self.windows]
        self.p = self.a1[self.winners]
        full, b2, out = matrix(state["second.weight"], state["second.bias"], self.pooled_shape, 1)
        kept = [j for j, (_, *at) in enumerate(np.ndindex(out)) if all(a > 0 for a in at)]
        self.W2, self.b2 = full[kept], b2[kept]
        self.z2 = self.W2 @ self.p + self.b2
        self.a2 = np.maximum(self.z2, 0)
        self.s = self.a2 + self.p
        cells = int(np.prod(self.pooled_shape[1:]))
        scale, shift = affine(state, "after")
        self.W3, self.b3 = np.diag(np.repeat(scale, cells)), np.repeat(shift, cells)
        self.z3 = self.W3 @ self.s + self.b3
        self.a3 = np.maximum(self.z3, 0)
        self.mean = np.kron(np.eye(3), np.ones((1, cells)) / cells)
        self.m = self.mean @ self.a3
        self.W4, self.b4 = state["head.weight"], state["head.bias"]
        self.y = self.W4 @ self.m + self.b4
        self.shape = shape


def rectified(net, image, way):
    """zeiler2014 and springenberg2014, figure 1: "guided", "deconvnet" or the plain "gradient" (K, *S)."""
    run = Steps(net, image)

    def back(gradient, before):
        sent = np.zeros_like(gradient)
        for i, g in enumerate(gradient):
            if way == "gradient":
                sent[i] = g if before[i] > 0 else 0.0
            elif way == "deconvnet":
                sent[i] = g if g > 0 else 0.0
            else:
                sent[i] = g if g > 0 and before[i] > 0 else 0.0
        return sent

    maps = []
    for k in range(3):
        g = run.W3.T @ back(run.mean.T @ run.W4[k], run.z3)
        at_pool = g + run.W2.T @ back(g, run.z2)
        unpooled = np.zeros_like(run.a1)
        for j, i in enumerate(run.winners):
            unpooled[i] += at_pool[j]
        maps.append((run.W1.T @ back(unpooled, run.z1)).reshape(run.shape).sum(0))
    return np.stack(maps)


def grad_cam_at_pool(net, image):
    """selvaraju2017, eq. 1 and 2 at the max pool, with its ReLU, (K, *S')."""
    run = Steps(net, image)
    maps = []
    for k in range(3):
        g = run.W3.T @ ((run.mean.T @ run.W4[k]) * (run.z3 > 0))
        g = (g + run.W2.T @ (g * (run.z2 > 0))).reshape(run.pooled_shape)
        activation = run.p.reshape(run.pooled_shape)
        weights = [gradient.mean() for gradient in g]
        maps.append(np.maximum(sum(w * a for w, a in zip(weights, activation, strict=True)), 0))
    return np.stack(maps)


def stretched(values, centres, size):
    """Return values along every axis linear between the centres of their cells, the nearest beyond."""
    for axis, (at, n) in enumerate(zip(centres, size, strict=True)):
        values = np.apply_along_axis(lambda row, at=at, n=n: np.interp(np.arange(n), at, row), axis, values)
    return values


def deeplift(net, image, start):
    """shrikumar2017: contributions (K, *S) by the rescale rule and the chain rule of multipliers."""
    run, other = Steps(net, image), Steps(net, start)

    def through(multiplier, before, before_other):
        sent = np.zeros_like(multiplier)
        for i, m in enumerate(multiplier):
            rise = max(before[i], 0) - max(before_other[i], 0)
            way = before[i] - before_other[i]
            sent[i] = m * (rise / way if abs(way) > 1e-10 else float(before[i] > 0))
        return sent

    maps = []
    for k in range(3):
        m = run.W3.T @ through(run.mean.T @ run.W4[k], run.z3, other.z3)
        at_pool = m + run.W2.T @ through(m, run.z2, other.z2)
        sent = np.zeros_like(run.a1)
        for j, window in enumerate(run.windows):
            higher = max(run.p[j], other.p[j])
            for seen, top, rise in ((run, run.p[j], higher - other.p[j]), (other, other.p[j], run.p[j] - higher)):
                maxima = [i for i in window if seen.a1[i] >= top - 1e-9]
                for i in maxima:
                    way = run.a1[i] - other.a1[i]
                    if abs(way) > 1e-10:
                        sent[i] += at_pool[j] * rise / len(maxima) / way
                    elif seen is run:
                        sent[i] += at_pool[j] / len(maxima)
        contribution = (run.W1.T @ through(sent, run.z1, other.z1)) * (run.x - other.x)
        maps.append(contribution.reshape(run.shape).sum(0))
    return np.stack(maps)


def away(z, epsilon):
    return z + epsilon if z >= 0 else z - epsilon


def rule(name, a, weight, bias, relevance, options):
    """Return the relevance of inputs a from that of the outputs, by the rule's printed formula, term by term."""
    found = np.zeros_like(a)
    for j, r in enumerate(relevance):
        w = weight[j]
        terms = [ai * wi for ai, wi in zip(a, w, strict=True)]
        z = sum(terms) + bias[j]
        gamma, alpha = options["gamma"], options["alpha"]
        if name == "epsilon":
            shares = [t / away(z, options["epsilon"]) for t in terms]
        elif name == "gamma":
            side = 1 if z > 0 else -1
            more = [t * (1 + gamma * (t * side > 0)) for t in [*terms, bias[j]]]
            shares = [t / away(sum(more), TINY) for t in more[:-1]]
        elif name in ("alpha-beta", "z-plus"):
            alpha = 1.0 if name == "z-plus" else alpha
            plus = sum(max(t, 0) for t in terms) + max(bias[j], 0)
            minus = sum(min(t, 0) for t in terms) + min(bias[j], 0)
            # A sum of no negative terms is zero and stands with zero's own side.
            shares = [alpha * max(t, 0) / away(plus, TINY) - (alpha - 1) * min(t, 0) / away(minus, TINY) for t in terms]
        elif name == "box":
            low, high = options["low"], options["high"]
            terms = [t - lo * max(wi, 0) - hi * min(wi, 0) for t, wi, lo, hi in zip(terms, w, low, high, strict=True)]
            shares = [t / away(sum(terms), TINY) for t in terms]
        elif name == "flat":
            seen = options["sees"](j)
            shares = [s / (sum(seen) + TINY) for s in seen]
        else:
            total = sum(wi * wi for wi in w) + TINY
            shares = [wi * wi / total for wi in w]
        for i, share in enumerate(shares):
            found[i] += share * r
    return found


def lrp(net, image, conv, dense, stem, epsilon=1e-6, gamma=0.25, alpha=2.0, low=None, high=None, layers=()):
    """bach2015, montavon2019: relevance (K, *S) by the rule of each kind of layer, or of the layer of a name."""
    own = dict(layers)
    run = Steps(net, image)
    lows = np.stack([np.full(c.shape, c.min() if low is None else low) for c in image.numpy()]).ravel()
    highs = np.stack([np.full(c.shape, c.max() if high is None else high) for c in image.numpy()]).ravel()
    ones, none, _ = matrix(np.ones(net.stem.weight.shape), np.zeros(3), run.shape, 1)
    assert not none.any()
    options = {
        "epsilon": epsilon,
        "gamma": gamma,
        "alpha": alpha,
        "low": lows,
        "high": highs,
        "sees": lambda j: ones[j],
    }
    alone = "z-plus" if conv == "alpha-beta" else conv
    maps = []
    for k in range(3):
        start = np.where(np.arange(3) == k, run.y, 0)
        r = rule(own.get("head", dense), run.m, run.W4, run.b4, start, options)
        small = {**options, "epsilon": min(epsilon, TINY)}
        r = rule("epsilon", run.a3, run.mean, np.zeros(3), r, small)
        r = rule(own.get("after", alone), run.s, run.W3, run.b3, r, options)
        at_pool = np.array([p / away(s, small["epsilon"]) * v for p, s, v in zip(run.p, run.s, r, strict=True)])
        branch = np.array([a / away(s, small["epsilon"]) * v for a, s, v in zip(run.a2, run.s, r, strict=True)])
        at_pool += rule(own.get("second", conv), run.p, run.W2, run.b2, branch, options)
        at_first = np.zeros_like(run.a1)
        for j, i in enumerate(run.winners):
            at_first[i] += at_pool[j]
        maps.append(
            rule(own.get("stem", stem or conv), run.x, run.W1, run.b1, at_first, options).reshape(run.shape).sum(0)
        )
    return np.stack(maps)
