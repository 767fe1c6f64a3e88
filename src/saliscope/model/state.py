"""Everything that a forward run may change in a network, kept before and put back after.

A forward run may fill a cache, count, keep features, draw from a generator, write into its own weights. So each
module's `__dict__` is kept with what its containers and plain objects hold, and what its tensors hold; what the
caller's hooks close over is kept likewise. Objects are put back as they are, not replaced by copies.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

#: What is walked no further: it holds nothing that a forward run changes.
PLAIN = (str, bytes, int, float, complex, bool, type(None), type, range, slice, ModuleType, BuiltinFunctionType,
         torch.dtype, torch.device, torch.Size)  # fmt: skip
#: Attributes in which a module keeps hooks for the way back; they do not change what it gives, and are not called.
BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")

Undo = Callable[[], None]
Differs = Callable[[], bool]


class State:
    """What a network is before it is used; `restore` makes it that again, and says what was not."""

    def __init__(self, module: nn.Module, *, weights: bool) -> None:
        self._seen: dict[int, Any] = {}
        self._undo: list[tuple[str, Differs, Undo]] = []
        #: Dicts, which are most of what there is, with what they held.
        self._dicts: list[tuple[str, dict[Any, Any], dict[Any, Any]]] = []
        self._weights = weights
        #: Whether, when it was restored, a weight had been written into.
        self.wrote_weights = False
        self._versions: list[tuple[nn.Parameter, int]] = []
        self._weight_names: set[str] = set()
        self._classes: set[type] = set()
        self._walk(module, "")
        self._generators()

    def restore(self) -> list[str]:
        """Put everything back; return the names of what had changed."""
        changed = []
        for name, now, before in self._dicts:
            keys = _changed(now, before)
            if keys:
                now.clear()
                now.update(before)
                changed += [f"{name}.{key}".lstrip(".") for key in keys]
        for name, differs, undo in self._undo:
            if differs():
                undo()
                changed.append(name)
        self.wrote_weights = bool(self._weight_names & set(changed)) or any(
            p._version != version  # noqa: SLF001 - torch has no other count of writes
            for p, version in self._versions
        )
        return changed

    def _keep(self, name: str, differs: Differs, undo: Undo) -> None:
        self._undo.append((name, differs, undo))

    def _walk(self, value: Any, name: str) -> None:
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        self._seen[id(value)] = value  # kept alive, so that no other object gets its number
        if isinstance(value, Tensor):
            self._tensor(value, name)
        elif isinstance(value, torch.jit.ScriptModule):
            for key, buffer in value.named_buffers():
                self._walk(buffer, f"{name}.{key}")
        elif isinstance(value, nn.Module):
            self._class(type(value))
            self._attributes(value, name)
        elif isinstance(value, dict | list | set | deque | tuple | frozenset):
            self._container(value, name)
        elif isinstance(value, np.ndarray):
            self._array(value, name)
        elif isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState | random.Random):
            self._generator(value, name)
        elif isinstance(value, FunctionType | MethodType | partial):
            self._function(value, name)
        elif not type(value).__module__.startswith(("torch.", "threading", "_thread", "logging")):
            self._attributes(value, name)

    def _container(self, value: Any, name: str) -> None:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if not isinstance(inner, PLAIN):
                self._walk(inner, f"{name}[{key!r}]" if isinstance(key, str | int) else name)
        if isinstance(value, dict):
            self._dicts.append((name, value, dict(value)))
        elif isinstance(value, list | deque):
            items = list(value)
            self._keep(name, lambda: not _same_items(list(value), items), lambda: _reload(value, items))
        elif isinstance(value, set):
            members = set(value)
            self._keep(name, lambda: value != members, lambda: _reload(value, members))

    def _attributes(self, value: Any, name: str) -> None:
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict):
            before = dict(own)
            self._dicts.append((name, own, before))
            for key, inner in before.items():
                if not isinstance(inner, PLAIN):
                    self._walk(inner, f"{name}.{key}" if name else str(key))
        for key in _slots(type(value)):
            if hasattr(value, key):
                inner = getattr(value, key)
                self._walk(inner, f"{name}.{key}")
                self._keep(f"{name}.{key}", *_attribute(value, key, inner))

    def _class(self, kind: type) -> None:
        """Keep what classes of the caller's hold beside their functions, such as a counter of all their networks."""
        for base in kind.__mro__:
            if base in self._classes or base.__module__.startswith(("torch.", "builtins", "typing")):
                continue
            self._classes.add(base)
            for key, inner in list(vars(base).items()):
                plain = isinstance(inner, int | float | str | list | dict | set | deque | Tensor | type(None))
                if plain and not key.startswith("__"):
                    self._walk(inner, f"{base.__name__}.{key}")
                    self._keep(f"{base.__name__}.{key}", *_attribute(base, key, inner))

    def _tensor(self, t: Tensor, name: str) -> None:
        if is_lazy(t) or t.layout != torch.strided or t.is_meta:
            return
        t_kept = t.detach()
        shape = t.shape
        self._keep(
            name,
            lambda: t.data_ptr() != t_kept.data_ptr() or t.shape != shape,
            lambda: setattr(t, "data", t_kept),
        )
        if isinstance(t, nn.Parameter):
            self._versions.append((t, t._version))  # noqa: SLF001
            self._weight_names.add(name)
            if not self._weights:
                return
        copy = t_kept.clone()
        self._keep(name, lambda: not _equal(t_kept, copy), lambda: _write(t_kept, copy))

    def _array(self, value: Any, name: str) -> None:
        copy = value.copy()
        self._keep(name, lambda: not np.array_equal(value, copy), lambda: np.copyto(value, copy))

    def _generator(self, value: Any, name: str) -> None:
        get, put = _generator_state(value)
        before = get()
        self._keep(name, lambda: not _same_state(get(), before), lambda: put(before))

    def _generators(self) -> None:
        """Keep the generators that belong to nobody; torch's own is kept by `fork_rng`."""
        state, legacy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002 - networks may use the old one
        self._keep("random", lambda: random.getstate() != state, lambda: random.setstate(state))
        self._keep(
            "numpy.random",
            lambda: not _same_state(np.random.get_state(legacy=False), legacy),  # noqa: NPY002
            lambda: np.random.set_state(legacy),  # noqa: NPY002
        )

    def _function(self, value: Any, name: str) -> None:
        """Keep what a caller's hook writes to: what it closes over, or the object whose method it is."""
        if isinstance(value, MethodType):
            self._walk(value.__self__, f"{name}.__self__")
            return
        if isinstance(value, partial):
            for inner in (value.func, *value.args, *value.keywords.values()):
                self._walk(inner, name)
            return
        for free, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            try:
                inner = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            self._walk(inner, f"{name}.{free}")
            if not isinstance(inner, nn.Module):
                self._keep(f"{name}.{free}", *_attribute(cell, "cell_contents", inner))


