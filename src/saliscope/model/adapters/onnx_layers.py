"""The layers of ONNX that hold weights or look at neighbours, as modules of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from saliscope.model.adapters.keras_layers import SamePad, filled, together
from saliscope.model.adapters.onnx_file import Array, Node

#: No padding, window or enlargement of a network that is meant to be explained is larger.
LARGEST = 4096
_MOST_TIMES = 64
_CONVS: tuple[type[Any], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: tuple[type[Any], ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_MAXIMA: tuple[type[Any], ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_MEANS: tuple[type[Any], ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_GLOBAL: tuple[type[Any], ...] = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_GLOBAL_MAXIMA: tuple[type[Any], ...] = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)


class AnyBatchNorm(nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the one of any number of axes is not exported
    """Batch normalisation of a value whose number of axes the file does not say."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        pass


class Enlarged(nn.Module):
    """Resize over space, to a size or by factors."""

    def __init__(
        self, mode: str, align: bool | None, size: Sequence[int] | None, scale: Sequence[float] | None
    ) -> None:
        super().__init__()
        self.mode, self.align, self.size, self.scale = mode, align, size, scale

    def forward(self, x: Tensor, sizes: Array | None = None) -> Tensor:
        """Return x (N, C, *S) on another number of elements; `sizes` holds all axes."""
        size = self.size if sizes is None else [int(n) for n in sizes[2:]]
        return F.interpolate(x, size, self.scale, self.mode, self.align)


def conv(node: Node) -> nn.Module:
    """Return Conv with its padding before it where the two sides differ."""
    weight = _weight(node)
    axes = weight.ndim - 2
    stride, dilation = _each(node, "strides", axes), _each(node, "dilations", axes)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    pad, padding = _padding(node, axes, reach, stride, 0.0)
    groups = int(node.attributes.get("group", 1))
    bias = node.constant(2)
    made = _CONVS[axes - 1](
        weight.shape[1] * groups, weight.shape[0], weight.shape[2:], tuple(stride), tuple(padding), tuple(dilation),
        groups, bias is not None, device="meta",
    )  # fmt: skip
    return together({**pad, "conv": filled(made, weight=weight, bias=bias)})


def transposed(node: Node) -> nn.Module:
    """Return ConvTranspose; raises ModelError for padding that differs between the sides or an output's shape."""
    weight = _weight(node)
    axes = weight.ndim - 2
    pads = [int(n) for n in node.attributes.get("pads", [0] * 2 * axes)]
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in node.attributes:
        raise node.refused("auto_pad or output_shape")
    if pads[:axes] != pads[axes:]:
        raise node.refused(f"pads {pads}")
    extra = [int(n) for n in node.attributes.get("output_padding", [0] * axes)]
    groups, bias = int(node.attributes.get("group", 1)), node.constant(2)
    made: nn.Module = _TRANSPOSED[axes - 1](
        weight.shape[0], weight.shape[1] * groups, weight.shape[2:], tuple(_each(node, "strides", axes)),
        tuple(pads[:axes]), tuple(extra), groups, bias is not None, tuple(_each(node, "dilations", axes)),
        device="meta",
    )  # fmt: skip
    return filled(made, weight=weight, bias=bias)


def pool(node: Node) -> nn.Module:
    """Return MaxPool or AveragePool; raises ModelError for what torch's do not do."""
    window = [int(n) for n in node.attributes["kernel_shape"]]
    axes = len(window)
    if not 1 <= axes <= 3 or (len(node.gives) > 1 and node.gives[1]):
        raise node.refused(f"a window of {axes} axes, or indices")
    stride, dilation = _each(node, "strides", axes), _each(node, "dilations", axes)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
    largest = node.op == "MaxPool"
    pad, padding = _padding(node, axes, reach, stride, float("-inf") if largest else 0.0, pools=window)
    if largest:
        made = _MAXIMA[axes - 1](window, stride, padding, dilation, ceil_mode=ceil)
        return together({**pad, "pool": made})
    counts = bool(node.attributes.get("count_include_pad", 0))
    if (pad and not counts) or max(dilation) > 1:
        raise node.refused("padding of two widths that does not count, or dilation")
    made = _MEANS[axes - 1](window, stride, padding, ceil_mode=ceil, count_include_pad=counts)
    return together({**pad, "pool": made})


