"""What this machine has of what is needed: codecs, torch, a GPU, room and rights."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from saliscope.study.importing import failures

State = Literal["ok", "note", "missing", "broken"]

#: The newest release of torch that the whole suite was run against.
TESTED_TORCH = "2.13"

#: Transfer syntaxes by the name users know, and the packages that decode them.
SYNTAXES = {
    "JPEG baseline and extended": "JPEGExtended12Bit",
    "JPEG lossless": "JPEGLosslessSV1",
    "JPEG-LS": "JPEGLSLossless",
    "JPEG 2000": "JPEG2000Lossless",
    "RLE": "RLELossless",
}

#: Libraries that some things ask for: their package, the extra that brings it, and these things.
LIBRARIES = {
    "MONAI": ("monai", "monai", "bundles and cards whose architecture is monai.networks.nets.*"),
    "Keras HDF5": ("h5py", "keras", 'cards whose architecture is "keras"'),
    "ONNX": ("onnx", "onnx", 'cards whose architecture is "onnx"'),
    "torchvision": ("torchvision", "torchvision", "cards whose architecture is torchvision.models.*"),
    "timm": ("timm", "timm", "cards whose architecture is timm.*"),
    "torchxrayvision": ("torchxrayvision", "xrv", "cards whose architecture is torchxrayvision.*"),
    "pynetdicom": ("pynetdicom", "pacs", "saliscope pacs"),
}

#: Those that are built for one release of torch, or that import one that is.
COMPILED = ("torchvision", "timm", "torchxrayvision", "monai")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: "ok", worth a "note", "missing", or "broken" (there, and not usable)."""

    what: str
    state: State
    detail: str
    do: str = ""


def findings() -> list[Finding]:
    """Return everything that was looked at, in order."""
    looks = (_python, _torch, _gpu, _codecs, _optional, _writing, _room, _data, _kept)
    return [found for look in looks for found in _looked(look)]


def _looked(look: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    """Return what one look finds; a library that breaks under it is what it finds."""
    try:
        found = look()
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises is told
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        found = Finding(look.__name__.strip("_"), "broken", first, "pip install --force-reinstall saliscope")
    return found if isinstance(found, list) else [found]


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _torch() -> Finding:
    import torch

    built = "CPU build" if torch.version.cuda is None else f"CUDA {torch.version.cuda} build"
    detail = f"{torch.__version__}, {built}, {torch.get_num_threads()} threads"
    if newer(torch.__version__, TESTED_TORCH):
        note = "Where something fails that an older torch does, tell us, and pin torch until then"
        return Finding("torch", "note", f"{detail}; newer than the newest that was tested, {TESTED_TORCH}", note)
    return Finding("torch", "ok", detail)


def newer(version: str, tested: str) -> bool:
    """Return whether a version is of a later minor release than the one tested."""
    numbers = [tuple(int(n) for n in re.findall(r"\d+", text)[:2]) for text in (version, tested)]
    return numbers[0] > numbers[1]


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding("GPU", "ok", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB (--device cuda)")
    return Finding("GPU", "note", "none that torch can use; everything runs on the CPU")


def _codecs() -> list[Finding]:
    from pydicom import uid
    from pydicom.pixels.decoders.base import get_decoder

    found = []
    for name, keyword in SYNTAXES.items():
        decoder = get_decoder(getattr(uid, keyword))
        if decoder.is_available:
            found.append(Finding(f"codec {name}", "ok", ", ".join(decoder.available_plugins)))
        else:
            what = "; ".join(decoder.missing_dependencies) or "no plugin"
            found.append(Finding(f"codec {name}", "missing", what, "pip install --force-reinstall saliscope"))
    return found


def _optional() -> list[Finding]:
    """Return what the extras bring, each imported in a process of its own: installed is not yet importable."""
    there: dict[str, str] = {}
    for package, _, _ in LIBRARIES.values():
        with suppress(PackageNotFoundError):
            there[package] = version(package)
    reasons = failures(tuple(there))
    found = []
    for name, (package, extra, cards) in LIBRARIES.items():
        if package not in there:
            found.append(Finding(name, "note", "not installed", f"pip install 'saliscope[{extra}]' for {cards}"))
        elif package in reasons:
            detail = f"{there[package]}: cannot be imported ({reasons[package]})"
            advice = f"Install the build that matches torch: pip install --force-reinstall --no-deps {package}"
            found.append(Finding(name, "broken", detail, advice if package in COMPILED else f"Install {package} again"))
        else:
            found.append(Finding(name, "ok", there[package]))
    return found


def _writing() -> Finding:
    folder = Path.cwd()
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return Finding("writing here", "ok", "a file could be written in the current folder")
    except OSError as error:
        return Finding("writing here", "note", f"{error.strerror}", "Give --out a folder where you may write")


def _room() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    state: State = "ok" if free > 1 else "note"
    return Finding("disk", state, f"{free:.1f} GiB free here")


def _kept() -> Finding:
    from saliscope.model.adapters.hub import folder

    return Finding("fetched weights", "ok", f"kept in {folder()} (SALISCOPE_CACHE)")


def _data() -> Finding:
    folder = os.environ.get("SALISCOPE_DATA")
    if folder and Path(folder).is_dir():
        return Finding("SALISCOPE_DATA", "ok", "set, and a folder")
    detail = "set, but not a folder" if folder else "not set; only cards whose weights lie there need it"
    return Finding("SALISCOPE_DATA", "note", detail)
