"""An image with discs painted into it, on its way through a preprocessing: where they come out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from saliscope.core.errors import Misplaced
from saliscope.model.affine_fit import Affine
from saliscope.model.discs import CLEARED, Array, Bools, Discs, Floats, grid_of_discs, located, painted

#: What is sent through, (C, *S) in and out; the output has the shape that the image itself gave, else LookupError.
Send = Callable[[Array], Array]

#: Farthest that places may lie from where the learnt map puts them, in elements of the source (root mean square).
TOLERANCE = 0.5
#: Discs along an axis for each pattern of the check, in turn.
CHECKS = {2: (5, 4, 6, 7), 3: (3, 2, 4, 3)}
#: Share of the visible part that each pattern leaves free at its beginning, and twice so much at its end: no two
#: patterns have their discs at one place, and none is its own mirror image.
INSETS = (0.01, 0.04, 0.02, 0.06)
#: Output elements along an axis that are looked at; more cost time and tell no more.
LOOKED = {2: 512, 3: 96}
#: Least elements along an axis: fewer hold no two discs.
LEAST = 4
#: Output elements from disc to disc in a check: less would not tell half a source element.
COARSE = 10
#: A shift of the whole output explains at least this share of how it changes between the discs.
EXPLAINED = 0.3
#: The output between the discs is like that of the image itself where all but this share of its variance is the same.
UNLIKE = 0.1
#: Least elements between the discs that tell anything.
LEAST_QUIET = 30
#: One disc alone makes at least this share of the change of an output where it is expected.
CHANGES_THERE = 0.3


@dataclass(frozen=True, eq=False)
class Look:
    """A preprocessing with an image, and the box of it in which discs are painted, by its edges (S,)."""

    send: Send
    carrier: Array
    base: Array
    low: Floats
    high: Floats

    @property
    def ndim(self) -> int:
        """Return the number of axes S."""
        return self.carrier.ndim - 1

    @property
    def stride(self) -> Floats:
        """Return the step (S,) at which output elements are looked at."""
        steps: Floats = np.maximum(1, np.array(self.base.shape[1:]) // LOOKED[self.ndim]).astype(np.float64)
        return steps

    def seen(self, output: Array) -> Array:
        """Return the channels and elements of an output that are looked at."""
        count = len(output)
        some = output if count <= 4 else output[[0, count // 2, count - 1]]
        return some[(slice(None), *(slice(None, None, int(s)) for s in self.stride))]

    def of(self, discs: Discs, high: Bools) -> Array:
        """Return the output of the image with discs; raises Misplaced where its shape depends on them."""
        try:
            return self.seen(self.send(painted(self.carrier, discs, high)))
        except LookupError as error:
            raise Misplaced(
                f"a view whose output changes its shape with the content of the image ({error})",
                expected="one place for each element",
                do="Leave out the step that crops to the content, or apply it before",
            ) from error


def boxes(carrier: Array) -> list[tuple[Floats, Floats]]:
    """Return the edges of the whole image, and of the inside of what is brighter than its darkest parts."""
    shape = np.array(carrier.shape[1:])
    found = [(np.full(len(shape), -0.5), shape - 0.5)]
    low, high = float(carrier.min()), float(carrier.max())
    bright = (carrier > low + 0.05 * (high - low)).any(axis=0)
    if bright.any():
        inside = np.argwhere(bright)
        start, stop = inside.min(axis=0), inside.max(axis=0) + 1
        margin = (stop - start) * 0.1
        if (stop - start - 2 * margin >= LEAST).all():
            found.append((start + margin - 0.5, stop - margin - 0.5))
    return found


def measured(look: Look, affine: Affine, pattern: int) -> tuple[Floats, Floats]:
    """Return source and output places (M, S) of discs that should lie wholly in the view; two calls.

    Raises Misplaced where they do not arrive, or where the rest of the image moved.
    """
    discs = _wholly_seen(look, affine, pattern)
    places = affine.inverse(discs.centres) / look.stride
    reach = np.abs(np.linalg.inv(affine.matrix)) @ discs.radii / look.stride
    # Half of each, so that both outputs have like statistics, in an order that no flip or turn takes to itself.
    signs = np.where(np.random.default_rng(pattern).permutation(len(discs)) % 2 == 0, 1.0, -1.0)
    one, other = look.of(discs, signs > 0), look.of(discs, signs < 0)
    seen = located(one, other, signs, places, reach)
    if len(set(seen.numbers.tolist())) < max(look.ndim + 1, 0.8 * len(discs)):
        raise not_affine(None)
    _check_still(look, one, discs, affine)
    return discs.centres[seen.numbers], seen.places * look.stride


def _wholly_seen(look: Look, affine: Affine, pattern: int) -> Discs:
    """Return discs on a grid over the part of the box that the view shows; raises Misplaced where there is no room."""
    sizes = np.array(look.base.shape[1:], dtype=np.float64)
    corners = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in sizes], indexing="ij"), axis=-1).reshape(-1, look.ndim)
    shown = affine(corners)
    low, high = np.maximum(shown.min(axis=0), look.low), np.minimum(shown.max(axis=0), look.high)
    inset = INSETS[pattern] * (high - low)
    low, high = low + inset, high - 2 * inset
    count = CHECKS[look.ndim][pattern]
    # A disc must be some elements wide where it arrives.
    coarse = np.abs(affine.matrix).sum(axis=1) * look.stride.max()
    for more, apart in ((0, COARSE), (1, COARSE), (2, COARSE / 2), (4, COARSE / 2), (8, COARSE / 2)):
        most = ((high - low) / np.maximum(4.0, apart * coarse)).astype(int)
        counts = np.maximum(np.minimum(count + more, most), 2)
        if (high - low < LEAST).any():
            break
        discs = grid_of_discs(low, high, counts.tolist())
        reach = np.abs(np.linalg.inv(affine.matrix)) @ discs.radii
        out = affine.inverse(discs.centres)
        inside = ((out - reach >= -0.5) & (out + reach <= sizes - 0.5)).all(axis=1)
        if inside.sum() >= min(look.ndim + 3, inside.size):
            return discs.chosen(inside)
    sizes_seen = " x ".join(f"{size:.0f}" for size in np.maximum(high - low, 0))
    raise Misplaced(
        f"a view that shows {sizes_seen} elements of the image, too few to learn where it puts them",
        expected="a larger part of the image",
        do="Give the view as steps of saliscope",
    )


def _check_still(look: Look, output: Array, discs: Discs, affine: Affine) -> None:
    """Refuse an output whose parts between the discs lie elsewhere than in the output of the image itself.

    Where they look otherwise, one disc alone is painted: it must change the image's own output where it is expected.
    """
    base = look.seen(look.base).mean(axis=0, dtype=np.float64)
    quiet = ~_covered(look, base.shape, discs, affine)
    if quiet.sum() < LEAST_QUIET or np.ptp(base[quiet]) < 1e-3 * np.ptp(output):
        return
    change = (output.mean(axis=0, dtype=np.float64) - base)[quiet]
    level = np.stack([np.ones(change.shape), base[quiet]], axis=1)
    slopes = np.stack([np.gradient(base, axis=a)[quiet] for a in range(base.ndim)], axis=1)
    both = np.concatenate([level, slopes], axis=1)
    moved = affine.matrix @ (np.linalg.lstsq(both, change, rcond=None)[0][2:] * look.stride)
    left = _left(level, change)
    shifted = np.abs(moved).max() > TOLERANCE and _left(both, change) < (1 - EXPLAINED) * left
    unlike = left > UNLIKE * float(((base[quiet] + change - (base[quiet] + change).mean()) ** 2).sum())
    if shifted or (unlike and not _changes_there(look, base, discs, affine)):
        raise content()


def _changes_there(look: Look, base: Floats, discs: Discs, affine: Affine) -> bool:
    """Return whether one disc alone changes the image's own output where it is expected to."""
    one = discs.chosen(np.arange(len(discs)) == 0)
    middle = tuple(one.centres[0].astype(int))
    dark = look.carrier[(slice(None), *middle)].mean() < (float(look.carrier.min()) + float(look.carrier.max())) / 2
    output = look.of(one, np.array([dark])).mean(axis=0, dtype=np.float64)
    there = _covered(look, base.shape, one, affine)
    elsewhere = base[~there]
    columns = np.stack([np.ones(elsewhere.shape), elsewhere], axis=1)
    solution = np.linalg.lstsq(columns, output[~there], rcond=None)[0]
    change = (output - solution[0] - solution[1] * base) ** 2
    return bool(change[there].sum() > CHANGES_THERE * change.sum())


