"""What is asked for in one run: the words of the command line, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from saliscope.core.errors import InputError, MethodError, did_you_mean
from saliscope.core.protocols import Method
from saliscope.methods import METHODS
from saliscope.read import Limits
from saliscope.study.asking import on_layer


@dataclass(frozen=True)
class Plan:
    """The model, the methods with their options, the targets and the layer: what makes two runs the same run."""

    model: str
    methods: tuple[str, ...] = ("grad-cam",)
    targets: tuple[str, ...] = ("top",)
    layer: str = "auto"
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "cpu"
    allow_code: bool = False

    def described(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return asdict(self)

    def make(self) -> dict[str, Method]:
        """Return the methods by name; raises MethodError for an unknown name, field, or value."""
        made: dict[str, Method] = {}
        for name in self.options:
            if name not in self.methods:
                raise MethodError(
                    f"an option of {name!r}, which is not among the methods", do=did_you_mean(name, self.methods)
                )
        for name in self.methods:
            method = METHODS.make(name, **self.options.get(name, {}))
            made[name] = method if self.layer == "auto" else on_layer(method, self.layer)
        return made


def options_of(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the fields of METHOD.FIELD=VALUE words; values are numbers, true, false, lists 1,2,3, or text."""
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        place, equals, value = word.partition("=")
        method, dot, key = place.rpartition(".")
        if not (equals and dot and method and key):
            raise MethodError(
                f"option {word!r}", expected="METHOD.FIELD=VALUE", do="For example: --option smoothgrad.samples=50"
            )
        found.setdefault(method, {})[key.replace("-", "_")] = _value(value)
    return found


def limits_of(words: Sequence[str]) -> Limits:
    """Return the limits of NAME=VALUE words; raises InputError for a name that is not there."""
    limits = Limits()
    known = {f.name: type(getattr(limits, f.name)) for f in fields(limits)}
    for word in words:
        name, _, value = word.partition("=")
        key = name.replace("-", "_")
        if key not in known:
            raise InputError(f"limit {name!r}", expected="NAME=VALUE", do=did_you_mean(key, known))
        try:
            limits = replace(limits, **{key: known[key](float(value))})
        except ValueError:
            raise InputError(f"limit {word!r}", expected="a number", do=f"For example {name}=1e9") from None
    return limits


def _value(text: str) -> Any:
    if "," in text:
        return tuple(_value(part) for part in text.split(",") if part)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
