"""Whether a network's graph fits, asked before it is built: a clear refusal instead of a killed process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.nesting import is_method
from saliscope.core.protocols import INPUT, Method
from saliscope.methods.cam.layercam_fusion import LayerCAMFusion
from saliscope.methods.combine.fused import Fused
from saliscope.methods.combine.guided import Guided
from saliscope.methods.combine.tiled import Tiled
from saliscope.methods.perturbation.extremal_perturbation import ExtremalPerturbation
from saliscope.methods.perturbation.meaningful_perturbation import MeaningfulPerturbation
from saliscope.model.layers import LayerRun

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: A graph keeps about every output of every layer; in-place operations and those that keep nothing save up to half.
KEPT = 0.5
GIB = 2**30


def check_room(
    methods: Mapping[str, Method],
    runs: Sequence[LayerRun],
    x: Tensor,
) -> None:
    """Raise MethodError for a method whose gradient at the input needs more memory than is free.

    What is needed for the batch x (N, C, *S), which goes through the network together, is estimated from the outputs
    of all layers for one image; where what is free is not known, nothing is refused.
    """
    shape, device = x.shape[2:], x.device
    shares = {name: graph_share(method, shape) for name, method in methods.items()}
    free = free_bytes(device)
    if not any(shares.values()) or free is None:
        return
    inner = {r.name.partition("#")[0].rpartition(".")[0] for r in runs}
    leaves = [r for r in runs[:-1] if r.count == 1 and r.name.partition("#")[0] not in inner]
    whole = KEPT * len(x) * x.element_size() * sum(prod(r.shape) for r in leaves)
    too_large = [name for name, share in shares.items() if share * whole > free]
    if too_large:
        needed = whole * max(shares[name] for name in too_large)
        images, fewer = ("a view", "") if len(x) == 1 else (f"{len(x)} views", "fewer images at once, ")
        raise MethodError(
            f"{', '.join(too_large)} on {images} of {tuple(shape)}, which needs at least {needed / GIB:.0f} GiB",
            expected=f"at most the {free / GIB:.0f} GiB that are free",
            do=f"Use {fewer}a CAM method or occlusion, the method tile by tile (tiled, small tiles), a coarser view, "
            "or a device with more memory",
        )


def graph_share(method: Method, shape: Sequence[int]) -> float:
    """Return which share of an image's graph to the input a method keeps at once: of a tiled one that of a tile."""
    values = [getattr(method, f.name) for f in fields(method)]  # type: ignore[arg-type]
    parts = [v for value in values for v in (value if isinstance(value, tuple) else (value,)) if is_method(v)]
    within = max((graph_share(part, shape) for part in parts), default=0.0)
    if isinstance(method, Tiled):
        return within * prod(method.tile_of(shape)) / prod(shape)
    return max(within, float(needs_graph_of_all(method)))


def needs_graph_of_all(method: Method) -> bool:
    """Return whether a method follows the gradient back to the input."""
    follows = method.traits.family in ("gradient", "path", "propagation") or getattr(method, "layer", "") == INPUT
    # From its shallowest layer on, a method of several layers keeps nearly all.
    from_the_first = isinstance(method, Fused | LayerCAMFusion) and method.layers == "auto"
    return follows or from_the_first or isinstance(method, Guided | MeaningfulPerturbation | ExtremalPerturbation)


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
