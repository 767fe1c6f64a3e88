"""Windows through a graph: of each map only the region that a window changes is computed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saliscope.model.incremental.graph import Chain, Graph, Step, last_uses
from saliscope.model.incremental.patches import Corners, Patch, Unchanged, cut, empty, place, unchanged
from saliscope.model.incremental.regions import Regions, paddings
from saliscope.model.incremental.rules import Conv, Join, Local, Shape, Sliding, SpaceMean, laid


class Engine:
    """The unchanged run of one image x (1, C, *S), kept where windows need it."""

    def __init__(self, graph: Graph, found: Regions, x: Tensor) -> None:
        self.graph, self.found, self.x = graph, found, x
        self.last = last_uses(graph.steps)
        self.maps: dict[Step, dict[float | None, Unchanged]] = {}
        self.means: dict[Step, Tensor] = {}
        wanted = paddings(graph, found)
        for step, value in graph.values(laid(x)):
            for fill, (left, right) in wanted.get(step, {}).items():
                self.maps.setdefault(step, {})[fill] = unchanged(value, left, right, fill or 0.0)
            if isinstance(step.rule, SpaceMean):
                self.means[step] = value
            if step is graph.output:
                #: What the network returns for x itself.
                self.output: Any = value

    @property
    def bytes_kept(self) -> int:
        """Return the size of the maps that are kept."""
        return sum(m.padded.numel() * m.padded.element_size() for fills in self.maps.values() for m in fills.values())

    def bytes_of_one(self, places: Corners, element: int) -> int:
        """Return about how much memory one of these windows takes at the most at once."""
        live: dict[Step, int] = {}
        most = 0
        for step in self.graph.steps:
            if step not in self.found.shapes or not step.depends:
                continue
            channels, *space = self.found.shapes[step]
            size = self.found.size(step, places) if step in self.found.spans else space
            live[step] = channels * prod(size) * element
            # The input is copied once with its surroundings, and a convolution may lay it out anew.
            most = max(most, sum(live.values()) + 2 * sum(live.get(i, 0) for i in step.inputs))
            for used in self.last.get(step, ()):
                live.pop(used, None)
        return most

    def outputs(self, contents: Tensor, places: Corners, found: Regions | None = None) -> Any:
        """Return what the network returns for copies of x with a window each replaced by `contents` (B, C, *window).

        `places` (B, axes) numbers the places of the windows along each axis; `found` may cut the regions.
        """
        return _Batch(self, contents, places, found or self.found).output()

    def filled(self, step: Step, fill: float | None) -> Unchanged:
        """Return the unchanged map of a step with a padding; with None any will do."""
        fills = self.maps[step]
        return fills[fill] if fill in fills else next(iter(fills.values()))


class _Batch:
    def __init__(self, engine: Engine, contents: Tensor, places: Corners, found: Regions) -> None:
        self.engine, self.contents, self.places, self.found = engine, contents, places, found
        self.values: dict[Step, Any] = {}
        self.regions: dict[Step, tuple[tuple[int, ...], Corners]] = {}
        self.buffers: dict[Chain, Patch] = {}
        self.written: set[Step] = set()

    def output(self) -> Any:
        graph = self.engine.graph
        for step in graph.steps:
            if step is graph.image:
                self.values[step] = Patch(self.contents, self._region(step)[1])
            elif step.depends:
                self.values[step] = self._run(step)
            for used in self.engine.last.get(step, ()):
                self.values.pop(used, None)
        return self.values[graph.output]

    def _region(self, step: Step) -> tuple[tuple[int, ...], Corners]:
        """Return size and first cells of what a step must compute."""
        if step not in self.regions:
            space = self.found.shapes[step][1:]
            size, at = space, np.zeros((len(self.places), len(space)), dtype=np.int64)
            if step in self.found.spans:
                size = self.found.size(step, self.places)
                at = self.found.at(step, self.places, size)
            self.regions[step] = size, at
        return self.regions[step]

    def _run(self, step: Step) -> Any:
        if step.chain is not None:
            return self._joined(step, step.chain)
        if isinstance(step.rule, Shape):
            return step.call([self._shaped(i) for i in step.inputs])
        if isinstance(step.rule, SpaceMean) and step.moving[0] in self.found.spans:
            return self._mean(step)
        if step in self.found.spans:
            size, at = self._region(step)
            if size != self.found.shapes[step][1:]:
                return self._part(step, size, at)
        return self._all(step)

    def _part(self, step: Step, size: tuple[int, ...], at: Corners) -> Patch:
        rule = step.rule
        if isinstance(rule, Sliding):
            need = [rule.reach(a, n) for a, n in enumerate(size)]
            first = at * np.array(rule.stride) - np.array(rule.left)
            return Patch(rule.apply(self._onto(step.moving[0], first, need, rule.value)), at, owned=True)
        values = [self._onto(i, at, size) if i.depends else i.fixed for i in step.inputs]
        if isinstance(rule, Join):
            return Patch(torch.cat(values, 1), at, owned=True)
        return self._local(step, values, at)

    def _local(self, step: Step, values: list[Any], at: Corners) -> Patch:
        """Run an operation on single places, in place where nothing else needs what is overwritten."""
        if not isinstance(step.rule, Local):
            raise TypeError(f"{step.name} is not local")
        if step.rule.inplace is not None and len(values) == len(step.moving):
            for i, source in enumerate(step.moving):
                if self._free(source, values[i]) and values[i].shape == values[-1 - i].shape:
                    others = [v for j, v in enumerate(values) if j != i]
                    return Patch(step.rule.inplace(values[i], *others), at, owned=True)
        found = step.rule.apply(*values)
        aliases = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.data_ptr() == found.data_ptr()]
        owned = not aliases or (len(values) == 1 and self._free(step.moving[0], values[0]))
        return Patch(found, at, owned=owned)

    def _free(self, step: Step, values: Any) -> bool:
        """Return whether values of a step may be overwritten: they are its own, and nothing reads them again."""
        known = self.values[step]
        return isinstance(known, Patch) and known.owned and step.users == 1 and known.values is values

    def _all(self, step: Step) -> Any:
        """Run a step on whole maps."""
        values = [self._whole(i) if i.depends else i.fixed for i in step.inputs]
        at = np.zeros((len(self.places), len(self.found.shapes.get(step, (0,))) - 1), dtype=np.int64)
        if isinstance(step.rule, Conv):
            return Patch(step.rule.whole([laid(values[0])]), at, owned=True)
        if isinstance(step.rule, Local) and step in self.found.shapes:
            return self._local(step, values, at)
        return step.call(values)

    def _whole(self, step: Step) -> Any:
        value = self.values[step]
        if not isinstance(value, Patch):
            return value
        space = self.found.shapes[step][1:]
        if value.size == space:
            return value.values
        return self._onto(step, np.zeros_like(value.at), space)

    def _onto(self, step: Step, at: Corners, size: Sequence[int], fill: float | None = None) -> Tensor:
        """Return the region of a step's map that begins at `at` (B, axes), which may reach into its padding."""
        value: Patch = self.values[step]
        if value.size == tuple(size) and (value.at == at).all():
            return value.values
        if ((value.at <= at) & (at + size <= value.at + value.size)).all():
            return cut(value.values, at - value.at, size)
        found = self.engine.filled(step, fill).gathered(at, size)
        place(found, value.values, value.at - at)
        return found

    def _mean(self, step: Step) -> Tensor:
        """Return the mean over space: the unchanged one and the share of what changed."""
        source = step.moving[0]
        value: Patch = self.values[source]
        axes = tuple(range(2, value.values.ndim))
        if value.size == self.found.shapes[source][1:]:
            found: Tensor = step.call([value.values])
            return found
        change = self.engine.filled(source, None).gathered(value.at, value.size).sub_(value.values)
        keep = step.rule.keep if isinstance(step.rule, SpaceMean) else True
        return self.engine.means[step] - change.sum(axes, keepdim=keep) / prod(self.found.shapes[source][1:])

    def _shaped(self, step: Step) -> Any:
        value = self.values[step]
        if not isinstance(value, Patch):
            return value
        return value.values.new_empty(()).expand(len(self.places), *self.found.shapes[step])

    def _joined(self, step: Step, chain: Chain) -> Patch:
        """Return a concatenation as the first channels of its chain's buffer, its new parts written there."""
        if chain not in self.buffers:
            self.buffers[chain] = self._buffer(chain)
        buffer = self.buffers[chain]
        wanted = self.found.shapes[step][0]
        first = 0
        for part in chain.parts:
            count = self.found.shapes[part][0]
            if first < wanted and part not in self.written:
                value = self.values[part]
                at = value.at if isinstance(value, Patch) else np.zeros_like(buffer.at)
                patch = value.values if isinstance(value, Patch) else value
                place(buffer.values[:, first : first + count], patch, at - buffer.at)
                self.written.add(part)
            first += count
        if step is chain.joins[-1]:
            del self.buffers[chain]
        return Patch(buffer.values[:, :wanted], buffer.at)

    def _buffer(self, chain: Chain) -> Patch:
        """Return the unchanged values of all channels of a chain, over all that any of its concatenations computes."""
        regions = [self._region(join) for join in chain.joins]
        space = self.found.shapes[chain.joins[-1]][1:]
        low = np.min([at for _, at in regions], axis=0)
        high = np.max([at + np.array(size) for size, at in regions], axis=0)
        size = tuple(int(n) for n in (high - low).max(0))
        at = np.minimum(low, np.array(space) - size)
        if chain.joins[-1] in self.engine.maps:
            return Patch(self.engine.filled(chain.joins[-1], None).gathered(at, size), at)
        like = next(v.values if isinstance(v, Patch) else v for v in (self.values[p] for p in chain.parts[:1]))
        channels = self.found.shapes[chain.joins[-1]][0]
        return Patch(empty(like, channels, size), at)
