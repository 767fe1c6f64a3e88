"""Enough to make a map again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """Digests of image, weights and view; the method with all its fields; target, layer, versions and device.

    `warning` is what the network's card says to everybody who uses it; `viewing` the steps of the view as plain data,
    from which it can be made again.
    """

    image: str
    weights: str
    view: str
    model: str
    method: str
    fields: Mapping[str, Any]
    target: str
    layer: str | None
    layer_reason: str | None
    versions: Mapping[str, str]
    device: str
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    view_steps: tuple[str, ...] = ()
    warning: str = ""
    viewing: Mapping[str, Any] = field(default_factory=dict)
