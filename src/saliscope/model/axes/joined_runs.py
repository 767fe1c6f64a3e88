"""Tensors of one kind that lie beside each other on the input, as the slices that a loop takes one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from saliscope.model.axes.grid import Grid, grid_of
from saliscope.model.axes.meaning import Atom, Axes, Axis, Joined, Part

#: Up to so many elements, two places are one.
TINY = 1e-6
#: Grids of one module whose places differ by less than this share of a cell, or of their field, are of one place.
ONE_PLACE, ONE_FIELD = 0.99, 0.25


def steps_between(states: Sequence[Axes | None]) -> tuple[Atom, ...] | None:
    """Return the steps from each of several tensors to the next, from coarse to fine, as the atoms of one more axis.

    The tensors must differ only in where their first cell lies, and step evenly, along one axis of space or, as the
    patches of two nested loops do, along several. Returns None for others.
    """
    first = states[0]
    if first is None or len(states) < 2 or any(s is None or not _alike(s, first) for s in states):
        return None
    places = [s.offset for s in states if s is not None]
    atoms: list[Atom] = []
    while len(places) > 1:
        inner = _run_of_steps(places)
        if inner is None:
            return None
        atoms.insert(0, inner)
        places = places[:: inner.size]
    return tuple(atoms)


def _run_of_steps(places: Sequence[tuple[float, ...]]) -> Atom | None:
    """Return how many of the first places step evenly along one axis, where all that follow repeat these steps."""
    way = [b - a for a, b in zip(places[0], places[1], strict=True)]
    along = [dim for dim, step in enumerate(way) if abs(step) > TINY]
    if len(along) != 1:
        return None
    count = 1
    while count < len(places) and _apart_by(places[0], places[count], way, count):
        count += 1
    even = len(places) % count == 0
    if not even or not all(_apart_by(places[i - i % count], p, way, i % count) for i, p in enumerate(places)):
        return None
    return Atom(count, along[0], way[along[0]])


def _apart_by(one: Sequence[float], other: Sequence[float], way: Sequence[float], times: int) -> bool:
    return all(abs(b - a - times * w) <= TINY * max(1, times) for a, b, w in zip(one, other, way, strict=True))


def _alike(one: Axes, other: Axes) -> bool:
    return one.axes == other.axes and one.rolled == other.rolled and one.lost == other.lost


def with_steps(state: Axes, steps: Sequence[Atom], axes: Iterable[Axis]) -> Axes | None:
    """Return the axes of several tensors in one, the first of which is `state`; None where the steps do not fit.

    Along an axis on which the tensors step, none of them may go the other way or be rolled. What has one entry there
    takes the finest step.
    """
    finest = {a.dim: a.stride for a in steps}

    def fitted(part: Part) -> Part:
        if isinstance(part, Joined):
            return replace(part, atoms=tuple(fitted(a) for a in part.atoms))  # type: ignore[misc]
        return replace(part, stride=finest[part.dim]) if part.dim in finest and part.size == 1 else part

    made = state.having(tuple(fitted(p) for p in axis) for axis in axes)
    signs = {(a.dim, a.stride > 0) for a in made.atoms() if a.dim in finest}
    if len(signs) > len(finest) or any(state.rolled[d] for d in finest if d is not None):
        return None
    return made


def grid_of_runs(grids: Sequence[Grid | None], size: Sequence[int]) -> Grid | None:
    """Return the grid of several runs of one module, stacked, for an input of size S; None where they make none."""
    known = [g for g in grids if g is not None]
    if len(known) < len(grids):
        return None
    order = sorted(range(len(known)), key=lambda i: tuple(round(v, 4) for v in known[i].axes.offset))
    states = [known[i].axes for i in order]
    steps = steps_between(states)
    if steps is None:
        return None
    made = with_steps(states[0], steps, (steps, *states[0].axes))
    field = tuple(max(s.field[dim] for s in states) for dim in range(len(size)))
    grid = grid_of(None if made is None else replace(made, field=field), size)
    return None if grid is None else replace(grid, runs=tuple(order))


def apart(grids: Sequence[Grid | None]) -> bool:
    """Return whether the grids of several runs of one module lie in different places of the input.

    Scales of one image do not, nor do branches that meet; slices, crops and chunks do.
    """
    kinds: dict[tuple[object, ...], list[Grid]] = {}
    for grid in grids:
        if grid is not None:
            kinds.setdefault((grid.shape, grid.cells.stride), []).append(grid)
    if any(_spread(some) for some in kinds.values()):
        return True
    hulls = [_hull(some) for some in kinds.values()]
    return any(
        any(a[1] <= b[0] + TINY or b[1] <= a[0] + TINY for a, b in zip(one, other, strict=True))
        for one, other in combinations(hulls, 2)
    )


def _spread(some: Sequence[Grid]) -> bool:
    """Return whether grids of one kind differ in where they lie by a cell or, where pooled, by much of their field."""
    dims = {d for g in some for d in g.axes.dims()}
    for dim, step in enumerate(some[0].cells.stride):
        places = [g.cells.offset[dim] for g in some]
        least = ONE_PLACE * step if dim in dims else max(ONE_PLACE, ONE_FIELD * some[0].cells.field[dim])
        if max(places) - min(places) >= least:
            return True
    return False


def _hull(some: Sequence[Grid]) -> list[tuple[float, float]]:
    """Return per axis of space from where to where the cells of some grids lie."""
    found = []
    for dim, (step, count) in enumerate(zip(some[0].cells.stride, some[0].shape, strict=True)):
        places = [g.cells.offset[dim] for g in some]
        found.append((min(places) - step / 2, max(places) + step * (count - 0.5)))
    return found
