"""Where a preprocessing puts each element of an image: learnt from discs painted into it, and checked on others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saliscope.core.errors import Misplaced
from saliscope.model.affine_fit import Affine, fitted
from saliscope.model.disc_views import INSETS, LEAST, TOLERANCE, Look, Send, boxes, content, measured, not_affine
from saliscope.model.discs import Array, Floats, codes, decoded, grid_of_discs

#: Discs along each axis that are tried until enough of them arrive; of the first in 3D, one more is in the middle.
FIRST = {2: (4, 6, 7), 3: (2, 3, 4)}
#: Closer looks at the part of the image that arrives, at most.
LOOKS = 8


@dataclass(frozen=True)
class Places:
    """The affine map from output index to source index, and how far discs lay from it (root mean square, elements)."""

    affine: Affine
    residual: float


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
    for box in boxes(carrier):
        look = Look(send, carrier, base, *box)
        try:
            return _learnt(look)
        except Misplaced as error:
            first = first or error
    assert first is not None
    raise first


def check(send: Send, carrier: Array, base: Array, affine: Affine) -> Places | None:
    """Return places learnt on another image of this shape, measured on this one; None where they do not hold."""
    for box in boxes(carrier):
        look = Look(send, carrier, base, *box)
        try:
            pairs = measured(look, affine, 1)
        except Misplaced:
            continue
        if (found := _residual(affine, *pairs)) < TOLERANCE:
            return Places(affine, found)
    return None


def _learnt(look: Look) -> Places:
    source, output, affine = _roughly(look)
    sizes = look.carrier.shape[1:], look.base.shape[1:]
    good = len(source) >= 2 * (look.ndim + 1) and _residual(affine, source, output) < TOLERANCE / 2
    for n in range(len(INSETS)):
        more = measured(look, affine, n)
        residual = _residual(affine, *more)
        if residual < TOLERANCE and (n > 0 or good):
            # The first discs may be cut a little by the edge of the view: they told the map roughly, and agree.
            known = slice(0, len(source) if n > 0 else 0)
            pairs = np.concatenate([source[known], more[0]]), np.concatenate([output[known], more[1]])
            finer = fitted(pairs[0], pairs[1], *sizes)
            affine = finer if finer is not None and _residual(finer, *more) < TOLERANCE else affine
            return Places(affine, _residual(affine, *more))
        source, output = more
        found = fitted(source, output, *sizes)
        if found is None or _residual(found, source, output) >= TOLERANCE:
            raise not_affine(residual if found is None else _residual(found, source, output))
        affine = found
    raise content()


def _roughly(look: Look) -> tuple[Floats, Floats, Affine]:
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
        if seen.twice > len(seen.numbers) / 2:
            raise Misplaced(
                "a view in which elements of the image arrive at several places, as in a tiling or a crop to content",
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
        raise not_affine(None)
    raise Misplaced(
        "a view in which nothing of the image could be seen to arrive",
        expected="a view that shows some part of the image",
        do="Check that it uses its input, and that values of this image pass its window",
    )


def _through_most(source: Floats, output: Floats, tolerance: Floats, look: Look) -> Affine | None:
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


def _residual(affine: Affine, source: Floats, output: Floats) -> float:
    """Return the root mean square, along the worst axis, of how far places lie from the map, in source elements."""
    return float(np.sqrt(((affine(output) - source) ** 2).mean(axis=0)).max())
