"""Gradients at many changed copies of one image, a few at a time: the one loop of noise and path methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, held, watch
from saliscope.methods.sampling import Drawn, Running, Sampling
from saliscope.perturb.noise import Noise
from saliscope.perturb.stream import GRAPH, batch_size, batches

if TYPE_CHECKING:
    from torch import Tensor

#: After how many noisy copies the error is looked at first, where there is a tolerance.
FIRST = 16


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


class Noisy(Protocol):
    """The fields of a method that draws noisy copies."""

    @property
    def samples(self) -> int:
        """Return how many copies are drawn at most."""

    @property
    def sigma(self) -> float:
        """Return the standard deviation of the noise as a share of the image's range."""

    @property
    def seed(self) -> int:
        """Return the seed of the noise."""

    @property
    def memory_mb(self) -> float:
        """Return how much copies that run at once may take."""

    @property
    def tolerance(self) -> float | None:
        """Return the relative error that is small enough, or None to draw all."""


class Sums(Protocol):
    """What is kept of draws: taken in some at a time, told as maps (K, *S)."""

    def add(self, several: Sequence[Tensor]) -> None:
        """Take in draws that come as K tensors (m, ...)."""

    def maps(self) -> dict[str, Tensor]:
        """Return the map of all draws so far, its error, and what else stands beside it."""


def noisy_sampling(method: Noisy) -> Sampling:
    """Return how noisy copies are drawn; raises MethodError unless there is one to run and its noise has a width."""
    if method.samples < 1 or method.sigma < 0:
        raise MethodError(
            f"samples={method.samples}, sigma={method.sigma}",
            expected="at least one sample, sigma not negative",
            do="Correct the fields",
        )
    return Sampling(method.samples, method.tolerance, FIRST, "noisy copies")


def noisy_maps(
    method: Noisy,
    model: Model,
    x: Tensor,
    target: Target,
    of: Callable[[Tensor], Tensor],
    sums: Callable[[], Sums] = Running,
) -> dict[str, Tensor]:
    """Return the maps (N, K, *S) that `sums` tell of what `of` makes of the gradients (m, C, *S) at noisy copies.

    And what the draws were measured to leave uncertain, (N, K) by name.
    """
    sampling = noisy_sampling(method)

    def of_one(n: int, image: Tensor) -> Drawn:
        own, kept, noise = held(model, image, target, n), sums(), Noise(image, method.seed)
        scale = method.sigma * (image.max() - image.min())
        size = batch_size(image, method.memory_mb, GRAPH)

        def grow(stage: range) -> dict[str, Tensor]:
            for one in slopes(model, own, lambda some: image + scale * noise.next(len(some)), len(stage), size):
                kept.add([of(g) for g in one.gradients])
            return kept.maps()

        return sampling.drawn(grow)

    return sampling.told(model, [of_one(n, image) for n, image in enumerate(x.detach().split(1))])


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
