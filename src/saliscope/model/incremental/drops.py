"""How much scores fall for each window: by regions where that pays and is proved right on this image, else not at all.

Reusing the unchanged maps of an image for all of its occlusions, exactly or with regions cut to a share of their map,
is nakandala2019's; the equality check and the certificate are added here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from saliscope.core.target import Target
from saliscope.core.windows import Windows
from saliscope.model.incremental.engine import Engine
from saliscope.model.incremental.graph import Graph, Step, Unfit, running
from saliscope.model.incremental.patches import Corners, unchanged
from saliscope.model.incremental.regions import Regions, alike, regions
from saliscope.model.incremental.rules import laid
from saliscope.model.incremental.trace import traced

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork

#: Windows that are also run in full, and the difference allowed, as a share of the largest drop.
CHECKED, TOLERANCE = 4, {torch.float64: 1e-9}
SINGLE = 1e-4
#: Where full runs differ among themselves, this multiple of it is allowed, up to ten times the tolerance. A gross
#: difference, as a share of the largest drop of the checked windows, ends the attempt at once.
ROUNDING, GROSS = 4.0, 0.1
#: "auto" takes regions where they save at least this factor, and this many operations, a fraction of a second.
FACTOR, SAVED = 1.25, 2e10
#: Shares of a map's axis to which "approximate" may cut, the least windows on which it is certified, and screened.
CAPS, CERTIFIED, SCREENED = (0.25, 0.35, 0.5, 0.6, 0.7), 32, 12
#: A cut is tried where it leaves at most this share of the operations; how sure the certificate is, in deviations.
WORTH, SURE = 0.8, 1.645
#: Windows at once, where memory allows: on a CPU at least `BATCH`, and as many as keep their regions in `CACHE` bytes.
BATCH, BATCH_DEVICE, CACHE = 16, 256, 8 * 2**20


class Incremental:
    """The graph of an opened network, traced when it is first asked for."""

    def __init__(self, model: OpenNetwork) -> None:
        self.model = model
        self._graph: Graph | str | None = None
        self._shapes: dict[tuple[int, ...], dict[Step, Any]] = {}

    @property
    def graph(self) -> Graph | str:
        """Return the graph, or why there is none."""
        if self._graph is None:
            self._graph = traced(self.model.module)
        return self._graph

    def drops(self, x: Tensor, without: Tensor, target: Target, ask: Windows) -> Tensor | None:
        """Return how much the scores fall (n, K) for each of `ask.changed`, or None where they had better run in full.

        `x` and `without` are (1, C, *S). Which way was taken, and why, is noted.
        """
        if ask.engine == "full" or not ask.changed:
            return None
        with torch.no_grad():
            try:
                drops, why = self._drops(x.detach(), without.detach(), target, ask)
            except Unfit as error:
                drops, why = None, f"ran in full: {error}"
        self.model.note(f"Occlusion windows {why}.")
        return drops

    def _drops(self, x: Tensor, without: Tensor, target: Target, ask: Windows) -> tuple[Tensor | None, str]:
        run = self.run(x, without, target, ask)
        if isinstance(run, str):
            return None, f"ran in full: {run}"
        return run.approximate() if ask.engine == "approximate" else run.exact()

    def run(self, x: Tensor, without: Tensor, target: Target, ask: Windows) -> Run | str:
        """Return what runs the windows of x (1, C, *S) by regions, or why they had better run in full."""
        graph = self.graph
        if isinstance(graph, str):
            return graph
        shapes = self._shapes_of(graph, x)
        found = regions(graph, shapes, ask.size, ask.begins)
        places = _places(ask)
        whole, part = found.flops(graph, None), found.flops(graph, places)
        if ask.engine == "auto" and (whole < FACTOR * part or (whole - part) * len(places) < SAVED):
            return f"regions would need {100 * part / whole:.0f} % of the operations"
        with running():
            engine = Engine(graph, found, x)
        run = Run(self.model, engine, without, target, ask, shapes)
        return run if run.size > 0 else f"the unchanged maps do not fit in {ask.memory_mb:g} MB"

    def _shapes_of(self, graph: Graph, x: Tensor) -> dict[Step, Any]:
        key = tuple(x.shape[1:])
        if key not in self._shapes:
            with running():
                self._shapes[key] = {
                    s: v.new_empty((), device="meta").expand(v.shape) if isinstance(v, Tensor) else None
                    for s, v in graph.values(x)
                }
        return self._shapes[key]


class Run:
    """The windows of one image, `size` of them at once, in an `order` in which they are alike."""

    def __init__(
        self,
        model: OpenNetwork,
        engine: Engine,
        without: Tensor,
        target: Target,
        ask: Windows,
        shapes: dict[Step, Any],
    ) -> None:
        self.model, self.engine, self.without, self.shapes = model, engine, without, shapes
        self.target, self.ask, self.places = target, ask, _places(ask)
        places = self.places
        self.x = engine.x
        room = ask.memory_mb * 2**20 - engine.bytes_kept
        one = max(1, engine.bytes_of_one(places, self.x.element_size()))
        most = min(BATCH_DEVICE, max(BATCH, CACHE // one)) if self.x.device.type == "cpu" else BATCH_DEVICE
        self.size = min(most, int(room / one))
        self.order = alike(engine.found, places, max(1, self.size))
        self.full = self._scores(engine.output)[0]

    def exact(self) -> tuple[Tensor | None, str]:
        """Return the drops of all windows, or None where they differ from those of full runs, and what was done."""
        checked = self.some(CHECKED)
        right = self.in_full(checked)
        first = self.by_regions(checked)
        if (first - right).abs().max() > GROSS * torch.maximum(right.abs().max(), 0.01 * self.full.abs().max()):
            return None, self._differing(first, right, right.abs().max())
        drops = self.by_regions(range(len(self.places)))
        most = drops.abs().max()
        if not self._close(drops[checked], checked, right, most):
            return None, self._differing(drops[checked], right, most)
        whole, part = (self.engine.found.flops(self.engine.graph, p) for p in (None, self.places))
        return drops, (
            f"ran by regions, with {100 * part / whole:.0f} % of the operations of full runs; on {len(checked)} run "
            f"both ways the drops differ by at most {_share(drops[checked], right, most):.1e} of the largest"
        )

    def approximate(self) -> tuple[Tensor | None, str]:
        """Return the drops with regions cut as far as the certificate allows; exact ones where it allows nothing."""
        count = len(self.places)
        sample = self.some(max(CERTIFIED, count // 20))
        exact = self.by_regions(sample)
        right = self.in_full(sample[:CHECKED])
        if not self._close(exact[:CHECKED], sample[:CHECKED], right, exact.abs().max()):
            return None, self._differing(exact[:CHECKED], right, exact.abs().max())
        chosen, why = self._cut(sample, exact)
        rest = sorted(set(range(count)) - set(sample))
        drops = exact.new_empty((count, exact.shape[1]))
        drops[rest], drops[sample] = self.by_regions(rest, chosen), exact
        return drops, why

    def _cut(self, sample: Sequence[int], exact: Tensor) -> tuple[Regions, str]:
        """Return the regions cut furthest that some windows with exact drops (n, K) allow, and what was found."""
        graph, places = self.engine.graph, self.places
        whole, most = (self.engine.found.flops(graph, p) for p in (None, places))
        uncut = f"ran by regions, with {100 * most / whole:.0f} % of the operations of full runs; cutting them"
        cuts: dict[float, tuple[float, Regions]] = {}
        for cap in CAPS:
            found = regions(graph, self.shapes, self.ask.size, self.ask.begins, cap)
            cuts[found.flops(graph, places)] = cap, found
        choices = [cut for flops, cut in sorted(cuts.items(), key=lambda c: c[0]) if flops <= WORTH * most]
        if not choices or len(sample) == len(places):
            return self.engine.found, f"{uncut} would save little"
        tried: list[str] = []
        chosen = None
        low, high = 0, len(choices)
        while low < high:
            middle = (low + high) // 2
            cap, found = choices[middle]
            # A cut that is far from enough is seen on few windows.
            few = _least_pearson(self.by_regions(sample[:SCREENED], found), exact[:SCREENED])
            if _bound(few, SCREENED, SURE) < self.ask.fidelity:
                tried.append(f"{few:.4f} when cut to {100 * cap:.0f} %")
                low = middle + 1
                continue
            pearson = _least_pearson(self.by_regions(sample, found), exact)
            fidelity = _bound(pearson, len(sample), -SURE)
            tried.append(f"{pearson:.4f} when cut to {100 * cap:.0f} %")
            if fidelity >= self.ask.fidelity:
                high, chosen = middle, found
                why = (
                    f"ran by regions cut to {100 * cap:.0f} % of each map's axes; on {len(sample)} windows run exactly "
                    f"the Pearson correlation with the exact drops is {pearson:.4f}, with 95 % at least {fidelity:.4f}"
                )
            else:
                low = middle + 1
        if chosen is None:
            return self.engine.found, f"{uncut} was refused, for the Pearson correlation is {', '.join(tried)}"
        return chosen, why

    def some(self, most: int) -> list[int]:
        """Return some windows drawn from a generator of their own; fewer are the first of more."""
        order: list[int] = np.random.default_rng(0).permutation(len(self.places)).tolist()
        return order[:most]

    def by_regions(self, which: Sequence[int], found: Regions | None = None) -> Tensor:
        """Return the drops (n, K) of some windows, by their place in `ask.changed`, run region by region."""
        drops = self.full.new_empty((len(which), len(self.full)))
        wanted = {w: i for i, w in enumerate(which)}
        order = [w for w in self.order if w in wanted]
        for begin in range(0, len(order), self.size):
            some = order[begin : begin + self.size]
            with running():
                output = self.engine.outputs(self.contents(some), self.places[some], found)
            drops[[wanted[w] for w in some]] = self.full - self._scores(output)
            self.model.counts.incremental_windows += len(some)
            self.model.count(0)
        return drops

    def contents(self, which: Sequence[int]) -> Tensor:
        """Return what stands in some windows (B, C, *window)."""
        if self.ask.content is not None:
            return laid(torch.stack([self.ask.content(self.ask.changed[w]) for w in which]))
        none = (0,) * len(self.ask.size)
        return unchanged(self.without, none, none, 0.0).gathered(self._corners(which), self.ask.size)

    def _corners(self, which: Sequence[int]) -> Corners:
        places = self.places[list(which)].T
        return np.stack([np.asarray(b)[p] for b, p in zip(self.ask.begins, places, strict=True)], axis=1)

    def in_full(self, which: Sequence[int], lay: Callable[[Tensor], Tensor] = Tensor.clone) -> Tensor:
        """Return the drops (n, K) of some windows by runs of the network itself, one at a time."""
        scores = []
        for window in which:
            copy = self.x.clone()
            box = [slice(b, b + n) for b, n in zip(self._corners([window])[0], self.ask.size, strict=True)]
            copy[(slice(None), slice(None), *box)] = self.contents([window])
            scores.append(_single(self.target.scores(self.model(lay(copy)))))
        return _single(self.target.scores(self.model(lay(self.x)))) - torch.cat(scores)

    def _scores(self, output: Any) -> Tensor:
        from saliscope.model.output import selected

        return _single(self.target.scores(selected(output, self.model.network.output)))

    def _close(self, drops: Tensor, which: Sequence[int], right: Tensor, largest: Tensor) -> bool:
        """Return whether drops (n, K) of some windows are those of full runs, but for rounding."""
        error = (drops - right).abs().max()
        share = TOLERANCE.get(self.x.dtype, SINGLE)
        if bool(error <= share * largest):
            return True
        # Of deep networks two full runs, too, differ by more than that when the image lies otherwise in memory.
        rounding = (self.in_full(which, laid) - right).abs().max()
        return bool(error <= min(ROUNDING * rounding, 10 * share * largest))

    def _differing(self, drops: Tensor, right: Tensor, largest: Tensor) -> str:
        return f"ran in full: by regions the drops differ by {_share(drops, right, largest):.1e} of the largest"


def _places(ask: Windows) -> Corners:
    """Return for each changed window the number of its place along each axis (n, axes)."""
    shape = [len(b) for b in ask.begins]
    return np.stack(np.unravel_index(np.asarray(ask.changed, dtype=np.int64), shape), axis=1).astype(np.int64)


def _share(drops: Tensor, right: Tensor, largest: Tensor) -> float:
    return float((drops - right).abs().max() / largest.clamp_min(torch.finfo(drops.dtype).tiny))


def _least_pearson(one: Tensor, other: Tensor) -> float:
    """Return the least Pearson correlation (n, K) of the K columns; 1 where both are zero, 0 where one is constant."""
    least = 1.0
    for a, b in zip(one.double().T, other.double().T, strict=True):
        if torch.equal(a, b):
            continue
        a, b = a - a.mean(), b - b.mean()
        norm = float(a.norm() * b.norm())
        least = min(least, float(a @ b) / norm if norm > 0 else 0.0)
    return least


def _bound(pearson: float, count: int, deviations: float) -> float:
    """Return a bound on the correlation of all windows from that of `count` drawn at random, by Fisher's z."""
    if pearson >= 1:
        return 1.0
    return float(np.tanh(np.arctanh(max(pearson, -1 + 1e-12)) + deviations / np.sqrt(count - 3)))


def _single(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
