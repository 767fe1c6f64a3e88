"""A network's weights by name, wherever a trainer put them in its file, read without running anything of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import WeightsError, printable
from saliscope.model.file_kind import NOT_WHOLE, WORDS, FileKind, file_kind, init_command
from saliscope.model.torch_archive import Inert, read_archive

if TYPE_CHECKING:
    from torch import Tensor

#: Where training scripts put the state dict inside a checkpoint, the surest first.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
#: Beginnings of entries that hold tensors by name and no network's weights.
NOT_WEIGHTS = ("optim", "scheduler", "lr_sched", "scaler", "loops", "callbacks", "grad", "rng", "history", "metric")
CONVERT = (
    "Load it where you trust it, then store its state dict: "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
_DEEPEST = 5


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file of torch's holds: `state` at `place` ("" at its top, "a/b" inside), and what lies beside it.

    `others` are places of further state dicts; `foreign` the classes and functions that were not built; `beside` the
    file's other values.
    """

    kind: FileKind
    state: dict[str, Tensor]
    place: str = ""
    others: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path, place: str | None = None) -> Checkpoint:
    """Return the weights of a file, on the CPU, and where in it they lie; `place` names one of several.

    Raises WeightsError for a file of another kind, a broken one, a pickled module, and one without tensors by name.
    """
    # A name that ends so is read so: the first bytes of a broken one may say anything.
    kind = "safetensors" if path.suffix == ".safetensors" else file_kind(path)
    if kind == "safetensors":
        return Checkpoint(kind, _read_safetensors(path))
    if kind not in ("archive", "script", "pickle"):
        raise WeightsError(
            f"weights {path.name} are {WORDS[kind]}",
            expected="safetensors or a state dict (.pt, .pth)",
            do="Fetch or write it again" if kind in NOT_WHOLE else CONVERT,
        )
    if kind == "script":
        found, foreign = read_archive(path)
        return Checkpoint(kind, dict(_attributes(found)), foreign=tuple(foreign))
    found, foreign = _unpickled(path, kind)
    held = dict(_state_dicts(found))
    if not held:
        raise _without_state(found, path)
    wanted = min(held, key=lambda at: _order(at, held)) if place is None else place
    if wanted not in held:
        raise WeightsError(
            f"weights {path.name} hold no tensors by name at {wanted!r}",
            expected=" or ".join(map(repr, held)),
            do="Correct state_key in the card",
        )
    beside = found if isinstance(found, dict) and wanted else {}
    others = tuple(at for at in held if at != wanted)
    return Checkpoint(kind, dict(held[wanted]), wanted, others, tuple(foreign), beside)


def _unpickled(path: Path, kind: FileKind) -> tuple[object, list[str]]:
    """Return what a file holds by torch's restricted unpickler, else by one that builds no object but tensors."""
    import torch

    try:
        # The restricted unpickler builds tensors and containers only. There is no second try that builds more.
        return torch.load(path, map_location="cpu", weights_only=True), []
    except Exception as error:
        if kind == "archive":
            return read_archive(path)
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"weights {path.name} are not a plain state dict ({first})",
            expected="tensors by name and nothing that runs",
            do=CONVERT,
        ) from error


def _state_dicts(found: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Give the place and the entries of every dict that holds tensors by name and nothing else."""
    from torch import Tensor

    if not isinstance(found, dict) or depth > _DEEPEST or not found:
        return
    if all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        yield place, found
        return
    for key, value in found.items():
        if isinstance(key, str) and not key.lower().startswith(NOT_WEIGHTS):
            yield from _state_dicts(value, f"{place}/{key}" if place else key, depth + 1)


def _order(place: str, held: Mapping[str, Mapping[str, Tensor]]) -> tuple[int, int, int]:
    """Return how surely a place holds the network's own weights: the least is the surest."""
    names = place.split("/")
    known = NESTED.index(names[-1]) if names[-1] in NESTED else len(NESTED)
    # A copy that follows the weights, a teacher or a second network is named for it.
    copy = any(n not in NESTED for n in names)
    return int(copy), known, -sum(v.numel() for v in held[place].values())


def _attributes(found: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Give the tensors of a script's modules by their dotted names."""
    from torch import Tensor

    for key, value in found.state.items() if isinstance(found, Inert) else ():
        if isinstance(value, Tensor):
            yield f"{name}{key}", value
        else:
            yield from _attributes(value, f"{name}{key}.")


def _without_state(found: object, path: Path) -> WeightsError:
    """Return the refusal of what holds no state dict: a pickled module with the way to store its state dict."""
    module, at = _module_in(found)
    if module is None:
        held = module_name(found)
        return WeightsError(
            f"weights {path.name} hold {held} and not tensors by name",
            expected="a state dict, or one inside, such as under " + ", ".join(NESTED[:4]),
            do=CONVERT,
        )
    stored = path.with_name(f"{path.stem}-state.pt")
    lines = f"import torch; m = torch.load({str(path)!r}, map_location='cpu', weights_only=False){at}; "
    lines += f"torch.save(m.state_dict(), {str(stored)!r})"
    return WeightsError(
        f"weights {path.name} are a pickled module ({module.kind}), and unpickling one runs its code",
        expected="a state dict",
        do=f"Where you trust the file and have its code, store its state dict: python -c {_quoted(lines)}; "
        f"then {init_command(stored)}",
    )


def _quoted(program: str) -> str:
    """Return a program as one word of a shell, in double quotes where these are enough: its own are single ones."""
    return shlex.quote(program) if set(program) & set('"$`\\!') else f'"{program}"'


def _module_in(found: object) -> tuple[Inert | None, str]:
    """Return the pickled module that a file holds, and how it is reached."""
    values = [("", found), *((f"[{k!r}]", v) for k, v in (found.items() if isinstance(found, dict) else ()))]
    return next(((v, at) for at, v in values if isinstance(v, Inert) and "_modules" in v.state), (None, ""))


def module_name(found: object) -> str:
    """Return what an unpickled value is called."""
    return found.kind if isinstance(found, Inert) else type(found).__name__


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        # The library takes paths in UTF-8 only; bytes have no name.
        return load_file(path) if str(path) == printable(str(path)) else load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        kind = file_kind(path) if path.is_file() else "unknown"
        what = f"they are {WORDS[kind]}" if kind in NOT_WHOLE else str(error)
        raise WeightsError(
            f"weights {path.name}: {what}", expected="a whole safetensors file", do="Fetch or write it again"
        ) from error
