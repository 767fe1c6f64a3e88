"""What draws at random leave uncertain: the standard error of a map, when it is small enough, and how it is told.

Every method that draws gives a map "error" beside its own: how much each element would vary (one standard deviation)
if all were drawn anew, in the map's own units. Its largest value as a share of the map's largest magnitude is the
*relative error*, one number for each map; `tolerance` bounds it. With the number of draws it is what the
method `measures`: both come with the maps, and the record holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model

if TYPE_CHECKING:
    from torch import Tensor

#: The names of a method's map and of its standard error among the maps that it gives.
MAP, ERROR = "map", "error"

#: The names of what is measured of the draws, (N, K): the `measures` of every method that draws.
MEASURES = ("samples_drawn", "sampling_relative_error")

#: How many groups of draws stand for all of them where no formula gives the error: each is left out once.
GROUPS = 16


@dataclass(frozen=True)
class Sampling:
    """How long to draw: up to a `ceiling`, or until the relative error is below a `tolerance`.

    The error is looked at after the `first` draws and at each doubling, never more often, because who looks often
    stops where the error happens to look small. Without a tolerance (None or 0) all are drawn. `unit` is what is drawn.
    """

    ceiling: int
    tolerance: float | None
    first: int
    unit: str

    def __post_init__(self) -> None:
        if self.tolerance is not None and not (isfinite(self.tolerance) and self.tolerance >= 0):
            raise MethodError(
                f"tolerance={self.tolerance}",
                expected="None, or a share of the map's largest magnitude, such as 0.05",
                do="Correct the field",
            )

    def stages(self) -> Iterator[range]:
        """Give the draws of each stage, after which the error is looked at."""
        begin, end = 0, self.first if self.tolerance else self.ceiling
        while begin < self.ceiling:
            yield range(begin, min(end, self.ceiling))
            begin, end = end, 2 * end

    def drawn(self, grow: Callable[[range], Mapping[str, Tensor]]) -> Drawn:
        """Return the maps of the first stage at which each target's error is small enough, or of the last.

        `grow` takes in the draws of a stage and returns the maps (K, *S') of all draws so far. A target's maps are
        those of its own stage, so that they do not depend on what else was asked for.
        """
        import torch

        found: Drawn | None = None
        for stage in self.stages():
            maps = grow(stage)
            latest = Drawn(maps, torch.full((len(maps[MAP]),), stage.stop), relative_error(maps[MAP], maps[ERROR]))
            found = latest if found is None else found.where(found.shares < (self.tolerance or 0), latest)
            if bool((found.shares < (self.tolerance or 0)).all()):
                break
        assert found is not None
        return found

    def told(self, model: Model, several: Sequence[Drawn]) -> dict[str, Tensor]:
        """Return by name the maps (N, K, *S') and the `MEASURES` (N, K) of all images.

        Where the ceiling came before the tolerance, that is noted.
        """
        import torch

        maps = {name: torch.stack([d.maps[name] for d in several]) for name in several[0].maps}
        samples, shares = torch.stack([d.samples for d in several]), torch.stack([d.shares for d in several])
        if self.tolerance is not None:
            worst, most = float(shares.max()), int(samples.max())
            text = (
                f"{most:,} of at most {self.ceiling:,} {self.unit}: standard error at most {worst:.1%} of the map's "
                "largest magnitude."
            )
            if self.tolerance and not worst < self.tolerance:
                need = self.ceiling * (worst / self.tolerance) ** 2
                text += f" The tolerance of {self.tolerance:.1%} was not reached: about {need:,.0f} would be needed."
            model.note(text)
        if self.ceiling == 1:
            model.note("one draw does not show its own error: the map's largest magnitude stands in for it.")
        return {**maps, "samples_drawn": samples, "sampling_relative_error": shares}


@dataclass(frozen=True, eq=False)
class Drawn:
    """Maps (K, *S') of one image by name, and for each target how many draws (K,) and the relative error (K,)."""

    maps: Mapping[str, Tensor]
    samples: Tensor
    shares: Tensor

    def where(self, these: Tensor, others: Drawn) -> Drawn:
        """Return these of some targets (K,), and others of the rest."""
        column = these.reshape(-1, *[1] * (self.maps[MAP].ndim - 1)).to(self.maps[MAP].device)
        return Drawn(
            {name: values.where(column, others.maps[name]) for name, values in self.maps.items()},
            self.samples.where(these, others.samples),
            self.shares.where(these, others.shares),
        )

    def moved(self, offset: Tensor) -> Drawn:
        """Return the map with an offset (K, 1, ...) added, and all else as it is."""
        return replace(self, maps={**self.maps, MAP: self.maps[MAP] + offset})


def relative_error(values: Tensor, error: Tensor) -> Tensor:
    """Return (K,), on the CPU: the largest error of an element (K, *S') as a share of the largest magnitude."""
    largest, size = error.flatten(1).amax(dim=1), values.flatten(1).abs().amax(dim=1)
    return (largest / size.clamp(min=1e-30)).double().cpu()


@dataclass
class Running:
    """Mean and spread of maps (K, *S'), taken in one at a time by Welford's update, which does not cancel."""

    mean: Tensor | float = 0.0
    spread: Tensor | float = 0.0
    count: int = 0

    def add(self, several: Sequence[Tensor]) -> None:
        """Take in draws that come as K tensors (m, *S')."""
        import torch

        # Each by itself, so that the sums do not depend on how many ran at once.
        for one in torch.stack(list(several), dim=1):
            self.count += 1
            off = one - self.mean
            self.mean = self.mean + off / self.count
            self.spread = self.spread + off * (one - self.mean)

    def maps(self) -> dict[str, Tensor]:
        """Return the mean, its standard error, and the variance of the draws: the mean squared distance to the mean."""
        import torch

        mean, variance = torch.as_tensor(self.mean), torch.as_tensor(self.spread) / self.count
        error = (variance / (self.count - 1)).sqrt() if self.count > 1 else whole(mean)
        return {MAP: mean, ERROR: error, "variance": variance}


def whole(values: Tensor) -> Tensor:
    """Return, where nothing is known of the error of a map (K, *S'), its largest magnitude at every element."""
    size = values.flatten(1).abs().amax(dim=1)
    return size.reshape(-1, *[1] * (values.ndim - 1)).expand_as(values).clone()


def jackknife(found: Tensor, without: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Return the standard error of an estimate from those `without` one group each, of given sizes (busing1999).

    For groups of one size it is the root of (G - 1) / G times the sum of squared distances to their mean.
    """
    import torch

    total, groups = sum(sizes), len(sizes)
    shares = [total / size for size in sizes]
    single = torch.stack([h * found - (h - 1) * w for h, w in zip(shares, without, strict=True)])
    middle = groups * found - sum((1 - 1 / h) * w for h, w in zip(shares, without, strict=True))
    column = single.new_tensor(shares).reshape(-1, *[1] * found.ndim)
    return ((single - middle).square() / (column - 1)).mean(dim=0).sqrt()
