"""Operations that move entries about: reshapes, permutations, cuts, shifts, joins of several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from saliscope.model.axes.joined_runs import steps_between, with_steps
from saliscope.model.axes.meaning import (
    BATCH,
    Atom,
    Axes,
    Axis,
    Joined,
    atoms_of,
    evenly,
    is_free,
    merged,
    reduced,
    reshaped,
    size_of,
    unknown,
)


def viewed(state: Axes, out: Tensor) -> Axes:
    """Return the axes of a reshape."""
    parts = [part for axis in state.axes for part in axis]
    axes = reshaped(parts, out.shape)
    return state.having(unknown(out.shape) if axes is None else axes)


def squeezed(state: Axes, before: Tensor, out: Tensor, dims: Sequence[int] | None) -> Axes:
    """Return the axes without those of one entry, all of them or `dims`."""
    given = range(before.ndim) if dims is None else [d % before.ndim for d in dims]
    gone = {d for d in given if before.shape[d] == 1}
    return state.having(axis for i, axis in enumerate(state.axes) if i not in gone) if out.ndim else state.having(())


def selected(state: Axes, dim: int, index: int) -> tuple[Axes, bool]:
    """Return the axes at one entry of an axis, and whether that entry lies nowhere, as a class token does."""
    axis = state.axes[dim]
    rest = state.having(a for i, a in enumerate(state.axes) if i != dim)
    index %= max(1, size_of(axis))
    if len(axis) == 1 and isinstance(axis[0], Joined):
        inside = axis[0].before <= index < axis[0].before + axis[0].inner
        return (_at(rest, axis[0].atoms, index - axis[0].before), False) if inside else (rest, True)
    atoms = [p for p in axis if isinstance(p, Atom)]
    return (_at(rest, atoms, index) if len(atoms) == len(axis) else rest), False


def _at(rest: Axes, atoms: Sequence[Atom], index: int) -> Axes:
    for atom in reversed(atoms):
        index, step = divmod(index, atom.size)
        if atom.dim is not None and atom.spatial:
            rest = rest.moved(atom.dim, atom.stride * step)
    return rest


def cut(state: Axes, dim: int, start: int, out: int, step: int) -> tuple[Axes, bool]:
    """Return the axes of `out` entries from `start` of an axis, and whether they all lie nowhere."""
    axis = state.axes[dim]
    if out == size_of(axis) and step == 1:
        return state, False
    if is_free(axis):
        return _put(state, dim, unknown([out])[0]), False
    if len(axis) == 1 and isinstance(axis[0], Joined):
        return _cut_joined(state, dim, axis[0], start, out, step)
    outer = axis[0]
    inner = size_of(axis[1:])
    if isinstance(outer, Atom) and (inner == 1 or (step == 1 and start % inner == 0 and out % inner == 0)):
        first, count = start // inner, out // inner
        state = _put(state, dim, merged([replace(outer, size=count, stride=outer.stride * step), *axis[1:]]))
        moved = state.moved(outer.dim, outer.stride * first) if outer.dim is not None and outer.spatial else state
        return moved, False
    return _put(state, dim, unknown([out])[0]), False


def clamped(state: Axes, dim: int, at: Sequence[int]) -> Axes | None:
    """Return the axes of neighbours whose first or last stands for those beyond the edge, as slices are taken; or None.

    They lie as those of a padding by repetition do.
    """
    axis = state.axes[dim]
    if len(axis) != 1 or not isinstance(axis[0], Atom) or not axis[0].spatial or len(set(at)) < 2:
        return None
    atom = axis[0]
    assert atom.dim is not None
    start = at[0] if at[0] > 0 else at[-1] - len(at) + 1
    if list(at) != [min(max(i, 0), atom.size - 1) for i in range(start, start + len(at))]:
        return None
    return _put(state, dim, (replace(atom, size=len(at)),)).moved(atom.dim, atom.stride * start)


def _cut_joined(state: Axes, dim: int, part: Joined, start: int, out: int, step: int) -> tuple[Axes, bool]:
    end, last = start + (out - 1) * step, part.before + part.inner
    if end < part.before or start >= last:
        return _put(state, dim, unknown([out])[0]), True
    before, after = max(0, part.before - start), max(0, start + out - last)
    if step == 1 and before + part.inner + after == out:
        atoms = merged(part.atoms)
        return _put(state, dim, (Joined(before, part.atoms, after),) if before or after else atoms), False
    if step == 1 and start >= part.before and start + out <= last and len(part.atoms) == 1:
        return cut(_put(state, dim, part.atoms), dim, start - part.before, out, 1)
    return _put(state, dim, unknown([out])[0]), False


def flipped(state: Axes, dims: Sequence[int]) -> Axes:
    """Return the axes after a flip: steps go the other way from the last entry."""
    for dim in dims:
        axis = state.axes[dim]
        if any(isinstance(part, Joined) for part in axis):
            state = _put(state, dim, unknown([size_of(axis)])[0])
            continue
        for atom in atoms_of(axis):
            if atom.dim is not None and atom.spatial:
                state = state.moved(atom.dim, atom.stride * (atom.size - 1))
        turned = tuple(replace(a, stride=-a.stride) if a.spatial else a for a in atoms_of(axis))
        state = _put(state, dim, turned)
    return state


def turned(state: Axes, times: int, dims: Sequence[int]) -> Axes:
    """Return the axes after so many quarter turns from the first of two axes towards the second."""
    one, other = (d % len(state.axes) for d in dims)
    times %= 4
    state = flipped(state, {1: [other], 2: [one, other], 3: [one]}.get(times, []))
    axes = list(state.axes)
    if times % 2:
        axes[one], axes[other] = axes[other], axes[one]
    return state.having(axes)


def rolled(state: Axes, shifts: Sequence[int], dims: Sequence[int]) -> Axes:
    """Return the axes after a cyclic shift, which is kept, because a window attention takes it back later."""
    for shift, dim in zip(shifts, dims, strict=True):
        axis = state.axes[dim]
        if is_free(axis):
            continue
        if len(axis) != 1 or not isinstance(axis[0], Atom) or axis[0].dim is None or not axis[0].spatial:
            state = _put(state, dim, unknown([size_of(axis)])[0])
            continue
        way = list(state.rolled)
        around = axis[0].size * axis[0].stride
        way[axis[0].dim] = (way[axis[0].dim] + shift * axis[0].stride) % around
        state = replace(state, rolled=tuple(way))
    return state


def repeated(state: Axes, before: Tensor, out: Tensor) -> Axes:
    """Return the axes of a tensor that is repeated: what is repeated is known no more, new axes stand in front."""
    ahead = out.ndim - before.ndim
    axes = [*unknown(out.shape[:ahead])]
    for axis, size, was in zip(state.axes, out.shape[ahead:], before.shape, strict=True):
        axes.append(axis if size == was else unknown([size])[0])
    return state.having(axes)


def sliding(state: Axes, dim: int, size: int, step: int, out: Tensor) -> Axes:
    """Return the axes of `Tensor.unfold`: windows stand where the axis stood, their entries at the end."""
    axis = state.axes[dim]
    axes = list(state.axes)
    if len(axis) != 1 or not isinstance(axis[0], Atom) or not axis[0].spatial:
        axes[dim] = unknown([out.shape[dim]])[0]
        return state.having([*axes, unknown([size])[0]])
    atom = axis[0]
    axes[dim] = (replace(atom, size=out.shape[dim], stride=atom.stride * step),)
    return state.having([*axes, (replace(atom, size=size),)])


def patches(state: Axes, args: Sequence[Any], out: Tensor) -> Axes:
    """Return the axes of `im2col`: (N, C * kernel, windows)."""
    kernel, dilation, padding, stride = ([int(v) for v in a] for a in args[1:5])
    size, windows = out.shape[-2:]
    rows_columns = state.axes[-2:]
    if not all(len(a) == 1 and isinstance(a[0], Atom) and a[0].spatial for a in rows_columns):
        return state.having([*state.axes[:-3], *unknown([size, windows])])
    inner, outer = [], []
    for (atom,), k, d, p, s, n in zip(rows_columns, kernel, dilation, padding, stride, args[0].shape[-2:], strict=True):
        assert isinstance(atom, Atom)
        assert atom.dim is not None
        inner.append(replace(atom, size=k, stride=atom.stride * d))
        outer.append(replace(atom, size=(n + 2 * p - d * (k - 1) - 1) // s + 1, stride=atom.stride * s))
        state = state.moved(atom.dim, -p * atom.stride)
    return state.having([*state.axes[:-3], merged([*state.axes[-3], *inner]), merged(outer)])


def concatenated(states: Sequence[Axes | None], tensors: Sequence[Tensor], dim: int, out: Tensor) -> Axes | None:
    """Return the axes of a concatenation: atoms of one tensor between what lies nowhere, or atoms that go on."""
    known = [s for s in states if s is not None]
    if not known:
        return None
    from saliscope.model.axes.meetings import joined

    dim %= out.ndim
    beside = side_by_side(states, dim, new=False)
    if beside is not None:
        return beside
    without = [None if s is None else s.having(a if i != dim else () for i, a in enumerate(s.axes)) for s in states]
    shape = [1 if i == dim else n for i, n in enumerate(out.shape)]
    state = joined(without, [[1 if i == dim else n for i, n in enumerate(t.shape)] for t in tensors], shape)
    if state is None:
        return None
    along = [
        (s, s.axes[dim]) if s is not None else (None, unknown([t.shape[dim]])[0])
        for s, t in zip(states, tensors, strict=True)
    ]
    placed = [i for i, (_, axis) in enumerate(along) if any(a.spatial or a.dim == BATCH for a in atoms_of(axis))]
    sizes = [t.shape[dim] for t in tensors]
    if len(placed) == 1:
        at = placed[0]
        before, after = sum(sizes[:at]), sum(sizes[at + 1 :])
        axis = _between(along[at][1], before, after)
        own = along[at][0]
        assert own is not None
        made = _put(state, dim, axis)
        if not any(a.spatial for a in atoms_of(axis)):
            return made
        return replace(made, offset=own.offset, field=own.field, rolled=own.rolled)
    continued = _continued([along[i] for i in placed]) if len(placed) == len(sizes) > 0 else None
    if continued is not None:
        first = along[0][0]
        assert first is not None
        return replace(_put(state, dim, continued), offset=first.offset, field=first.field)
    return _put(state, dim, unknown([out.shape[dim]])[0])


def side_by_side(states: Sequence[Axes | None], dim: int, *, new: bool) -> Axes | None:
    """Return the axes of tensors that lie evenly beside each other, along one of their axes or a new one; or None."""
    steps = steps_between(states)
    first = states[0] if states else None
    if steps is None or first is None:
        return None
    axes = list(first.axes)
    axes[dim : dim + (not new)] = [merged((*steps, *(() if new else axes[dim])))]
    made = with_steps(first, steps, axes)
    own = [a for a in made.atoms() if a.dim in {s.dim for s in steps}] if made is not None else []
    even = all(evenly(a for a in own if a.dim == s.dim) for s in steps)
    return made if even else None


def _between(axis: Axis, before: int, after: int) -> Axis:
    if not before and not after:
        return axis
    if len(axis) == 1 and isinstance(axis[0], Joined):
        part = axis[0]
        return (Joined(part.before + before, part.atoms, part.after + after),)
    atoms = atoms_of(axis)
    if any(isinstance(part, Joined) for part in axis):
        return unknown([before + size_of(axis) + after])[0]
    return (Joined(before, tuple(atoms), after),)


def _continued(along: Sequence[tuple[Axes | None, Axis]]) -> Axis | None:
    """Return the axis of pieces each of which begins one step after the end of the one before, or None."""
    total, after = 0, None
    first = along[0][1][0]
    for state, axis in along:
        if state is None or len(axis) != 1 or not isinstance(axis[0], Atom) or not isinstance(first, Atom):
            return None
        atom = axis[0]
        if atom.dim != first.dim or atom.dim is None or not atom.spatial or abs(atom.stride - first.stride) > 1e-9:
            return None
        if after is not None and abs(state.offset[atom.dim] - after) > 1e-6:
            return None
        after = state.offset[atom.dim] + atom.stride * atom.size
        total += atom.size
    return (replace(first, size=total),) if isinstance(first, Atom) else None


def _put(state: Axes, dim: int, axis: Axis) -> Axes:
    axes = list(state.axes)
    axes[dim] = axis
    return state.having(axes)


def halved(state: Axes, dim: int, out: Tensor) -> Axes:
    """Return the axes of a product of the two halves of an axis: nothing of it is known after."""
    dim %= out.ndim
    return _put(state, dim, unknown([out.shape[dim]])[0])


def summed(state: Axes, before: Tensor, out: Tensor, dims: Sequence[int]) -> Axes:
    """Return the axes of a sum, mean, maximum or norm over some axes."""
    over = {d % before.ndim for d in dims} if before.ndim else set()
    gone = [atom for d in over for atom in atoms_of(state.axes[d])]
    if out.ndim == before.ndim:
        rest = [() if i in over else axis for i, axis in enumerate(state.axes)]
    else:
        rest = [axis for i, axis in enumerate(state.axes) if i not in over]
    return reduced(state, gone, rest)
