"""What a trainer left beside the weights that a card can use: class names, size of the input, mean and deviation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from saliscope.model.torch_archive import Inert

LABELS = ("class_names", "classes", "classnames", "labels", "label_names", "class_labels", "categories", "pathologies")
NUMBERED = ("class_to_idx", "label2id", "label_to_idx", "label_map", "classes_to_idx")
NAMED = ("idx_to_class", "id2label", "idx_to_label", "idx2class")
SIZES = ("image_size", "img_size", "input_size", "imgsz", "im_size", "resolution", "crop_size", "size")
_DEEPEST = 4
_LEAST, _MOST = 16, 4096


def said_labels(beside: Mapping[str, Any], count: int) -> tuple[tuple[str, ...], str]:
    """Return the names of so many classes and the entry that says them; nothing where none does."""
    for place, value in _entries(beside):
        key = place.rpartition(".")[2].lower()
        names: Sequence[object] = ()
        if (
            key in (*LABELS, *NUMBERED)
            and isinstance(value, Mapping)
            and all(isinstance(n, int) for n in value.values())
        ):
            names = sorted(value, key=lambda name: value[name])
        elif key in (*LABELS, *NAMED) and isinstance(value, Mapping) and all(str(n).isdigit() for n in value):
            names = [value[n] for n in sorted(value, key=lambda n: int(n))]
        elif key in LABELS and isinstance(value, list | tuple):
            names = value
        texts = tuple(str(n) for n in names if isinstance(n, str) and n)
        if len(texts) == count == len(names) == len(set(texts)):
            return texts, place
    return (), ""


def said_size(beside: Mapping[str, Any], dimensions: int) -> tuple[tuple[int, ...], str]:
    """Return the size of the input and the entry that says it; nothing where none does."""
    for place, value in _entries(beside):
        if place.rpartition(".")[2].lower() not in SIZES:
            continue
        sizes = tuple(value) if isinstance(value, list | tuple) else (value,) * dimensions
        if len(sizes) == dimensions and all(type(n) is int and _LEAST <= n <= _MOST for n in sizes):
            return sizes, place
    return (), ""


def said_spread(beside: Mapping[str, Any], channels: int) -> tuple[list[float], list[float], str]:
    """Return mean and standard deviation of the channels and where they stand; nothing where both are not said."""
    found: dict[str, list[float]] = {}
    where = ""
    for place, value in _entries(beside):
        key = place.rpartition(".")[2].lower()
        for name in ("mean", "std"):
            fits = isinstance(value, list | tuple) and len(value) == channels
            if key in (name, f"norm_{name}", f"image_{name}") and fits and all(type(n) in (int, float) for n in value):
                found.setdefault(name, [float(n) for n in value])
                where = place
    if len(found) < 2 or min(found["std"]) <= 0 or max(map(abs, found["mean"])) > 1:
        return [], [], ""
    return found["mean"], found["std"], where


def _entries(value: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Give every plain entry of nested tables and of objects that were not built, by dotted name."""
    held = value.state if isinstance(value, Inert) else value
    if depth > _DEEPEST or not isinstance(held, Mapping):
        return
    for key, inner in held.items():
        if isinstance(key, str):
            name = f"{place}.{key}" if place else key
            yield name, inner.state if isinstance(inner, Inert) else inner
            yield from _entries(inner, name, depth + 1)
