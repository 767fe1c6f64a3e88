"""Operations where several tensors meet: element by element with broadcasting, and in products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from torch import Tensor

from saliscope.model.axes.meaning import Atom, Axes, Axis, Joined, atoms_of, evenly, is_free, merged, reduced, unknown

#: Up to this difference of steps, as a share, cells of two branches count as the same: an upsampling that aligns
#: corners steps 13/15 where the skip beside it steps one. The one of whole steps then stands for both.
ALIKE = 0.2
#: Cells of one index whose centres are more than so many steps apart are not of one place.
APART = 1.5


def joined(states: Sequence[Axes | None], shapes: Sequence[Sequence[int]], out: Sequence[int]) -> Axes | None:
    """Return the axes of tensors that meet element by element in a tensor of size `out`; None if none is known.

    Where one says more of an axis than the other, as a residual does beside what a mixing layer made of it, that
    stands. The centres of branches that differ meet in the middle.
    """
    known = [(s, list(shape)) for s, shape in zip(states, shapes, strict=True) if s is not None]
    if not known:
        return None
    axes: list[Axis] = []
    placing: dict[int, set[int]] = {}
    for i, size in enumerate(out):
        given = []
        for k, (state, shape) in enumerate(known):
            at = i - (len(out) - len(shape))
            if at >= 0 and shape[at] == size:
                given.append((k, state.axes[at]))
        axis, who = _agreed(given, size)
        axes.append(axis)
        for atom in atoms_of(axis):
            if atom.dim is not None and atom.spatial:
                placing[atom.dim] = placing.get(atom.dim, set()) | who
    offset, field = list(known[0][0].offset), list(known[0][0].field)
    rolled, apart = known[0][0].rolled, set[int]()
    for dim in range(len(offset)):
        if dim not in placing:
            offset[dim], field[dim] = _met([(s.offset[dim], s.field[dim]) for s, _ in known])
    # Of each axis of space, what has it says where it lies: a gate that was pooled along it does not.
    for dim, telling in placing.items():
        placed = [known[k][0] for k in sorted(telling)]
        step = min(abs(a.stride) for axis in axes for a in atoms_of(axis) if a.dim == dim)
        if max(s.offset[dim] for s in placed) - min(s.offset[dim] for s in placed) > APART * step:
            apart.add(dim)
        offset[dim] = (min(s.offset[dim] for s in placed) + max(s.offset[dim] for s in placed)) / 2
        field[dim] = max(s.field[dim] for s in placed)
        rolled = tuple(placed[0].rolled[d] if d == dim else r for d, r in enumerate(rolled))
    # Parts of an image beside each other, such as crops in a batch, have no place in common.
    axes = [unknown([n])[0] if any(a.dim in apart for a in atoms_of(x)) else x for x, n in zip(axes, out, strict=True)]
    lost = apart.union(*(s.lost for s, _ in known))
    return Axes(tuple(axes), tuple(offset), tuple(field), rolled).losing(lost)


def _met(several: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return centre and width of what meets where no axis steps any more: of all of it, or what lies in all others.

    The sum of several slices lies in their middle; beside a slice, a mean of the whole volume says nothing of place.
    A slice with its neighbours lies where it is, also where it stands for a neighbour that is missing.
    """
    centre, width = several[0]
    if len({reach for _, reach in several}) == 1:
        places = [place for place, _ in several]
        return median(places), width + max(places) - min(places)
    for other, reach in several[1:]:
        way = abs(centre - other)
        if way <= abs(width - reach) / 2 + 1e-6:
            centre, width = min((centre, width), (other, reach), key=lambda v: v[1])
            continue
        low, high = min(centre - width / 2, other - reach / 2), max(centre + width / 2, other + reach / 2)
        centre, width = (low + high) / 2, high - low
    return centre, width


