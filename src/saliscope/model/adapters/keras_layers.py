"""The layers of Keras as modules: channels first inside, kernels turned from (row, column, in, out).

What Keras does and torch does not by itself: padding "same" that is wider on the far side, its mean that leaves the
padding out, and flattening with the channel last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from saliscope.core.errors import ModelError, WeightsError
from saliscope.model.adapters.keras_file import Array

Config = Mapping[str, Any]
M = TypeVar("M", bound=nn.Module)
#: No padding, pooling window or enlargement of a network that is meant to be explained is larger.
LARGEST = 1024


class SamePad(nn.Module):
    """Pad (N, C, *S) as Keras does for "same": the odd element on the far side."""

    def __init__(self, reach: Sequence[int], stride: Sequence[int], value: float = 0.0) -> None:
        super().__init__()
        self.reach, self.stride, self.value = tuple(reach), tuple(stride), value

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, *S) padded."""
        width: list[int] = []
        for size, reach, stride in zip(x.shape[2:], self.reach, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            width = [total // 2, total - total // 2, *width]
        return F.pad(x, width, value=self.value) if any(width) else x


class SameAverage(nn.Module):
    """The mean over windows with padding "same"; the padding does not count."""

    def __init__(self, window: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.pad, self.window, self.stride = SamePad(window, stride), window, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of x (N, C, row, column)."""
        there = self.pad(torch.ones_like(x[:1, :1]))
        share = F.avg_pool2d(there, self.window, self.stride)
        return F.avg_pool2d(self.pad(x), self.window, self.stride) / share


class ChannelLastFlatten(nn.Module):
    """Flatten (N, C, row, column) in the order row, column, channel, as the weights after it expect."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, row * column * C)."""
        return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x.flatten(1)


class Mean(nn.Module):
    """Global average pooling of (N, C, row, column)."""

    def __init__(self, *, keep: bool) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C), or (N, C, 1, 1) where the axes are kept."""
        return x.mean((2, 3), keepdim=self.keep)


class Largest(Mean):
    """Global maximum pooling of (N, C, row, column)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C), or (N, C, 1, 1) where the axes are kept."""
        return x.amax((2, 3), keepdim=self.keep)


class Joined(nn.Module):
    """Several values made one, such as a sum or a concatenation over channels."""

    def __init__(self, join: Callable[[list[Tensor]], Tensor]) -> None:
        super().__init__()
        self.join = join

    def forward(self, *values: Tensor) -> Tensor:
        """Return the values joined."""
        return self.join(list(values))


class Affine(nn.Module):
    """Multiply by a number and add another."""

    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, x: Tensor) -> Tensor:
        """Return scale * x + offset."""
        return x * self.scale + self.offset


def conv(config: Config, arrays: Mapping[str, Array], where: str, *, depthwise: bool = False) -> dict[str, nn.Module]:
    """Return the parts of Conv2D, DepthwiseConv2D or SeparableConv2D: padding, convolutions."""
    stride, dilation = pair(config.get("strides", 1)), pair(config.get("dilation_rate", 1))
    parts: dict[str, nn.Module] = {}
    # Keras 2 calls it depthwise_kernel, Keras 3 calls that of DepthwiseConv2D kernel.
    kernel = array(arrays, "depthwise_kernel" if "depthwise_kernel" in arrays else "kernel", where, 4)
    if depthwise:
        rows, columns, channels, times = kernel.shape
        kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, rows, columns)
        groups = channels
    else:
        kernel, groups = kernel.transpose(3, 2, 0, 1), int(config.get("groups", 1))
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel.shape[2:], strict=True))
    padding: tuple[int, int] = (0, 0)
    if config.get("padding", "valid") == "same":
        if stride == (1, 1) and all(r % 2 for r in reach):
            padding = (reach[0] // 2, reach[1] // 2)
        else:
            parts["pad"] = SamePad((reach[0], reach[1]), stride)
    elif config.get("padding", "valid") != "valid":
        raise refused(where, f"padding {config['padding']!r}")
    bias = arrays.get("bias")
    last = "pointwise_kernel" not in arrays
    parts["conv"] = _convolution(kernel, bias if last else None, stride, padding, dilation, groups)
    if not last:
        point = array(arrays, "pointwise_kernel", where, 4).transpose(3, 2, 0, 1)
        parts["pointwise"] = _convolution(point, bias, (1, 1), (0, 0), (1, 1), 1)
    return parts


def _convolution(
    kernel: Array,
    bias: Array | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> nn.Conv2d:
    out, per_group, rows, columns = kernel.shape
    made = nn.Conv2d(
        per_group * groups, out, (rows, columns), stride, padding, dilation, groups, bias is not None, device="meta"
    )
    return filled(made, weight=kernel, bias=bias)


def dense(arrays: Mapping[str, Array], where: str) -> nn.Linear:
    """Return a Dense layer; its kernel is (in, out)."""
    kernel = array(arrays, "kernel", where, 2)
    made = nn.Linear(kernel.shape[0], kernel.shape[1], "bias" in arrays, device="meta")
    return filled(made, weight=kernel.T, bias=arrays.get("bias"))


def normalisation(config: Config, arrays: Mapping[str, Array], rank: int, where: str) -> nn.Module:
    """Return a BatchNormalization layer over the channel axis."""
    axis = config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if axis not in (-1, rank - 1):
        raise refused(where, f"normalisation over axis {axis}")
    mean = array(arrays, "moving_mean", where, 1)
    kind = nn.BatchNorm2d if rank == 4 else nn.BatchNorm1d
    made = kind(len(mean), eps=float(config.get("epsilon", 1e-3)))
    return filled(
        made,
        weight=arrays.get("gamma"),
        bias=arrays.get("beta"),
        running_mean=mean,
        running_var=array(arrays, "moving_variance", where, 1),
    )


def pooling(config: Config, where: str, *, largest: bool) -> dict[str, nn.Module]:
    """Return the parts of MaxPooling2D or AveragePooling2D."""
    window = pair(config.get("pool_size", 2))
    stride = pair(config.get("strides") or window)
    same = config.get("padding", "valid") == "same"
    if not same and config.get("padding", "valid") != "valid":
        raise refused(where, f"padding {config['padding']!r}")
    if not largest:
        return {"pool": SameAverage(window, stride) if same else nn.AvgPool2d(window, stride)}
    pad: dict[str, nn.Module] = {"pad": SamePad(window, stride, float("-inf"))} if same else {}
    return {**pad, "pool": nn.MaxPool2d(window, stride)}


def activation(word: Any, where: str) -> nn.Module | None:
    """Return the module of an activation's name, None for "linear"; raises ModelError for one that is not known."""
    name = activation_name(word, where)
    if name == "linear":
        return None
    made = ACTIVATIONS.get(name)
    if made is None:
        raise refused(where, f"activation {name!r}")
    return made()


def activation_name(word: Any, where: str) -> str:
    """Return the name of an activation as a file writes it: a word, or a table with the function's name."""
    if word is None:
        return "linear"
    if isinstance(word, Mapping) and word.get("class_name") == "function":
        word = word.get("config")
    if not isinstance(word, str):
        raise refused(where, f"activation {word!r}")
    return word


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softmax": lambda: nn.Softmax(1),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "swish": nn.SiLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
}


