"""What an ONNX file says: its nodes, its arrays, its input. Read, never run; nothing outside the file is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import ModelError, SaliscopeError, WeightsError
from saliscope.model.adapters.library import imported
from saliscope.model.adapters.wired import MOST_LAYERS

Array = npt.NDArray[Any]
#: Protobuf itself holds no more.
MOST_BYTES = 2**31 - 1
OPSETS = range(7, 30)
EXPORT = "Export it again where you trust it: torch.onnx.export(model, x, 'model.onnx', external_data=False)"


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: its kind, attributes, and the names of what it is given and gives ("" where left out)."""

    name: str
    op: str
    attributes: Mapping[str, Any]
    given: tuple[str, ...]
    gives: tuple[str, ...]
    opset: int
    #: Those of its inputs that are constants, by position.
    constants: Mapping[int, Array] = field(default_factory=dict)
    #: The number of axes of its first input, where known.
    rank: int | None = None

    def constant(self, position: int) -> Array | None:
        """Return a constant input, None where it is left out; raises ModelError where it is computed."""
        if position >= len(self.given) or not self.given[position]:
            return None
        if position not in self.constants:
            raise self.refused(f"an input {position} that is computed while it runs")
        return self.constants[position]

    def numbers(self, position: int, attribute: str) -> list[int] | None:
        """Return whole numbers from an attribute, as older files say them, or from a constant input."""
        found = self.attributes.get(attribute)
        if found is None:
            found = self.constant(position)
        return None if found is None else [int(n) for n in np.asarray(found).reshape(-1)]

    def refused(self, what: str) -> ModelError:
        """Return the refusal of something that is not read, so that nothing is silently left out."""
        return ModelError(
            f"{self.op} {self.name!r} has {what}, which is not read",
            expected="the operations of convolutional networks",
            do="Export the network without it, or load it as torch with its state dict",
        )


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """The nodes of a file in order, its constants, its one input with its shape (None where open), its outputs."""

    name: str
    nodes: Sequence[Node]
    constants: Mapping[str, Array]
    entry: str
    shape: tuple[int | None, ...]
    leaves: Sequence[str]
    ranks: Mapping[str, int]


def read_onnx(path: Path) -> OnnxFile:
    """Return what an ONNX file says.

    Raises WeightsError for a broken file and for one that points outside itself, ModelError for what is not read.
    """
    onnx = imported("onnx", "onnx", f"the ONNX file {path.name}")
    if path.stat().st_size > MOST_BYTES:
        raise WeightsError(f"{path.name} is larger than 2 GiB", expected="one ONNX file", do=EXPORT)
    try:
        model = onnx.load_model(path, load_external_data=False)
        _check_inside(onnx, model.graph, path.name)
        onnx.checker.check_model(model)
        return _taken_apart(onnx, model, path.name)
    except SaliscopeError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise WeightsError(
            f"{path.name} cannot be read as ONNX ({type(error).__name__}: {first})", expected="a whole file", do=EXPORT
        ) from error


def _check_inside(onnx: Any, graph: Any, name: str) -> None:
    """Refuse arrays that lie in other files, sparse ones, branches and loops, before anything resolves them."""
    if len(graph.node) > MOST_LAYERS or graph.sparse_initializer:
        raise WeightsError(f"{name} has {len(graph.node):,} nodes, or sparse arrays", do=EXPORT)
    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise WeightsError(
                f"{name} keeps {tensor.name!r} in another file", expected="everything inside one file", do=EXPORT
            )
    for node in graph.node:
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ModelError(f"{name} has a branch or a loop ({node.op_type})", do="Export the network without it")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _taken_apart(onnx: Any, model: Any, name: str) -> OnnxFile:
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise ModelError(f"{name} with opset {opset}", expected=f"{OPSETS.start} to {OPSETS.stop - 1}", do=EXPORT)
    graph = model.graph
    constants = {t.name: _array(onnx, t, name) for t in graph.initializer}
    nodes = []
    for number, node in enumerate(graph.node):
        if node.domain not in ("", "ai.onnx"):
            raise ModelError(f"{name} has {node.op_type!r} of {node.domain!r}", expected="ONNX's own", do=EXPORT)
        attributes = {a.name: _attribute(onnx, a, name) for a in node.attribute}
        named = node.name or f"{node.op_type}_{number}"
        nodes.append(Node(named, node.op_type, attributes, tuple(node.input), tuple(node.output), opset))
    inputs = [i for i in graph.input if i.name not in constants]
    if len(inputs) != 1:
        raise ModelError(f"{name} has {len(inputs)} inputs", expected="one image", do="Export it with the image alone")
    dims = inputs[0].type.tensor_type.shape.dim
    shape = tuple(int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims)
    ranks = _ranks(onnx, model)
    return OnnxFile(name, nodes, constants, inputs[0].name, shape, [o.name for o in graph.output], ranks)


def _ranks(onnx: Any, model: Any) -> dict[str, int]:
    known = onnx.shape_inference.infer_shapes(model).graph
    values = [*known.value_info, *known.input, *known.output]
    return {v.name: len(v.type.tensor_type.shape.dim) for v in values if v.type.tensor_type.HasField("shape")}


def _array(onnx: Any, tensor: Any, name: str) -> Array:
    """Return the array of a tensor; floating ones as float32."""
    values = onnx.numpy_helper.to_array(tensor)
    if values.dtype.kind not in "fiub":
        raise ModelError(f"{name} has {tensor.name!r} of type {values.dtype}", expected="numbers", do=EXPORT)
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
        if not np.isfinite(values).all() and values.ndim:
            raise WeightsError(f"{name} has values that are not finite in {tensor.name!r}", do="Take another epoch")
    return np.array(values)


def _attribute(onnx: Any, attribute: Any, name: str) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return _array(onnx, value, name) if attribute.HasField("t") else value
