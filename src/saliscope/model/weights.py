"""Weights without code: safetensors, or a state dict by the restricted unpickler; anything else is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.core.errors import WeightsError
from saliscope.model.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Modules that wrap others anywhere in a network and are no part of it.
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; raises WeightsError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"weights {path}: {error.strerror}", expected="a file", do="Correct the path") from error


def read_state(path: Path, place: str | None = None) -> dict[str, Tensor]:
    """Return the state dict of a file by name, on the CPU, without ever running what is in the file.

    `place` says where in a checkpoint it lies, such as "ema/model"; None takes the surest.
    Raises WeightsError for a file of another kind, a broken one, and one that holds no tensors by name.
    """
    return read_checkpoint(path, place).state


def named(
    state: Mapping[str, Tensor],
    prefix: str = "",
    source: str = "the weights",
    *,
    rename: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Return a state dict under the names that the architecture gives it.

    Keys that begin with one of `ignore` are left out; a beginning that `rename` knows is replaced; of every other key
    `prefix` is taken off. What torch.compile, FSDP and checkpointing put into names goes unasked.
    Raises WeightsError for a key without the prefix, and for two keys that become one.
    """
    prefix, found = _unwrapped(prefix), {}
    changed = {_unwrapped(old): new for old, new in (rename or {}).items()}
    for whole, value in state.items():
        key = _unwrapped(whole)
        if key.startswith(tuple(_unwrapped(begin) for begin in ignore)):
            continue
        old = next((begin for begin in changed if key.startswith(begin)), None)
        if old is None:
            _require(key.startswith(prefix), source, f"keys without the prefix {prefix!r}", "")
        own = key[len(prefix) :] if old is None else changed[old] + key[len(old) :]
        _require(own not in found, source, f"two arrays for {own}", "Correct prefix and rename in the card")
        found[own] = value
    return found


def fill(module: nn.Module, given: Mapping[str, Tensor], source: str = "the weights") -> None:
    """Copy a state dict under the module's own names into it.

    Raises WeightsError that names what is missing, not known, of another shape, or not finite.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in given and not k.endswith("num_batches_tracked")]
    unknown = [k for k in given if k not in own]
    _require(not missing and not unknown, source, _difference(missing, unknown), _advice(own, given))
    shapes = [
        f"{k} {tuple(given[k].shape)}, not {tuple(own[k].shape)}" for k in given if given[k].shape != own[k].shape
    ]
    _require(not shapes, source, f"other shapes: {_few(shapes)}", "Correct the card's arguments")
    broken = [k for k, v in given.items() if v.is_floating_point() and not bool(v.isfinite().all())]
    _require(not broken, source, f"values that are not finite in {_few(broken)}", "Take the weights of another epoch")
    module.load_state_dict(given, strict=False)


def _unwrapped(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _require(fine: bool, source: str, got: str, do: str) -> None:
    if not fine:
        raise WeightsError(f"{source} do not fit the architecture: {got}", do=do or "Correct the card's prefix")


def _difference(missing: list[str], unknown: list[str]) -> str:
    parts = [(f"{len(m)} {word} ({_few(m)})") for word, m in (("missing", missing), ("not known", unknown)) if m]
    return "; ".join(parts)


def _advice(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Return what to do: a prefix where that is all that differs."""
    for key in own:
        ends = [k[: -len(key)] for k in given if k.endswith(key) and k != key]
        if ends and all(k.startswith(ends[0]) for k in given):
            return f"Every key begins with {ends[0]!r}: say prefix = {ends[0]!r} in the card"
    return "Correct the card's architecture and arguments, or take the weights that belong to it"


def _few(names: Iterable[str], most: int = 4) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
