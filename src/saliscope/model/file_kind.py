"""What kind of file one is, by its first bytes and an archive's list of names; nothing in it is unpickled."""

from __future__ import annotations

import shlex
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

from saliscope.core.errors import WeightsError

FileKind = Literal[
    "safetensors",
    "archive",
    "script",
    "exported",
    "hdf5",
    "keras",
    "onnx",
    "pickle",
    "zip",
    "part",
    "numpy",
    "tar",
    "empty",
    "pointer",
    "page",
    "text",
    "unknown",
]
#: What each kind is called in a sentence.
WORDS: dict[FileKind, str] = {
    "safetensors": "a safetensors file",
    "archive": "a checkpoint of torch",
    "script": "a TorchScript program",
    "exported": "a program of torch.export",
    "hdf5": "an HDF5 file (Keras)",
    "keras": "a Keras archive",
    "onnx": "an ONNX file",
    "pickle": "a pickle (torch before 1.6)",
    "zip": "a zip archive without a state dict",
    "part": "a zip archive that was cut off",
    "numpy": "a NumPy array",
    "tar": "a tar archive (torch before 0.1.10)",
    "empty": "an empty file",
    "pointer": "a pointer of Git LFS and not the file itself",
    "page": "a web page and not the file itself",
    "text": "a text and no file of torch's",
    "unknown": "no file of torch's",
}
#: Kinds that may hold a network's weights, so that `saliscope model init` can look for them.
OF_WEIGHTS: frozenset[FileKind] = frozenset({"safetensors", "archive", "script", "hdf5", "keras", "onnx", "pickle"})
#: Kinds that are what is left of a file, or stand in its place.
NOT_WHOLE: frozenset[FileKind] = frozenset({"part", "empty", "pointer", "page"})
_HEAD = 1024


def file_kind(path: Path) -> FileKind:
    """Return the kind of a file; raises WeightsError where it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"weights {path}: {error.strerror}", expected="a file", do="Correct the path") from error
    if zipfile.is_zipfile(path):
        return _of_zip(path)
    if head.startswith(b"\x89HDF"):
        return "hdf5"
    if head.startswith(b"\x93NUMPY"):
        return "numpy"
    if head.startswith(b"PK\x03\x04"):
        return "part"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < max(size, 2**27):
        return "safetensors"
    if head.startswith(b"\x80"):
        return "pickle"
    # A model of ONNX begins with its version, a small number, and mostly with the name of what wrote it.
    if head[:1] == b"\x08" and len(head) > 2 and 0 < head[1] < 32 and (path.suffix == ".onnx" or head[2] == 0x12):
        return "onnx"
    if not size:
        return "empty"
    return "tar" if tarfile.is_tarfile(path) else _of_text(head)


def init_command(path: Path) -> str:
    """Return the command that writes a card for a weights file."""
    return f"saliscope model init {shlex.quote(str(path))}"


def _of_zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "part"
    last = {name.rpartition("/")[2] for name in names}
    if "model.weights.h5" in last and "config.json" in last:
        return "keras"
    if "constants.pkl" in last or any("/code/" in name for name in names):
        return "script"
    if {"archive_format", "serialized_exported_program.json"} & last:
        return "exported"
    return "archive" if "data.pkl" in last else "zip"


def _of_text(head: bytes) -> FileKind:
    try:
        # The last character may be cut in two.
        text = head.decode("utf-8", "strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return "unknown"
    if text.startswith("version https://git-lfs"):
        return "pointer"
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return "page"
    return "text" if text.isprintable() or not any(c < " " and c not in "\t\r\n\f" for c in text) else "unknown"