def _agreed(given: Sequence[tuple[int, Axis]], size: int) -> tuple[Axis, set[int]]:
    """Return what several say of one axis, and which of them say it."""
    if not given:
        return unknown([size])[0], set()
    telling = [(k, axis) for k, axis in given if not is_free(axis)]
    if not telling:
        # Of features, the one with the fewest atoms: a reshape may still split it.
        return given[0][1] or unknown([size])[0], set()
    best = telling[0][1]
    who = {telling[0][0]}
    for k, axis in telling[1:]:
        if _told(axis) > _told(best) and not _alike(axis, best) and _steps_evenly(axis) >= _steps_evenly(best):
            best, who = axis, {k}
        elif _alike(axis, best):
            exact = _alike(axis, best, 1e-9)
            better = not exact and _uneven(axis) < _uneven(best)
            best = axis if better else best
            who = who | {k} if exact else ({k} if better else who)
        elif _steps_evenly(axis) != _steps_evenly(best):
            # Queries of a global grid keep the window's place by the residual beside them.
            best, who = (axis, {k}) if _steps_evenly(axis) else (best, who)
        elif _told(axis) == _told(best):
            return unknown([size])[0], set()
    return best, who


def _told(axis: Axis) -> int:
    return sum(atom.spatial for atom in atoms_of(axis))


def _steps_evenly(axis: Axis) -> bool:
    atoms = [atom for atom in atoms_of(axis) if atom.spatial]
    return all(evenly(a for a in atoms if a.dim == dim) for dim in {a.dim for a in atoms})


def _uneven(axis: Axis) -> int:
    """Return how many steps of an axis are no whole numbers, nor one over a whole number."""
    steps = [abs(atom.stride) for atom in atoms_of(axis) if atom.spatial]
    return sum(min(abs(s - round(s)), abs(1 / s - round(1 / s)) if s else 1.0) > 1e-6 for s in steps)


def _alike(one: Axis, other: Axis, share: float = ALIKE) -> bool:
    """Return whether two axes step alike, up to a share, along the same axes of the input."""
    a, b = atoms_of(one), atoms_of(other)
    same = [isinstance(p, Joined) for p in one] == [isinstance(p, Joined) for p in other]
    return (
        same
        and len(a) == len(b)
        and all(
            p.dim == q.dim and p.size == q.size and abs(p.stride - q.stride) <= share * abs(q.stride) + 1e-9
            for p, q in zip(a, b, strict=True)
        )
    )


def product(one: Axes | None, other: Axes | None, left: Tensor, right: Tensor, out: Tensor) -> Axes | None:
    """Return the axes of a matrix product (*B, M, K) @ (*B, K, N): the columns of one and the rows of the other go."""
    state = one or other
    if state is None:
        return None
    first = one.axes if one is not None else unknown(left.shape)
    second = other.axes if other is not None else unknown(right.shape)
    if left.ndim < 2 or right.ndim < 2:
        rest: list[Axis] = [*first[:-1], *second[:-2], *second[len(second[:-1]) :][: right.ndim - 1]]
        return reduced(state, atoms_of(first[-1]), rest[: out.ndim])
    batch = joined(
        [None if s is None else s.having(s.axes[:-2]) for s in (one, other)],
        [left.shape[:-2], right.shape[:-2]],
        out.shape[:-2],
    )
    assert batch is not None
    rows, columns = first[-2], second[-1]
    axes = (*batch.axes, rows, columns)
    by_rows = any(a.spatial for a in atoms_of(rows))
    by_columns = any(a.spatial for a in atoms_of(columns))
    own = (one if by_rows else other if by_columns else None) or state
    gone = [*(atoms_of(first[-1]) if one is not None else []), *(atoms_of(second[-2]) if other is not None else [])]
    placed = replace(batch, offset=own.offset, field=own.field, rolled=own.rolled, lost=own.lost)
    return reduced(placed, _once(gone), axes)


def _once(atoms: Sequence[Atom]) -> list[Atom]:
    """Return atoms that both factors have only once."""
    return list(dict.fromkeys(atoms))


def refined(axis: Axis) -> tuple[int, Atom, float] | None:
    """Return the axis of the input that an axis steps along, its steps, and a shift of the first; None for others.

    Steps along space with features inside them are finer steps: so lie channels that a reshape has laid out beside
    each other, as a sub-pixel convolution does.
    """
    parts = [part for part in merged(axis) if isinstance(part, Atom)]
    if len(parts) != len(merged(axis)) or not parts or parts[0].dim is None or not parts[0].spatial:
        return None
    outer, *inner = parts
    assert outer.dim is not None
    if not inner:
        return outer.dim, outer, 0.0
    if len(inner) > 1 or not inner[0].free:
        return None
    stride = outer.stride / inner[0].size
    return outer.dim, Atom(outer.size * inner[0].size, outer.dim, stride), -(outer.stride - stride) / 2