def global_pool(node: Node) -> nn.Module:
    """Return GlobalAveragePool or GlobalMaxPool."""
    axes = (node.rank or 4) - 2
    if not 1 <= axes <= 3:
        raise node.refused(f"{axes} axes")
    kinds = _GLOBAL if node.op == "GlobalAveragePool" else _GLOBAL_MAXIMA
    made: nn.Module = kinds[axes - 1](1)
    return made


def normalisation(node: Node) -> nn.Module:
    """Return BatchNormalization with its stored mean and variance."""
    scale, bias, mean, variance = (node.constant(i) for i in (1, 2, 3, 4))
    if scale is None or node.attributes.get("training_mode", 0):
        raise node.refused("training_mode, or no scale")
    kinds: dict[int | None, type[Any]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    kind = kinds.get(node.rank, AnyBatchNorm)
    made = kind(len(scale), eps=float(node.attributes.get("epsilon", 1e-5)))
    filled(made, weight=scale, bias=bias, running_mean=mean, running_var=variance)
    return made  # type: ignore[no-any-return]


def instance_normalisation(node: Node) -> nn.Module:
    """Return InstanceNormalization, each image by its own mean and variance."""
    scale, bias = node.constant(1), node.constant(2)
    if scale is None:
        raise node.refused("no scale")
    kinds: dict[int | None, type[Any]] = {3: nn.InstanceNorm1d, 5: nn.InstanceNorm3d}
    kind = kinds.get(node.rank, nn.InstanceNorm2d)
    made: nn.Module = kind(len(scale), eps=float(node.attributes.get("epsilon", 1e-5)), affine=True)
    return filled(made, weight=scale, bias=bias)


def gemm(node: Node) -> nn.Module:
    """Return Gemm with constant weights as a linear layer."""
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or weight.ndim != 2 or node.attributes.get("transA", 0):
        raise node.refused("no constant matrix, or transA")
    matrix = weight if node.attributes.get("transB", 0) else weight.T
    return linear(
        matrix * float(node.attributes.get("alpha", 1.0)),
        None if bias is None else np.broadcast_to(bias * float(node.attributes.get("beta", 1.0)), (len(matrix),)),
    )


def linear(matrix: Array, bias: Array | None) -> nn.Linear:
    """Return a linear layer of a matrix (out, in)."""
    made = nn.Linear(matrix.shape[1], matrix.shape[0], bias is not None, device="meta")
    return filled(made, weight=matrix, bias=bias)


def padded(node: Node) -> nn.Module:
    """Return Pad over space, with a constant, the edge or a reflection."""
    pads = node.numbers(1, "pads")
    if pads is None or len(pads) < 6 or len(pads) % 2 or (len(node.given) > 3 and node.given[3]):
        raise node.refused("pads of two axes, or axes")
    axes = len(pads) // 2
    before, after = pads[:axes], pads[axes:]
    if any((*before[:2], *after[:2])) or not all(0 <= n <= LARGEST for n in pads):
        raise node.refused(f"pads {pads}")
    width = [n for low, high in zip(before[:1:-1], after[:1:-1], strict=True) for n in (low, high)]
    mode = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}.get(
        str(node.attributes.get("mode", "constant"))
    )
    if mode is None:
        raise node.refused(f"mode {node.attributes['mode']!r}")
    given = node.constant(2)
    value = float(node.attributes.get("value", 0.0) if given is None else given.reshape(-1)[0])
    return _Padded(width, mode, value)


def enlarged(node: Node) -> nn.Module:
    """Return Resize or Upsample, by nearest element or linearly, where torch lays the grids alike."""
    said = {k: str(node.attributes.get(k, d)) for k, d in _RESIZE.items()}
    mode, place, nearest = said["mode"], said["coordinate_transformation_mode"], said["nearest_mode"]
    old = node.op == "Upsample" or node.opset < 11
    rank = node.rank or 4
    if mode == "nearest":
        alike = old or (place == "asymmetric" and nearest == "floor")
        # Half way between two elements "nearest-exact" takes the far one; enlarging by whole numbers never asks.
        exact = place == "half_pixel" and (nearest == "round_prefer_ceil" or _enlarges_by_whole(node))
        if not alike and not exact:
            raise node.refused(f"{place} with {nearest}")
        name, align = ("nearest" if alike else "nearest-exact"), None
    elif mode in ("linear", "cubic") and not old and place in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        names = {3: "linear", 4: "bilinear", 5: "trilinear"}
        name, align = "bicubic" if mode == "cubic" else names.get(rank, ""), place == "align_corners"
        if mode == "cubic" and float(node.attributes.get("cubic_coeff_a", -0.75)) != -0.75:
            raise node.refused("cubic_coeff_a")
    else:
        raise node.refused(f"mode {mode} with {place}")
    if node.attributes.get("antialias", 0) or node.attributes.get("axes") is not None:
        raise node.refused("antialias or axes")
    return _enlarged(node, name, align, old)


