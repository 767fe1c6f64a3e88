"""The forms in which a caller's own preprocessing may take an image, and what it may give back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.image import MedicalImage
from saliscope.model.discs import Array
from saliscope.model.reachable import reachable
from saliscope.model.view import Source

if TYPE_CHECKING:
    from torch import Tensor

#: Writes values (C, *S) of an image as a file of its kind into a folder, and returns its path.
Store = Callable[[Array, MedicalImage, Path], Path]

#: More channels than this are an axis of the image in the wrong place.
MOST_CHANNELS = 64
#: Fewer elements than this along an axis of the output are channels in the wrong place.
LEAST_ELEMENTS = 5


class NoImage(TypeError):
    """What a preprocessing returned is no image that a network takes."""


@dataclass(frozen=True)
class Form:
    """One way of giving an image: a short name, what it is in words, where it begins, and the call itself.

    `call` takes the function, values (C, *S), and the image that they belong to.
    """

    name: str
    words: str
    source: Source
    call: Callable[[Callable[..., Any], Array, MedicalImage], Any]

    def __call__(self, function: Callable[..., Any], values: Array, image: MedicalImage) -> tuple[Array, Any]:
        """Return the output (C', *S') for values (C, *S), and the affine that it carries, if any."""
        import torch

        with torch.no_grad():
            given = self.call(function, np.ascontiguousarray(values), image)
        if isinstance(given, Mapping):
            names = [*keys_of(function), "image"]
            given = next((given[n] for n in names if n in given), given)
        return _channels_first(given, image.geometry.ndim), getattr(given, "affine", None)


def forms(function: Callable[..., Any], image: MedicalImage, store: Store | None) -> list[Form]:
    """Return the forms to try, the likeliest first: by the libraries that the function is made of, then in general.

    A picture of 8 bits is given as PIL, as it would be opened; other images as arrays of their values.
    """
    pictures, arrays, tensors = _pictures(image), _arrays(image), _tensors(image)
    keyword = [*([_keyword("uint8", image)] if image.geometry.ndim == 2 else []), _keyword("float32", image)]
    table = Form("dict", f"a dict of tensors (C, {_axes(image)})", "values", _call_dict)
    files = [] if store is None else _files(function, store)
    eight = image.geometry.ndim == 2 and np.array_equal(image.values, image.display)
    general = [*arrays, *tensors, *keyword, table, *files]
    general = [*pictures, *general] if eight else [*general, *pictures]
    kind, names = type(function).__module__.split(".")[0], _made_of(function)
    if kind == "torchvision":
        # These transforms hand on what they do not know, such as an array, as it came.
        return [*pictures, *tensors]
    if "monai" in names:
        first = files if any(n.startswith("LoadImage") for n in names) else [table] if keys_of(function) else tensors
    elif kind == "albumentations":
        first = keyword
    else:
        first = tensors if kind == "torch" else []
    if "torchvision" in names:
        first = [*first, *(pictures if eight else ()), *tensors]
    return [*first, *(f for f in general if f not in first)]


def keys_of(function: Callable[..., Any]) -> list[str]:
    """Return the keys of images by which a function's dictionary transforms ask, as MONAI's do."""
    found: list[str] = []
    for one in reachable(function):
        keys = getattr(one, "keys", None)
        if isinstance(keys, str | tuple | list) and type(one).__module__.startswith("monai"):
            found += [keys] if isinstance(keys, str) else [str(k) for k in keys]
    return list(dict.fromkeys(found))


def _made_of(function: Callable[..., Any]) -> set[str]:
    """Return the packages and the names of the classes of the objects that a function is made of."""
    kinds = {type(one) for one in reachable(function)}
    return {k.__module__.split(".")[0] for k in kinds} | {k.__name__ for k in kinds}


def _pictures(image: MedicalImage) -> list[Form]:
    if image.geometry.ndim != 2:
        return []
    modes = ["RGB"] if len(image.display) == 3 else ["L", "RGB"]
    return [Form(f"pil-{m.lower()}", f"a PIL image of mode {m}", "display", _pil(m)) for m in modes]


def _pil(mode: str) -> Callable[[Callable[..., Any], Array, MedicalImage], Any]:
    def call(function: Callable[..., Any], values: Array, _: MedicalImage) -> Any:
        from PIL import Image

        return function(Image.fromarray(_channels_last(values).astype(np.uint8)).convert(mode))

    return call


def _arrays(image: MedicalImage) -> list[Form]:
    axes = _axes(image)
    own = f"({axes}{', C' if len(image.values) > 1 else ''})"
    listed = [Form("array", f"a NumPy array {own}", "values", lambda f, v, _: f(_channels_last(v)))]
    if _whole_bytes(image):
        words = f"a NumPy array {own} of 8 bits"
        listed.append(Form("array-uint8", words, "values", lambda f, v, _: f(_channels_last(v).astype(np.uint8))))
    return [*listed, Form("array-channels", f"a NumPy array (C, {axes})", "values", lambda f, v, _: f(v.copy()))]


def _tensors(image: MedicalImage) -> list[Form]:
    axes = _axes(image)
    listed = [
        Form("tensor", f"a tensor (C, {axes})", "values", lambda f, v, i: f(_tensor(v, i, f))),
        Form("batch", f"a tensor (1, C, {axes})", "values", lambda f, v, i: f(_tensor(v, i, None)[None])),
    ]
    if _whole_bytes(image):
        words = f"a tensor (C, {axes}) of 8 bits"
        listed.append(Form("tensor-uint8", words, "values", lambda f, v, i: f(_tensor(v, i, None).byte())))
    return listed


def _tensor(values: Array, image: MedicalImage, function: Callable[..., Any] | None) -> Tensor:
    """Return values as a tensor; for MONAI's transforms, as a MetaTensor with the affine of the image's own axes."""
    import torch

    tensor = torch.from_numpy(values.copy())
    if function is None or image.geometry.ndim != 3 or "monai" not in sys.modules:
        return tensor
    if not any(type(one).__module__.startswith("monai") for one in reachable(function)):
        return tensor
    from monai.data.meta_tensor import MetaTensor

    made: Tensor = MetaTensor(tensor, affine=torch.from_numpy(image.geometry.affine))
    return made


def _keyword(dtype: str, image: MedicalImage) -> Form:
    source: Source = "display" if dtype == "uint8" else "values"
    bits = " of 8 bits" if dtype == "uint8" else ""
    words = f"image= a NumPy array ({_axes(image)}{', C' if len(image.values) > 1 else ''}){bits}"
    return Form(f"keyword-{dtype}", words, source, lambda f, v, _: f(image=_channels_last(v).astype(dtype)))


def _call_dict(function: Callable[..., Any], values: Array, image: MedicalImage) -> Any:
    return function({key: _tensor(values, image, function) for key in keys_of(function) or ["image"]})


def _files(function: Callable[..., Any], store: Store) -> list[Form]:
    def call(given: Callable[..., Any], values: Array, image: MedicalImage) -> Any:
        with TemporaryDirectory() as folder:
            path = str(store(values, image, Path(folder)))
            keys = keys_of(given)
            return given(dict.fromkeys(keys, path) if keys else path)

    words = "a file of it" if not keys_of(function) else "a dict of paths to a file of it"
    return [Form("path", words, "values", call)]


def _channels_first(given: Any, ndim: int) -> Array:
    """Return an output as float32 (C, *S); raises NoImage for what cannot be one."""
    import torch

    if isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    if not isinstance(given, torch.Tensor | np.ndarray):
        raise NoImage(f"returns a {type(given).__name__}")
    if isinstance(given, torch.Tensor):
        # A subclass, such as MetaTensor, carries what NumPy does not take.
        given = given.detach().cpu().as_subclass(torch.Tensor).resolve_conj().resolve_neg()
        given = given.float().numpy() if not given.is_complex() else given.numpy()
    if not (np.issubdtype(given.dtype, np.number) or given.dtype == bool) or np.iscomplexobj(given):
        raise NoImage(f"returns values of type {given.dtype}")
    shape = given.shape
    if given.ndim == ndim + 2 and shape[0] == 1:
        given = given[0]
    elif given.ndim == ndim:
        given = given[None]
    if given.ndim == ndim + 1 and given.shape[-1] in (1, 3, 4) and given.shape[0] not in (1, 2, 3, 4):
        given = np.moveaxis(given, -1, 0)
    if given.ndim != ndim + 1 or min(given.shape[1:], default=0) < LEAST_ELEMENTS or given.shape[0] > MOST_CHANNELS:
        raise NoImage(f"returns an array of shape {tuple(shape)}")
    if not given.shape[0] > 0 or not np.isfinite(given).all():
        raise NoImage("returns NaN or infinite values, or nothing")
    return np.ascontiguousarray(given, dtype=np.float32)


def _channels_last(values: Array) -> Array:
    """Return (*S) of one channel, else (*S, C), as a copy."""
    return values[0].copy() if len(values) == 1 else np.ascontiguousarray(np.moveaxis(values, 0, -1))


def _whole_bytes(image: MedicalImage) -> bool:
    values = image.values
    return bool(values.min() >= 0 and values.max() <= 255 and np.array_equal(values, np.rint(values)))


def _axes(image: MedicalImage) -> str:
    return "row, column" if image.geometry.ndim == 2 else "plane, row, column"
