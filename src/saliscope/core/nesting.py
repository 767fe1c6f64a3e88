"""Methods inside methods: a change of each, from the inside out, and their names for the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from saliscope.core.protocols import Method


def settled(method: Method, change: Callable[[Method], Method]) -> Method:
    """Return the method with every method in its fields, and then itself, put through a change."""
    found: dict[str, Any] = {}
    for field in fields(method):  # type: ignore[arg-type]
        value = getattr(method, field.name)
        if is_method(value):
            found[field.name] = settled(value, change)
        elif isinstance(value, tuple) and any(is_method(v) for v in value):
            found[field.name] = tuple(settled(v, change) if is_method(v) else v for v in value)
    changed = {k: v for k, v in found.items() if v != getattr(method, k)}
    return change(replace(method, **changed) if changed else method)  # type: ignore[type-var]


def inside(method: Method) -> Iterator[Method]:
    """Give a method and every method in its fields, itself first."""
    yield method
    for field in fields(method):  # type: ignore[arg-type]
        value = getattr(method, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if is_method(one):
                yield from inside(one)


def has(method: Method, field: str) -> bool:
    """Return whether a method has a field of this name."""
    return any(f.name == field for f in fields(method))  # type: ignore[arg-type]


def is_method(value: object) -> bool:
    """Return whether a value of a field is a method."""
    return isinstance(value, Method) and not isinstance(value, type)