def together(parts: Mapping[str, nn.Module]) -> nn.Module:
    """Return one module of the parts in order: the part itself where it is alone."""
    return next(iter(parts.values())) if len(parts) == 1 else nn.Sequential(OrderedDict(parts))


def filled(module: M, **arrays: Array | None) -> M:
    """Return the module with its parameters and buffers set to these arrays; None leaves what is there."""
    for name, values in arrays.items():
        if values is None:
            continue
        tensor = torch.from_numpy(values.astype("float32", order="C", copy=True))
        there = getattr(module, name)
        if there.shape != tensor.shape:
            raise WeightsError(
                f"{name} of shape {tuple(tensor.shape)}, not {tuple(there.shape)}", do="Take a file that fits itself"
            )
        if isinstance(there, nn.Parameter):
            setattr(module, name, nn.Parameter(tensor))
        else:
            setattr(module, name, tensor)
    return module


def array(arrays: Mapping[str, Array], name: str, where: str, axes: int) -> Array:
    """Return one array of a layer; raises WeightsError where it is missing or has other axes."""
    if name not in arrays or arrays[name].ndim != axes:
        raise WeightsError(f"{where} without {name!r} of {axes} axes", expected="a whole file", do="Save it again")
    return arrays[name]


def pair(value: Any) -> tuple[int, int]:
    """Return two whole numbers from one or two; raises ModelError for anything else, or for absurd ones."""
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else ()
    if len(both) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= LARGEST for n in both):
        raise ModelError(f"a size {value!r}", expected=f"one or two whole numbers from 1 to {LARGEST}", do="Correct it")
    return both


def refused(where: str, what: str) -> ModelError:
    """Return the refusal of something that this adapter does not know, so that nothing is silently left out."""
    return ModelError(
        f"{where} has {what}, which is not read",
        expected="plain convolutional layers of Keras, channels last",
        do="Convert the network to ONNX or torch where you trust it, or save it without that layer",
    )
