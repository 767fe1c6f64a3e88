"""What a caller's own function is made of, as far as its attributes, contents and closures show it."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

#: Objects that are looked at, at most: a transform has a few dozen.
MOST = 5000
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, ModuleType, np.ndarray, BuiltinFunctionType)


def reachable(function: Any) -> Iterator[Any]:
    """Give a function and the objects that it is made of, each once."""
    import torch

    waiting, known = [function], {id(function)}
    while waiting and len(known) < MOST:
        one = waiting.pop(0)
        yield one
        for part in _parts(one):
            if id(part) not in known and not isinstance(part, (*_PLAIN, torch.Tensor)):
                known.add(id(part))
                waiting.append(part)


def random_state(function: Any) -> list[str]:
    """Return the states of all generators that a function may draw from: the three common ones, and its own."""
    import torch

    common = np.random.get_state()  # noqa: NPY002 - the generator that a function may draw from
    states = [repr(random.getstate()), repr(_plain(common)), str(torch.get_rng_state().numpy().tobytes())]
    for one in reachable(function):
        if isinstance(one, np.random.Generator):
            states.append(repr(_plain(one.bit_generator.state)))
        elif isinstance(one, np.random.RandomState):
            states.append(repr(_plain(one.get_state())))
        elif isinstance(one, random.Random):
            states.append(repr(one.getstate()))
        elif isinstance(one, torch.Generator):
            states.append(str(one.get_state().numpy().tobytes()))
    return states


def chances(function: Any) -> list[float]:
    """Return the probabilities, neither 0 nor 1, with which parts of a function say that they act."""
    found = []
    for one in reachable(function):
        for name in ("p", "prob"):
            value = getattr(one, name, None)
            if isinstance(value, float) and 0 < value < 1:
                found.append(value)
    return found


def told(function: Any) -> str:
    """Return what a function says of itself, on one line; where it says nothing, what it is made of."""
    if isinstance(function, FunctionType):
        code = function.__code__
        held = [value for value in _parts(function) if _says(value)]
        return _no_addresses(f"{code.co_code.hex()} {code.co_consts!r} {held!r}")
    own = " ".join(repr(function).split())
    if " object at 0x" not in own and not own.startswith("<bound method"):
        return _no_addresses(own)
    listed = []
    for one in reachable(function):
        if silent(one):
            plain = {k: v for k, v in sorted(getattr(one, "__dict__", {}).items()) if _says(v)}
            listed.append(f"{type(one).__name__}({', '.join(f'{k}={v!r}' for k, v in plain.items())})")
    return _no_addresses(", ".join(listed) or own)


def silent(one: Any) -> bool:
    """Return whether an object's repr says nothing but its class and its address."""
    own: Any = type(one).__repr__
    return own is object.__repr__


def _says(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_says(v) for v in value)
    return isinstance(value, str | int | float | bool)


def _no_addresses(words: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", words)


def _parts(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return list(one.values())
    if isinstance(one, list | tuple | set):
        return list(one)
    if isinstance(one, FunctionType):
        named = [one.__globals__[n] for n in one.__code__.co_names if n in one.__globals__]
        return [*(_content(cell) for cell in one.__closure__ or ()), *(one.__defaults__ or ()), *named]
    if isinstance(one, MethodType):
        return [one.__self__, one.__func__]
    if isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    return list(getattr(one, "__dict__", {}).values())


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _plain(state: Any) -> Any:
    """Return a state whose repr tells all of it."""
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, dict):
        return {k: _plain(v) for k, v in state.items()}
    return tuple(_plain(v) for v in state) if isinstance(state, tuple) else state
