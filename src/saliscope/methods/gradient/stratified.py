"""wolter2007, section 8.2: the error of a mean over places that were drawn one from each part of a line.

A draw is y = b(t) + a(r) + c(r, t): what its place t on the line does, what its reference r does, and what both do
together. With one place in each of n parts the mean owes almost nothing to b, and where every reference serves equally
often nothing to a. The spread of the draws counts both, and would say far too much. Here draws that are neighbours on
the line are compared by second differences, y1 - 2 y2 + y3, in which no b is left that is straight over three parts;
and what the references explain of the differences is taken off by least squares. The rest is c, and what places do
within their parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saliscope.methods.sampling import whole

if TYPE_CHECKING:
    from torch import Generator, Tensor

#: Differences that must be left when the references are taken off; with fewer they stay in, and the error is larger.
LEFT = 3


def drawn(samples: int, references: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return, in the order of the line, which of some references each sample starts from, and its place on the line."""
    import torch

    rounds = -(-samples // references)
    which = torch.cat([torch.randperm(references, generator=generator) for _ in range(rounds)])[:samples]
    part = torch.randperm(samples, generator=generator)
    place = (part + torch.rand(samples, generator=generator, dtype=torch.float64)) / samples
    order = place.argsort()
    return which[order], place[order]


class Stratified:
    """The error of the mean of draws whose references are `which` (n,), of `references`, in the order of the line.

    At most one map for each reference is held, and three draws.
    """

    def __init__(self, which: Tensor, references: int) -> None:
        self._which, self._references = which, references
        self._explained, self._apart = references_in(which)
        self._last: list[Tensor] = []
        self._at = 0
        self._squares: Tensor | float = 0.0
        self._products: Tensor | float = 0.0

    def add(self, several: Sequence[Tensor]) -> None:
        """Take in the next draws, which come as K tensors (m, *S)."""
        import torch

        for one in torch.stack(list(several), dim=1).double():
            self._last = [*self._last[-2:], one]
            if len(self._last) < 3:
                continue
            off = self._last[0] - 2 * self._last[1] + self._last[2]
            self._squares = self._squares + off.square()
            if self._apart:
                row = self._explained[self._at].to(off).reshape(-1, *[1] * off.ndim)
                self._products = self._products + row * off
            self._at += 1

    def square(self) -> Tensor:
        """Return the squared error (K, *S) of the mean of all draws, in float64; of fewer than three, of free draws."""
        import torch

        count = len(self._which)
        if count < 3:
            both = torch.stack(self._last)
            return both.var(dim=0) / count if count > 1 else whole(both[0]).square()
        every = torch.as_tensor(self._squares) / (6 * (count - 2))
        if not self._apart:
            return every / count
        own = self._left(torch.as_tensor(self._squares), torch.as_tensor(self._products))
        # Of the last round, which not every reference is in, the references' own effects remain.
        rest = count % self._references
        between = rest * (1 - rest / self._references) / count
        return (own + between * (every - own).clamp(min=0)) / count

    def _left(self, squares: Tensor, products: Tensor) -> Tensor:
        """Return the variance of a draw from what of the differences the references do not explain."""
        import torch

        inverse = torch.linalg.pinv(self._explained.T @ self._explained, hermitian=True)
        rows = products.flatten(1)
        explained = ((inverse.to(rows) @ rows) * rows).sum(dim=0).reshape(squares.shape)
        # Differences share draws: each counts by what it leaves of independent draws, the trace of P L Lᵀ.
        back = torch.nn.functional.pad(self._explained, (0, 0, 2, 2)).diff(n=2, dim=0)
        share = 6 * (len(self._which) - 2) - float((inverse @ (back.T @ back)).trace())
        left: Tensor = (squares - explained).clamp(min=0) / share
        return left


def references_in(which: Tensor) -> tuple[Tensor, bool]:
    """Return what second differences (n - 2, references) see of the references (n,), and whether enough is left."""
    used = which.unique()
    explained = (which[:, None] == used).double().diff(n=2, dim=0)
    return explained, len(which) - 2 - (len(used) - 1) >= LEFT
