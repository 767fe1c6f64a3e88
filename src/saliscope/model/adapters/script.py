"""A TorchScript program as a network: its operations are run by torch, so that whoever loads it must trust it."""

from __future__ import annotations

from pathlib import Path

from saliscope.core.errors import WeightsError
from saliscope.core.target import OutputKind
from saliscope.model.adapters.wired import Carried

NOTE = "The network is a TorchScript program: its layers cannot be watched, so only methods that explain the input run."


def load_script(path: Path, _kind: OutputKind, _output: str | int | None = None) -> Carried:
    """Return the network of a TorchScript file; raises WeightsError where torch cannot read it."""
    import torch

    try:
        module = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{path.name} cannot be read as TorchScript ({first})", expected="a whole file", do="Export it again"
        ) from error
    return Carried(module, (NOTE,))
