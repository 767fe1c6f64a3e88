"""ali2022, arras2019 and achtibat2024 again, in float64 with explicit loops: every rule as its printed sum."""

import numpy as np
import torch
from replica_propagation import away, filled
from torch import nn

EPSILON = 1e-6


class Attending(nn.Module):
    """A token for each element and one of its own, attention, a normalisation, a feed-forward part, and a head."""

    def __init__(self, axes, fused):
        super().__init__()
        self.stem = (nn.Conv2d, nn.Conv3d)[axes - 2](2, 4, 1)
        self.token, self.places = nn.Parameter(torch.empty(1, 4)), nn.Parameter(torch.empty(9, 4))
        self.norm, self.qkv, self.out = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 4)
        self.wide, self.narrow, self.head, self.fused = nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, 3), fused
        filled(self, seed=20 + axes)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), 1, 4), tokens], 1)
        tokens = tokens + self.places[: tokens.shape[1]]
        q, k, v = (part.unflatten(2, (2, 2)).transpose(1, 2) for part in self.qkv(self.norm(tokens)).chunk(3, -1))
        if self.fused:
            seen = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            seen = torch.softmax(q @ k.transpose(-2, -1) / 2**0.5, -1) @ v
        tokens = tokens + self.out(seen.transpose(1, 2).flatten(2))
        tokens = tokens + self.narrow(nn.functional.gelu(self.wide(tokens)))
        return self.head(tokens[:, 0])


class Gated(nn.Module):
    """A convolution, a normalisation by the image's own statistics, a gate of channels, and the largest of each."""

    def __init__(self, axes, groups):
        super().__init__()
        self.stem, self.groups = (nn.Conv2d, nn.Conv3d)[axes - 2](2, 4, 1), groups
        self.scale, self.shift = nn.Parameter(torch.empty(4)), nn.Parameter(torch.empty(4))
        self.squeeze, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        filled(self, seed=30 + axes)

    def forward(self, x):
        v = nn.functional.group_norm(self.stem(x), self.groups, self.scale, self.shift)
        v = v * torch.sigmoid(v)
        gate = torch.sigmoid(self.squeeze(v.flatten(2).mean(2)))
        return self.head((v.flatten(2) * gate[..., None]).amax(2))


class Recurrent(nn.Module):
    """Rows, or planes, of an image one after the other through an LSTM, and a head on the last step."""

    def __init__(self, axes):
        super().__init__()
        self.axes, self.lstm, self.head = axes, nn.LSTM(2 * 2 ** (axes - 1), 3, batch_first=True), nn.Linear(3, 3)
        filled(self, seed=40 + axes)

    def forward(self, x):
        return self.head(self.lstm(x.transpose(1, 2).flatten(2))[0][:, -1])


class Pooled(nn.Module):
    """Deviation, variance, logarithm of a sum of exponentials and mean product of channels, masked, and a head."""

    def __init__(self, axes):
        super().__init__()
        self.stem, self.head = (nn.Conv2d, nn.Conv3d)[axes - 2](2, 4, 1), nn.Linear(16, 3)
        filled(self, seed=60 + axes)

    def forward(self, x):
        v = self.stem(x).flatten(2)
        v = torch.where(v > 1.2, 0.7, v)
        product = (v * v.flip(1)).mean(2)
        return self.head(torch.cat([v.std(2), v.var(2), v.logsumexp(2), product], 1))


class Gates(nn.Module):
    """Rows, or planes, of an image one after the other through a GRU, and a head on the last step."""

    def __init__(self, axes):
        super().__init__()
        self.gru, self.head = nn.GRU(2 * 2 ** (axes - 1), 3, batch_first=True), nn.Linear(3, 3)
        filled(self, seed=70 + axes)

    def forward(self, x):
        return self.head(self.gru(x.transpose(1, 2).flatten(2))[0][:, -1])


def numbers(net):
    return {k: v.detach().numpy() for k, v in net.state_dict().items()}


