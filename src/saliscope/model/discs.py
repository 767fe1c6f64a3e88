"""Discs painted into an image at known places, and where they come out of a preprocessing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float32]

#: A disc's radius as a share of the distance between discs, so that quiet places remain between them.
RADIUS = 0.34
#: The image is darkened as far as this around a disc, in radii, so that its own content does not mix with the disc.
CLEARED = 1.35
#: An element belongs to a disc where it changes by this share of the largest change, and in the disc's own rhythm.
CHANGE, RHYTHM = 0.1, 0.9
#: A disc is complete with this share of the mass of the largest, and twice there with this share in a second place.
COMPLETE, TWICE = 0.8, 0.5
#: This share of the elements that change least shows how an output's level and contrast moved.
QUIET = 0.4
#: How far around where it is expected a disc is looked for, in its radii.
REACH = 1.25


@dataclass(frozen=True, eq=False)
class Discs:
    """Centres (P, S), whole numbers, and radii (S,) of ellipsoids, in elements of the source."""

    centres: Floats
    radii: Floats

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.centres)

    def chosen(self, those: Bools) -> Discs:
        """Return some of them."""
        return Discs(self.centres[those], self.radii)


@dataclass(frozen=True, eq=False)
class Seen:
    """Complete discs by number, once for each channel, and their output positions (M, S); all that left a trace."""

    numbers: npt.NDArray[np.intp]
    places: Floats
    traces: frozenset[int] = frozenset()
    twice: int = 0


def grid_of_discs(low: Floats, high: Floats, counts: Sequence[int], *, centre: bool = False) -> Discs:
    """Return discs on a grid of so many per axis over a box of the source, given by its edges (S,).

    With `centre`, one more stands in the middle of the box.
    """
    step = (high - low) / np.array(counts)
    places = [(np.array(cell) + 0.5) * step + low for cell in product(*(range(n) for n in counts))]
    places += [(low + high) / 2] if centre else []
    # In the middle of an element, so that a thin disc is symmetric too.
    return Discs(np.rint(np.array(places)), np.maximum(RADIUS * step, 1.0))


def painted(carrier: Array, discs: Discs, high: Bools) -> Array:
    """Return the image (C, *S), cleared to its lowest value around each disc, with those discs that are `high` (P,).

    A disc rises smoothly to the image's highest value in its middle.
    """
    low, top = float(carrier.min()), float(carrier.max())
    top = top if top > low else low + 1
    image = np.array(carrier)
    for centre, up in zip(discs.centres, high, strict=True):
        box, distance = _around(carrier.shape[1:], centre, discs.radii)
        disc = low + (top - low) * up * (0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1)))
        window = image[(slice(None), *box)]
        window[:] = np.where(distance < CLEARED, disc, window)
    return np.rint(image) if np.array_equal(carrier, np.rint(carrier)) else image


def codes(count: int) -> Bools:
    """Return (P, K): in which of K images each disc is high: each in two, so that all images have like statistics.

    No code is the opposite of another, so a preprocessing that inverts the image is understood. P is `count`, or one
    less where that saves an image.
    """
    images = next(k for k in range(5, 99) if comb(k, 2) >= count - 1)
    chosen = list(combinations(range(images), 2))[:count]
    table = np.zeros((len(chosen), images), dtype=bool)
    for row, pair in zip(table, chosen, strict=True):
        row[list(pair)] = True
    return table


def decoded(outputs: Array, table: Bools) -> Seen:
    """Return where discs came out, from outputs (K, C, *S) of images painted by a table of codes (P, K)."""
    centred = table - table.mean(axis=1, keepdims=True)
    rhythms = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    numbers, places, traces, twice = [], [], set(), 0
    for channel in np.moveaxis(outputs, 1, 0):
        found = list(_in_channel(channel.astype(np.float64), rhythms))
        whole = COMPLETE * max((mass for _, _, mass, _ in found), default=0.0)
        for number, place, mass, again in found:
            traces.add(number)
            twice += again
            if mass >= whole and not again:
                numbers.append(number)
                places.append(place)
    return Seen(np.array(numbers, dtype=np.intp), np.array(places), frozenset(traces), twice)


def located(high: Array, low: Array, signs: Floats, expected: Floats, radii: Floats) -> Seen:
    """Return where discs came out near expected places (P, S), from two outputs (C, *S) with opposite discs.

    `signs` (P,) is 1 where the disc is high in the first; `radii` (S,) is the disc's reach along each output axis.
    """
    numbers, places = [], []
    shape = np.array(high.shape[1:])
    boxes = []
    for place in expected:
        start = np.clip(np.ceil(place - REACH * radii), 0, shape - 1).astype(int)
        stop = np.clip(np.floor(place + REACH * radii) + 1, start + 1, shape).astype(int)
        boxes.append(tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True)))
    quiet = np.ones(high.shape[1:], dtype=bool)
    for box in boxes:
        quiet[box] = False
    for one, other in zip(high.astype(np.float64), low.astype(np.float64), strict=True):
        change = _levelled(np.stack([one, other]).reshape(2, -1), quiet.reshape(-1) if quiet.any() else None)
        difference = (change[0] - change[1]).reshape(one.shape)
        # An inverted output has the opposite sign everywhere.
        total = sum(s * float(difference[box].sum()) for s, box in zip(signs, boxes, strict=True))
        signed = difference if total >= 0 else -difference
        largest = max((float((s * signed[box]).max()) for s, box in zip(signs, boxes, strict=True)), default=0.0)
        for number, (sign, box) in enumerate(zip(signs, boxes, strict=True)):
            weight = sign * signed[box]
            # What is cut off is also taken off, so that no element counts much or not at all by a trifle.
            weight = np.maximum(weight - CHANGE * max(float(weight.max()), CHANGE * largest), 0)
            if weight.sum() > 0:
                numbers.append(number)
                places.append(_centroid(weight) + [s.start for s in box])
    return Seen(np.array(numbers, dtype=np.intp), np.array(places), frozenset(numbers))


def _in_channel(series: Floats, rhythms: Floats) -> Iterator[tuple[int, Floats, float, bool]]:
    """Give (disc, place, mass, whether in two places) for what is seen in one channel (K, *S)."""
    from scipy.ndimage import find_objects, label

    shape = series.shape[1:]
    change = _levelled(series.reshape(len(series), -1), None)
    size = np.linalg.norm(change, axis=0)
    if not size.max() > 1e-6 * (np.abs(series).max() + 1e-30):
        return
    strength = np.abs(rhythms @ change)
    best = strength.argmax(axis=0)
    strength = strength.max(axis=0)
    clear = (size > CHANGE * size.max()) & (strength > RHYTHM * size)
    best = np.where(clear, best + 1, 0).reshape(shape)
    strength = np.maximum(strength - CHANGE * size.max(), 0).reshape(shape)
    for number, box in enumerate(find_objects(best, len(rhythms))):
        if box is None:
            continue
        weight = np.where(best[box] == number + 1, strength[box], 0)
        parts, count = label(weight > 0)
        masses = np.bincount(parts.reshape(-1), weight.reshape(-1), count + 1)[1:]
        order = np.argsort(masses)
        own = np.where(parts == order[-1] + 1, weight, 0)
        again = count > 1 and masses[order[-2]] > TWICE * masses[order[-1]]
        yield number, _centroid(own) + [s.start for s in box], float(masses[order[-1]]), bool(again)


def _levelled(series: Floats, quiet: Bools | None) -> Floats:
    """Return how outputs (K, n) differ from their mean, less what a moved level or contrast of one explains."""
    mean = series.mean(axis=0)
    change = series - mean
    if quiet is None:
        size = (change**2).sum(axis=0)
        quiet = size <= np.quantile(size, QUIET)
    base = mean[quiet] - mean[quiet].mean()
    spread = float((base**2).sum())
    slopes = (change[:, quiet] @ base) / spread if spread > 0 else np.zeros(len(series))
    levelled: Floats = change - slopes[:, None] * (mean - mean[quiet].mean())
    levelled -= levelled[:, quiet].mean(axis=1, keepdims=True)
    return levelled


def _around(shape: tuple[int, ...], centre: Floats, radii: Floats) -> tuple[tuple[slice, ...], Floats]:
    """Return a window around a disc, and how far from the centre its elements lie, in radii."""
    start = np.clip(np.ceil(centre - CLEARED * radii), 0, None).astype(int)
    stop = np.minimum(np.floor(centre + CLEARED * radii) + 1, shape).astype(int)
    axes = [(np.arange(a, b) - c) / r for a, b, c, r in zip(start, stop, centre, radii, strict=True)]
    distance: Floats = np.sqrt(sum(x**2 for x in np.meshgrid(*axes, indexing="ij", sparse=True)))
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True)), distance


def _centroid(weight: Floats) -> Floats:
    total = weight.sum()
    axes = range(weight.ndim)
    sums = (weight.sum(axis=tuple(b for b in axes if b != a)) for a in axes)
    return np.array([float((one * np.arange(len(one))).sum() / total) for one in sums])