def _covered(look: Look, shape: tuple[int, ...], discs: Discs, affine: Affine) -> Bools:
    """Return which output elements that are looked at lie in the cleared surroundings of discs."""
    covered = np.zeros(shape, dtype=bool)
    inverse = np.abs(np.linalg.inv(affine.matrix))
    # One output element more, for what interpolation spreads.
    radii = CLEARED * discs.radii + np.abs(affine.matrix) @ look.stride
    reach = inverse @ radii / look.stride
    for centre, place in zip(discs.centres, affine.inverse(discs.centres) / look.stride, strict=True):
        start = np.clip(np.floor(place - reach), 0, shape).astype(int)
        stop = np.clip(np.ceil(place + reach) + 1, 0, shape).astype(int)
        axes = np.meshgrid(*[np.arange(a, b) for a, b in zip(start, stop, strict=True)], indexing="ij")
        away = (affine(np.stack(axes, axis=-1) * look.stride) - centre) / radii
        box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        covered[box] |= (away**2).sum(axis=-1) < 1
    return covered


def _left(columns: Floats, change: Floats) -> float:
    solution = np.linalg.lstsq(columns, change, rcond=None)[0]
    return float(((change - columns @ solution) ** 2).sum())


def content() -> Misplaced:
    """Return the refusal of what puts elements elsewhere when the content of the image changes."""
    return Misplaced(
        "a view that puts the elements of an image elsewhere when its content changes",
        expected="one place for each element",
        do="Leave out the step that looks at the content, such as a crop to the foreground, or apply it before",
    )


def not_affine(residual: float | None) -> Misplaced:
    """Return the refusal of what moves elements otherwise, with how far they lie from the nearest map, if known."""
    far = "" if residual is None else f": places lie {residual:.1f} elements from it (root mean square)"
    return Misplaced(
        f"a view that puts the elements of the image where no affine map puts them{far}",
        expected="crops, pads, flips, turns, resizing, rotations and the like, which move all elements alike",
        do="Leave out elastic, drawn or content-dependent changes: give the transform of the validation set",
    )
