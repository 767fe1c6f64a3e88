"""Small Keras HDF5 files, and what Keras computes from them, written out slowly in numpy with the channel last."""

import json

import numpy as np


def layer(kind, name, given=(), **config):
    """Return one layer as Keras 2 describes it."""
    nodes = [[[g, 0, 0, {}] for g in ([given] if isinstance(given, str) else given)]] if given else []
    return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": nodes}


def keras3(described):
    """Return the same layer as Keras 3 describes it."""
    nodes = [
        {
            "args": [
                [{"class_name": "__keras_tensor__", "config": {"keras_history": list(g[:3])}} for g in node]
                if len(node) > 1
                else {"class_name": "__keras_tensor__", "config": {"keras_history": list(node[0][:3])}}
            ],
            "kwargs": {},
        }
        for node in described["inbound_nodes"]
    ]
    config = dict(described["config"])
    if "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")
    return {**described, "config": config, "inbound_nodes": nodes}


def entry(shape):
    return layer("InputLayer", "in", batch_input_shape=[None, *shape])


def write(path, layers, arrays, *, sequential=False, leave=None, change=None):
    """Write a file; `arrays` holds {layer: {name: values}}, `change(file)` may spoil it."""
    import h5py

    name = "Sequential" if sequential else "Functional"
    config = {"name": "net", "layers": layers}
    if not sequential:
        config |= {"input_layers": [["in", 0, 0]], "output_layers": [[leave or layers[-1]["name"], 0, 0]]}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": name, "config": config})
        group = file.create_group("model_weights")
        for owner, held in arrays.items():
            inner = group.create_group(owner)
            inner.attrs["weight_names"] = [f"{owner}/{key}:0".encode() for key in held]
            for key, values in held.items():
                inner[f"{owner}/{key}:0"] = np.asarray(values, np.float32)
        if change:
            change(file)
    return path


def around(size, reach, stride):
    """Return how many elements Keras' "same" puts before and after an axis."""
    out = -(-size // stride)
    total = max((out - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def windows(x, reach, stride, padding, fill=0.0):
    """Give (row, column, window) of x (row, column, channel) as Keras lays them."""
    if padding == "same":
        pads = [around(n, k, s) for n, k, s in zip(x.shape[:2], reach, stride, strict=True)]
        x = np.pad(x, [*pads, (0, 0)], constant_values=fill)
    rows = (x.shape[0] - reach[0]) // stride[0] + 1
    columns = (x.shape[1] - reach[1]) // stride[1] + 1
    for r in range(rows):
        for c in range(columns):
            top, left = r * stride[0], c * stride[1]
            yield r, c, x[top : top + reach[0], left : left + reach[1]]


def conv(x, kernel, bias, stride=(1, 1), padding="same"):
    """Convolve x (row, column, in) with a kernel (row, column, in, out)."""
    made = {
        (r, c): np.einsum("hwi,hwio->o", w, kernel) + bias for r, c, w in windows(x, kernel.shape[:2], stride, padding)
    }
    return laid(made)


def pool(x, size, stride, padding, *, largest):
    """Pool x (row, column, channel); what is outside does not count."""
    outside = windows(x, size, stride, padding, np.nan)
    take = np.nanmax if largest else np.nanmean
    return laid({(r, c): take(w, axis=(0, 1)) for r, c, w in outside})


def laid(made):
    rows, columns = (max(k[i] for k in made) + 1 for i in (0, 1))
    return np.stack([np.stack([made[r, c] for c in range(columns)]) for r in range(rows)])


def fast_conv(x, kernel, bias, padding):
    """Convolve as `conv` does with stride 1, in one product, for pictures of full size."""
    if padding == "same":
        x = np.pad(x, [around(n, k, 1) for n, k in zip(x.shape[:2], kernel.shape[:2], strict=True)] + [(0, 0)])
    seen = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))
    return np.tensordot(seen, kernel, axes=([3, 4, 2], [0, 1, 2])) + bias


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))
