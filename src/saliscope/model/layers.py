"""The layers of a network as one run passes them: which there are, and where their cells lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from saliscope.core.protocols import INPUT
from saliscope.model.axes.follower import Follower
from saliscope.model.axes.grid import Grid, grid_of
from saliscope.model.axes.joined_runs import apart, grid_of_runs
from saliscope.model.cells import Cells, untouched
from saliscope.model.probe import without_wrapper

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork

#: What stands behind the name of a layer for all its runs, which lie beside each other.
EVERY = "#*"


@dataclass(frozen=True)
class LayerRun:
    """One run of one layer: its name, "name#k" where it runs several times, its output's shape, and its grid.

    "name#*" is all runs of a layer that lie beside each other, as slices in a loop do, stacked as one; `count` is how
    many. `piece` says that a run sees one part of the image, and others of its layer see other parts.

    `value` numbers the tensor that came out and `content` the one that it only lays out anew, so that modules which
    hand on the same can be told. `used` says whether the network's output depends on what of it has a place, `reaches`
    whether on anything of it, `cut` whether no way from the input leads around it, `parted` whether later operations
    take only some of its features. `depth` is the share of the run's operations that make it. `grid` is None where the
    axes mix or are not followed.
    """

    name: str
    shape: tuple[int, ...]
    grid: Grid | None
    value: int
    content: int
    used: bool = True
    reaches: bool = True
    cut: bool = True
    parted: bool = False
    depth: float = 1.0
    count: int = 1
    piece: bool = False

    @property
    def cells(self) -> Cells | None:
        """Return where its cells lie on the input; None where they could not be followed."""
        return None if self.grid is None else self.grid.cells


@dataclass(frozen=True, eq=False)
class Survey:
    """What one run of one image showed: every layer's run, the output, the operations, types without a gradient."""

    runs: tuple[LayerRun, ...]
    output: Tensor
    flops: int
    coarse: Mapping[str, str]


def survey(model: OpenNetwork, x: Tensor) -> Survey:
    """Return what one run of x (N, C, *S) passes, in order of completion, and last the output, named "".

    It is a true run, without a graph.
    """
    one = x.detach().clone()
    runs: list[tuple[str, tuple[int, ...], int | None]] = []
    follower = Follower(one)
    handles = [
        module.register_forward_hook(_recorder(name, runs, follower))
        for name, module in model.module.named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        # The fused transformer layer would hide the layers inside it.
        with torch.no_grad(), _by_layers(), follower:
            output = model.run_uncounted(one)
            last = follower.value(output)
    finally:
        for handle in handles:
            handle.remove()
    end = 0 if last is None else last.number
    used = follower.usage(end)
    layers = _with_runs_beside(_named(runs, follower, used, one.shape[2:]), follower, used, one.shape[2:])
    closing = LayerRun("", tuple(output.shape), grid_of(last.axes, one.shape[2:]) if last else None, end,
                       end if last is None else last.same_as, used=last is not None)  # fmt: skip
    coarse = dict(kind for number, kind in follower.coarse.items() if number <= end and used[number])
    return Survey((*layers, closing), output, follower.flops, coarse)


def _named(
    runs: Sequence[tuple[str, tuple[int, ...], int | None]],
    follower: Follower,
    used: Sequence[int],
    size: Sequence[int],
) -> list[LayerRun]:
    cuts = follower.cuts(used)
    names = [name for name, _, _ in runs]
    often = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    calls: dict[str, int] = {}
    found = []
    for name, shape, number in runs:
        call = calls[name] = calls.get(name, -1) + 1
        value = follower.values[number] if number is not None else None
        mine = value is not None and value.number < len(used) and used[value.number] == 2
        grid = grid_of(value.axes, size) if value is not None and not value.relation else None
        found.append(
            LayerRun(
                name=f"{name}#{call}" if name in often else name,
                shape=shape,
                grid=grid,
                value=-1 if value is None else value.number,
                content=-1 if value is None else value.same_as,
                used=mine,
                reaches=value is not None and value.number < len(used) and used[value.number] > 0,
                cut=value is not None and value.number in cuts,
                parted=value is not None and value.same_as in follower.parted,
                depth=0.0 if value is None else value.flops / max(1, follower.flops),
            )
        )
    return found


def _with_runs_beside(
    runs: Sequence[LayerRun], follower: Follower, used: Sequence[int], size: Sequence[int]
) -> list[LayerRun]:
    """Return runs in which those of one layer on parts of the image are told, and stand as one where they make one."""
    several: dict[str, list[LayerRun]] = {}
    for run in runs:
        name, _, call = run.name.partition("#")
        if call:
            several.setdefault(name, []).append(run)
    cut, chained = follower.sets(used, [[r.value for r in some] for some in several.values()])
    pieces: set[str] = set()
    after: dict[str, LayerRun] = {}
    for some, all_pass, one_of_another in zip(several.values(), cut, chained, strict=True):
        grids = [r.grid for r in some]
        if one_of_another or not apart(grids):
            continue
        pieces.update(r.name for r in some)
        grid = grid_of_runs(grids, size) if len({r.shape for r in some}) == 1 else None
        if grid is not None:
            after[some[-1].name] = _as_one(some, grid, cut=all_pass)
    return [
        one for r in runs for one in (replace(r, piece=r.name in pieces), *([after[r.name]] if r.name in after else []))
    ]


def _as_one(some: Sequence[LayerRun], grid: Grid, *, cut: bool) -> LayerRun:
    return LayerRun(
        name=f"{some[0].name.partition('#')[0]}{EVERY}",
        shape=(len(some), *some[0].shape),
        grid=grid,
        value=max(r.value for r in some),
        content=max(r.content for r in some),
        used=any(r.used for r in some),
        reaches=any(r.reaches for r in some),
        cut=cut,
        parted=any(r.parted for r in some),
        # Each run has as much before it as the first one has; what the loop has in common is counted once at most.
        depth=min(some[-1].depth, len(some) * some[0].depth),
        count=len(some),
    )


def _recorder(
    name: str, runs: list[tuple[str, tuple[int, ...], int | None]], follower: Follower
) -> Callable[[nn.Module, object, object], None]:
    def record(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            value = follower.value(output)
            runs.append((name, tuple(output.shape), None if value is None else value.number))

    return record


@contextmanager
def _by_layers() -> Iterator[None]:
    """Let transformer layers run layer by layer, as they do with a gradient."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def run_of(runs: Sequence[LayerRun], key: str) -> LayerRun | None:
    """Return the run of a layer, of several all as one or else the first; None for a layer that does not run."""
    keys = (key, *without_wrapper(key))
    names = {n: i for i, ends in enumerate(("", EVERY, "#0")) for n in (f"{k}{ends}" for k in keys)}
    return min((r for r in runs if r.name in names), key=lambda r: names[r.name], default=None)


def cells_of(runs: Sequence[LayerRun], key: str, axes: int) -> Cells | None:
    """Return the cells of a layer; None where they could not be followed."""
    if key == INPUT:
        return untouched(axes)
    run = run_of(runs, key)
    return None if run is None else run.cells