def linear(a, w, r, b):
    """bach2015, eq. 58: of each input a_i from outputs r_j, w (out, in)."""
    sent = np.zeros_like(a)
    for j in range(len(r)):
        z = sum(a[i] * w[j, i] for i in range(len(a))) + b[j]
        for i in range(len(a)):
            sent[i] += a[i] * w[j, i] * r[j] / away(z, EPSILON)
    return sent


def rows(a, w, r, b):
    return np.stack([linear(x, w, y, b) for x, y in zip(a, r, strict=True)])


def sum_of(one, other, r):
    """Each of two terms gets its share of their sum."""
    total = np.vectorize(lambda z: away(z, EPSILON))(one + other)
    return one / total * r, other / total * r


def product_of(a, v, r):
    """achtibat2024: O = A V, half to each of A_ji and V_ip, by its share of O_jp."""
    to_a, to_v, o = np.zeros_like(a), np.zeros_like(v), a @ v
    for j, i, p in np.ndindex(len(a), len(v), v.shape[1]):
        part = a[j, i] * v[i, p] * r[j, p] / (2 * away(o[j, p], EPSILON))
        to_a[j, i] += part
        to_v[i, p] += part
    return to_a, to_v


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_back(x, r):
    """achtibat2024: x_i (R_i - s_i sum_j R_j)."""
    sent, s = np.zeros_like(x), softmax(x)
    for row in range(len(x)):
        for i in range(x.shape[1]):
            sent[row, i] = x[row, i] * (r[row, i] - s[row, i] * sum(r[row]))
    return sent


def normalised(x, scale, shift):
    return scale * (x - x.mean()) / np.sqrt(x.var() + 1e-5) + shift


def normalised_back(x, scale, shift, r):
    """ali2022: the mean is a sum over all x_i, the deviation a constant."""
    sent, y, deviation = np.zeros_like(x), normalised(x, scale, shift), np.sqrt(x.var() + 1e-5)
    for j in range(len(x)):
        for i in range(len(x)):
            slope = scale[j] * ((i == j) - 1 / len(x)) / deviation
            sent[i] += x[i] * slope * r[j] / away(y[j], EPSILON)
    return sent


def gelu(x):
    return nn.functional.gelu(torch.from_numpy(x)).numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def attending(net, image):
    """Relevance (K, *S) of an Attending network, and its output."""
    s = numbers(net)
    pixels, w = image.flatten(1).numpy().T, s["stem.weight"].reshape(4, 2)
    before = np.concatenate([s["token"], pixels @ w.T + s["stem.bias"]])
    places = s["places"][: len(before)]
    x = before + places
    y = np.stack([normalised(row, s["norm.weight"], s["norm.bias"]) for row in x])
    mixed = y @ s["qkv.weight"].T + s["qkv.bias"]
    heads = []
    for h in range(2):
        q, k, v = (mixed[:, 4 * part + 2 * h : 4 * part + 2 * h + 2] for part in range(3))
        scores = q @ k.T
        a = softmax(scores / 2**0.5)
        heads.append((q, k, v, scores, a))
    o = np.concatenate([a @ v for *_, v, _, a in heads], 1)
    add = o @ s["out.weight"].T + s["out.bias"]
    t = x + add
    wide = t @ s["wide.weight"].T + s["wide.bias"]
    more = gelu(wide) @ s["narrow.weight"].T + s["narrow.bias"]
    u = t + more
    out = s["head.weight"] @ u[0] + s["head.bias"]
    maps = []
    for target in range(3):
        r = np.zeros_like(u)
        r[0] = linear(u[0], s["head.weight"], np.where(np.arange(3) == target, out, 0), s["head.bias"])
        r_t, r_more = sum_of(t, more, r)
        r_t = r_t + rows(
            t, s["wide.weight"], rows(gelu(wide), s["narrow.weight"], r_more, s["narrow.bias"]), s["wide.bias"]
        )
        r_x, r_add = sum_of(x, add, r_t)
        r_o = rows(o, s["out.weight"], r_add, s["out.bias"])
        r_mixed = np.zeros_like(mixed)
        for h, (q, k, v, scores, a) in enumerate(heads):
            r_a, r_v = product_of(a, v, r_o[:, 2 * h : 2 * h + 2])
            r_q, r_k = product_of(q, k.T, softmax_back(scores / 2**0.5, r_a))
            for part, values in enumerate((r_q, r_k.T, r_v)):
                r_mixed[:, 4 * part + 2 * h : 4 * part + 2 * h + 2] += values
        r_y = rows(y, s["qkv.weight"], r_mixed, s["qkv.bias"])
        for i, row in enumerate(x):
            r_x[i] += normalised_back(row, s["norm.weight"], s["norm.bias"], r_y[i])
        r_tokens = sum_of(before, places, r_x)[0][1:]
        maps.append(rows(pixels, w, r_tokens, s["stem.bias"]).sum(1).reshape(image.shape[1:]))
    return np.stack(maps), out


