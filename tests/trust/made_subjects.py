"""Pictures with bright discs, networks that read them, and maps that point where they are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Traits
from saliscope.core.provenance import Provenance
from saliscope.core.region import Region
from saliscope.core.score import Score, Undefined
from saliscope.core.target import LogitTarget
from saliscope.model.network import Network
from saliscope.perturb.plan import PerturbationPlan
from saliscope.trust.audit_card import AuditCard, Cohort, Threshold
from saliscope.trust.checks.held_against import OTHERS_HIGH, OTHERS_MIDDLE, SPREAD
from saliscope.trust.interventions.places import Places
from saliscope.trust.interventions.region_test import RegionTest
from saliscope.trust.subject import Subject

SHAPE = (64, 64)
LABEL = "sum"
TARGET = LogitTarget((0,), (LABEL,), "multi-label")
TRAITS = Traits("gradient", True, "input", True, "simonyan2014", "none", "all")
A, B, C, D, E = (16, 16), (16, 46), (46, 16), (46, 46), (32, 32)


def disc(at: tuple[int, int], radius: float = 4.0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - at[0]) ** 2 + (columns - at[1]) ** 2 <= radius**2


def picture(*places: tuple[int, int], seed: int = 0, height: float = 80.0, modality: str = "OT") -> MedicalImage:
    """Return a grey picture with a little noise and a bright disc at each place."""
    values = 90 + np.random.default_rng(seed).normal(0, 3, SHAPE)
    for place in places:
        values = values + height * disc(place)
    values = np.clip(np.rint(values), 0, 255).astype(np.float32)[None]
    return MedicalImage(
        values, values.astype(np.uint8), Geometry.of_picture(SHAPE), modality, "", f"{seed:064d}", "drawn"
    )


class Sums(nn.Module):
    """The mean brightness over the background in some discs, each with its weight, less a bias: a logit (N, 1)."""

    def __init__(self, weights: Mapping[tuple[int, int], float], bias: float = 0.0) -> None:
        super().__init__()
        parts = [w * disc(at) / disc(at).sum() for at, w in weights.items()]
        self.weight = nn.Parameter(torch.from_numpy(np.sum(parts, axis=0)))
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        return (((x.double() - 90) / 10) * self.weight).sum(dim=(1, 2, 3))[:, None] - self.bias


@dataclass(frozen=True, eq=False)
class Given:
    """A method that gives one map whatever it is asked."""

    map: np.ndarray = field(repr=False)
    traits: ClassVar[Traits] = TRAITS

    def attribute(self, model: object, x: Tensor, target: object) -> Tensor:
        return torch.from_numpy(np.array(self.map, np.float64)).expand(len(x), 1, *self.map.shape).clone()


def network(weights: Mapping[tuple[int, int], float], bias: float = 0.0) -> Network:
    return Network(Sums(weights, bias), (LABEL,), "multi-label", "sums")


def explanation(map_: np.ndarray, prediction: Prediction, traits: Traits = TRAITS, label: str = LABEL) -> Explanation:
    grid = Geometry.of_picture(map_.shape)
    made = Provenance("0" * 64, "1" * 64, "2" * 64, "sums", "given", {}, label, None, None, {}, "cpu")
    return Explanation(np.array(map_, np.float32), grid, grid, label, prediction, traits, made)


@contextmanager
def subject(
    image: MedicalImage, of: Network, map_: np.ndarray, regions: Mapping[str, np.ndarray] | None = None, **more: object
) -> Iterator[Subject]:
    """Give a map under examination, its network open."""
    view = of.viewing(image)
    drawn = {name: Region(mask, view.geometry, name, "drawn") for name, mask in (regions or {}).items()}
    with of.opened() as model:
        (said,) = of.predictions(model(view.tensor))
        model.counts.forward_samples = 0
        made = Subject(
            image, view, explanation(map_, said), Given(map_), model, TARGET, np.array(map_, np.float32),
            PerturbationPlan(view.tensor), drawn,
        )  # fmt: skip
        yield replace(made, **more)  # type: ignore[arg-type]


def audit(
    spread: float = 2.0, high: float = 0.5, middle: float = 0.2, results: tuple = (), **more: object
) -> AuditCard:
    """Return an audit with these thresholds, which bars nothing."""
    thresholds = {n: Threshold(v, "made up", 9) for n, v in
                  ((SPREAD, spread), (OTHERS_HIGH, high), (OTHERS_MIDDLE, middle))}  # fmt: skip
    return AuditCard(
        "sums", "1" * 64, "2" * 64, "given", {}, None, LABEL, Cohort("made up", 40), results, thresholds, **more
    )  # type: ignore[arg-type]


NOISE = np.random.default_rng(5).normal(size=SHAPE)


def whole(map_: np.ndarray) -> np.ndarray:
    """Return the map with a haze, so that all that it shows is half of what is positive in it."""
    return map_ + 0.95 * map_.sum() / map_.size * (map_ == 0)


def smooth(*places: tuple[int, int], heights: tuple[float, ...] = (), radius: float = 4.0) -> np.ndarray:
    """Return a map with a plateau that is not quite flat on a disc at each place."""
    tall = heights or (1.0,) * len(places)
    discs = [h * disc(p, radius) * (1 + 0.01 * NOISE) for p, h in zip(places, tall, strict=True)]
    return whole(np.sum(discs, axis=0))


def made(effect: float, nulls: tuple[float, ...], second: float | None = None, p: float | None = None) -> RegionTest:
    """Return a test with these effects of both fills and of other places."""
    effects = {"one": effect, "two": effect if second is None else second}
    p = (1 + sum(n >= effect for n in nulls)) / (1 + len(nulls)) if p is None and nulls else p
    told = Undefined("no place") if p is None else p
    score = Score("region-effect", effect, "neither", None, parts={} if p is None else {"p": p})
    places = Places(np.zeros((0,), bool), len(nulls), "made up")
    return RegionTest("it", score, told, 5.0, effects, nulls, places, 0.05, 1 + len(nulls))
