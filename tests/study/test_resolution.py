"""How fine a thing a map can show: in units of its grid, for every image of a batch, or unknown where nobody says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import saliscope
from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method, Model, Traits
from saliscope.core.target import Target
from saliscope.methods import METHODS
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.perturbation.lime import LIME
from saliscope.methods.perturbation.occlusion import Occlusion
from saliscope.model.opened import OpenNetwork
from saliscope.testing.networks import SmallNet


def explained(x: Tensor | MedicalImage, *methods: str | Method) -> list[Explanation]:
    found = saliscope.explain(x, SmallNet(2 if isinstance(x, MedicalImage) else x.ndim - 2).float(), methods, 0)
    return found if isinstance(found, list) else [found]


def noise(axes: int = 2, n: int = 1, size: int = 24) -> Tensor:
    return torch.randn((n, 2, *[size] * axes), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("axes", [2, 3])
def test_every_map_says_the_size_that_its_method_states(axes: int) -> None:
    found = explained(noise(axes, size=16), "gradient", "grad-cam", Occlusion(4), "guided-grad-cam", "constant")
    sizes = {e.provenance.method: [one[0] for one in e.resolution] for e in found}
    assert all(size == (size[0],) * axes for e in found for size in e.resolution)
    assert sizes == {"gradient": [1], "grad-cam": [2], "occlusion": [4], "guided-grad-cam": [1, 2], "constant": [16]}


def test_a_size_is_in_the_units_of_the_grid() -> None:
    display = np.random.default_rng(0).integers(0, 255, (3, 32, 16)).astype(np.uint8)
    grid = Geometry.of_picture((32, 16), (0.5, 2.0))
    image = MedicalImage(display[:2].astype(np.float32), display, grid, "US", "", "d" * 64, "one")
    for method, size in (("gradient", (0.5, 2)), ("grad-cam", (1, 4)), (Occlusion((8, 4)), (4, 8))):
        (found,) = explained(image, method)
        assert found.geometry.unit == "mm"
        assert found.resolution == (size,)
        assert found.finest == found.coarsest == size


def test_nothing_finer_is_said_than_a_cell_of_the_map() -> None:
    @dataclass(frozen=True)
    class TooProud(GradCAM):
        def resolution(self, model: Model, x: Tensor) -> tuple[tuple[float, ...], ...]:
            return ((1.0, 1.0), (1.5, 1.5))

    (found,) = explained(noise(), TooProud("watched"))
    assert found.geometry.spacing == (2, 2)
    assert found.resolution == ((2, 2),)


def test_of_a_method_that_states_nothing_it_is_not_known() -> None:
    @dataclass(frozen=True)
    class Unstated:
        traits: ClassVar[Traits] = METHODS.get("gradient").traits

        def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
            return METHODS.make("gradient").attribute(model, x, target)

    (found,) = explained(noise(), Unstated())
    assert found.resolution == ()
    assert found.finest == found.coarsest == found.geometry.spacing


def test_every_image_of_a_batch_has_its_own_segments() -> None:
    halves = torch.zeros(1, 2, 48, 48)
    halves[..., 24:] = 1
    method = LIME(samples=20, segments=9)
    both = explained(torch.cat([halves, noise(size=48)]), method)
    alone = [one for x in (halves, noise(size=48)) for one in explained(x, method)]
    assert [e.resolution for e in both] == [e.resolution for e in alone]
    assert both[0].resolution != both[1].resolution


def test_asking_runs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    run_once = OpenNetwork.run_once

    def counted(self: OpenNetwork, x: Tensor) -> Tensor:
        runs.append(len(x))
        return run_once(self, x)

    monkeypatch.setattr(OpenNetwork, "run_once", counted)
    explained(noise(), "grad-cam", "fused", "layercam-fusion")
    asked = len(runs)
    monkeypatch.setattr("saliscope.study.explain.resolution_of", lambda *_: ())
    runs.clear()
    explained(noise(), "grad-cam", "fused", "layercam-fusion")
    assert len(runs) == asked
