"""What an archive of torch's holds: tensors, plain values, and the names of objects that are never built.

Checkpoints of trainers keep settings and callbacks beside the weights, and a TorchScript file keeps its weights as
attributes of its own classes. Here every class and function that is not needed for a tensor is replaced by an `Inert`,
which keeps what it is given and does nothing: no name of the file is ever imported or called.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import WeightsError

if TYPE_CHECKING:
    import torch

#: What torch calls the storages of its types.
STORAGES: Mapping[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
#: What only a file that means harm names: it would run a program, or read and write files.
HARMFUL = frozenset({"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "pty", "runpy", "importlib"})
HARMFUL_BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "open", "breakpoint", "input"})


class Inert:
    """What stands for an object whose class is not built: the values that it was given, and nothing that runs."""

    kind = ""

    def __init__(self, *_given: object, **_named: object) -> None:
        """Keep nothing of what a constructor is given."""

    @cached_property
    def state(self) -> dict[Any, Any]:
        """Return the attributes and entries that the object would have."""
        return {}

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update(part)

    def __setitem__(self, key: object, value: object) -> None:
        self.state[key] = value

    def append(self, _value: object) -> None:
        """Keep nothing of a list's entries."""

    def extend(self, _values: object) -> None:
        """Keep nothing of a list's entries."""

    def add(self, _value: object) -> None:
        """Keep nothing of a set's entries."""


def read_archive(path: Path) -> tuple[object, list[str]]:
    """Return what a zip archive of torch's holds, and the names of the classes and functions that were not built.

    Raises WeightsError for a broken archive, and for one that names what would run a program.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            place = next(n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl")
            reader = _Reader(archive, place)
            return reader.load(), sorted(reader.foreign)
    except WeightsError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"weights {path.name} cannot be read ({first})", expected="a whole file of torch's", do="Fetch it again"
        ) from error


class _Reader(pickle.Unpickler):
    """An unpickler that finds tensors' parts and, for every other name, an Inert."""

    def __init__(self, archive: zipfile.ZipFile, place: str) -> None:
        super().__init__(BytesIO(archive.read(place)))
        self._archive, self._folder = archive, place.rpartition("/")[0]
        self._storages: dict[str, torch.Tensor] = {}
        self.foreign: set[str] = set()
        order = f"{self._folder}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise WeightsError("weights of a big-endian machine", do="Store them again on this one")

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name: it is never imported."""
        if module == "torch" and name in STORAGES:
            return _Storage(STORAGES[name])
        made = _MADE.get((module, name))
        if made is not None:
            return made()
        if module.partition(".")[0] in HARMFUL or (module in ("builtins", "__builtin__") and name in HARMFUL_BUILTINS):
            raise WeightsError(
                f"weights {Path(self._archive.filename or '').name} would call {module}.{name} when they are unpickled",
                expected="a state dict: tensors by name and nothing that runs",
                do="Do not open this file elsewhere; ask who gave it to you",
            )
        self.foreign.add(f"{module}.{name}")
        return type("Foreign", (Inert,), {"kind": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """Return a storage as a tensor of one axis."""
        import torch

        _, storage, key, *_ = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._folder}/data/{key}"))
            kind = getattr(torch, storage.dtype)
            self._storages[key] = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
        return self._storages[key]


class _Storage:
    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class _Call:
    """A function of ours behind an object that lives as long as one file is read, so that no file can change it."""

    __slots__ = ("run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        self.run = run

    def __call__(self, *given: Any) -> Any:
        return self.run(*given)


def _tensor(storage: torch.Tensor, offset: int, size: Any, stride: Any, *_rest: object) -> torch.Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _first(value: object, *_rest: object) -> object:
    return value


#: Names of a file that are answered with an object of its own.
_MADE: Mapping[tuple[str, str], Callable[[], Any]] = {
    ("collections", "OrderedDict"): lambda: _Call(OrderedDict),
    ("collections", "defaultdict"): lambda: _Call(lambda *_given: {}),
    ("torch._utils", "_rebuild_tensor_v2"): lambda: _Call(_tensor),
    ("torch._utils", "_rebuild_tensor"): lambda: _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): lambda: _Call(_first),
    # TorchScript marks the types of its lists and tables so.
    ("torch.jit._pickle", "restore_type_tag"): lambda: _Call(_first),
    ("torch.jit._pickle", "build_intlist"): lambda: _Call(_first),
}
