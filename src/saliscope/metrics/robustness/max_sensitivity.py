"""yeh2019, section 4, the definition of SENS_MAX: how far the map moves, at most, for changes of the image.

As the authors' code and its followers do, the distance is a share of the norm of the map itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.protocols import Method, Model
from saliscope.core.score import Interval, Score, Undefined
from saliscope.core.target import Indexed, Target
from saliscope.metrics.remade import maps_of
from saliscope.perturb.plausible.catalogue import perturbations_of
from saliscope.perturb.plausible.contract import Moving, Plausible

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MaxSensitivity:
    """The largest distance of the maps of changed copies from that of the image, as a share of the latter's norm.

    What `changes`: with "noise", `samples` copies get independent uniform noise of at most `radius`, a share of the
    image's own range, at every element; with "plausible" they are the copies of `perturb.plausible` for a DICOM
    `modality`, moved ones put back. `memory_mb` is what the copies that run at once may take. Raises MetricError for a
    radius that is not positive or no samples.
    """

    changes: Literal["noise", "plausible"] = "noise"
    radius: float = 0.02
    samples: int = 10
    modality: str = "OT"
    seed: int = 0
    memory_mb: float = 1024

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="robustness",
        direction="lower",
        range=(0.0, None),
        null="0 for a map that does not look at the image; about 1.4 for one that is drawn anew each time",
        citation="yeh2019",
        cost="the method's for 1 + `samples` images",
        blind="A constant map is perfectly stable: read it with the randomisation test. The largest of a few draws "
        "is below the largest there is, and noise of an element each is like no acquisition.",
    )

    def __post_init__(self) -> None:
        if self.changes not in ("noise", "plausible") or not self.radius > 0 or self.samples < 1:
            raise MetricError(
                f"changes {self.changes!r}, radius {self.radius}, {self.samples} samples",
                expected="noise or plausible, a positive radius, one sample or more",
                do="Correct the fields.",
            )

    def of_method(self, model: Model, method: Method, x: Tensor, target: Target) -> list[list[Score]]:
        """Return for each image of x (N, C, *S), for each of K scores, the largest relative distance."""
        import torch

        rows = []
        for n in range(len(x)):
            image = x[n : n + 1]
            chosen = perturbations_of(self.modality, x.ndim - 2)[1:] if self.changes == "plausible" else ()
            copies = self.noisy(image) if not chosen else [p.apply(image, self.seed + i) for i, p in enumerate(chosen)]
            one = target.of(n) if isinstance(target, Indexed) else target
            plausible = self.changes == "plausible"
            maps = maps_of(model, method, torch.cat([image, *copies]), one, self.memory_mb, on_input=plausible)
            rows.append([self._score(maps[:, k], chosen) for k in range(maps.shape[1])])
        return rows

    def noisy(self, image: Tensor) -> list[Tensor]:
        """Return `samples` copies of an image (1, C, *S) with noise that depends on nothing but the seed."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        most = self.radius * (image.max() - image.min())
        # One draw at a time, on the CPU in float32: the same for every batch size, device and precision.
        draws = [torch.rand(image.shape[1:], generator=generator) * 2 - 1 for _ in range(self.samples)]
        return [image + most * draw.to(image) for draw in draws]

    def _score(self, maps: Tensor, chosen: Sequence[Plausible]) -> Score:
        """Return the score of the maps (1 + M, *S') of an image and of its M copies."""
        how: tuple[str, ...] = (
            f"uniform noise of at most {100 * self.radius:g} % of the range, {self.samples} draws"
            if not chosen
            else "perturbations: " + "; ".join(p.name for p in chosen),
            "distance as a share of the norm of the map",
        )
        own, shares = maps[0], []
        for i, other in enumerate(maps[1:]):
            first, second = own, other
            perturbation = chosen[i] if chosen else None
            if isinstance(perturbation, Moving):
                put_back, known = perturbation.restore(other)
                first, second = own[known], put_back[known]
            if norm := float(first.norm()):
                shares.append(float((second - first).norm()) / norm)
        if not shares:
            return Score("max-sensitivity", Undefined("the map is zero everywhere"), "lower", n=0, how=how)
        ends = Interval(min(shares), max(shares), "range over perturbations", None)
        return Score("max-sensitivity", max(shares), "lower", None, ends, len(shares), how=how)
