"""From a network's output to what it says: logits, probabilities, and the operating thresholds beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saliscope.core.prediction import Prediction, around
from saliscope.core.target import LogitTarget, OutputKind

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def predictions_of(
    output: Tensor, labels: tuple[str, ...], kind: OutputKind, limits: Sequence[float | None], *, rescaled: bool
) -> list[Prediction]:
    """Return what an output (N, ...) says of each image; `rescaled` adds each probability on the card's own scale."""
    logits = LogitTarget(tuple(range(len(labels))), labels, kind).scores(output.float()).detach()
    thresholds = tuple(limits) or (None,) * len(labels)
    shares = _probabilities(output.float().detach(), logits, kind)
    said = []
    for n, row in enumerate(logits):
        share = None if shares is None else _floats(shares[n])
        own: tuple[float | None, ...] = ()
        if rescaled and share is not None:
            own = tuple(None if t is None else around(p, t) for p, t in zip(share, thresholds, strict=True))
        said.append(Prediction(labels, _floats(row), share, kind, thresholds, own))
    return said


def _probabilities(output: Tensor, logits: Tensor, kind: OutputKind) -> Tensor | None:
    import torch

    if kind == "multi-class":
        return logits.softmax(1)
    if kind in ("multi-label", "binary"):
        return logits.sigmoid()
    if kind == "segmentation":
        flat = output.flatten(2)
        if flat.shape[1] == 1:
            return (flat > 0).float().mean(2)
        winners = flat.argmax(1)
        return torch.stack([(winners == c).float().mean(1) for c in range(flat.shape[1])], dim=1)
    return None


def _floats(row: torch.Tensor) -> tuple[float, ...]:
    return tuple(float(v) for v in row)