def gated(net, image):
    """Relevance (K, *S) of a Gated network, and its output."""
    s, w = numbers(net), net.stem.weight.detach().numpy().reshape(4, 2)
    pixels = image.flatten(1).numpy().T
    z = (pixels @ w.T + s["stem.bias"]).T
    cells, each = z.shape[1], 4 // net.groups
    many = {name: np.repeat(s[name], cells).reshape(net.groups, -1) for name in ("scale", "shift")}
    parts = z.reshape(net.groups, each * cells)
    y = np.concatenate(
        [normalised(p, a, b).reshape(each, cells) for p, a, b in zip(parts, many["scale"], many["shift"], strict=True)]
    )
    v = y * sigmoid(y)
    gate = sigmoid(s["squeeze.weight"] @ v.mean(1) + s["squeeze.bias"])
    u = v * gate[:, None]
    largest = u.max(1)
    out = s["head.weight"] @ largest + s["head.bias"]
    maps = []
    for target in range(3):
        r = linear(largest, s["head.weight"], np.where(np.arange(3) == target, out, 0), s["head.bias"])
        r_y = np.zeros_like(y)
        for c in range(4):
            # The signal takes all from the gate of channels, and again from x sigmoid(x).
            r_y[c, u[c].argmax()] = r[c]
        r_z = np.concatenate(
            [
                normalised_back(p, a, b, r_p).reshape(each, cells)
                for p, a, b, r_p in zip(parts, many["scale"], many["shift"], r_y.reshape(parts.shape), strict=True)
            ]
        )
        maps.append(rows(pixels, w, r_z.T, s["stem.bias"]).sum(1).reshape(image.shape[1:]))
    return np.stack(maps), out


def recurrent(net, image):
    """Relevance (K, *S) of a Recurrent network by arras2019, and its output."""
    s = numbers(net)
    steps = image.transpose(0, 1).flatten(1).numpy()
    w, u = s["lstm.weight_ih_l0"], s["lstm.weight_hh_l0"]
    h = c = np.zeros(3)
    run = []
    for x in steps:
        sent, kept = w @ x + s["lstm.bias_ih_l0"], u @ h + s["lstm.bias_hh_l0"]
        i, f, g, o = np.split(sent + kept, 4)
        old, new = sigmoid(f) * c, sigmoid(i) * np.tanh(g)
        run.append((x, h, sent, kept, old, new))
        c = old + new
        h = sigmoid(o) * np.tanh(c)
    out = s["head.weight"] @ h + s["head.bias"]
    maps = []
    for target in range(3):
        r_h = linear(h, s["head.weight"], np.where(np.arange(3) == target, out, 0), s["head.bias"])
        r_c, found = np.zeros(3), np.zeros_like(steps)
        for at in reversed(range(len(steps))):
            x, before, sent, kept, old, new = run[at]
            # Gates get nothing: of the output gate tanh(c) takes all, of the input gate the cell's new value.
            r_c, r_new = sum_of(old, new, r_c + r_h)
            r_sent, r_kept = (np.zeros(12) for _ in range(2))
            r_sent[6:9], r_kept[6:9] = sum_of(sent[6:9], kept[6:9], r_new)
            found[at] = linear(x, w, r_sent, s["lstm.bias_ih_l0"])
            r_h = linear(before, u, r_kept, s["lstm.bias_hh_l0"])
        maps.append(found.reshape(image.transpose(0, 1).shape).sum(1))
    return np.stack(maps), out


