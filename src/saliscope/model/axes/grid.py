"""Where the output of a layer lies on the input, and how it is laid out as (N, C, *S') and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

import torch
from torch import Tensor

from saliscope.model.axes.meaning import BATCH, Atom, Axes, Joined, atoms_of, evenly
from saliscope.model.cells import Cells


@dataclass(frozen=True)
class Grid:
    """The grid of a layer's output: its axes, and the order in which their atoms make (N, C, *S')."""

    axes: Axes
    #: Numbers of the atoms, those of the batch first, then features, then each axis of space from coarse to fine.
    order: tuple[int, ...]
    shape: tuple[int, ...]
    cells: Cells
    #: How many axes of space have atoms, and per axis of space how many cells it was rolled and whether it goes back.
    present: int
    rolls: tuple[int, ...]
    flips: tuple[int, ...]
    #: How many cells of each axis lie on the input; others are made of padding.
    inside: tuple[int, ...]
    #: Of a layer's runs beside each other: their numbers in the order in which the output stacks them.
    runs: tuple[int, ...] = ()

    @cached_property
    def plain(self) -> bool:
        """Return whether the output is (N, C, *S') as it is."""
        return (
            len(self.axes.axes) == len(self.shape) + 2
            and self.order == tuple(range(len(self.order)))
            and all(a.dim == BATCH for a in atoms_of(self.axes.axes[0]))
            and not self.solid
            and not any(self.rolls)
            and not self.flips
            and all(len(axis) <= 1 for axis in self.axes.axes)
            and [a.dim for axis in self.axes.axes[2:] for a in axis if isinstance(a, Atom)]
            == list(range(len(self.shape)))
        )

    @property
    def batched(self) -> bool:
        """Return whether the axis of images is among the output's axes."""
        return any(a.dim == BATCH for a in self.axes.atoms())

    @property
    def solid(self) -> bool:
        """Return whether entries that lie nowhere stand among the cells."""
        return any(isinstance(part, Joined) for axis in self.axes.axes for part in axis)

    def stacked(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the outputs of the layer's runs as the one output whose grid this is."""
        return torch.stack([outputs[i] for i in self.runs]) if self.runs else outputs[0]

    def of_each_run(self, t: Tensor) -> list[Tensor]:
        """Return the outputs of the layer's runs that the one output stacks."""
        return [t[self.runs.index(i)] for i in range(len(self.runs))] if self.runs else [t]

    def laid_out(self, t: Tensor) -> Tensor:
        """Return a layer's output as (N, C, *S')."""
        if self.plain:
            return t
        count = self._count(t)
        parts = [part for axis in self.axes.axes for part in axis]
        t = t.reshape([_sized(part, count) for part in parts])
        for i, part in enumerate(parts):
            if isinstance(part, Joined):
                t = t.narrow(i, part.before, _inner(part, count))
        atoms = self.axes.atoms()
        t = t.reshape([_sized(a, count) for a in atoms]).permute(self.order)
        t = t.reshape(count, -1, *self.shape)
        for i, roll in enumerate(self.rolls):
            t = t.roll(-roll, 2 + i) if roll else t
        return t.flip([2 + i for i in self.flips]) if self.flips else t

    def put_back(self, values: Tensor, raw: Tensor) -> Tensor:
        """Return values (M, C, *S') as the layer gives them; what lies nowhere is that of `raw`, one image's output."""
        if self.plain:
            return values
        t, count = values, len(values)
        t = t.flip([2 + i for i in self.flips]) if self.flips else t
        for i, roll in enumerate(self.rolls):
            t = t.roll(roll, 2 + i) if roll else t
        atoms = self.axes.atoms()
        sizes = [_sized(a, count) for a in atoms]
        t = t.reshape([sizes[i] for i in self.order])
        back = [self.order.index(i) for i in range(len(self.order))]
        parts = [part for axis in self.axes.axes for part in axis]
        t = t.permute(back).reshape(
            [_inner(part, count) if isinstance(part, Joined) else _sized(part, count) for part in parts]
        )
        if self.solid:
            t = self._with_rest(t, raw, parts, count)
        return t.reshape([prod(_sized(part, count) for part in axis) for axis in self.axes.axes])

    def _with_rest(self, t: Tensor, raw: Tensor, parts: Sequence[Atom | Joined], count: int) -> Tensor:
        own = raw.reshape([_sized(part, 1) for part in parts])
        own = own.expand([_sized(part, count) if isinstance(part, Atom) else -1 for part in parts])
        for i, part in enumerate(parts):
            if isinstance(part, Joined):
                # Other joined parts of the rest are narrowed to what is put back already.
                rest = own
                for j, other in enumerate(parts):
                    if j > i and isinstance(other, Joined):
                        rest = rest.narrow(j, other.before, other.inner)
                low = rest.narrow(i, 0, part.before)
                high = rest.narrow(i, part.before + part.inner, part.after)
                t = torch.cat([low, t, high], dim=i)
        return t

    def _count(self, t: Tensor) -> int:
        """Return of how many images a tensor is."""
        rest = prod(_sized(part, 1) for axis in self.axes.axes for part in axis)
        return max(1, t.numel() // max(1, rest))


def _sized(part: Atom | Joined, count: int) -> int:
    """Return the size of a part for this number of images."""
    if isinstance(part, Joined):
        return part.before + _inner(part, count) + part.after
    return count if part.dim == BATCH else part.size


def _inner(part: Joined, count: int) -> int:
    return prod(_sized(a, count) for a in part.atoms)


def grid_of(axes: Axes | None, size: Sequence[int]) -> Grid | None:
    """Return the grid of a tensor's axes for an input of size S; None where it has none that steps evenly."""
    if axes is None or axes.lost:
        return None
    atoms = axes.atoms()
    batch = [i for i, a in enumerate(atoms) if a.dim == BATCH]
    if len(batch) > 1:
        return None
    features = [i for i, a in enumerate(atoms) if not a.spatial and a.dim != BATCH]
    order, sizes, strides = [*batch, *features], [], []
    present, rolls, flips = 0, [], []
    for dim in range(len(size)):
        own = sorted((i for i, a in enumerate(atoms) if a.dim == dim), key=lambda i: (-abs(atoms[i].stride), i))
        if not evenly(atoms[i] for i in own):
            return None
        order += own
        sizes.append(prod(atoms[i].size for i in own))
        stride = atoms[own[-1]].stride if own else float(size[dim])
        present += bool(own)
        # Whole cells are rolled back; what is left of the way moves where they lie.
        rolls.append(int(axes.rolled[dim] / abs(stride) + 1e-6) if own else 0)
        flips += [dim] if stride < 0 else []
        strides.append(stride)
    offset = [o + s * (n - 1) if s < 0 else o for o, s, n in zip(axes.offset, strides, sizes, strict=True)]
    offset = [o - (way - n * abs(s)) for o, way, n, s in zip(offset, axes.rolled, rolls, strides, strict=True)]
    cells = Cells(tuple(abs(s) for s in strides), tuple(offset), axes.field)
    if not present:
        return None
    # As many cells as steps fit into the input; more are made of padding.
    inside = tuple(min(n, ceil(w / abs(s) - 1e-6)) for n, w, s in zip(sizes, size, strides, strict=True))
    return Grid(axes, tuple(order), tuple(sizes), cells, present, tuple(rolls), tuple(flips), inside)
