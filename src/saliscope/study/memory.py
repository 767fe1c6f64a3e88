"""Whether a network's graph fits, asked before it is built: a clear refusal instead of a killed process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Method
from saliscope.model.layers import LayerRun

if TYPE_CHECKING:
    import torch

#: A graph keeps about every output of every layer; in-place operations and those that keep nothing save up to half.
KEPT = 0.5
GIB = 2**30


def check_room(methods: Mapping[str, Method], runs: Sequence[LayerRun], device: torch.device, itemsize: int) -> None:
    """Raise MethodError for a method whose gradient at the input needs more memory than is free.

    What is needed for one image is estimated from the outputs of all layers; where what is free is not known, nothing
    is refused.
    """
    asking = [name for name, method in methods.items() if needs_graph_of_all(method)]
    free = free_bytes(device)
    if not asking or free is None:
        return
    inner = {r.name.partition("#")[0].rpartition(".")[0] for r in runs}
    leaves = [r for r in runs[:-1] if r.name.partition("#")[0] not in inner]
    needed = KEPT * itemsize * sum(prod(r.shape) for r in leaves)
    if needed > free:
        raise MethodError(
            f"{', '.join(asking)} on a view of {runs[0].shape[2:]}, which needs at least {needed / GIB:.0f} GiB",
            expected=f"at most the {free / GIB:.0f} GiB that are free",
            do="Use a CAM method or occlusion, a coarser view, or a device with more memory",
        )


def needs_graph_of_all(method: Method) -> bool:
    """Return whether a method follows the gradient back to the input."""
    return method.traits.family in ("gradient", "path") or getattr(method, "layer", "") == INPUT


def free_bytes(device: torch.device) -> int | None:
    """Return how much memory is free on a device, or None where nobody says."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
