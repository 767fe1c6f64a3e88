"""Gradients of scores at the layers that one or several probes watch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saliscope.core.errors import LayerError, ModelError

if TYPE_CHECKING:
    from saliscope.model.probe import Counts, Probed


def slopes(probes: Sequence[Probed], scores: Tensor, counts: Counts) -> Iterator[Mapping[str, Tensor]]:
    """Yield for each of K score columns (N, K) of some probes the gradient (N, C, *S') at every watched layer.

    Raises LayerError when the scores do not depend on a layer, and ModelError where torch has no way back.
    """
    keys = list(probes[0].roots)
    roots = [root for p in probes for k in keys for root in p.roots[k]]
    count = scores.shape[1]
    if not scores.requires_grad:
        raise _independent(keys)
    for k in range(count):
        counts.backward_passes += 1
        with torch.enable_grad():  # the caller may iterate under no_grad
            score = scores[:, k].sum()
        try:
            grads = torch.autograd.grad(score, roots, retain_graph=k < count - 1, allow_unused=True)
        except RuntimeError as error:
            raise _no_way_back(error) from error
        given = iter(grads)
        laid_out: dict[str, list[Tensor]] = {key: [] for key in keys}
        for probe in probes:
            for key in keys:
                laid_out[key].append(probe.laid_out(key, _of_runs(key, probe.roots[key], given)))
        yield {key: several[0] if len(several) == 1 else torch.cat(several) for key, several in laid_out.items()}


def _of_runs(key: str, roots: Sequence[Tensor], given: Iterator[Tensor | None]) -> list[Tensor]:
    """Return the next gradients for the runs of a layer; a run on which nothing depends has none, and gets zeros."""
    own = list(islice(given, len(roots)))
    if all(g is None for g in own):
        raise _independent([key])
    return [torch.zeros_like(root) if g is None else g for root, g in zip(roots, own, strict=True)]


def read_by(probes: Sequence[Probed], scores: Tensor, counts: Counts) -> Mapping[str, bool]:
    """Return for every watched layer whether each of K score columns (N, K) of some probes has a gradient there."""
    keys = list(probes[0].roots)
    if not scores.requires_grad:
        return dict.fromkeys(keys, False)
    owners = [k for p in probes for k in keys for _ in p.roots[k]]
    roots = [root for p in probes for k in keys for root in p.roots[k]]
    read = dict.fromkeys(keys, True)
    for k in range(scores.shape[1]):
        counts.backward_passes += 1
        with torch.enable_grad():
            score = scores[:, k].sum()
        grads = torch.autograd.grad(score, roots, retain_graph=k < scores.shape[1] - 1, allow_unused=True)
        for key in keys:
            own = [g for g, owner in zip(grads, owners, strict=True) if owner == key]
            read[key] &= any(g is not None and bool(g.any()) for g in own)
    return read


def _no_way_back(error: RuntimeError) -> ModelError:
    first = (str(error).strip().splitlines() or ["no reason given"])[0]
    return ModelError(
        f"a network whose gradient torch cannot give ({first})",
        expected="operations through which gradients pass",
        do="Use occlusion or rise, which need no gradient, or replace the operation",
    )


def _independent(layers: Sequence[str]) -> LayerError:
    return LayerError(
        f"a target that does not depend on {', '.join(repr(k) for k in layers)}",
        expected="a layer between the input and the target",
        do="Choose another layer; a network that runs under torch.no_grad() cannot be explained by gradients",
    )
