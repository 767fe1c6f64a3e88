"""What the methods of this room share: the method inside, made from its name, and the grid on which its map lies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import MethodError
from saliscope.core.nesting import has, inside
from saliscope.core.protocols import INPUT, Method, Model, Traits
from saliscope.methods import METHODS

if TYPE_CHECKING:
    from torch import Tensor


def adopt(outer: object, **traits: Any) -> Method:
    """Make the method in the field `method` of a frozen dataclass, give it traits as it needs, and return it.

    `traits` are those in which the outer method differs from the one inside; in a text "{}" stands for the inner's.
    """
    inner = made(outer.method)  # type: ignore[attr-defined]
    object.__setattr__(outer, "method", inner)
    texts = {k: v.format(getattr(inner.traits, k)) if isinstance(v, str) else v for k, v in traits.items()}
    object.__setattr__(outer, "traits", Traits(**{**vars(inner.traits), "family": "combine", **texts}))
    return inner


def made(method: str | Method) -> Method:
    """Return a method, made with its defaults where it is a name; raises MethodError for one that is not there."""
    return METHODS.make(method) if isinstance(method, str) else method


def layer_of(method: Method) -> str:
    """Return the layer on whose grid a method's map lies, or `INPUT`; raises MethodError where it is still "auto"."""
    if method.traits.grid == "input":
        return INPUT
    layers = [str(m.layer) for m in inside(method) if has(m, "layer")]  # type: ignore[attr-defined]
    if not layers or layers[0] == "auto":
        raise MethodError(
            f"{type(method).__name__} on the grid of a layer that is not named",
            expected="the dotted name of a layer",
            do="Name a layer, or call saliscope.explain, which chooses one",
        )
    return layers[0]


def on_input(model: Model, values: Tensor, x: Tensor, method: Method) -> Tensor:
    """Return a method's values (N, K, *S') on the elements (N, K, *S) of x, interpolated where they are of a layer."""
    layer = layer_of(method)
    return values if layer == INPUT else model.onto_input(values, x, layer)


def joint(several: list[Traits]) -> Traits:
    """Return the first of several traits, unsigned or indiscriminate where any of them is."""
    return replace(
        several[0],
        signed=all(t.signed for t in several),
        class_discriminative=all(t.class_discriminative for t in several),
        fails_randomisation=any(t.fails_randomisation for t in several),
    )
