"""Filling a window from its surroundings, as smoothly as they allow: what the image would be if nothing stood there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from math import prod
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import MethodError

if TYPE_CHECKING:
    from torch import Tensor


def inpainted(image: Tensor, box: Sequence[slice]) -> Tensor:
    """Return the content (C, *window) of a box (*S) of an image (C, *S) as the harmonic fill of what surrounds it.

    Every element of the fill is the mean of its neighbours along the axes (the discrete Laplace equation), those
    outside the box being the image's own; at the edge of the image there is no neighbour. It is solved exactly.
    Raises MethodError for a box that is the whole image, which has no surroundings.
    """
    import numpy as np
    import torch

    shape = image.shape[1:]
    spans = [range(*s.indices(n)) for s, n in zip(box, shape, strict=True)]
    open_sides = tuple((s.start > 0, s.stop < n) for s, n in zip(spans, shape, strict=True))
    if not any(any(side) for side in open_sides):
        raise MethodError("a window that is the whole image", expected="surroundings", do="Choose a smaller window")
    size = tuple(len(s) for s in spans)
    right = np.zeros((len(image), *size))
    values = image.detach().double().cpu().numpy()
    for axis, (span, sides) in enumerate(zip(spans, open_sides, strict=True)):
        for last, outside in enumerate((span.start - 1, span.stop)):
            if sides[last]:
                # The neighbours beyond this face of the box, added to the elements that touch it.
                beyond = [slice(s.start, s.stop) for s in spans]
                beyond[axis] = slice(outside, outside + 1)
                touching = [slice(None)] * len(size)
                touching[axis] = slice(-1, None) if last else slice(0, 1)
                right[(slice(None), *touching)] += values[(slice(None), *beyond)]
    solve = _solver(size, open_sides)
    filled = np.stack([solve(r.reshape(-1)).reshape(size) for r in right])
    return torch.from_numpy(filled).to(device=image.device, dtype=image.dtype)


@lru_cache(maxsize=32)
def _solver(size: tuple[int, ...], open_sides: tuple[tuple[bool, bool], ...]) -> Callable[[Any], Any]:
    """Return what solves the Laplace equation in a box; the factors are kept, as windows mostly have one size."""
    import numpy as np
    from scipy.sparse import csc_matrix, diags, identity, kron
    from scipy.sparse.linalg import splu

    total = csc_matrix((prod(size), prod(size)))
    for axis, (n, sides) in enumerate(zip(size, open_sides, strict=True)):
        middle = np.full(n, 2.0)
        middle[0] -= not sides[0]
        middle[-1] -= not sides[1]
        along = diags([middle, np.full(n - 1, -1.0), np.full(n - 1, -1.0)], [0, 1, -1])
        total = total + reduce(kron, [along if other == axis else identity(m) for other, m in enumerate(size)])
    solved: Callable[[Any], Any] = splu(csc_matrix(total)).solve
    return solved
