"""What a Keras HDF5 file says: the network's description and its arrays. Read, never run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import SaliscopeError, WeightsError
from saliscope.model.adapters.library import imported

Array = npt.NDArray[np.float32]
#: 2 GiB of float32: more than any network that this adapter knows.
MOST_ELEMENTS = 2**29
MOST_DESCRIPTION = 2**26
#: Filters that HDF5 brings itself: deflate, shuffle, Fletcher-32, LZF. Any other would load a plugin.
FILTERS = frozenset({1, 2, 3, 32000})
CONVERT = "Save it as HDF5 where you trust it: model.save('model.h5')"


@dataclass(frozen=True, eq=False)
class KerasFile:
    """The description of a network, its arrays by layer and name, such as arrays["conv2d"]["kernel"]."""

    name: str
    description: Mapping[str, Any]
    arrays: Mapping[str, Mapping[str, Array]]


def read_keras(path: Path) -> KerasFile:
    """Return what a Keras HDF5 file says; raises WeightsError for another file, a broken one and a hostile one."""
    h5py = imported("h5py", "keras", f"the Keras file {path.name}")
    with path.open("rb") as head:
        if not head.read(4).startswith(b"\x89HDF"):
            raise WeightsError(f"{path.name} is no HDF5 file", expected="a Keras .h5 file", do=CONVERT)
    with _guarded(path), h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
        if text is None or "model_weights" not in file:
            raise WeightsError(
                f"{path.name} holds no whole Keras model", expected="model_config and model_weights", do=CONVERT
            )
        if len(text) > MOST_DESCRIPTION:
            raise WeightsError(f"{path.name} describes its model in {len(text):,} letters", do="Take another file")
        description = json.loads(text)
        weights = _followed(h5py, file, "model_weights", path)
        return KerasFile(path.name, description, _arrays(h5py, weights, path))


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except SaliscopeError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{path.name} cannot be read as Keras HDF5 ({type(error).__name__}: {error})",
            expected="a whole file",
            do=CONVERT,
        ) from error


def _arrays(h5py: Any, weights: Any, path: Path) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    left = MOST_ELEMENTS
    for layer in weights:
        group = _followed(h5py, weights, layer, path)
        for name in _names(group, "weight_names"):
            data = _followed(h5py, group, name, path)
            _check_dataset(h5py, data, f"{layer}/{name}", path)
            left -= prod(data.shape)
            if left < 0:
                raise WeightsError(
                    f"{path.name} claims more than {MOST_ELEMENTS:,} numbers", expected="a smaller file", do=CONVERT
                )
            last = name.rpartition("/")[2].partition(":")[0]
            found.setdefault(layer, {})[last] = np.asarray(data[()], dtype=np.float32)
    for layer, arrays in found.items():
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                raise WeightsError(
                    f"{path.name} has values that are not finite in {layer}/{name}", do="Take another epoch's file"
                )
    return found


def _names(group: Any, key: str) -> list[str]:
    """Return the names that Keras keeps as an attribute, in pieces key0, key1 ... where they are many."""
    pieces = [group.attrs[key]] if key in group.attrs else []
    while f"{key}{len(pieces)}" in group.attrs and key not in group.attrs:
        pieces.append(group.attrs[f"{key}{len(pieces)}"])
    return [n.decode() if isinstance(n, bytes) else str(n) for piece in pieces for n in piece]


def _followed(h5py: Any, group: Any, name: str, path: Path) -> Any:
    """Return what lies at a name; a link that leads anywhere else is refused."""
    for part in name.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise WeightsError(
                f"{path.name} has {name!r} missing or as a link", expected="arrays inside the file", do=CONVERT
            )
        group = group[part]
    return group


def _check_dataset(h5py: Any, data: Any, name: str, path: Path) -> None:
    if not isinstance(data, h5py.Dataset) or data.dtype.kind != "f" or data.shape is None:
        raise WeightsError(f"{path.name}: {name} is no array of floating numbers", do=CONVERT)
    created = data.id.get_create_plist()
    filters = {created.get_filter(i)[0] for i in range(created.get_nfilters())}
    if data.external or data.is_virtual or filters - FILTERS:
        raise WeightsError(
            f"{path.name}: {name} lies in another file or behind a filter of its own",
            expected="plain arrays inside the file",
            do=CONVERT,
        )
