"""Gradients at many changed copies of one image, a few at a time: the one loop of noise and path methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.protocols import INPUT, Model
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, watch
from saliscope.perturb.noise import gaussian
from saliscope.perturb.stream import GRAPH, batch_size, batches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Slopes:
    """Of some copies (m, C, *S): which they were, their scores (m, K), and K gradients (m, C, *S), to be read once."""

    some: range
    scores: Tensor
    gradients: Iterator[Tensor]


def slopes(model: Model, target: Target, copies: Callable[[range], Tensor], count: int, size: int) -> Iterator[Slopes]:
    """Give the slopes, in at least float32, at `count` copies of which `size` are held at once.

    `copies` makes those of a range of indices, in ascending order, each range once.
    """
    for some in batches(count, size):
        probe, gradients = watch(model, copies(some), target, [INPUT])
        scores = at_least_single(target.scores(probe.output).detach())
        yield Slopes(some, scores, (at_least_single(g[INPUT]) for g in gradients))


def noisy_moments(
    model: Model,
    target: Target,
    image: Tensor,
    noise: tuple[int, float, int],
    memory_mb: float,
    of: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return mean and variance (K, ...) over noisy copies of what `of` makes of their gradients (m, C, *S).

    `noise` is the number of copies, the standard deviation as a share of the range of the image (1, C, *S), and the
    seed.
    """
    samples, sigma, seed = noise
    scale = sigma * (image.max() - image.min())
    size = batch_size(image, memory_mb, GRAPH)
    draws = gaussian(image, samples, size, seed)
    run = slopes(model, target, lambda _: image + scale * next(draws), samples, size)
    return moments([of(g) for g in found.gradients] for found in run)


def moments(several: Iterable[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """Return mean and variance (K, ...) of samples that come as K tensors (m, ...), some at a time.

    The variance is the mean squared distance to the mean, by Welford's update, which does not cancel.
    """
    import torch

    mean = spread = torch.zeros(())
    count = 0
    for some in several:
        for one in torch.stack(list(some), dim=1):
            count += 1
            off = one - mean
            mean = mean + off / count
            spread = spread + off * (one - mean)
    return mean, spread / count


def line(image: Tensor, start: Tensor, shares: list[float]) -> Tensor:
    """Return the points (m, C, *S) at some shares of the way from `start` to `image`, both (C, *S)."""
    import torch

    share = torch.tensor(shares, device=image.device, dtype=image.dtype)
    return start + share.reshape(-1, *[1] * image.ndim) * (image - start)


@dataclass(frozen=True)
class Column:
    """One of a target's scores alone, for a path that each score has of its own."""

    target: Target
    k: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the one label."""
        return (self.target.labels[self.k],)

    def scores(self, output: Tensor) -> Tensor:
        """Return (N, 1)."""
        return self.target.scores(output)[:, self.k : self.k + 1]
