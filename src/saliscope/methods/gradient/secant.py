"""shrikumar2017, eq. 9 to 11, between neighbours on a path: an activation's rise over the rise of its input.

A batch holds consecutive points of a path. Behind every activation the slope at a point is replaced by the slope of
the chord to the next point, so that the gradient at a point becomes one for the whole step to the next: what switches
on or off within the step is counted by how far along it lies. The steps then sum to the difference of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Call


class Secant:
    """Gives activations and max pools the slope of their chords; remembers what it could not.

    `points` is how many points of a path the batch holds.
    """

    def __init__(self, points: int) -> None:
        self.points = points
        self._left: set[str] = set()

    def __call__(self, call: Call) -> Tensor | None:
        """Return the result of a call with the chord's slope behind it; None where its gradient stands."""
        from saliscope.model.rewrite import ACTIVATIONS, NORMS, PRODUCTS, carried

        alone = len(call.followed) == 1 and call.followed[0] is call.input
        pooled = call.name.startswith(("max_pool", "adaptive_max_pool"))
        if (call.name in ACTIVATIONS or pooled) and call.input.shape[:1] != (self.points,):
            # The next row is no next point: slices or patches of one image stand side by side in the batch.
            self._left.add("slices or patches in the batch")
            return None
        if call.name in ACTIVATIONS and alone:
            return carried(call, [call.input], [_chord(call)], lambda g, chord: (g * chord,))
        if pooled and alone and not call.given(6, "return_indices"):
            return carried(call, [call.input], [call.input], lambda g, seen: (_pool_back(call, g, seen),))
        normed = call.name in NORMS and (call.name != "batch_norm" or bool(call.given(5, "training")))
        if normed or call.name == "rdiv" or (call.name in PRODUCTS and len(call.followed) > 1):
            self._left.add(call.name)
        return None

    def kept(self, scores: Tensor) -> set[str]:
        """Return the names of what is not linear and kept its gradient on the way to the scores."""
        from saliscope.model.rewrite import LINEAR, ROUTING, operations

        return self._left | (operations(scores) - ROUTING - LINEAR)


def _chord(call: Call) -> Tensor:
    """Return the rise to the next point over the rise of the input, for each point; the last one has none."""
    import torch

    # Clones, because the call may write into its argument.
    seen = call.input.detach().clone()
    after = call.on(seen.clone())
    with torch.enable_grad():
        root = seen.clone().requires_grad_()
        (slope,) = torch.autograd.grad(call.on(root.clone()).sum(), root)
    return _over(_steps(after), _steps(seen), slope)


def _pool_back(call: Call, gradient: Tensor, seen: Tensor) -> Tensor:
    """Return the way back of a max pool: to the place of the maximum here as far as it lasts, then to that ahead."""
    import torch

    seen = seen.detach()
    ahead = torch.cat([seen[1:], seen[-1:]])
    with torch.enable_grad():
        roots = [v.clone().requires_grad_() for v in (seen, ahead)]
        tops = [call.on(root) for root in roots]
    here, there = (top.detach() for top in tops)
    # By how much each maximum leads over the other's place: where the two lines cross, the one takes over.
    lead = here - _at_maximum(tops[1], roots[1], seen)
    other = there - _at_maximum(tops[0], roots[0], ahead)
    share = lead / (lead + other).masked_fill(lead + other == 0, 1)
    (first,) = torch.autograd.grad(tops[0], roots[0], gradient * share)
    (second,) = torch.autograd.grad(tops[1], roots[1], gradient * (1 - share))
    return first + second


def _at_maximum(top: Tensor, root: Tensor, values: Tensor) -> Tensor:
    """Return values at the places from which a max pool of `root` took `top`: its way back, turned round."""
    import torch

    with torch.enable_grad():
        sent = torch.zeros_like(top, requires_grad=True)
        (back,) = torch.autograd.grad(top, root, sent, create_graph=True)
        return torch.autograd.grad((back * values).sum(), sent, retain_graph=True)[0]


def _steps(values: Tensor) -> Tensor:
    """Return by how much each point's values grow to the next point's; the last one's by nothing."""
    import torch

    return torch.cat([values[1:] - values[:-1], torch.zeros_like(values[:1])])


def _over(rise: Tensor, way: Tensor, slope: Tensor) -> Tensor:
    """Return rise / way, and the slope where the way is too short for a quotient."""
    import torch

    short = way.abs() < torch.finfo(way.dtype).eps ** 0.75
    return slope.where(short, rise / way.masked_fill(short, 1))


def chunks(intervals: Sequence[tuple[int, int]], size: int) -> list[list[tuple[int, int]]]:
    """Return intervals (i, n) from i / n to (i + 1) / n in ascending order, a few at a time, of at most `size` ends.

    Neighbours share an end. One interval has two, also where `size` is smaller.
    """
    found: list[list[tuple[int, int]]] = []
    ends = 0
    for i, n in intervals:
        more = 1 if found and found[-1][-1] == (i - 1, n) else 2
        if not found or ends + more > size:
            found.append([])
            ends, more = 0, 2
        found[-1].append((i, n))
        ends += more
    return found


def ends(intervals: Sequence[tuple[int, int]]) -> tuple[list[float], list[int]]:
    """Return the shares of the way at the ends of some intervals, and at which of them each interval begins."""
    shares: list[float] = []
    begins: list[int] = []
    for at, (i, n) in enumerate(intervals):
        if not at or intervals[at - 1] != (i - 1, n):
            shares.append(i / n)
        begins.append(len(shares) - 1)
        shares.append((i + 1) / n)
    return shares, begins
