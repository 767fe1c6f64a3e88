"""Where a preprocessing puts each element of an image: learnt from discs painted into it, and checked on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from saliscope.core.errors import GeometryError
from saliscope.model.affine_fit import Affine, fitted
from saliscope.model.discs import RADIUS, Array, Bools, Discs, Floats, Seen, codes, decoded, grid_of_discs, located, painted

#: What is sent through, (C, *S) in and out; the output has the shape that the image itself gave, else LookupError.
Send = Callable[[Array], Array]

#: Farthest that places may lie from where the learnt map puts them, in elements of the source (root mean square).
TOLERANCE = 0.5
#: Discs along each axis that are tried until enough of them arrive; of the first in 3D, one more is in the middle.
FIRST = {2: (4, 6, 7), 3: (2, 3, 4)}
#: Discs along an axis for each pattern of the check, in turn.
CHECKS = {2: (5, 4, 6, 7), 3: (3, 2, 4, 3)}
#: Share of the visible part that each pattern leaves free at both ends, so that no two have their discs at one place.
INSETS = (0.0, 0.05, 0.02, 0.08)
#: Closer looks at the part of the image that arrives, at most.
LOOKS = 8
#: Output elements along an axis that are looked at; more cost time and tell no more.
LOOKED = {2: 512, 3: 96}
#: Least elements along an axis: fewer hold no two discs.
LEAST = 4
#: Output elements from disc to disc in a check: less would not tell half a source element.
COARSE = 10
#: A shift of the whole output explains at least this share of how it changes between the discs.
EXPLAINED = 0.3


@dataclass(frozen=True)
class Places:
    """The affine map from output index to source index, and how far discs lay from it (root mean square, elements)."""

    affine: Affine
    residual: float


class Misplaced(GeometryError):
    """Where a preprocessing puts the elements of an image could not be learnt."""


def learn(send: Send, carrier: Array, base: Array) -> Places:
    """Return where a preprocessing puts the elements of an image (C, *S), whose own output is `base` (C', *S').

    Discs in all of the image are tried first, then discs within its content, for preprocessings that crop to it.
    Raises Misplaced with the reason where there is no affine map, or none for this image.
    """
    shape = carrier.shape[1:]
    if min(shape) < LEAST:
        raise Misplaced(
            f"an image of shape {shape}, in which where a view puts each element cannot be learnt",
            expected=f"{LEAST} elements or more along each axis",
            do="Give the view as steps of saliscope",
        )
    first: Misplaced | None = None
    for box in _boxes(carrier):
        look = _Look(send, carrier, base, *box)
        try:
            return _learnt(look)
        except Misplaced as error:
            first = first or error
    assert first is not None
    raise first


def check(send: Send, carrier: Array, base: Array, affine: Affine) -> Places | None:
    """Return places learnt on another image of this shape, measured on this one; None where they do not hold."""
    for box in _boxes(carrier):
        look = _Look(send, carrier, base, *box)
        try:
            pairs = _measured(look, affine, 1)
        except Misplaced:
            continue
        if (found := _residual(affine, *pairs)) < TOLERANCE:
            return Places(affine, found)
    return None


@dataclass(frozen=True, eq=False)
class _Look:
    """A preprocessing with an image, and the box of it in which discs are painted, by its edges (S,)."""

    send: Send
    carrier: Array
    base: Array
    low: Floats
    high: Floats

    @property
    def ndim(self) -> int:
        return self.carrier.ndim - 1

    @property
    def stride(self) -> Floats:
        """Return the step (S,) at which output elements are looked at."""
        return np.maximum(1, np.array(self.base.shape[1:]) // LOOKED[self.ndim]).astype(np.float64)

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


def _boxes(carrier: Array) -> list[tuple[Floats, Floats]]:
    """Return the edges of the whole image, and of the inside of what is brighter than its darkest parts."""
    shape = np.array(carrier.shape[1:])
    boxes = [(np.full(len(shape), -0.5), shape - 0.5)]
    low, high = float(carrier.min()), float(carrier.max())
    bright = (carrier > low + 0.05 * (high - low)).any(axis=0)
    if bright.any():
        ends = [np.flatnonzero(bright.any(axis=tuple(b for b in range(bright.ndim) if b != a))) for a in range(bright.ndim)]
        start, stop = np.array([e[0] for e in ends]), np.array([e[-1] + 1 for e in ends])
        margin = (stop - start) * 0.1
        if (stop - start - 2 * margin >= LEAST).all():
            boxes.append((start + margin - 0.5, stop - margin - 0.5))
    return boxes


def _learnt(look: _Look) -> Places:
    source, output, affine = _roughly(look)
    sizes = look.carrier.shape[1:], look.base.shape[1:]
    good = len(source) >= 2 * (look.ndim + 1) and _residual(affine, source, output) < TOLERANCE / 2
    for n in range(len(INSETS)):
        more = _measured(look, affine, n)
        residual = _residual(affine, *more)
        if residual < TOLERANCE and (n > 0 or good):
            both = fitted(np.concatenate([source, more[0]]), np.concatenate([output, more[1]]), *sizes)
            affine = both if both is not None and _residual(both, *more) < TOLERANCE else affine
            return Places(affine, _residual(affine, *more))
        source, output = more
        found = fitted(source, output, *sizes)
        if found is None or _residual(found, source, output) >= TOLERANCE:
            raise _not_affine(residual if found is None else _residual(found, source, output))
        affine = found
    raise Misplaced(
        "a view that puts the elements of an image elsewhere when its content changes",
        expected="one place for each element",
        do="Leave out the step that looks at the content, such as a crop to the foreground, or apply it before",
    )


def _roughly(look: _Look) -> tuple[Floats, Floats, Affine]:
    """Return source and output places (M, S) of discs that arrive, and the map through them.

    Where the view shows a part of the image only, discs are painted ever closer around that part.
    """
    low, high, tried, traces = look.low, look.high, 0, False
    for _ in range(LOOKS):
        counts = np.maximum(np.minimum(FIRST[look.ndim][tried], (high - low) / 4).astype(int), 2)
        discs = grid_of_discs(low, high, counts.tolist(), centre=look.ndim == 3 and tried == 0)
        table = codes(len(discs))
        discs = discs.chosen(np.arange(len(discs)) < len(table))
        seen = decoded(np.stack([look.of(discs, column) for column in table.T]), table)
        if seen.twice > len(seen.traces) / 2:
            raise Misplaced(
                "a view in which elements of the image arrive at several places, as in a tiling or a mosaic",
                expected="one place for each element",
                do="Give a view that shows the image once",
            )
        source, output = discs.centres[seen.numbers], seen.places.reshape(-1, look.ndim) * look.stride
        affine = _through_most(source, output, 0.5 * discs.radii, look)
        if affine is not None:
            return source, output, affine
        step = (high - low) / counts
        near = discs.centres[sorted(seen.traces)] if seen.traces else np.stack([low, high])
        closer = np.maximum(near.min(axis=0) - 0.64 * step, low), np.minimum(near.max(axis=0) + 0.64 * step, high)
        size = closer[1] - closer[0]
        traces |= bool(seen.traces)
        if seen.traces and (size < 0.9 * (high - low)).any() and (size >= LEAST).all():
            (low, high), tried = closer, 0
        else:
            tried += 1
        if tried == len(FIRST[look.ndim]):
            break
    if traces:
        raise _not_affine(None)
    raise Misplaced(
        "a view in which nothing of the image could be seen to arrive",
        expected="a view that shows some part of the image",
        do="Check that it uses its input, and that values of this image pass its window",
    )


def _through_most(source: Floats, output: Floats, tolerance: Floats, look: _Look) -> Affine | None:
    """Return the affine map through most places; the few that are far off may be cut or hidden. None without one."""
    least = max(look.ndim + 1, 0.6 * len(source))
    while len(source) >= least:
        affine = fitted(source, output, look.carrier.shape[1:], look.base.shape[1:])
        if affine is None:
            return None
        away = (np.abs(affine(output) - source) / tolerance).max(axis=1)
        if away.max() <= 1:
            return affine
        keep = away < away.max()
        source, output = source[keep], output[keep]
    return None


def _measured(look: _Look, affine: Affine, pattern: int) -> tuple[Floats, Floats]:
    """Return source and output places (M, S) of discs that should lie wholly in the view; two calls.

    Raises Misplaced where they do not arrive, or where the rest of the image moved.
    """
    discs = _wholly_seen(look, affine, pattern)
    places = affine.inverse(discs.centres) / look.stride
    reach = np.abs(np.linalg.inv(affine.matrix)) @ discs.radii / look.stride
    signs = np.where(np.rint(discs.centres / discs.radii * RADIUS).sum(axis=1) % 2 == 0, 1.0, -1.0)
    signs = signs if abs(signs.sum()) < len(signs) else np.where(np.arange(len(signs)) % 2, 1.0, -1.0)
    one, other = look.of(discs, signs > 0), look.of(discs, signs < 0)
    seen = located(one, other, signs, places, reach)
    if len(set(seen.numbers.tolist())) < max(look.ndim + 1, 0.8 * len(discs)):
        raise _not_affine(None)
    _check_still(look, one, places, reach, affine)
    return discs.centres[seen.numbers], seen.places * look.stride


def _wholly_seen(look: _Look, affine: Affine, pattern: int) -> Discs:
    """Return discs on a grid over the part of the box that the view shows; raises Misplaced where there is no room."""
    sizes = np.array(look.base.shape[1:], dtype=np.float64)
    corners = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in sizes], indexing="ij"), axis=-1).reshape(-1, look.ndim)
    shown = affine(corners)
    low, high = np.maximum(shown.min(axis=0), look.low), np.minimum(shown.max(axis=0), look.high)
    inset = INSETS[pattern] * (high - low)
    low, high = low + inset, high - inset
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
    raise Misplaced(
        f"a view that shows {', '.join(f'{max(h - w, 0):.0f}' for w, h in zip(low, high, strict=True))} elements of the "
        "image along its axes, too few to learn where it puts them",
        expected="a larger part of the image",
        do="Give the view as steps of saliscope",
    )


def _check_still(look: _Look, output: Array, places: Floats, reach: Floats, affine: Affine) -> None:
    """Refuse an output whose parts between the discs lie elsewhere than in the output of the image itself."""
    base = look.seen(look.base).mean(axis=0, dtype=np.float64)
    quiet = np.ones(base.shape, dtype=bool)
    for place in places:
        start = np.clip(np.floor(place - 1.25 * reach), 0, None).astype(int)
        stop = np.maximum(np.ceil(place + 1.25 * reach) + 1, 0).astype(int)
        quiet[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))] = False
    if quiet.sum() < 10 * look.ndim:
        return
    change = (output.mean(axis=0, dtype=np.float64) - base)[quiet]
    level = np.stack([np.ones(change.shape), base[quiet]], axis=1)
    slopes = np.stack([np.gradient(base, axis=a)[quiet] for a in range(base.ndim)], axis=1)
    left = _left(level, change)
    solution = np.linalg.lstsq(np.concatenate([level, slopes], axis=1), change, rcond=None)[0]
    moved = affine.matrix @ (solution[2:] * look.stride)
    after = _left(np.concatenate([level, slopes], axis=1), change)
    if np.abs(moved).max() > TOLERANCE and after < (1 - EXPLAINED) * left:
        raise Misplaced(
            f"a view that moves the image by {np.abs(moved).max():.1f} elements when its content changes",
            expected="one place for each element",
            do="Leave out the step that looks at the content, such as a crop to the foreground, or apply it before",
        )


def _left(columns: Floats, change: Floats) -> float:
    solution = np.linalg.lstsq(columns, change, rcond=None)[0]
    return float(((change - columns @ solution) ** 2).sum())


def _residual(affine: Affine, source: Floats, output: Floats) -> float:
    """Return the root mean square, along the worst axis, of how far places lie from the map, in source elements."""
    return float(np.sqrt(((affine(output) - source) ** 2).mean(axis=0)).max())


def _not_affine(residual: float | None) -> Misplaced:
    far = "" if residual is None else f": places lie {residual:.1f} elements from it (root mean square)"
    return Misplaced(
        f"a view that puts the elements of the image where no affine map puts them{far}",
        expected="crops, pads, flips, turns, resizing, rotations and the like, which move all elements alike",
        do="Leave out elastic, drawn or content-dependent changes: give the transform of the validation set",
    )