def _enlarges_by_whole(node: Node) -> bool:
    scales = node.constants.get(2)
    even = node.attributes.get("nearest_mode", "round_prefer_floor") == "round_prefer_floor"
    return even and scales is not None and scales.size > 0 and bool((scales == np.round(scales)).all())


def _enlarged(node: Node, name: str, align: bool | None, old: bool) -> nn.Module:
    at_scales, at_sizes = (1, 9) if old else (2, 3)
    if len(node.given) > at_sizes and node.given[at_sizes]:
        if at_sizes not in node.constants:
            return Enlarged(name, align, None, None)
        size = [int(n) for n in node.constants[at_sizes]][2:]
        if not all(0 < n <= LARGEST for n in size):
            raise node.refused(f"sizes {size}")
        return Enlarged(name, align, size, None)
    found = node.attributes.get("scales")
    scales = node.constant(at_scales) if found is None else np.asarray(found)
    if scales is None or scales.size < 3 or not np.allclose(scales[:2], 1) or not (scales[2:] <= _MOST_TIMES).all():
        raise node.refused(f"scales {None if scales is None else scales.tolist()}")
    return Enlarged(name, align, None, [float(s) for s in scales[2:]])


class _Padded(nn.Module):
    def __init__(self, width: list[int], mode: str, value: float) -> None:
        super().__init__()
        self.width, self.mode, self.value = width, mode, value

    def forward(self, x: Tensor) -> Tensor:
        """Return x padded."""
        return F.pad(x, self.width, self.mode, self.value if self.mode == "constant" else None)


_RESIZE = {
    "mode": "nearest",
    "coordinate_transformation_mode": "half_pixel",
    "nearest_mode": "round_prefer_floor",
}


def _weight(node: Node) -> Array:
    weight = node.constant(1)
    if weight is None or not 3 <= weight.ndim <= 5:
        raise node.refused("no constant kernel of one to three axes")
    return weight


def _each(node: Node, name: str, axes: int) -> list[int]:
    found = [int(n) for n in node.attributes.get(name) or [1] * axes]
    if len(found) != axes or not all(0 < n <= LARGEST for n in found):
        raise node.refused(f"{name} {found}")
    return found


def _padding(
    node: Node, axes: int, reach: Sequence[int], stride: Sequence[int], value: float, pools: Sequence[int] = ()
) -> tuple[dict[str, nn.Module], list[int]]:
    """Return a module that pads before the layer, where torch's own padding cannot, and torch's own."""
    auto = str(node.attributes.get("auto_pad", "NOTSET"))
    if auto == "SAME_UPPER":
        return {"pad": SamePad(reach, stride, value)}, [0] * axes
    if auto not in ("NOTSET", "VALID", ""):
        raise node.refused(f"auto_pad {auto}")
    pads = [0] * 2 * axes if auto == "VALID" else [int(n) for n in node.attributes.get("pads", [0] * 2 * axes)]
    if len(pads) != 2 * axes or not all(0 <= n <= LARGEST for n in pads):
        raise node.refused(f"pads {pads}")
    before, after = pads[:axes], pads[axes:]
    fits = all(2 * p <= k for p, k in zip(before, pools, strict=True)) if pools else True
    if before == after and fits:
        return {}, before
    width = [n for low, high in zip(before[::-1], after[::-1], strict=True) for n in (low, high)]
    return {"pad": _Padded(width, "constant", value)}, [0] * axes


def constant_tensor(values: Array) -> Tensor:
    """Return an array as a tensor of its own."""
    return torch.from_numpy(np.array(values, order="C"))
