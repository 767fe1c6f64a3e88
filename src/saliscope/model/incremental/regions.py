"""Which cells of each map a window changes: along each axis a first and a last cell for each place of the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saliscope.model.incremental.graph import Graph, Step
from saliscope.model.incremental.patches import Corners
from saliscope.model.incremental.rules import Join, Local, Rule, Sliding

Ends = NDArray[np.int64]
#: For each axis the first cell that changes and the one after the last, for each place of the window along that axis.
Spans = tuple[tuple[Ends, Ends], ...]


@dataclass(frozen=True, eq=False)
class Regions:
    """What each step's map (C, *S) looks like, and the spans of those whose changes stay in a part of it."""

    shapes: Mapping[Step, tuple[int, ...]]
    spans: Mapping[Step, Spans]

    def size(self, step: Step, places: Corners) -> tuple[int, ...]:
        """Return the least size that holds the change of every one of some windows, by their places (B, axes)."""
        ends = zip(self.spans[step], places.T, strict=True)
        return tuple(int((high[p] - low[p]).max()) for (low, high), p in ends)

    def at(self, step: Step, places: Corners, size: Sequence[int]) -> Corners:
        """Return where regions (B, axes) of that size begin, moved back where they would leave the map."""
        space = self.shapes[step][1:]
        ends = zip(self.spans[step], places.T, size, space, strict=True)
        return np.stack([np.minimum(low[p], n - s) for (low, _), p, s, n in ends], axis=1)

    def flops(self, graph: Graph, places: Corners | None) -> float:
        """Return operations for each window: of the changed regions, or with no places of whole maps."""
        total = 0.0
        for step in graph.steps:
            out = self.shapes.get(step)
            if out is None or not step.depends or step is graph.image:
                continue
            first = next((self.shapes[i] for i in step.moving if i in self.shapes), out)
            whole = (step.rule or Rule()).flops(first[0], out)
            share = 1.0
            if places is not None and step in self.spans:
                ends = zip(self.spans[step], places.T, out[1:], strict=True)
                share = float(np.prod([(high[p] - low[p]) / n for (low, high), p, n in ends], axis=0).mean())
            total += whole * share
        return total


def regions(
    graph: Graph,
    values: Mapping[Step, object],
    window: Sequence[int],
    begins: Sequence[Sequence[int]],
    cap: float = 1.0,
) -> Regions:
    """Follow windows (axes) that begin at `begins` along each axis through the maps of an unchanged run.

    `values` holds the shapes, as tensors of any kind. With `cap` below 1 a region is cut, about its middle, to that
    share of its map along each axis, and what changes outside it is missed.
    """
    shapes = {s: (int(v.shape[1]), *v.shape[2:]) for s, v in values.items() if isinstance(v, Tensor) and v.ndim >= 2}
    starts = [np.array(b, dtype=np.int64) for b in begins]
    spans: dict[Step, Spans] = {graph.image: tuple((b, b + w) for b, w in zip(starts, window, strict=True))}
    for step in graph.steps[1:]:
        found = _after(step, shapes, spans)
        if found is not None:
            spans[step] = _capped(found, shapes[step][1:], cap)
    return Regions(shapes, spans)


