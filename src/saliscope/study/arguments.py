"""What a caller asks, in their own forms: numbers of NumPy and torch, layers as modules, methods with options."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from saliscope.core.errors import (
    InputError,
    LayerError,
    MethodError,
    ModelError,
    TargetError,
    TargetWarning,
    did_you_mean,
)
from saliscope.core.nesting import has, inside
from saliscope.core.protocols import Method
from saliscope.core.target import CallableTarget, OutputKind, PerImage, Target
from saliscope.methods import METHODS
from saliscope.study.asking import make_methods, name_of
from saliscope.study.question import Asked

if TYPE_CHECKING:
    from torch import nn

AskedMethod = str | Method | type
AskedMethods = AskedMethod | Sequence[AskedMethod] | Mapping[str, Mapping[str, Any]]


def check_words(
    labels: Any = (), kind: Any = None, output: Any = None, spacing_mm: Any = None, **functions: Any
) -> None:
    """Refuse what describes a network or an image and cannot: raises ModelError, InputError or MethodError."""
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
        raise ModelError(f"labels {labels!r}", expected="a list of names", do="For example labels=['normal', 'mass']")
    if kind is not None and not (isinstance(kind, str) and kind in get_args(OutputKind)):
        raise ModelError(f"kind {kind!r}", expected="a known kind", do=did_you_mean(str(kind), get_args(OutputKind)))
    if output is not None and not isinstance(output, str | int):
        raise ModelError(
            f"output {output!r}", expected="a key or an index", do="Say where the logits are: output='logits', output=0"
        )
    if spacing_mm is not None and not _is_spacing(spacing_mm):
        raise InputError(
            f"spacing_mm={spacing_mm!r}",
            expected="a positive number of millimetres for each axis: (row, column) or (plane, row, column)",
            do="For example spacing_mm=(0.5, 0.5)",
        )
    for name, value in functions.items():
        if value is not None and not callable(value):
            raise ModelError(f"{name}={value!r}", expected="a function", do="See the help of saliscope.explain")


def _is_spacing(value: Any) -> bool:
    try:
        return len(value) in (2, 3) and all(isfinite(float(step)) and float(step) > 0 for step in value)
    except (TypeError, ValueError):
        return False


def target_of(asked: Any, images: int) -> Asked:
    """Return what was asked, with numbers of NumPy and torch as plain ones.

    A one-dimensional array or tensor holds one class for each of so many images, as captum has it; a list of classes
    asks for each of them on every image, which is warned of where it has as many numbers as there are images.
    Raises TargetError for what is no class.
    """
    if _is_array(asked):
        return _target_of_array(asked, images)
    if not isinstance(asked, list | tuple):
        return cast("Asked", _one_target(asked))
    several = [_one_target(one) for one in asked]
    if 1 < images == len(several) and all(isinstance(one, int) for one in several):
        warnings.warn(
            f"{images} classes in a list for {images} images: each image is explained for each class, which makes "
            f"{images * images} maps. For one class an image: torch.tensor({several}) or PerImage({tuple(several)}).",
            TargetWarning,
            stacklevel=3,
        )
    return several


def _target_of_array(asked: Any, images: int) -> Asked:
    values = np.asarray(asked.detach().cpu() if hasattr(asked, "detach") else asked)
    if values.dtype.kind not in "iu" or values.ndim > 1:
        raise TargetError(
            f"targets of type {values.dtype} and shape {values.shape}",
            expected="integers: one class, or one for each image (N,)",
            do="Give indices of classes, such as scores.argmax(1)",
        )
    if values.ndim == 0:
        return int(values)
    if len(values) != images:
        raise TargetError(
            f"{len(values)} targets for {images} images",
            expected="one target for each image",
            do="Give one for each image; a list asks for several targets of every image",
        )
    return int(values[0]) if images == 1 else PerImage(tuple(int(v) for v in values))


def _one_target(one: Any) -> Any:
    if isinstance(one, str | PerImage):
        return one
    if isinstance(one, bool | np.bool_):
        raise TargetError(f"the target {one!r}", expected="a label or an index", do="Give int(x) if a class is meant")
    if _is_array(one):
        return _target_of_array(one, 1)
    if isinstance(one, Target):
        return one
    try:
        return operator.index(one)
    except TypeError:
        return CallableTarget(one) if callable(one) and not isinstance(one, type) else one


def layer_of(asked: Any, module: nn.Module) -> str | tuple[str, ...] | None:
    """Return the dotted name of a layer, or the names of several, given by name or as a module of the network.

    Raises LayerError for what is neither.
    """
    from torch import nn

    if asked is None or isinstance(asked, str):
        return None if asked is None else str(asked)
    if isinstance(asked, nn.Module):
        names = [str(name) for name, one in module.named_modules(remove_duplicate=False) if one is asked]
        if names and names[0]:
            return names[0]
        what = "the network itself" if names else f"a {type(asked).__name__} that is no part of the network"
        raise LayerError(f"layer: {what}", expected="a module inside the network, or its dotted name", do="Name one")
    if isinstance(asked, list | tuple):
        several = tuple(str(name) for one in asked if isinstance(name := layer_of(one, module), str))
        if several and len(several) == len(asked):
            return several
    raise LayerError(
        f"a layer of type {type(asked).__name__} ({asked!r})",
        expected="the dotted name of a layer, or a module of the network",
        do="See saliscope.inspect(network, x) for its layers",
    )


def methods_of(
    asked: AskedMethods, layer: str | tuple[str, ...] | None, options: Mapping[str, Any]
) -> dict[str, Method]:
    """Return methods by name, from names, classes, instances, or names with their options.

    Each of the `options` is set in every method that has such a field. The layer goes to every method that watches
    one. Raises MethodError for an option or a layer that no method takes.
    """
    given: Mapping[str, Mapping[str, Any]] = asked if isinstance(asked, Mapping) else {}
    several: list[AskedMethod] = list(asked) if isinstance(asked, Mapping | list | tuple) else [asked]  # type: ignore[list-item]
    methods = [_made(one, given.get(one, {}) if isinstance(one, str) else {}) for one in several]
    for key, value in options.items():
        if not any(has(m, key) for m in methods):
            known = sorted({f.name for m in methods for f in fields(m)})  # type: ignore[arg-type]
            names = ", ".join(name_of(m) for m in methods)
            raise MethodError(
                f"{key}={value!r}, which is neither an argument nor an option of {names}",
                expected=f"an option such as {', '.join(known)}" if known else "no option: it has none",
                do=did_you_mean(key, known) if known else "Leave it out",
            )
        methods = [_with(m, {key: value}) if has(m, key) else m for m in methods]
    if isinstance(layer, tuple):
        methods = [_on_layers(m, layer) for m in methods]
    made = make_methods(methods, layer if isinstance(layer, str) else None)
    if isinstance(layer, str) and layer != "auto" and not any(_watches(m) for m in made.values()):
        raise MethodError(
            f"layer {layer!r} for {', '.join(made)}, which watches no layer",
            expected="a method that does, such as grad-cam",
            do="Leave the layer out, or take another method",
        )
    return made


def _made(one: AskedMethod, options: Mapping[str, Any]) -> Method:
    if isinstance(one, str):
        if not isinstance(options, Mapping):
            raise MethodError(f"options {options!r} of {one}", expected="names and values", do="For example {}")
        return METHODS.make(one, **{str(key): value for key, value in options.items()})
    if isinstance(one, type):
        name = next((n for n in METHODS.names() if METHODS.get(n) is one), "")
        return METHODS.make(name) if name else one()
    if isinstance(one, Method):
        return one
    raise MethodError(
        f"a method of type {type(one).__name__} ({one!r})",
        expected="a name, a method, or names with options: {'smoothgrad': {'samples': 50}}",
        do="See `saliscope methods`",
    )


def _with(method: Method, values: Mapping[str, Any]) -> Method:
    try:
        return replace(method, **values)  # type: ignore[type-var]
    except (TypeError, ValueError) as error:
        raise MethodError(f"{name_of(method)} with {dict(values)} ({error})", do="Correct the option") from error


def _on_layers(method: Method, layers: tuple[str, ...]) -> Method:
    if not has(method, "layers"):
        raise MethodError(
            f"{len(layers)} layers for {name_of(method)}",
            expected="one layer, or a method of several, such as fused or layercam-fusion",
            do="Name one layer, or explain once for each",
        )
    return _with(method, {"layers": layers})


def _watches(method: Method) -> bool:
    return any(has(one, "layer") or has(one, "layers") for one in inside(method))


def _is_array(value: Any) -> bool:
    import torch

    return isinstance(value, np.ndarray | np.generic | torch.Tensor) and not isinstance(value, np.bool_)
