"""Architectures of libraries, by name, as a card may ask for them: built empty, never with weights that they fetch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CardError
from saliscope.model.adapters.library import imported, named_in, parameters_of, without_download
from saliscope.model.adapters.xrv import split_arguments

if TYPE_CHECKING:
    from torch import nn

Maker = Callable[..., "nn.Module"]


def torchvision_maker(architecture: str, arguments: Mapping[str, Any]) -> tuple[Maker, Mapping[str, Any]]:
    """Return what builds a classifier of torchvision.models or a network of torchvision.models.segmentation."""
    without_download(architecture, arguments)
    models = imported("torchvision.models", "torchvision", f"architecture {architecture!r}")
    name = architecture.removeprefix("torchvision.models.")
    place = models.segmentation if name.startswith("segmentation.") else models
    known = {n: n for n in models.list_models(module=place)}
    maker = models.get_model_builder(named_in(known, name.removeprefix("segmentation."), architecture))
    # A backbone's weights are fetched unless they are refused by name.
    off = {k: None for k in ("weights", "weights_backbone") if k in parameters_of(maker)}
    own = {k: v for k, v in arguments.items() if k != "in_channels"}
    taken = partial(_taking, maker, arguments["in_channels"]) if "in_channels" in arguments else maker
    return taken, {**off, **own}


def _taking(maker: Maker, channels: int, **arguments: Any) -> nn.Module:
    """Return a network of torchvision whose first convolution takes another number of channels, as users change it."""
    from torch import nn

    module = maker(**arguments)
    name, first = next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))
    if channels != first.in_channels:
        bias = first.bias is not None
        sizes = (first.kernel_size, first.stride, first.padding, first.dilation)
        changed = nn.Conv2d(channels, first.out_channels, *sizes, bias=bias, padding_mode=first.padding_mode)  # type: ignore[arg-type]
        holder, _, last = name.rpartition(".")
        setattr(module.get_submodule(holder), last, changed)
    return module


def timm_maker(architecture: str, arguments: Mapping[str, Any]) -> tuple[Maker, Mapping[str, Any]]:
    """Return what builds a network of timm from its own registry, tag included; nothing of the hub is asked."""
    without_download(architecture, arguments)
    timm = imported("timm", "timm", f"architecture {architecture!r}")
    name = architecture.removeprefix("timm.")
    known = {n: n for n in timm.list_models()}
    named_in(known, name.partition(".")[0], architecture)
    return partial(timm.create_model, name, pretrained=False), arguments


def xrv_maker(architecture: str, arguments: Mapping[str, Any]) -> tuple[Maker, Mapping[str, Any]]:
    """Return what builds a network of torchxrayvision that gives logits: its sigmoid and rescaling stay off."""
    without_download(architecture, arguments)
    models = imported("torchxrayvision.models", "xrv", f"architecture {architecture!r}")
    name = architecture.removeprefix("torchxrayvision.")
    maker = named_in({"DenseNet": models.DenseNet}, name, architecture)
    for key in ("op_threshs", "apply_sigmoid"):
        if arguments.get(key):
            raise CardError(
                f"architecture {architecture!r} with {key}, which hides the logits",
                expected="thresholds = { LABEL = ... } and scale = 'operating-point' in the card",
                do=f"Drop {key!r}",
            )
    return maker, split_arguments(arguments)[1]


#: Beginning of an architecture's name, and what finds its maker.
LIBRARIES: Mapping[str, Callable[[str, Mapping[str, Any]], tuple[Maker, Mapping[str, Any]]]] = {
    "torchvision.models.": torchvision_maker,
    "timm.": timm_maker,
    "torchxrayvision.": xrv_maker,
}