def pooled(net, image):
    """Relevance (K, *S) of a Pooled network, and its output."""
    s, w = numbers(net), net.stem.weight.detach().numpy().reshape(4, 2)
    pixels = image.flatten(1).numpy().T
    before = (pixels @ w.T + s["stem.bias"]).T
    v, n = np.where(before > 1.2, 0.7, before), before.shape[1]
    total = np.log(np.exp(v).sum(1))
    features = np.concatenate([v.std(1, ddof=1), v.var(1, ddof=1), total, (v * v[::-1]).mean(1)])
    out = s["head.weight"] @ features + s["head.bias"]
    maps = []
    for target in range(3):
        r = linear(features, s["head.weight"], np.where(np.arange(3) == target, out, 0), s["head.bias"])
        sent = np.zeros_like(v)
        for c in range(4):
            mean, deviation, variance = v[c].mean(), features[c], features[4 + c]
            for i in range(n):
                sent[c, i] += v[c, i] * (v[c, i] - mean) / ((n - 1) * deviation) * r[c] / away(deviation, EPSILON)
                slope = 2 * (v[c, i] - mean) / (n - 1)
                sent[c, i] += v[c, i] * slope / 2 * r[4 + c] / away(variance, EPSILON)
                sent[c, i] += np.exp(v[c, i] - total[c]) * v[c, i] * r[8 + c] / away(total[c], EPSILON)
                # Of the mean product each factor takes half, and channel c stands in the products of c and of 3 - c.
                for of in (c, 3 - c):
                    sent[c, i] += v[c, i] * v[3 - c, i] / n * r[12 + of] / away(features[12 + of], EPSILON) / 2
        sent[before > 1.2] = 0
        maps.append(rows(pixels, w, sent.T, s["stem.bias"]).sum(1).reshape(image.shape[1:]))
    return np.stack(maps), out


def gates(net, image):
    """Relevance (K, *S) of a Gates network by arras2019's rule for products, and its output."""
    s = numbers(net)
    steps = image.transpose(0, 1).flatten(1).numpy()
    w, u = s["gru.weight_ih_l0"], s["gru.weight_hh_l0"]
    h, run = np.zeros(3), []
    for x in steps:
        sent, kept = w @ x + s["gru.bias_ih_l0"], u @ h + s["gru.bias_hh_l0"]
        reset, update = sigmoid(sent[:3] + kept[:3]), sigmoid(sent[3:6] + kept[3:6])
        gated = reset * kept[6:]
        new, old = (1 - update) * np.tanh(sent[6:] + gated), update * h
        run.append((x, h, sent[6:], gated, new, old))
        h = new + old
    out = s["head.weight"] @ h + s["head.bias"]
    maps = []
    for target in range(3):
        r, found = linear(h, s["head.weight"], np.where(np.arange(3) == target, out, 0), s["head.bias"]), []
        for x, before, sent, gated, new, old in reversed(run):
            r_new, r_old = sum_of(new, old, r)
            r_sent, r_kept = (np.zeros(9) for _ in range(2))
            r_sent[6:], r_kept[6:] = sum_of(sent, gated, r_new)
            found.append(linear(x, w, r_sent, s["gru.bias_ih_l0"]))
            r = r_old + linear(before, u, r_kept, s["gru.bias_hh_l0"])
        maps.append(np.stack(found[::-1]).reshape(image.transpose(0, 1).shape).sum(1))
    return np.stack(maps), out