def without_backward_hooks(module: nn.Module, stack: ExitStack) -> None:
    """Take the caller's hooks of the way back off every module; the stack puts them back."""
    for one in module.modules():
        own = vars(one)
        for name in () if isinstance(one, torch.jit.ScriptModule) else BACKWARD_HOOKS:
            if own.get(name):
                stack.callback(own.update, {key: own[key] for key in (name, "_is_full_backward_hook")})
                own.update({name: type(own[name])(), "_is_full_backward_hook": None})


def _attribute(owner: Any, key: str, before: Any) -> tuple[Callable[[], bool], Undo]:
    return lambda: getattr(owner, key, None) is not before, lambda: setattr(owner, key, before)


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        names = vars(base).get("__slots__", ())
        yield from (n for n in ((names,) if isinstance(names, str) else names) if n not in ("__dict__", "__weakref__"))


def _changed(now: dict[Any, Any], before: dict[Any, Any]) -> list[str]:
    """Return the keys that were added, taken away, or given another value."""
    if len(now) == len(before) and all(k in now and now[k] is v for k, v in before.items()):
        return []
    keys = [k for k, v in before.items() if k not in now or now[k] is not v]
    return [str(k) for k in (*keys, *(k for k in now if k not in before))]


def _same_items(now: list[Any], before: list[Any]) -> bool:
    return len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True))


def _reload(value: Any, before: Any) -> None:
    value.clear()
    value.update(before) if isinstance(value, set) else value.extend(before)


def _equal(now: Tensor, before: Tensor) -> bool:
    return torch.equal(now, before) or bool(((now == before) | (now.isnan() & before.isnan())).all())


def _write(t: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        t.copy_(values)


def _same_state(now: Any, before: Any) -> bool:
    """Return whether two states of a generator are equal, whatever they are made of."""
    if isinstance(now, dict):
        return now.keys() == before.keys() and all(_same_state(now[k], before[k]) for k in now)
    if isinstance(now, tuple | list):
        return len(now) == len(before) and all(map(_same_state, now, before))
    if isinstance(now, Tensor):
        return torch.equal(now, before)
    return bool(np.array_equal(now, before)) if isinstance(now, np.ndarray) else bool(now == before)


def _generator_state(value: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    if isinstance(value, torch.Generator):
        return value.get_state, value.set_state
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return lambda: bits.state, lambda state: setattr(bits, "state", state)
    if isinstance(value, random.Random):
        return value.getstate, value.setstate
    return value.get_state, value.set_state
