"""One maker for each class of Keras layer that is read; whatever is not here is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from saliscope.core.errors import did_you_mean
from saliscope.model.adapters import keras_layers as layers
from saliscope.model.adapters.keras_file import Array

Arrays = Mapping[str, Array]
#: Only while training do these do anything.
SILENT = frozenset({"Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "ActivityRegularization"})


def made(kind: str, config: Mapping[str, Any], arrays: Arrays, rank: int, where: str) -> nn.Module:
    """Return the module of a layer of class `kind` for an input of `rank` axes; raises ModelError if it is not read."""
    if config.get("data_format", "channels_last") not in ("channels_last", None):
        raise layers.refused(where, f"data_format {config['data_format']!r}")
    if kind in SILENT:
        return nn.Identity()
    if kind not in MAKERS:
        raise layers.refused(where, f"the class {kind!r} ({did_you_mean(kind, MAKERS)})")
    if rank not in RANKS.get(kind, (2, 4)):
        raise layers.refused(where, f"an input of {rank} axes")
    found = MAKERS[kind](config, arrays, rank, where)
    parts = dict(found) if isinstance(found, Mapping) else {"layer": found}
    if kind != "Activation" and "activation" in config:
        after = layers.activation(config["activation"], where)
        if after is not None:
            parts["activation"] = after
    return layers.together(parts)


def rank_after(kind: str, config: Mapping[str, Any], rank: int) -> int:
    """Return how many axes the output of a layer has, batch and channel counted."""
    if kind == "Reshape":
        return 4
    if kind in ("GlobalAveragePooling2D", "GlobalMaxPooling2D"):
        return 4 if config.get("keepdims") else 2
    return 2 if kind == "Flatten" else rank


def _rectified(config: Mapping[str, Any], _arrays: Arrays, _rank: int, where: str) -> nn.Module:
    top, slope = config.get("max_value"), float(config.get("negative_slope") or 0)
    if config.get("threshold"):
        raise layers.refused(where, f"threshold {config['threshold']}")
    if top is not None and slope:
        raise layers.refused(where, "both max_value and negative_slope")
    return nn.Hardtanh(0.0, float(top)) if top is not None else nn.LeakyReLU(slope) if slope else nn.ReLU()


def _leaky(config: Mapping[str, Any], _arrays: Arrays, _rank: int, _where: str) -> nn.Module:
    return nn.LeakyReLU(float(config.get("negative_slope", config.get("alpha", 0.3))))


def _softmax(config: Mapping[str, Any], _arrays: Arrays, rank: int, where: str) -> nn.Module:
    if config.get("axis", -1) not in (-1, rank - 1, [-1], [rank - 1]):
        raise layers.refused(where, f"a softmax over axis {config['axis']}")
    return nn.Softmax(1)


def _activation(config: Mapping[str, Any], _arrays: Arrays, _rank: int, where: str) -> nn.Module:
    return layers.activation(config["activation"], where) or nn.Identity()


def _joined(join: Callable[[list[torch.Tensor]], torch.Tensor]) -> Callable[..., nn.Module]:
    return lambda _config, _arrays, _rank, _where: layers.Joined(join)


def _sum(values: list[torch.Tensor]) -> torch.Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _concatenated(config: Mapping[str, Any], _arrays: Arrays, rank: int, where: str) -> nn.Module:
    if config.get("axis", -1) not in (-1, rank - 1):
        raise layers.refused(where, f"a concatenation over axis {config['axis']}")
    return layers.Joined(lambda values: torch.cat(values, 1))


def _depthwise(config: Mapping[str, Any], arrays: Arrays, _rank: int, where: str) -> Mapping[str, nn.Module]:
    return layers.conv(config, arrays, where, depthwise=True)


def _padding(config: Mapping[str, Any], _arrays: Arrays, _rank: int, where: str) -> nn.Module:
    (top, bottom), (left, right) = config["padding"]
    if not all(isinstance(n, int) and 0 <= n <= layers.LARGEST for n in (top, bottom, left, right)):
        raise layers.refused(where, f"padding {config['padding']}")
    return nn.ZeroPad2d((left, right, top, bottom))


def _enlarged(config: Mapping[str, Any], _arrays: Arrays, _rank: int, where: str) -> nn.Module:
    mode = config.get("interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        raise layers.refused(where, f"interpolation {mode!r}")
    size = tuple(float(n) for n in layers.pair(config["size"]))
    return nn.Upsample(scale_factor=size, mode=mode, align_corners=None if mode == "nearest" else False)


def _affine(config: Mapping[str, Any], _arrays: Arrays, _rank: int, where: str) -> nn.Module:
    scale, offset = config["scale"], config.get("offset", 0.0)
    if not all(isinstance(n, int | float) for n in (scale, offset)):
        raise layers.refused(where, "a scale for each channel")
    return layers.Affine(float(scale), float(offset))


def _unflattened(config: Mapping[str, Any], _arrays: Arrays, _rank: int, where: str) -> nn.Module:
    shape = list(config["target_shape"])
    if len(shape) != 3 or shape[:2] != [1, 1]:
        raise layers.refused(where, f"target_shape {shape}")
    return nn.Unflatten(1, (-1, 1, 1))


MAKERS: Mapping[str, Callable[..., nn.Module | Mapping[str, nn.Module]]] = {
    "Conv2D": lambda config, arrays, _rank, where: layers.conv(config, arrays, where),
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _depthwise,
    "Dense": lambda _config, arrays, _rank, where: {"linear": layers.dense(arrays, where)},
    "BatchNormalization": layers.normalisation,
    "MaxPooling2D": lambda config, _arrays, _rank, where: layers.pooling(config, where, largest=True),
    "AveragePooling2D": lambda config, _arrays, _rank, where: layers.pooling(config, where, largest=False),
    "GlobalAveragePooling2D": lambda config, *_rest: layers.Mean(keep=bool(config.get("keepdims"))),
    "GlobalMaxPooling2D": lambda config, *_rest: layers.Largest(keep=bool(config.get("keepdims"))),
    "Flatten": lambda *_rest: layers.ChannelLastFlatten(),
    "Activation": _activation,
    "ReLU": _rectified,
    "LeakyReLU": _leaky,
    "ELU": lambda config, *_rest: nn.ELU(float(config.get("alpha", 1.0))),
    "Softmax": _softmax,
    "Add": _joined(_sum),
    "Multiply": _joined(lambda values: torch.stack(torch.broadcast_tensors(*values)).prod(0)),
    "Average": _joined(lambda values: _sum(values) / len(values)),
    "Maximum": _joined(lambda values: torch.stack(values).amax(0)),
    "Concatenate": _concatenated,
    "ZeroPadding2D": _padding,
    "UpSampling2D": _enlarged,
    "Rescaling": _affine,
    "Reshape": _unflattened,
}
PLACED = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D")
RANKS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys((*PLACED, "GlobalAveragePooling2D", "GlobalMaxPooling2D", "ZeroPadding2D", "UpSampling2D"), (4,)),
    "Dense": (2,),
    "Reshape": (2,),
}
