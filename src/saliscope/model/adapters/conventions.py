"""How torchvision and timm show pictures to their networks, as steps of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import ModelError
from saliscope.model.frame import Step
from saliscope.model.intensity import Channels, Normalise, Window
from saliscope.model.library_steps import CentreCrop, ShorterSide
from saliscope.model.view import Viewing

if TYPE_CHECKING:
    from torch import nn

    from saliscope.core.target import OutputKind
    from saliscope.model.network import Network

INTERPOLATIONS = ("bilinear", "bicubic")


def view_of(
    shorter: int, crop: Sequence[int], mean: Sequence[float], std: Sequence[float], interpolation: str
) -> Viewing:
    """Return: what a clinician sees, in colour; resized by the shorter side; its middle; 0..1; normalised.

    Raises ModelError for an interpolation that is not taken here.
    """
    if interpolation not in INTERPOLATIONS:
        raise ModelError(
            f"interpolation {interpolation!r}", expected=" or ".join(INTERPOLATIONS), do="Give a view of your own"
        )
    steps: list[Step] = [Channels(len(mean)), ShorterSide(shorter, interpolation)]  # type: ignore[arg-type]
    if crop:
        steps.append(CentreCrop(tuple(int(n) for n in crop)))
    # A cubic may leave 0..255 beside a sharp edge; the libraries' eight bits cut that off, and so does the window.
    return Viewing((*steps, Window(0, 255), Normalise(_floats(mean), _floats(std))), "display")


def view_of_torchvision(transforms: Any) -> Viewing:
    """Return the view of a torchvision preset: `weights.transforms()`; raises ModelError for another object."""
    preset = transforms() if callable(transforms) and not hasattr(transforms, "resize_size") else transforms
    try:
        sizes, mean, std = preset.resize_size, preset.mean, preset.std
        crop = getattr(preset, "crop_size", ())
        mode = str(getattr(preset.interpolation, "value", preset.interpolation))
        return view_of(int(_first(sizes)), _square(crop), mean, std, mode)
    except (AttributeError, TypeError, IndexError) as error:
        raise ModelError(
            f"transforms of type {type(transforms).__name__} ({error})",
            expected="a preset with resize_size, mean and std, such as ResNet50_Weights.DEFAULT.transforms()",
            do="Give a view of your own",
        ) from error


def view_of_timm(configuration: Mapping[str, Any]) -> Viewing:
    """Return the view of timm's `pretrained_cfg`: its input, share of the crop, interpolation, mean and deviation."""
    try:
        channels, rows, columns = (int(n) for n in configuration["input_size"])
        share = float(configuration.get("crop_pct") or 0.875)
        mean, std = tuple(configuration["mean"]), tuple(configuration["std"])
        mode = str(configuration.get("interpolation") or "bicubic")
        if configuration.get("crop_mode") not in (None, "center"):
            raise ModelError(f"crop_mode {configuration['crop_mode']!r}", do="Give a view of your own")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"a pretrained_cfg without what a view needs ({type(error).__name__}: {error})",
            expected="input_size, mean and std",
            do="Give a view of your own",
        ) from error
    if len(mean) != channels or rows != columns:
        raise ModelError(
            f"an input of {channels} x {rows} x {columns} with {len(mean)} means", do="Give a view of your own"
        )
    return view_of(floor(rows / share), (rows, columns), mean, std, mode)


def from_torchvision(
    module: nn.Module, weights: Any = None, labels: Sequence[str] = (), *, kind: OutputKind = "multi-class"
) -> Network:
    """Return a network of torchvision with the conventions of its weights, such as `ResNet50_Weights.DEFAULT`.

    `weights` may be a preset of transforms too; its categories are the labels where none are given.
    """
    from saliscope.model.network import Network

    if weights is None:
        raise ModelError(
            "a torchvision network without its weights' transforms",
            expected="weights, or a preset: from_torchvision(module, ResNet50_Weights.DEFAULT)",
            do="Or give Network(module, viewing=...) a view of your own",
        )
    named = tuple(labels) or tuple(getattr(weights, "meta", {}).get("categories", ()))
    view = view_of_torchvision(getattr(weights, "transforms", weights))
    return Network(module.eval(), _different(named), kind, type(module).__name__, view)


def from_timm(module: nn.Module, labels: Sequence[str] = (), *, kind: OutputKind = "multi-class") -> Network:
    """Return a network of timm with the conventions of its own `pretrained_cfg`."""
    from saliscope.model.network import Network

    configuration = getattr(module, "pretrained_cfg", None)
    if not isinstance(configuration, Mapping):
        raise ModelError("a module without pretrained_cfg", expected="a network made by timm", do="Use Network")
    name = str(configuration.get("architecture") or type(module).__name__)
    return Network(module.eval(), tuple(labels), kind, name, view_of_timm(configuration))


def _first(sizes: Any) -> Any:
    return sizes[0] if isinstance(sizes, list | tuple) else sizes


def _square(crop: Any) -> tuple[int, ...]:
    sizes = tuple(crop) if isinstance(crop, list | tuple) else (crop,)
    return (*sizes, *sizes) if len(sizes) == 1 else sizes


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _different(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels with a number behind one that was there before: ImageNet has "crane" and "maillot" twice."""
    seen: dict[str, int] = {}
    found = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        found.append(label if seen[label] == 1 else f"{label} {seen[label]}")
    return tuple(found)
