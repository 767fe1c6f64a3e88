"""What the axes of a tensor mean: batch, channel, or steps along an axis of the input.

An axis is a product of parts, outermost first, as a reshape makes them: a ViT's token axis is (row, column), the first
axis of a CNN that runs on slices is (batch, plane), the axes of a window partition are (batch, row / 7, column / 7) and
(row % 7, column % 7). A step of a part moves by `stride` elements of the input, so the cell of a tensor is centred on
offset + the sum of stride * index over its parts (araujo2019, eq. 5 to 8, with several indices for one axis).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

#: Numbers of the input's first two axes; its axes of space are numbered from 0.
BATCH, CHANNEL = -1, -2
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Atom:
    """`size` steps of `stride` elements along axis `dim` of the input; without `dim`, features of the network."""

    size: int
    dim: int | None = None
    stride: float = 1.0

    @property
    def free(self) -> bool:
        """Return whether it stands for no axis of the input."""
        return self.dim is None

    @property
    def spatial(self) -> bool:
        """Return whether it stands for an axis of space."""
        return self.dim is not None and self.dim >= 0


@dataclass(frozen=True)
class Joined:
    """Atoms with entries before and after them that lie nowhere, such as a class token."""

    before: int
    atoms: tuple[Atom, ...]
    after: int

    @property
    def size(self) -> int:
        """Return the number of entries."""
        return self.before + self.inner + self.after

    @property
    def inner(self) -> int:
        """Return the number of entries that the atoms have."""
        return prod(a.size for a in self.atoms)


Part = Atom | Joined
Axis = tuple[Part, ...]


@dataclass(frozen=True)
class Axes:
    """The axes of a tensor; per axis of space the centre of cell 0, the field's width, and how far it was rolled.

    `lost` are axes of space whose places are still in the tensor but no longer told apart: they were mixed, or moved
    in a way that is not followed. What was summed away is not lost.
    """

    axes: tuple[Axis, ...]
    offset: Numbers
    field: Numbers
    rolled: Numbers
    lost: frozenset[int] = frozenset()

    def having(self, axes: Iterable[Axis]) -> Axes:
        """Return other axes in the same place."""
        return replace(self, axes=tuple(axes))

    def moved(self, dim: int, shift: float, reach: float = 0.0) -> Axes:
        """Return the axes with cell 0 `shift` elements further along a dim, and a field `reach` elements wider."""
        offset, field = list(self.offset), list(self.field)
        offset[dim] += shift
        field[dim] += abs(reach)
        return replace(self, offset=tuple(offset), field=tuple(field))

    def losing(self, dims: Iterable[int]) -> Axes:
        """Return the axes with more axes of space lost; one that another axis still steps along is not."""
        left = self.dims()
        return replace(self, lost=frozenset((*self.lost, *dims)) - left)

    def dims(self) -> set[int]:
        """Return the axes of space along which some axis takes several steps."""
        return {a.dim for a in self.atoms() if a.dim is not None and a.spatial and a.size > 1}

    def atoms(self) -> list[Atom]:
        """Return all atoms, axis by axis."""
        return [atom for axis in self.axes for atom in atoms_of(axis)]


def of_input(shape: Sequence[int]) -> Axes:
    """Return the axes of an input (N, C, *S)."""
    space = [(Atom(size, dim),) for dim, size in enumerate(shape[2:])]
    none = (0.0,) * len(space)
    return Axes(((Atom(shape[0], BATCH),), (Atom(shape[1], CHANNEL),), *space), none, (1.0,) * len(space), none)


def unknown(sizes: Iterable[int]) -> tuple[Axis, ...]:
    """Return axes of these sizes of which nothing is known."""
    return tuple(() if size == 1 else (Atom(size),) for size in sizes)


def size_of(axis: Axis) -> int:
    """Return how many entries an axis has."""
    return prod(part.size for part in axis)


def atoms_of(axis: Axis) -> list[Atom]:
    """Return the atoms of an axis, those between entries that lie nowhere among them."""
    return [atom for part in axis for atom in (part.atoms if isinstance(part, Joined) else (part,))]


def is_free(axis: Axis) -> bool:
    """Return whether an axis stands for no axis of the input."""
    return all(atom.free for atom in atoms_of(axis))


def evenly(atoms: Iterable[Atom]) -> bool:
    """Return whether atoms of one axis of the input step evenly together, from coarse to fine."""
    steps = sorted((a for a in atoms if a.size > 1), key=lambda a: -abs(a.stride))
    return all(abs(a.stride - b.stride * b.size) < 1e-6 * abs(a.stride) for a, b in pairwise(steps))


def merged(parts: Iterable[Part]) -> Axis:
    """Return parts with neighbours made one where together they step evenly."""
    found: list[Part] = []
    parts = list(parts)
    for part in parts:
        # Beside others, what has one entry only would be in the way: a batch of one, a single channel or plane.
        if isinstance(part, Atom) and part.size == 1 and (part.free or len(parts) > 1):
            continue
        if found and isinstance(part, Atom) and isinstance(found[-1], Atom):
            one = _one(found[-1], part)
            if one is not None:
                found[-1] = one
                continue
        found.append(part)
    return tuple(found)


def _one(outer: Atom, inner: Atom) -> Atom | None:
    """Return two neighbouring atoms as one, or None."""
    if outer.dim != inner.dim:
        return None
    size = outer.size * inner.size
    if outer.free:
        return Atom(size)
    if outer.size == 1 or inner.size == 1:
        return Atom(size, outer.dim, inner.stride if outer.size == 1 else outer.stride)
    even = abs(outer.stride - inner.stride * inner.size) < 1e-9
    return Atom(size, outer.dim, inner.stride) if even else None


def split(atom: Atom, outer: int) -> tuple[Atom, Atom]:
    """Return an atom as `outer` steps over the rest of its entries."""
    inner = atom.size // outer
    if atom.free:
        return Atom(outer), Atom(inner)
    return replace(atom, size=outer, stride=atom.stride * inner), replace(atom, size=inner)


def reshaped(parts: Sequence[Part], sizes: Sequence[int]) -> tuple[Axis, ...] | None:
    """Return the axes of a row-major reshape of parts to these sizes; None where a part would be cut unevenly."""
    left = list(parts)
    axes: list[list[Part]] = []
    for size in sizes:
        axis: list[Part] = []
        have = 1
        while have < size and left:
            part = left.pop(0)
            want = size // have if size % have == 0 else 0
            if want and want % part.size == 0:
                axis.append(part)
            elif want and isinstance(part, Atom) and part.size % want == 0:
                outer, inner = split(part, want)
                axis.append(outer)
                left.insert(0, inner)
            else:
                return None
            have *= axis[-1].size
        if have != size:
            return None
        if size == 1 and left and left[0].size == 1:
            axis.append(left.pop(0))
        axes.append(axis)
    if any(part.size != 1 for part in left):
        return None
    if axes:
        axes[-1] += left
    return tuple(merged(axis) for axis in axes)


def _beside(one: Atom, other: Atom) -> bool:
    """Return whether the steps of one atom fit between those of another, so that each moves a cell by itself."""
    a, b = abs(one.stride), abs(other.stride)
    return a * one.size <= b + 1e-9 or b * other.size <= a + 1e-9


def reduced(state: Axes, gone: Sequence[Atom], rest: Sequence[Axis]) -> Axes:
    """Return axes `rest` after atoms were summed over: their middle stands for them, unless the rest has them too.

    In an attention matrix rows and columns both are tokens; the sum over one of them leaves the other where it is.
    What steps within the atoms summed over, as the columns within the two halves of an image, has no place after.
    """
    state = state.having(rest)
    left = [atom for atom in state.atoms() if atom.spatial]
    for atom in gone:
        if not atom.spatial or not all(_beside(atom, a) for a in left if a.dim == atom.dim):
            continue
        assert atom.dim is not None
        way = atom.stride * (atom.size - 1)
        state = state.moved(atom.dim, way / 2, way)
    mixed = {a.dim for a in gone if a.dim is not None and a.spatial and any(_within(b, a) for b in left)}
    if not mixed:
        return state
    axes = [unknown([size_of(x)])[0] if any(a.dim in mixed for a in atoms_of(x)) else x for x in state.axes]
    return state.having(axes).losing(mixed)


def _within(fine: Atom, coarse: Atom) -> bool:
    """Return whether an atom takes its steps within each step of another."""
    same = fine.dim == coarse.dim and fine.size > 1 and coarse.size > 1
    return same and abs(fine.stride) * fine.size <= abs(coarse.stride) + 1e-9
