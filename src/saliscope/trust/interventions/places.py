"""Other places for the same shape: what a region is compared with, inside the same compartment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]
    Index = npt.NDArray[np.int64]

#: A shape that cannot be moved as a whole is moved in its connected pieces; one single piece is cut into so many blocks
#: along each axis of a picture or of a volume.
BLOCKS = {2: 5, 3: 3}
#: With so many other places of the whole shape a p of 0.05 can be reached: it is not cut.
ENOUGH = 19
#: How often places are drawn for the pieces of one size, and how many draws in a row may bring nothing new.
TRIES, HOPELESS = 60, 20
#: Elements that are drawn for all pieces of a test together, at most: a few seconds. Then there are fewer places.
WORK = 5_000_000
#: With at most this share of it a piece may lie on the region itself, where there is no other room.
MOST_ON_ITSELF = 0.25


@dataclass(frozen=True, eq=False)
class Places:
    """Masks (m, *S) of one shape in m different places, of `asked`; `how` says how they were made, and what is short.

    `overlap` is the largest share of any of them that lies on the region itself.
    """

    masks: Mask = field(repr=False)
    asked: int
    how: str
    overlap: float = 0.0

    def __len__(self) -> int:
        return len(self.masks)


def same_shape_nulls(
    mask: Mask, within: Mask, count: int, seed: int = 0, spacing: Sequence[float] | None = None
) -> Places:
    """Return up to `count` distinct places of the shape of a mask (*S), as much inside `within` (*S) as itself.

    In a picture the shape may also be mirrored and turned by quarters (by halves where `spacing` differs between the
    axes); a volume's is only moved. None lies on the mask. Where the whole shape has too few such places it is moved
    in pieces, which may touch the mask only where there is no other room. Raises MetricError for a mask that is empty
    or does not fit.
    """
    import numpy as np

    if mask.shape != within.shape or mask.dtype != np.bool_ or within.dtype != np.bool_ or not mask.any() or count < 1:
        raise MetricError(
            f"{count} places for a mask of {mask.dtype} {mask.shape} within {within.dtype} {within.shape}",
            expected="one or more, two boolean masks of one shape, the first not empty",
            do="Give the region and the compartment on the elements of the view.",
        )
    rng = np.random.default_rng(seed)
    whole = _whole(mask, within, count, rng, spacing)
    if len(whole) == count:
        return Places(_frozen(whole), count, f"the shape moved to {count} other places")
    best = Places(_frozen(whole), count, f"the shape fits in {len(whole)} other places only, {count} were asked")
    if len(whole) >= ENOUGH:
        return best
    for overlap in (0.0, MOST_ON_ITSELF):
        found = _in_pieces(mask, within, count, rng, overlap)
        if len(found) > len(best):
            short = "" if len(found) == count else f", in {len(found)} ways only of {count} asked"
            shares = [float((m & mask).sum() / mask.sum()) for m in found]
            on = f", up to {max(shares):.0%} of it on the region itself" if max(shares) > 0 else ""
            best = Places(_frozen(found), count, f"the shape moved in pieces{on}{short}", max(shares))
        if len(best) >= count:
            break
    return best


def _frozen(masks: Sequence[Mask]) -> Mask:
    import numpy as np

    stacked: Mask = np.stack(masks) if masks else np.zeros((0,), np.bool_)
    stacked.setflags(write=False)
    return stacked


def _whole(
    mask: Mask, within: Mask, count: int, rng: np.random.Generator, spacing: Sequence[float] | None
) -> list[Mask]:
    """Return masks of the whole shape, turned and mirrored in a picture, that lie apart from the mask."""
    import numpy as np
    from scipy.fft import irfftn, rfftn

    box = _box(mask)
    shape = mask[box]
    limit = int((mask & ~within).sum())
    grids = [rfftn(grid.astype(np.float64)) for grid in (~within, mask)]
    turns: list[Mask] = []
    rooms: list[Index] = []
    for turned in _turned(shape, spacing):
        if any(t > n for t, n in zip(turned.shape, mask.shape, strict=True)):
            continue
        # How much of the shape lies outside, and on the mask, at every place where it fits into the grid.
        kernel = np.conj(rfftn(turned.astype(np.float64), mask.shape))
        fits = tuple(slice(n - t + 1) for n, t in zip(mask.shape, turned.shape, strict=True))
        outside, covered = (irfftn(grid * kernel, mask.shape)[fits] for grid in grids)
        turns.append(turned)
        rooms.append(np.argwhere((outside < limit + 0.5) & (covered < 0.5)))
    ends = np.cumsum([len(room) for room in rooms])
    found = []
    for i in rng.permutation(int(ends[-1]))[:count] if turns else ():
        turn = int(np.searchsorted(ends, i, side="right"))
        turned, at = turns[turn], rooms[turn][i - ends[turn]]
        one = np.zeros(mask.shape, np.bool_)
        one[tuple(slice(a, a + n) for a, n in zip(at, turned.shape, strict=True))] = turned
        found.append(one)
    return found


def _turned(shape: Mask, spacing: Sequence[float] | None) -> list[Mask]:
    """Return the shape, in a picture also turned and mirrored, each that looks different once."""
    import numpy as np

    if shape.ndim != 2:
        return [shape]
    square = spacing is None or abs(spacing[0] - spacing[1]) <= 0.01 * max(spacing)
    quarters = range(0, 4, 1 if square else 2)
    every = [np.rot90(one, q) for one in (shape, shape[:, ::-1]) for q in quarters]
    return list({(t.shape, t.tobytes()): t for t in every}.values())


def _in_pieces(mask: Mask, within: Mask, count: int, rng: np.random.Generator, overlap: float) -> list[Mask]:
    """Return distinct masks made of the pieces of a mask, each moved by itself to a place drawn by lot."""
    import numpy as np

    room = np.argwhere(within) if within.any() else np.argwhere(np.ones_like(mask))
    pieces = _pieces(mask)
    found: dict[bytes, Mask] = {}
    work = idle = 0
    while len(found) < count and idle < HOPELESS and work < WORK:
        taken, drawn = _moved(pieces, mask, within, room, rng, overlap)
        work += drawn
        before = len(found)
        if taken is not None and not (taken == mask).all():
            found.setdefault(np.packbits(taken).tobytes(), taken)
        idle = idle + 1 if len(found) == before else 0
    return list(found.values())


def _moved(
    pieces: Sequence[Index], mask: Mask, within: Mask, room: Index, rng: np.random.Generator, overlap: float
) -> tuple[Mask | None, int]:
    """Return the pieces in new places, none on another, None where one finds no place; and how many elements it drew.

    The large ones go first.
    """
    import numpy as np

    taken = np.zeros(mask.shape, np.bool_)
    drawn = 0
    classes = [int(np.log2(len(piece))) for piece in pieces]
    for size in sorted(set(classes), reverse=True):
        left = [piece for piece, own in zip(pieces, classes, strict=True) if own == size]
        for _ in range(TRIES):
            drawn += sum(len(piece) for piece in left)
            left = _settled(left, mask, within, room, rng, overlap, taken)
            if not left:
                break
        if left:
            return None, drawn
    return taken, drawn


def _settled(
    pieces: Sequence[Index],
    mask: Mask,
    within: Mask,
    room: Index,
    rng: np.random.Generator,
    overlap: float,
    taken: Mask,
) -> list[Index]:
    """Draw a place for each piece, mark as taken those that fit, and return the pieces that did not."""
    import numpy as np

    count = len(pieces)
    own = np.repeat(np.arange(count), [len(piece) for piece in pieces])
    middles = np.array([piece.mean(axis=0) for piece in pieces]).round().astype(np.int64)
    centres = room[rng.integers(len(room), size=count)]
    before = np.concatenate(pieces)
    after = before + (centres - middles)[own]
    bad = np.zeros(count, np.bool_)
    bad[own[((after < 0) | (after >= np.array(mask.shape))).any(axis=1)]] = True
    at = tuple(np.clip(after, 0, np.array(mask.shape) - 1).T)

    def per_piece(which: npt.NDArray[np.bool_]) -> Index:
        return np.bincount(own[which], minlength=count)

    bad |= per_piece(within[at]) < per_piece(within[tuple(before.T)])
    bad |= per_piece(mask[at]) > overlap * np.bincount(own, minlength=count)
    bad |= per_piece(taken[at]) > 0
    # Of pieces that were drawn onto each other the first stays.
    flat = np.where(bad[own], -1 - np.arange(len(own)), np.ravel_multi_index(at, mask.shape))
    first = np.zeros(len(own), np.bool_)
    first[np.unique(flat, return_index=True)[1]] = True
    bad |= per_piece(~first) > 0
    good = ~bad[own]
    taken[tuple(axis[good] for axis in at)] = True
    return [piece for piece, no in zip(pieces, bad, strict=True) if no]


def _pieces(mask: Mask) -> list[Index]:
    """Return the elements (n, S) of each connected piece, or, of one single piece, of what lies in each block."""
    import numpy as np
    from scipy import ndimage

    labels, number = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    if number == 1:
        blocks = BLOCKS[mask.ndim]
        labels = np.zeros(mask.shape, np.int64)
        for axis, n in enumerate(mask.shape):
            at = np.arange(n) * blocks // n
            labels = labels * blocks + at.reshape([-1 if a == axis else 1 for a in range(mask.ndim)])
    where, own = np.argwhere(mask), labels[mask]
    order = np.argsort(own, kind="stable")
    return np.split(where[order], np.flatnonzero(np.diff(own[order])) + 1)


def _box(mask: Mask) -> tuple[slice, ...]:
    import numpy as np

    return tuple(slice(int(line.min()), int(line.max()) + 1) for line in np.nonzero(mask))
