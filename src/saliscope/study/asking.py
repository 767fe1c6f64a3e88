"""The methods of one question: made from names, settled on layers, described for the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import MethodError
from saliscope.core.nesting import has, inside, is_method, settled
from saliscope.core.protocols import INPUT, Method
from saliscope.core.target import Target
from saliscope.methods import METHODS
from saliscope.model.layer_choice import choose_layer
from saliscope.model.layers import LayerRun
from saliscope.model.network import Network
from saliscope.model.opened import OpenNetwork

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Asking:
    """A method with its name, its layer settled, and why that layer."""

    name: str
    method: Method
    reason: str | None

    @property
    def layer(self) -> str | None:
        """Return the layer that the method, or the first of those inside it, watches; None for the input or several."""
        if any(has(m, "layers") for m in inside(self.method)):
            return None
        return next((m.layer for m in inside(self.method) if has(m, "layer") and m.layer != INPUT), None)  # type: ignore[attr-defined]


def make_methods(asked: str | Method | Sequence[str | Method], layer: str | None = None) -> dict[str, Method]:
    """Return methods by name, with `layer` set where a method has such a field; raises MethodError for unknown ones."""
    several = [asked] if isinstance(asked, str | Method) else list(asked)
    made: dict[str, Method] = {}
    for one in several:
        method = METHODS.make(one) if isinstance(one, str) else one
        name = one if isinstance(one, str) else name_of(method)
        if layer is not None:
            method = on_layer(method, layer)
        if made.get(name, method) != method:
            name = f"{name}-{len(made) + 1}"
        made[name] = method
    if not made:
        raise MethodError("no method", expected="at least one", do="See `saliscope methods`")
    return made


def name_of(method: Method) -> str:
    """Return the registry's name of a method, or its class name."""
    address = f"{type(method).__module__}:{type(method).__qualname__}"
    return next((n for n, a in METHODS.addresses.items() if a == address), type(method).__name__)


def on_layer(method: Method, layer: str | Callable[[], str]) -> Method:
    """Return the method with a layer wherever it, or a method inside it, leaves the layer "auto".

    A method of several layers takes a named one as its only layer; which of several it takes itself, it chooses.
    """

    def change(one: Method) -> Method:
        if has(one, "layers") and one.layers == "auto" and isinstance(layer, str):  # type: ignore[attr-defined]
            return replace(one, layers=(layer,))  # type: ignore[type-var]
        if not has(one, "layer") or one.layer != "auto":  # type: ignore[attr-defined]
            return one
        return replace(one, layer=layer if isinstance(layer, str) else layer())  # type: ignore[type-var]

    return settled(method, change)


def asking(
    name: str,
    method: Method,
    network: Network,
    runs: Sequence[LayerRun],
    depends: Callable[[Sequence[str]], Mapping[str, bool]] | None = None,
) -> Asking:
    """Return the method on its layers: as named, or as the card says, or the last spatial one.

    `depends` says of layers whether the target depends on them; without it that is not looked at.
    """
    reasons = []

    def chosen() -> str:
        found, reason = (
            (network.layer, "the default of the model card") if network.layer != "auto" else choose_layer(runs, depends)
        )
        reasons.append(reason)
        return found

    found = Asking(name, on_layer(method, chosen), None)
    return replace(found, reason=reasons[0] if reasons else "named by the caller" if found.layer else None)


def dependence(model: OpenNetwork, x: Tensor, target: Target) -> Callable[[Sequence[str]], Mapping[str, bool]]:
    """Return who says of layers, for images x (N, C, *S), whether each score of the target depends on them.

    It is asked where a layer can be passed by, and costs a run with the way back for each score.
    """

    @cache
    def reads(names: tuple[str, ...]) -> Mapping[str, bool]:
        probe = model.probe(x, names, placed=False)
        scores = target.scores(probe.output)
        try:
            return probe.read_by(scores)
        except RuntimeError:
            # Without a way back nothing is known: every layer is as good as it was.
            return dict.fromkeys(names, True)

    return lambda names: reads(tuple(names))


def described(method: Method) -> Mapping[str, Any]:
    """Return the fields of a method as plain data, methods inside it with their names."""
    return {f.name: _plain(getattr(method, f.name)) for f in fields(method)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if is_method(value):
        return {"name": name_of(value), **described(value)}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
