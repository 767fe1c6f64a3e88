"""A network as a list of named layers and of what each is given: what the graph of a file becomes.

Every layer is a submodule, so that it can be watched by its name; nothing is generated, compiled or run but this loop.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from saliscope.core.errors import CardError, ModelError
from saliscope.core.target import OutputKind

#: What is taken off the end of a network, and the kinds of output whose logits then remain.
PEELED: Mapping[str, tuple[OutputKind, ...]] = {
    "softmax": ("multi-class", "segmentation"),
    "sigmoid": ("binary", "multi-label", "segmentation"),
}
#: More layers than any network that is meant to be explained.
MOST_LAYERS = 20_000


@dataclass(frozen=True)
class Wire:
    """One run of one layer: its submodule's name, the values that it is given, and those that it gives."""

    layer: str
    given: tuple[str, ...]
    gives: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Carried:
    """A network that a file carries, and what is to be said of how it was taken from it."""

    module: nn.Module
    notes: tuple[str, ...] = ()


class Wired(nn.Module):
    """Layers run in the order of their wires; values are let go after their last use.

    `shape` is what the file says of the input (C, *S), None where it does not; only what is told is held to.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        wires: Sequence[Wire],
        entry: str,
        leave: str,
        shape: tuple[int | None, ...] = (),
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.wires, self.entry, self.leave, self.shape = tuple(wires), entry, leave, shape
        last = {name: i for i, wire in enumerate(wires) for name in (*wire.given, *wire.gives)}
        self._spent = [[n for n, at in last.items() if at == i and n != leave] for i in range(len(wires))]

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of an input x (N, C, *S); raises ModelError for an input of another shape."""
        if self.shape and (
            len(self.shape) != x.ndim - 1
            or any(w is not None and w != n for w, n in zip(self.shape, x.shape[1:], strict=True))
        ):
            wanted = " x ".join("any" if n is None else str(n) for n in self.shape)
            raise ModelError(
                f"a view of {' x '.join(str(n) for n in x.shape[1:])} (channels first)",
                expected=f"{wanted}, as the network's file says",
                do="Correct the card's view",
            )
        values: dict[str, Any] = {self.entry: x}
        for wire, spent in zip(self.wires, self._spent, strict=True):
            made = self.get_submodule(wire.layer)(*[values[name] for name in wire.given])
            values.update(zip(wire.gives, made if len(wire.gives) > 1 else (made,), strict=True))
            for name in spent:
                values.pop(name, None)
        found = values[self.leave]
        if not isinstance(found, Tensor):
            raise ModelError("a network whose output is no tensor", do="Name another output (output_key)")
        return found


def plain_name(name: str, taken: Collection[str]) -> str:
    """Return a name that a submodule can bear, and none of those taken."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "layer"
    plain = f"layer_{plain}" if plain[0].isdigit() or hasattr(Wired, plain) or plain in RESERVED else plain
    number, found = 1, plain
    while found in taken:
        number, found = number + 1, f"{plain}_{number}"
    return found


def needed(wires: Sequence[Wire], leave: str) -> list[Wire]:
    """Return the wires on which the value `leave` depends, in order."""
    wanted, kept = {leave}, []
    for wire in reversed(wires):
        if wanted & set(wire.gives):
            wanted |= set(wire.given)
            kept.append(wire)
    return kept[::-1]


def peels(activation: str, kind: OutputKind, file: str) -> str:
    """Return what to say of an output activation that is taken off, or "" where it stays.

    Raises CardError where the card's kind of output is not what that activation makes.
    """
    if activation not in PEELED or kind == "regression":
        return ""
    if kind not in PEELED[activation]:
        raise CardError(
            f"{file} ends in a {activation}, and the card says output = {kind!r}",
            expected=" or ".join(PEELED[activation]),
            do="Correct the card's output and labels",
        )
    return f"The final {activation} of {file} was taken off: the explained score is the logit."


#: Attributes of every Wired that no submodule may hide.
RESERVED = frozenset({"wires", "entry", "leave", "shape", "training"})
