"""An ONNX file as a network of torch: node by node, each a submodule under its own name.

Our own and not onnx2torch (1.5): that imports torchvision, which this package must not need.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from saliscope.core.errors import ModelError, SaliscopeError, WeightsError, did_you_mean
from saliscope.core.target import OutputKind
from saliscope.model.adapters.onnx_file import Array, Node, OnnxFile, read_onnx
from saliscope.model.adapters.onnx_ops import MAKERS, Reshaped, softmax_axis
from saliscope.model.adapters.onnx_shapes import COUNTED, Counted, ShapeOf, constant_of, counted
from saliscope.model.adapters.wired import Carried, Wire, Wired, needed, peels, plain_name

BATCH = "The file fixed its batch at {}: the first axis was let go, and two images together gave what each gives alone."
#: Two images together and each alone agree to this share of their largest score.
_SAME = 1e-4


def load_onnx(path: Path, kind: OutputKind, output: str | int | None = None) -> Carried:
    """Return the network of an ONNX file, its final softmax or sigmoid taken off; `output` names one of several.

    Raises WeightsError for a file that cannot be read safely, ModelError for an operation that is not known, and
    CardError where the final activation does not make the card's kind of output.
    """
    file = read_onnx(path)
    try:
        return _Graph(file).carried(_chosen(file, output), kind)
    except SaliscopeError:
        raise
    except (KeyError, TypeError, IndexError, ValueError, RuntimeError, MemoryError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise WeightsError(
            f"{file.name} describes its network in a way that is not understood ({type(error).__name__}: {first})",
            expected="what exporters write",
            do="Export it again with a newer opset",
        ) from error


class _Graph:
    """The nodes of one file, each folded, counted, or made a layer."""

    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        self.constants: dict[str, Array] = dict(file.constants)
        #: Values that are shapes and not tensors: they depend on the size of the input alone.
        self.sizes: set[str] = set()
        self.modules: dict[str, nn.Module] = {}
        self.wires: list[Wire] = []
        self.makers: dict[str, Node] = {}
        first = file.shape[0] if file.shape else None
        self.batch = first
        for node in file.nodes:
            self._take(node)

    def carried(self, leave: str, kind: OutputKind) -> Carried:
        """Return the network up to a value; its softmax or sigmoid is taken off."""
        leave, said = self._peeled(leave, kind)
        wires = needed(self.wires, leave)
        used = {wire.layer for wire in wires}
        kept = {name: module for name, module in self.modules.items() if name in used}
        wired = Wired(kept, wires, self.file.entry, leave, self.file.shape[1:])
        notes = [said] if said else []
        if self.batch is not None:
            _check_batch(wired, self.file)
            notes.append(BATCH.format(self.batch))
        return Carried(wired, tuple(notes))

    def _take(self, node: Node) -> None:
        given = {i: name for i, name in enumerate(node.given) if name}
        constants = {i: self.constants[name] for i, name in given.items() if name in self.constants}
        node = replace(node, constants=constants, rank=self.file.ranks.get(node.given[0]) if node.given else None)
        if node.op == "Constant":
            self.constants[node.gives[0]] = constant_of(node)
        elif node.op in COUNTED and len(constants) == len(given):
            self.constants[node.gives[0]] = counted(node, *constants.values())
        elif node.op == "Shape":
            end = node.attributes.get("end")
            self._add(node, ShapeOf(int(node.attributes.get("start", 0)), None if end is None else int(end)))
            self.sizes.add(node.gives[0])
        elif node.op in COUNTED and all(i in constants or name in self.sizes for i, name in given.items()):
            self._add(node, Counted(node))
            self.sizes.add(node.gives[0])
        elif node.op == "Reshape":
            self._add(node, Reshaped(constants.get(1), self.batch))  # type: ignore[arg-type]
        elif node.op in MAKERS:
            self._add(node, MAKERS[node.op](node))
        else:
            raise ModelError(
                f"{self.file.name} has {node.op!r} ({node.name}), which is not read",
                expected="the operations of convolutional networks",
                do=did_you_mean(node.op, MAKERS),
            )

    def _add(self, node: Node, module: nn.Module) -> None:
        name = plain_name(node.name, self.modules)
        self.modules[name] = module
        given = tuple(n for i, n in enumerate(node.given) if n and i not in node.constants)
        gives = tuple(n for n in node.gives if n)
        if node.op in ("BatchNormalization", "Dropout", "MaxPool"):
            gives = gives[:1]
        self.wires.append(Wire(name, given, gives))
        self.makers.update(dict.fromkeys(gives, node))

    def _peeled(self, leave: str, kind: OutputKind) -> tuple[str, str]:
        """Return the value before a final softmax or sigmoid, and what to say of it."""
        end = leave
        while end in self.makers and self.makers[end].op == "Identity":
            end = self.makers[end].given[0]
        node = self.makers.get(end)
        if node is None:
            if end not in self.makers and leave not in self.makers:
                raise ModelError(f"{self.file.name} whose output {leave!r} is a constant", do="Name another output")
            return leave, ""
        said = peels(node.op.lower(), kind, self.file.name)
        if said and node.op == "Softmax" and softmax_axis(node) not in (1, -1):
            raise node.refused("an axis that is not that of the classes")
        return (node.given[0], said) if said else (leave, "")


def _chosen(file: OnnxFile, output: str | int | None) -> str:
    if output is None and len(file.leaves) == 1:
        return file.leaves[0]
    for number, leave in enumerate(file.leaves):
        if output in (number, leave):
            return leave
    raise ModelError(
        f"{file.name} has the outputs {', '.join(map(repr, file.leaves))}, and the card names {output!r}",
        expected="one of them",
        do="Say output_key = its name or its index in the card",
    )


def _check_batch(wired: Wired, file: OnnxFile) -> None:
    """Refuse a network that mixes the images of a batch, once its fixed batch was let go."""
    shape = [n or 64 for n in file.shape[1:]]
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    wired.eval()
    with torch.no_grad():
        both, alone = wired(x), torch.cat([wired(x[:1]), wired(x[1:])])
    if both.shape != alone.shape or float((both - alone).abs().max()) > _SAME * float(alone.abs().max() + 1e-12):
        raise ModelError(
            f"{file.name} was exported for {file.shape[0]} image(s) at a time and mixes those of a larger batch",
            expected="one score for each image",
            do="Export it with a dynamic batch: dynamic_shapes or dynamic_axes",
        )
