"""The layouts of the two documents as JSON Schema (draft 2020-12), and what a document breaks of them.

Only the words of JSON Schema that the two layouts use are known here; another one in a layout is an error, so that
nothing is written there that is not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Document = Literal["explanation-card", "audit-card"]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip
#: Words that say what a layout is, not what a document must be.
_SAID = {"$schema", "$id", "$defs", "title", "description"}
_KNOWN = {
    "$ref", "type", "const", "enum", "anyOf", "allOf", "if", "then", "required", "properties", "additionalProperties",
    "items", "minItems", "maxItems", "minLength", "pattern", "minimum",
}  # fmt: skip


@cache
def layout(document: Document) -> Mapping[str, Any]:
    """Return the JSON Schema of a document."""
    text = (files(__package__) / f"{document}.schema.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def faults(value: Any, document: Document) -> list[str]:
    """Return what plain data break of a document's layout, with where; nothing when they keep it."""
    whole = layout(document)
    return list(_faults(value, whole, whole, "$"))


def _faults(value: Any, rule: Mapping[str, Any], whole: Mapping[str, Any], at: str) -> Iterator[str]:
    unknown = set(rule) - _KNOWN - _SAID
    if unknown:
        raise NotImplementedError(f"{at}: {sorted(unknown)} in a layout")
    if "$ref" in rule:
        yield from _faults(value, whole["$defs"][rule["$ref"].removeprefix("#/$defs/")], whole, at)
    if "type" in rule and not _is(value, rule["type"]):
        yield f"{at} is {_named(value)}; expected {rule['type']}"
        return
    if "const" in rule and not _same(value, rule["const"]):
        yield f"{at} is {value!r}; expected {rule['const']!r}"
    if "enum" in rule and not any(_same(value, one) for one in rule["enum"]):
        yield f"{at} is {value!r}; expected one of {rule['enum']}"
    if "anyOf" in rule and all(any(_faults(value, one, whole, at)) for one in rule["anyOf"]):
        yield f"{at} is {_named(value)}, which is none of what it may be"
    for one in rule.get("allOf", ()):
        yield from _faults(value, one, whole, at)
    if "if" in rule and not any(_faults(value, rule["if"], whole, at)):
        yield from _faults(value, rule.get("then", {}), whole, at)
    if isinstance(value, dict):
        yield from _of_object(value, rule, whole, at)
    elif isinstance(value, list):
        yield from _of_array(value, rule, whole, at)
    elif isinstance(value, str):
        yield from _of_text(value, rule, at)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _of_number(value, rule, at)


def _of_object(value: Mapping[str, Any], rule: Mapping[str, Any], whole: Mapping[str, Any], at: str) -> Iterator[str]:
    for name in rule.get("required", ()):
        if name not in value:
            yield f"{at} has no {name!r}"
    known = rule.get("properties", {})
    others = rule.get("additionalProperties", True)
    for name, one in value.items():
        if name in known:
            yield from _faults(one, known[name], whole, f"{at}.{name}")
        elif others is False:
            yield f"{at} has {name!r}, which is not known"
        elif others is not True:
            yield from _faults(one, others, whole, f"{at}.{name}")


def _of_array(value: list[Any], rule: Mapping[str, Any], whole: Mapping[str, Any], at: str) -> Iterator[str]:
    if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
        yield f"{at} has {len(value)} items"
    for i, one in enumerate(value):
        yield from _faults(one, rule.get("items", {}), whole, f"{at}[{i}]")


def _of_text(value: str, rule: Mapping[str, Any], at: str) -> Iterator[str]:
    if len(value) < rule.get("minLength", 0):
        yield f"{at} is empty"
    if "pattern" in rule and not re.search(rule["pattern"], value):
        yield f"{at} is {value!r}; expected {rule['pattern']}"


def _of_number(value: float, rule: Mapping[str, Any], at: str) -> Iterator[str]:
    if "minimum" in rule and not value >= rule["minimum"]:
        yield f"{at} is {value}; expected at least {rule['minimum']}"


def _is(value: Any, kinds: str | list[str]) -> bool:
    several = [kinds] if isinstance(kinds, str) else kinds
    # To JSON true is no number, though to Python it is.
    return any(isinstance(value, _TYPES[k]) and (k == "boolean" or not isinstance(value, bool)) for k in several)


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _named(value: Any) -> str:
    return next((k for k in ("null", "boolean", "integer", "number", "string", "array") if _is(value, k)), "object")
