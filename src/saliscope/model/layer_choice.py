"""Which layer a method watches where nobody names one: the last that all passes through, and the last of each grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from saliscope.core.errors import LayerError
from saliscope.model.layers import EVERY, LayerRun

#: A layer with less than this share of the run's operations before it is no last one: that is said.
SHALLOW = 0.5
#: A layer that all passes through is taken unless it has less than this share of the operations before the last one.
BEHIND = 0.75


def choose_layer(
    runs: Sequence[LayerRun], depends: Callable[[Sequence[str]], Mapping[str, bool]] | None = None
) -> tuple[str, str]:
    """Return the last layer with a grid through which all that the output depends on passes, and why in words.

    Where none has all of it, the last that the output depends on. Whether a target does, too, is asked of `depends`,
    which says it for layers by name: what one of several heads reads is no matter of another's target. Of modules that
    hand on the same tensor, the outermost that runs once; the output itself is never chosen, nor one run of several on
    parts of the image. Raises LayerError when no layer keeps a grid.
    """
    candidates = _with_grid(runs)
    if not candidates:
        raise _none(runs)
    best, around = _best(candidates)
    if around and depends is not None:
        return _depended_on(runs, candidates, best, depends)
    return best.name, _reason(best, runs, around=around)


def _depended_on(
    runs: Sequence[LayerRun],
    candidates: Sequence[LayerRun],
    best: LayerRun,
    depends: Callable[[Sequence[str]], Mapping[str, bool]],
) -> tuple[str, str]:
    """Return the last layer, no later than the best, that the target depends on, and why in words."""
    through = [r.content for r in candidates if r.cut]
    first = max(through, default=0)
    behind = [r for r in candidates if first < r.content <= best.content and not (r.parted and not best.parted)]
    names = [_last([r for r in behind if r.content == content]).name for content in {r.content for r in behind}]
    reads = depends(names)
    left = [r for r in behind if reads.get(r.name, False)] or [r for r in candidates if r.content == first]
    if not left:
        return best.name, _reason(best, runs, around=True)
    taken = _last(left)
    reason = _reason(taken, runs, around=taken.content != first)
    if taken.content != best.content:
        reason += f"; {best.name} comes later, but the target does not depend on it"
    return taken.name, reason


def _none(runs: Sequence[LayerRun]) -> LayerError:
    """Return the refusal of a network without a layer to watch."""
    pieces = _in_pieces(runs)
    if pieces:
        name = pieces[-1].name.partition("#")[0]
        count = sum(r.name.startswith(f"{name}#") for r in pieces)
        return LayerError(
            f"a network whose layers see the image part by part, as {name!r} does in {count} runs, which make no grid "
            "together",
            expected="runs on slices, patches or chunks of one size, each on a part of its own, at equal steps",
            do=f"Name one run, from {name}#0 to {name}#{count - 1}, for a map of its part alone, or use a method that "
            "explains the input, such as gradient or occlusion",
        )
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
    return LayerError(
        what,
        expected=f"a layer in which {why}",
        do="Use a method that explains the input, such as gradient or occlusion",
    )


def _in_pieces(runs: Sequence[LayerRun]) -> list[LayerRun]:
    """Return the runs on parts of the image that the output depends on and that make no grid together."""
    whole = {r.name.removesuffix(EVERY) for r in runs if r.count > 1}
    return [r for r in runs if r.piece and r.used and r.grid and r.name.partition("#")[0] not in whole]


def _best(candidates: Sequence[LayerRun]) -> tuple[LayerRun, bool]:
    """Return the last run that all passes through, or the last one where that is far behind it, and which it is."""
    deepest = _deepest(candidates)
    through = [r for r in candidates if r.cut]
    if not through:
        return deepest, True
    best = _deepest(through)
    around = best.depth < BEHIND * deepest.depth
    return (deepest if around else best), around


def _deepest(candidates: Sequence[LayerRun]) -> LayerRun:
    return _last([r for r in candidates if not r.parted] or candidates)


def _reason(best: LayerRun, runs: Sequence[LayerRun], *, around: bool) -> str:
    assert best.grid is not None
    size = " x ".join(str(n) for n in best.grid.shape)
    passed = not around and best.content < _deepest(_with_grid(runs)).content
    reason = f"the last layer with a spatial grid ({size}) "
    reason += "through which all that the output depends on passes" if passed else "on which the output depends"
    if around:
        reason += "; other ways lead around it, and what passes there is not in the map"
    if best.depth < SHALLOW:
        later = "no later layer keeps a grid on which the output depends"
        if any(r.value > best.value for r in _in_pieces(runs)):
            later = "later layers see the image part by part and make no grid together"
        elif passed:
            later = "later layers with a grid hold only a part of what the output depends on"
        reason += (
            f"; only {100 * best.depth:.0f} % of the operations come before it, and {later}: a map of it shows little "
            "of what the network does"
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
    """Return the runs on a grid that the output depends on and is not: of those along the most axes of space.

    One cell that was padded to several is no grid, and what only pads an earlier grid is not later than it.
    """
    output = runs[-1]
    found = [
        r
        for r in runs[:-1]
        if r.used and not r.piece and r.content not in (0, output.content) and r.grid and max(r.grid.inside) > 1
    ]
    most = max((r.grid.present for r in found if r.grid), default=0)
    kept: list[LayerRun] = []
    for r in found:
        assert r.grid is not None
        # An axis that has shrunk to one cell may be flattened away, and nothing of space is lost.
        if r.grid.present == most or (kept and kept[-1].grid and kept[-1].grid.shape == r.grid.shape):
            kept.append(r)
    return [r for r in kept if not _padded(r, kept)]


def _padded(run: LayerRun, others: Sequence[LayerRun]) -> bool:
    """Return whether a run has an earlier one's cells and more around them, with no operations in between."""
    assert run.grid is not None
    first = next(r for r in others if r.depth == run.depth and r.grid and r.grid.cells.stride == run.grid.cells.stride)
    assert first.grid is not None
    return any(n > before for n, before in zip(run.grid.shape, first.grid.shape, strict=True))


def _last(runs: Sequence[LayerRun]) -> LayerRun:
    """Return the last of some runs; where several modules hand on that tensor, the outermost that runs once.

    One that hands it on as (N, C, *S') goes before one that has flattened it.
    """
    last = max(r.content for r in runs)
    same = [r for r in runs if r.content == last]
    return min(same, key=lambda r: (not (r.grid and r.grid.plain), "#" in r.name, r.name.count("."), len(r.name)))
