"""The layers of a network as one run passes them: which there are, where their cells lie, which one to watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from saliscope.core.errors import LayerError
from saliscope.core.protocols import INPUT
from saliscope.model.axes.follower import Follower
from saliscope.model.axes.grid import Grid, grid_of
from saliscope.model.cells import Cells, untouched
from saliscope.model.probe import without_wrapper

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork

#: A layer with less than this share of the run's operations before it is no last one: that is said.
SHALLOW = 0.5
#: A layer that all passes through is taken unless it has less than this share of the operations before the last one.
BEHIND = 0.75


@dataclass(frozen=True)
class LayerRun:
    """One run of one layer: its name, "name#k" where it runs several times, its output's shape, and its grid.

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
    layers = _named(runs, follower, used, one.shape[2:])
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


def choose_layer(
    runs: Sequence[LayerRun], depends: Callable[[Sequence[str]], Mapping[str, bool]] | None = None
) -> tuple[str, str]:
    """Return the last layer with a grid through which all that the output depends on passes, and why in words.

    Where none has all of it, the last that the output depends on. Whether a target does, too, is asked of `depends`,
    which says it for layers by name: what one of several heads reads is no matter of another's target. Of modules that
    hand on the same tensor, the outermost that runs once; the output itself is never chosen. Raises LayerError when no
    layer keeps a grid.
    """
    candidates = _with_grid(runs)
    if not candidates:
        what, why = (
            "a network none of whose layers keeps a spatial grid",
            "places of the image still stand beside each other",
        )
        if len(runs) == 1:
            what, why = (
                "a network without a layer that can be watched, such as a scripted or exported one",
                "hooks work",
            )
        elif not any(r.used for r in runs):
            what, why = "a network whose run could not be followed, as under torch.inference_mode()", "gradients pass"
        raise LayerError(
            what,
            expected=f"a layer in which {why}",
            do="Use a method that explains the input, such as gradient or occlusion",
        )
    best, around = _best(candidates)
    if around and depends is not None:
        return _depended_on(candidates, best, depends)
    return best.name, _reason(best, around=around)


def _depended_on(
    candidates: Sequence[LayerRun], best: LayerRun, depends: Callable[[Sequence[str]], Mapping[str, bool]]
) -> tuple[str, str]:
    """Return the last layer, no later than the best, that the target depends on, and why in words."""
    through = [r.content for r in candidates if r.cut]
    first = max(through, default=0)
    behind = [r for r in candidates if first < r.content <= best.content and not (r.parted and not best.parted)]
    names = [_last([r for r in behind if r.content == content]).name for content in {r.content for r in behind}]
    reads = depends(names)
    left = [r for r in behind if reads.get(r.name, False)] or [r for r in candidates if r.content == first]
    if not left:
        return best.name, _reason(best, around=True)
    taken = _last(left)
    reason = _reason(taken, around=taken.content != first)
    if taken.content != best.content:
        reason += f"; {best.name} comes later, but the target does not depend on it"
    return taken.name, reason


def _best(candidates: Sequence[LayerRun]) -> tuple[LayerRun, bool]:
    """Return the last run that all passes through, or the last one where that is far behind it, and which it is."""
    deepest = _last([r for r in candidates if not r.parted] or candidates)
    through = [r for r in candidates if r.cut]
    if not through:
        return deepest, True
    best = _last([r for r in through if not r.parted] or through)
    around = best.depth < BEHIND * deepest.depth
    return (deepest if around else best), around


def _reason(best: LayerRun, *, around: bool) -> str:
    assert best.grid is not None
    size = " x ".join(str(n) for n in best.grid.shape)
    reason = f"the last layer with a spatial grid ({size}) on which the output depends"
    if around:
        reason += "; other ways lead around it, and what passes there is not in the map"
    if best.depth < SHALLOW:
        reason += (
            f"; only {100 * best.depth:.0f} % of the operations come before it, and no later layer keeps a grid on "
            "which the output depends: a map of it shows little of what the network does"
        )
    return reason


def stages(runs: Sequence[LayerRun]) -> tuple[str, ...]:
    """Return, from shallow to deep, the last layer of each grid that the network passes; see `choose_layer`."""
    by_grid: dict[tuple[int, ...], list[LayerRun]] = {}
    for run in _with_grid(runs):
        assert run.grid is not None
        by_grid.setdefault(run.grid.shape, []).append(run)
    chosen = [_best(some)[0] for some in by_grid.values()]
    return tuple(r.name for r in sorted(chosen, key=lambda r: r.value))


def _with_grid(runs: Sequence[LayerRun]) -> list[LayerRun]:
    """Return the runs on a grid that the output depends on and is not: of those along the most axes of space."""
    output = runs[-1]
    found = [
        r
        for r in runs[:-1]
        if r.used and r.content not in (0, output.content) and r.grid is not None and max(r.grid.shape) > 1
    ]
    most = max((r.grid.present for r in found if r.grid), default=0)
    kept: list[LayerRun] = []
    for r in found:
        assert r.grid is not None
        # An axis that has shrunk to one cell may be flattened away, and nothing of space is lost.
        if r.grid.present == most or (kept and kept[-1].grid and kept[-1].grid.shape == r.grid.shape):
            kept.append(r)
    return kept


def _last(runs: Sequence[LayerRun]) -> LayerRun:
    """Return the last of some runs; where several modules hand on that tensor, the outermost that runs once.

    One that hands it on as (N, C, *S') goes before one that has flattened it.
    """
    last = max(r.content for r in runs)
    same = [r for r in runs if r.content == last]
    return min(same, key=lambda r: (not (r.grid and r.grid.plain), "#" in r.name, r.name.count("."), len(r.name)))


def run_of(runs: Sequence[LayerRun], key: str) -> LayerRun | None:
    """Return the run of a layer, its first where it runs several times; None for a layer that does not run."""
    names = {n for k in (key, *without_wrapper(key)) for n in (k, f"{k}#0")}
    return next((r for r in runs if r.name in names), None)


def cells_of(runs: Sequence[LayerRun], key: str, axes: int) -> Cells | None:
    """Return the cells of a layer; None where they could not be followed."""
    if key == INPUT:
        return untouched(axes)
    run = run_of(runs, key)
    return None if run is None else run.cells
