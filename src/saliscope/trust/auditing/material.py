"""What an audit works on: pictures, views, scores and maps of a cohort, made once and shared by its sections."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.core.region import Region
from saliscope.core.target import Holding, Target
from saliscope.metrics.remade import maps_of
from saliscope.model.network import Network
from saliscope.model.opened import OpenNetwork
from saliscope.perturb.stream import FORWARD, batch_size
from saliscope.trust.checks.hidden import Decision
from saliscope.trust.regions.find import Found, find

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.view import View

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Item:
    """One image of a cohort: its patient, what a table says of it, and what was outlined in it, on any grid."""

    image: MedicalImage
    patient: Hashable
    columns: Mapping[str, str] = field(default_factory=dict)
    truth: Region | None = None


@dataclass(frozen=True)
class Extent:
    """Of how many images each section takes at most; those whose maps cost much are fewer."""

    maps: int = 40
    randomised: int = 8
    retested: int = 6
    hidden_by_rank: int = 12
    hidden: int = 40
    planted: int = 40


class Material:
    """A cohort seen by one network, with one method on its layers and one target of one score."""

    def __init__(
        self,
        items: Sequence[Item],
        network: Network,
        method: Method,
        target: Target,
        decision: Decision,
        extent: Extent = Extent(),
        seed: int = 0,
    ) -> None:
        self.items, self.network, self.method, self.seed = list(items), network, method, seed
        self.target, self.decision, self.extent = target, decision, extent
        self.samples = 0

    @property
    def patients(self) -> list[Hashable]:
        """Return the patient of each image."""
        return [item.patient for item in self.items]

    @property
    def modality(self) -> str:
        """Return the modality of the first image; a cohort is of one."""
        return self.items[0].image.modality

    @cached_property
    def views(self) -> list[View]:
        """Return what the network sees of each image."""
        return [self.network.viewing(item.image) for item in self.items]

    @cached_property
    def scores(self) -> Floats:
        """Return the score (n,) of each image."""
        import torch

        views = torch.cat([view.tensor for view in self.views])
        with self.network.opened() as model, torch.no_grad():
            size = 1 if isinstance(self.target, Holding) else batch_size(views[:1], 1024, FORWARD)
            parts = [self.held(model, some).scores(model(some)) for some in views.split(size)]
            self.samples += model.counts.samples
        found: Floats = torch.cat(parts)[:, 0].double().cpu().numpy()
        return found

    @cached_property
    def order(self) -> list[int]:
        """Return the images that are called first, in the cohort's order: maps of what is not called say little."""
        limit = self.decision.limit
        called = [i for i, s in enumerate(self.scores) if limit is None or s >= limit]
        return [*called, *(i for i in range(len(self.items)) if i not in set(called))]

    def held(self, model: OpenNetwork, x: Tensor) -> Target:
        """Return the target with what it holds of one image x (1, C, *S) as the network sees it."""
        return self.target.held(lambda: model(x)) if isinstance(self.target, Holding) else self.target

    @property
    def called(self) -> list[int]:
        """Return the images whose label is called; all where nothing is decided."""
        limit = self.decision.limit
        return [i for i, s in enumerate(self.scores) if limit is None or s >= limit]

    @cached_property
    def mapped(self) -> list[int]:
        """Return the images whose maps are made."""
        return self.order[: self.extent.maps]

    @cached_property
    def maps(self) -> list[Floats]:
        """Return the map (*S) of each mapped image on the elements of its view, raw and signed."""
        return self.maps_by(self.method)

    def maps_by(self, method: Method, numbers: Sequence[int] | None = None) -> list[Floats]:
        """Return the maps that a method makes of the mapped images, or of the images of some numbers."""
        with self.network.opened() as model:
            found = [
                maps_of(model, method, self.views[i].tensor, self.target, on_input=True)[0, 0].numpy()
                for i in (self.mapped if numbers is None else numbers)
            ]
            self.samples += model.counts.samples
        return found

    @cached_property
    def regions(self) -> dict[int, Found]:
        """Return what is found in the images that are hidden from, by the number of the image."""
        return {i: find(self.items[i].image, self.views[i]) for i in self.order[: self.extent.hidden]}

    def batch(self, numbers: Sequence[int]) -> Tensor:
        """Return the views (n, C, *S) of some images."""
        import torch

        return torch.cat([self.views[i].tensor for i in numbers])
