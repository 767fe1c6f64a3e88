"""Weights without code: safetensors, or a state dict by the restricted unpickler; anything else is refused."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.core.errors import WeightsError, printable

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Where training scripts put the state dict inside a checkpoint.
NESTED = ("state_dict", "model_state_dict", "model", "net")
CONVERT = (
    "Load it where you trust it, then store its state dict: "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; raises WeightsError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"weights {path}: {error.strerror}", expected="a file", do="Correct the path") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a file by name, on the CPU, without ever running what is in the file.

    Raises WeightsError for a file of another kind, a broken one, and one that holds more than tensors.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    _refuse_other_kinds(path)
    import torch

    try:
        # The restricted unpickler builds tensors and containers only. There is no second try without it.
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"weights {path.name} are not a plain state dict ({first})",
            expected="tensors by name and nothing that runs",
            do=CONVERT,
        ) from error
    return _tensors(found, path)


def fill(module: nn.Module, state: Mapping[str, Tensor], prefix: str = "", source: str = "the weights") -> None:
    """Copy a state dict into a module, after `prefix` is taken off every key.

    Raises WeightsError that names what is missing, not known, of another shape, or not finite.
    """
    if prefix:
        _require(not [k for k in state if not k.startswith(prefix)], source, f"keys without the prefix {prefix!r}", "")
    given = {key[len(prefix) :]: value for key, value in state.items()}
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


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        # The library takes paths in UTF-8 only; bytes have no name.
        return load_file(path) if str(path) == printable(str(path)) else load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"weights {path.name}: {error}", expected="a whole safetensors file", do="Fetch or write it again"
        ) from error


def _refuse_other_kinds(path: Path) -> None:
    """Look at the first bytes, not at the name, and refuse what is no state dict before anything parses it."""
    with path.open("rb") as file:
        head = file.read(16)
    kind = ""
    if zipfile.is_zipfile(path):
        try:
            names = zipfile.ZipFile(path).namelist()
        except zipfile.BadZipFile:
            names = []
        last = {name.rpartition("/")[2] for name in names}
        if "constants.pkl" in last or any("/code/" in name for name in names):
            kind = "a TorchScript program"
        elif "data.pkl" not in last:
            kind = "a zip archive without a state dict"
    elif head.startswith(b"\x89HDF"):
        kind = "an HDF5 file (Keras)"
    elif head.startswith(b"\x93NUMPY"):
        kind = "a NumPy array"
    elif tarfile.is_tarfile(path):
        kind = "a tar archive (torch before 0.1.10)"
    elif not head.startswith(b"\x80"):
        kind = "no file of torch's"
    if kind:
        raise WeightsError(
            f"weights {path.name} are {kind}", expected="safetensors or a state dict (.pt, .pth)", do=CONVERT
        )


def _tensors(found: object, path: Path) -> dict[str, Tensor]:
    from torch import Tensor

    inner = next((found[k] for k in NESTED if isinstance(found.get(k), dict)), found) if isinstance(found, dict) else {}
    if not inner or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in inner.items()):
        raise WeightsError(
            f"weights {path.name} hold {type(found).__name__} and not tensors by name",
            expected="a state dict, or one under " + ", ".join(NESTED),
            do=CONVERT,
        )
    return dict(inner)


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
