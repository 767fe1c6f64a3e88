"""A Keras network, sequential or of branches, as a network of torch: layer by layer, each under its Keras name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from saliscope.core.errors import ModelError, WeightsError
from saliscope.core.target import OutputKind
from saliscope.model.adapters import keras_layers as layers
from saliscope.model.adapters.keras_file import read_keras
from saliscope.model.adapters.keras_makers import Arrays, made, rank_after
from saliscope.model.adapters.wired import MOST_LAYERS, Carried, Wire, Wired, needed, peels, plain_name

#: One call of one layer: (layer, number of the call).
Call = tuple[str, int]


def load_keras(path: Path, kind: OutputKind, output: str | int | None = None) -> Carried:
    """Return the network of a Keras HDF5 file, its final softmax or sigmoid taken off.

    A layer's name means what it means in Keras: its output, activation included. `output` names one of several.
    Raises WeightsError for a file that cannot be read safely, ModelError for a layer that is not known, and
    CardError where the final activation does not make the card's kind of output.
    """
    file = read_keras(path)
    kind_of_model, config = file.description.get("class_name"), file.description.get("config")
    if kind_of_model == "Sequential":
        listed, leaves = _sequential(config, file.name)
    elif kind_of_model in ("Functional", "Model") and isinstance(config, Mapping):
        listed, leaves = list(config["layers"]), _calls(config["output_layers"])
    else:
        raise layers.refused(file.name, f"a model of class {kind_of_model!r}")
    if len(listed) > MOST_LAYERS:
        raise WeightsError(f"{file.name} has {len(listed):,} layers", expected="a network to explain", do="Check it")
    try:
        graph = _Graph(file.name, listed, file.arrays)
        return graph.carried(_chosen(leaves, output, file.name), kind)
    except (KeyError, TypeError, IndexError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{file.name} describes its network in a way that is not understood ({type(error).__name__}: {error})",
            expected="what Keras writes",
            do="Save it again with model.save('model.h5')",
        ) from error


class _Graph:
    """The layers of one file, built in the order in which their inputs are known."""

    def __init__(self, file: str, listed: Sequence[Mapping[str, Any]], arrays: Mapping[str, Arrays]) -> None:
        self.file, self.arrays = file, arrays
        self.described = {layer["config"]["name"]: layer for layer in listed}
        self.modules: dict[str, nn.Module] = {}
        self.names: dict[str, str] = {}
        self.wires: list[Wire] = []
        self.ranks: dict[Call, int] = {}
        self.entries: list[Call] = []
        self.shape: tuple[int | None, ...] = ()
        waiting = [
            ((name, i), _given(node))
            for name, layer in self.described.items()
            for i, node in enumerate(layer.get("inbound_nodes") or [[]])
        ]
        while waiting:
            ready = [(call, given) for call, given in waiting if all(g in self.ranks for g in given)]
            if not ready:
                raise WeightsError(f"{file} has layers whose inputs are nowhere", do="Save it again")
            for call, given in ready:
                self._run(call, given)
            waiting = [w for w in waiting if w[0] not in self.ranks]
        if len(self.entries) != 1:
            raise layers.refused(file, f"{len(self.entries)} inputs")

    def carried(self, leave: Call, kind: OutputKind) -> Carried:
        """Return the network up to a call; its softmax or sigmoid is taken off."""
        said = self._peel(leave, kind)
        wires = needed(self.wires, _value(leave))
        used = {wire.layer for wire in wires}
        kept = {name: module for name, module in self.modules.items() if name in used}
        # What flattens or carries dense layers over places fits one size only; what pools fits any.
        sized = any(isinstance(m, layers.ChannelLastFlatten) for m in kept.values())
        shape = self.shape if sized else (*self.shape[:1], None, None)
        return Carried(Wired(kept, wires, _value(self.entries[0]), _value(leave), shape), (said,) if said else ())

    def _run(self, call: Call, given: list[Call]) -> None:
        name = call[0]
        layer = self.described[name]
        if layer["class_name"] == "InputLayer":
            self._enter(call, layer["config"])
            return
        if not given:
            # A sequential network of Keras 2 may say its input's shape in its first layer.
            raise layers.refused(f"{self.file}: {name}", "no input")
        rank = self.ranks[given[0]]
        if name not in self.names:
            where = f"{self.file}: {layer['class_name']} {name!r}"
            self.names[name] = plain_name(name, self.modules)
            module = made(layer["class_name"], layer["config"], self.arrays.get(name, {}), rank, where)
            self.modules[self.names[name]] = module
        self.ranks[call] = rank_after(layer["class_name"], layer["config"], rank)
        self.wires.append(Wire(self.names[name], tuple(map(_value, given)), (_value(call),)))

    def _enter(self, call: Call, config: Mapping[str, Any]) -> None:
        shape = config.get("batch_input_shape") or config.get("batch_shape") or []
        if len(shape) != 4 or not isinstance(shape[3], int):
            raise layers.refused(f"{self.file}: {call[0]}", f"an input of shape {shape}")
        self.shape = (shape[3], shape[1], shape[2])
        self.entries.append(call)
        self.ranks[call] = 4

    def _peel(self, leave: Call, kind: OutputKind) -> str:
        """Take the final activation off where the kind of output has logits; return what to say of it."""
        layer = self.described[leave[0]]
        where = f"{self.file}: {leave[0]!r}"
        config, name = layer["config"], self.names[leave[0]]
        if layer["class_name"] == "Softmax":
            found = "softmax"
        elif "activation" in config:
            found = layers.activation_name(config["activation"], where)
        else:
            return ""
        said = peels(found, kind, self.file)
        if not said:
            return ""
        if sum(wire.layer == name for wire in self.wires) > 1:
            raise layers.refused(where, f"a final {found} that is used twice")
        module = self.modules[name]
        if isinstance(module, nn.Sequential):
            parts = dict(module.named_children())
            del parts["activation"]
            self.modules[name] = layers.together(parts)
        else:
            self.modules[name] = nn.Identity()
        return said


def _sequential(config: Any, file: str) -> tuple[list[Mapping[str, Any]], list[Call]]:
    """Return the layers of a sequential network, each given the one before it, and its last call."""
    listed = list(config["layers"] if isinstance(config, Mapping) else config)
    if not listed:
        raise WeightsError(f"{file} has no layers", do="Save it again")
    first = listed[0]["config"]
    shape = first.get("batch_input_shape") or first.get("batch_shape")
    if listed[0]["class_name"] != "InputLayer":
        listed = [{"class_name": "InputLayer", "config": {"name": "input", "batch_input_shape": shape}}, *listed]
    chained: list[Mapping[str, Any]] = []
    before = ""
    for layer in listed:
        chained.append({**layer, "inbound_nodes": [[[before, 0, 0, {}]]] if before else []})
        before = layer["config"]["name"]
    return chained, [(before, 0)]


def _given(node: Any) -> list[Call]:
    """Return the calls whose outputs a call is given, as Keras 2 or Keras 3 writes them."""
    if isinstance(node, Mapping):
        node = _tensors(node.get("args", []))
    elif node and isinstance(node[0], str):
        node = [node]
    return [(str(name), int(call)) for name, call, *_ in node]


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        history = value.get("config", {}).get("keras_history")
        return [history] if history else []
    return [h for v in value for h in _tensors(v)] if isinstance(value, list | tuple) else []


def _calls(outputs: Any) -> list[Call]:
    if isinstance(outputs, list) and outputs and isinstance(outputs[0], str):
        outputs = [outputs]
    return [(str(name), int(call)) for name, call, *_ in outputs]


def _chosen(leaves: Sequence[Call], output: str | int | None, file: str) -> Call:
    if output is None and len(leaves) == 1:
        return leaves[0]
    for number, leave in enumerate(leaves):
        if output in (number, leave[0]):
            return leave
    names = [name for name, _ in leaves]
    raise ModelError(
        f"{file} has the outputs {', '.join(map(repr, names))}, and the card names {output!r}",
        expected="one of them",
        do="Say output_key = its name or its index in the card",
    )


def _value(call: Call) -> str:
    return f"{call[0]}:{call[1]}"