def alike(found: Regions, places: Corners, count: int) -> list[int]:
    """Return the order of windows, by their places (n, axes), in which about `count` after one another need like sizes.

    At the edges, and where strides do not divide, regions are smaller; windows that run together take the largest.
    """
    axes = places.shape[1]
    tile = max(2, round(count ** (1 / axes)))
    ranks = np.empty_like(places)
    for axis in range(axes):
        shares = sum((spans[axis][1] - spans[axis][0]) / found.shapes[s][1 + axis] for s, spans in found.spans.items())
        ranks[:, axis] = np.argsort(np.argsort(shares, kind="stable"), kind="stable")[places[:, axis]]
    order: list[int] = np.lexsort([*ranks.T[::-1], *(ranks // tile).T[::-1]]).tolist()
    return order


def _after(step: Step, shapes: Mapping[Step, tuple[int, ...]], spans: Mapping[Step, Spans]) -> Spans | None:
    """Return the spans of a step's output, or None where all of it may change."""
    moving = step.moving
    if not moving or step not in shapes or any(i not in spans for i in moving):
        return None
    space = shapes[step][1:]
    if isinstance(step.rule, Sliding):
        if len(step.rule.kernel) != len(space):
            return None
        return tuple(_slid(step.rule, a, spans[moving[0]][a], space[a]) for a in range(len(space)))
    if not isinstance(step.rule, Local | Join) or any(shapes[i][1:] != space for i in moving):
        return None
    if not all(_everywhere_alike(i.fixed, len(space)) for i in step.inputs if not i.depends):
        return None
    return tuple(
        (np.min([spans[i][a][0] for i in moving], axis=0), np.max([spans[i][a][1] for i in moving], axis=0))
        for a in range(len(space))
    )


def _slid(rule: Sliding, axis: int, ends: tuple[Ends, Ends], size: int) -> tuple[Ends, Ends]:
    low, high = ends
    left, stride = rule.left[axis], rule.stride[axis]
    first = -(-(low + left - (rule.kernel[axis] - 1) * rule.dilation[axis]) // stride)
    # A stride that steps over the change leaves nothing; one cell is then computed for nothing.
    first = first.clip(0, size - 1)
    return first, np.maximum(((high - 1 + left) // stride + 1).clip(0, size), first + 1)


def _capped(spans: Spans, space: Sequence[int], cap: float) -> Spans:
    if cap >= 1:
        return spans
    cut = []
    for (low, high), size in zip(spans, space, strict=True):
        most = max(1, int(np.ceil(cap * size)))
        first = np.where(high - low > most, ((low + high) // 2 - most // 2).clip(0, size - most), low)
        cut.append((first, np.minimum(high, first + most)))
    return tuple(cut)


def _everywhere_alike(value: object, axes: int) -> bool:
    """Return whether a constant is the same at all places, so that a region may be computed without its place."""
    return not isinstance(value, Tensor) or value.numel() == 1 or prod(value.shape[-axes:]) == 1


Padding = tuple[tuple[int, ...], tuple[int, ...]]


def paddings(graph: Graph, found: Regions) -> dict[Step, dict[float | None, Padding]]:
    """Return the maps that regions are filled up from: for each its padding before and after, by the value padded."""
    wanted: dict[Step, dict[float | None, Padding]] = {}
    for step in graph.steps:
        if step.chain is not None and step in found.spans:
            # The parts of a chain are written into a buffer that is filled from its last concatenation.
            _want(wanted, step.chain.joins[-1], found)
        elif isinstance(step.rule, Sliding) and step in found.spans:
            if not step.rule.local:
                _want(wanted, step.moving[0], found, step)
        elif not (isinstance(step.rule, Local) and step in found.spans and len(step.moving) == 1):
            for source in step.moving:
                if source in found.spans and source.chain is None:
                    _want(wanted, source, found)
    return wanted


def _want(
    wanted: dict[Step, dict[float | None, Padding]], source: Step, found: Regions, step: Step | None = None
) -> None:
    space = found.shapes[source][1:]
    left = right = (0,) * len(space)
    value = None
    if step is not None and isinstance(step.rule, Sliding):
        left = step.rule.left
        reach = [step.rule.reach(a, n) for a, n in enumerate(found.shapes[step][1:])]
        right = tuple(max(0, r - n - p) for r, n, p in zip(reach, space, left, strict=True))
        value = step.rule.value if any(left) or any(right) else None
    known = wanted.setdefault(source, {})
    before = known.get(value, (left, right))
    known[value] = (_larger(before[0], left), _larger(before[1], right))


def _larger(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(a, b) for a, b in zip(one, other, strict=True))
