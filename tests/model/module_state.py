"""Everything that a module holds, deep, in a form that two moments can be compared by."""

from __future__ import annotations

import io
import random
import types
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, types.EllipsisType)
#: What can be told by its identity only.
OPAQUE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, io.IOBase, property)
#: Dictionaries of a module whose tensors others refer to, such as an optimiser: they must stay the same objects.
OWNED = ("._parameters", "._buffers")
#: Tensors with content; any other is a stand-in that a run without content left behind.
TENSORS = ("Tensor", "Parameter", "Buffer", "UninitializedParameter", "UninitializedBuffer")
#: Objects of torch's own compilers: what they keep is no state of the network.
COMPILERS = ("torch._dynamo", "torch.fx", "torch.export", "torch._export", "torch._functorch", "torch.jit")


class Snapshot:
    """What a module holds, by the path to it; `kept` keeps the objects alive, so that no identity is given twice."""

    def __init__(self, root: nn.Module) -> None:
        self.tokens: dict[str, Any] = {}
        self.kept: list[Any] = []
        self._paths: dict[int, str] = {}
        self._walk(root, "net")

    def differences(self, later: Snapshot) -> list[str]:
        """Return a sentence for each path that is new, gone or other in a later snapshot."""
        paths = {**self.tokens, **later.tokens}
        return [
            f"{p}: {_shown(self.tokens.get(p, 'nothing'))} became {_shown(later.tokens.get(p, 'nothing'))}"
            for p in paths
            if self.tokens.get(p, "nothing") != later.tokens.get(p, "nothing")
        ]

    def graphs(self) -> list[str]:
        """Return the paths of tensors that hold a graph, or that are without content."""
        tensors = [(p, t) for p, t in self.tokens.items() if t[0] == "tensor"]
        return [f"{p} ({t[1]})" for p, t in tensors if t[-1] or t[1] not in TENSORS]

    def _walk(self, value: Any, path: str) -> None:
        if isinstance(value, PLAIN):
            self.tokens[path] = (type(value).__name__, repr(value))
            return
        if id(value) in self._paths:
            self.tokens[path] = ("same object as", self._paths[id(value)])
            return
        self._paths[id(value)] = path
        self.kept.append(value)
        if isinstance(value, Tensor):
            self._tensor(value, path)
        elif (state := _random_state(value)) is not None:
            self.tokens[path] = ("generator", id(value), state)
        elif isinstance(value, np.ndarray):
            self.tokens[path] = ("array", id(value), value.dtype.str, value.shape, value.tobytes())
        elif isinstance(value, OPAQUE) or hasattr(value, "cache_info") or _of_compiler(value):
            self.tokens[path] = ("opaque", id(value))
            if isinstance(value, types.FunctionType):
                self._closure(value, path)
        elif isinstance(value, types.MethodType):
            self.tokens[path] = ("method", id(value.__func__), id(value.__self__))
        elif isinstance(value, weakref.ReferenceType):
            self.tokens[path] = ("weak", id(value()))
        elif isinstance(value, torch.jit.ScriptModule):
            self._script(value, path)
        else:
            self._inside(value, path)

    def _inside(self, value: Any, path: str) -> None:
        """Walk a container or an object; its identity counts, because others may hold the same one."""
        size = len(value) if isinstance(value, Mapping | list | tuple | deque | AbstractSet) else None
        # A tuple cannot change: an equal one is as good.
        self.tokens[path] = (type(value).__qualname__, None if isinstance(value, tuple) else id(value), size)
        if isinstance(value, nn.Module):
            self._class(type(value), path)
        for name, part in _parts(value):
            self._walk(part, f"{path}{name}")

    def _closure(self, value: types.FunctionType, path: str) -> None:
        """Walk what a hook of the owner's writes to."""
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            self._walk(cell.cell_contents, f"{path}.{name}")

    def _class(self, kind: type, path: str) -> None:
        """Walk what the classes of a module keep for all of their modules."""
        for base in kind.__mro__:
            if id(base) in self._paths or base.__module__.startswith(("torch", "builtins")):
                continue
            self._paths[id(base)] = f"{path}.{base.__name__}"
            for name, part in list(vars(base).items()):
                if not name.startswith("_") and isinstance(part, int | dict | list | set | Tensor):
                    self._walk(part, f"{path}.{base.__name__}.{name}")

    def _tensor(self, value: Tensor, path: str) -> None:
        kind = type(value).__name__
        content: Any = None
        if kind in TENSORS and not kind.startswith("Uninitialized"):
            flat = value.detach().cpu().contiguous().reshape(-1)
            values = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
            content = (str(value.dtype), tuple(value.shape), values)
        owned = id(value) if path.rpartition("[")[0].endswith(OWNED) else None
        asked = (value.requires_grad, content is not None and value.is_inference())
        self.tokens[path] = ("tensor", kind, owned, content, asked, value.grad_fn is not None)
        if value.is_leaf and value.grad is not None:
            self._walk(value.grad, f"{path}.grad")

    def _script(self, value: torch.jit.ScriptModule, path: str) -> None:
        # A frozen script has no flag of training.
        self.tokens[path] = ("script", id(value), getattr(value, "training", None))
        for name, tensor in value.state_dict(keep_vars=True).items():
            self._tensor(tensor, f"{path}.{name}")


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in list(value.items()):
            yield f"[{_key(key)}]", part
    elif isinstance(value, list | tuple | deque):
        for i, part in enumerate(value):
            yield f"[{i}]", part
    elif isinstance(value, AbstractSet):
        for i, part in enumerate(sorted(value, key=repr)):
            yield f"{{{i}}}", part
    for name, part in list(getattr(value, "__dict__", {}).items()):
        yield f".{name}", part
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name) and not name.startswith("__"):
                yield f".{name}", getattr(value, name)


def _of_compiler(value: Any) -> bool:
    return not isinstance(value, nn.Module) and type(value).__module__.startswith(COMPILERS)


def _key(key: Any) -> str:
    return repr(key) if isinstance(key, (*PLAIN, tuple)) else f"{type(key).__name__} {id(key)}"


def _random_state(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    return repr(value.getstate()) if isinstance(value, random.Random) else None


def _shown(token: Any) -> str:
    text = repr(token)
    return text if len(text) < 120 else f"{text[:100]} ..."


def shared_generators() -> tuple[bytes, str, Any]:
    """Return the states of the generators that belong to the caller: of torch, NumPy and Python."""
    return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
