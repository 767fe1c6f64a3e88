"""What a method says of its resolution is measured: on noise and random weights, how far a map goes with itself."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from test_cam_contract import PooledNet

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.perturbation.lime import LIME
from saliscope.methods.perturbation.occlusion import Occlusion
from saliscope.methods.perturbation.rise import RISE
from saliscope.methods.perturbation.sobol import Sobol
from saliscope.methods.resolution import pieces, resolution_of
from saliscope.model.network import Network
from saliscope.testing.contract import LABELS, watching
from saliscope.testing.networks import SmallNet, seeded

TARGET = LogitTarget((0, 1, 2), LABELS)
#: A map goes with itself over at least this share of the finest size stated: noise of a few maps. And over no more than
#: so many of the coarsest: linear cells reach 1.4 of their size, bells 2.5, and a network's own field beyond a mask's.
LEAST, MOST = 0.75, 3.5

SEVERAL = (GradCAM("watched"), Occlusion(6), "input-x-gradient")
#: name -> fields that make it quick, in 2D and in 3D.
FIELDS = {
    "smoothgrad": {"samples": 4},
    "smoothgrad-squared": {"samples": 4},
    "vargrad": {"samples": 4},
    "integrated-gradients": {"steps": 4},
    "expected-gradients": {"references": "mean", "samples": 4},
    "guided-ig": {"steps": 5, "max_dist": 0.1},
    "blur-ig": {"steps": 8},
    "idgi": {"steps": 4},
    "smooth-grad-cam++": {"samples": 4},
    "occlusion": {"window": 6},
    "rise": {"samples": 300, "cells": 4, "tolerance": None},
    "lime": {"samples": 200, "segments": 48},
    "kernel-shap": {"samples": 200, "segments": 48},
    "sobol": {"designs": 4, "cells": 3},
    "hsic": {"samples": 150, "cells": 4},
    "xrai": {"method": "input-x-gradient", "segments": (8, 32, 128)},
    "meaningful-perturbation": {"steps": 15, "cells": 5, "size": 0.2},
    "extremal-perturbation": {"steps": 15, "cells": 5, "areas": (0.2,), "weight": 3.0},
    "smoothed": {"samples": 4},
    "fused": {"layers": ("stem", "watched")},
    "consensus": {"methods": SEVERAL},
    "tiled": {"tile": 20},
}
#: Other fields, and methods inside others, in 2D.
OTHERS = [
    ("occlusion", {}),
    ("occlusion", {"window": 12, "stride": 1}),
    ("occlusion", {"window": (5, 10), "stride": (5, 10)}),
    ("rise", {"samples": 600, "cells": (3, 6), "tolerance": None}),
    ("lime", {"samples": 200, "segments": 12, "partition": "grid"}),
    ("sobol", {"designs": 8, "cells": (3, 6)}),
    ("extremal-perturbation", {"steps": 15, "areas": (0.2, 0.4), "weight": 3.0}),
    ("lrp", {"composite": "epsilon-plus-flat"}),
    ("edges", {"sigma": 3.0}),
    ("edges", {"sigma": 0.4}),
    ("centre", {"width": 0.2}),
    ("smoothed", {"samples": 3, "method": Occlusion(window=10)}),
    ("smoothed", {"samples": 3, "method": LIME(samples=200, segments=24)}),
    ("smoothed", {"samples": 3, "method": GradCAM("watched")}),
    ("tiled", {"tile": 32, "method": Occlusion()}),
    ("tiled", {"tile": 32, "method": GradCAM("watched")}),
    ("guided", {"method": Occlusion()}),
    ("consensus", {"methods": (Occlusion(), Sobol(8, 4))}),
    ("consensus", {"methods": (RISE(300, 4, tolerance=None), GradCAM("watched"))}),
    ("fused", {"layers": ("stem", "watched"), "how": "max", "scale": "largest"}),
    ("fused", {"layers": ("watched",), "how": "product"}),
    ("layercam-fusion", {"layers": ("watched",)}),
]


def shown(name, fields, axes, draws=2):
    """Return the sizes stated (parts, axes) and the maps (n, *S'), cells of them in elements (axes,)."""
    maps, stated = [], []
    shape = (48, 40) if axes == 2 else (20, 16, 24)
    method = watching(METHODS.make(name, **fields))
    for seed in range(draws):
        network = PooledNet(axes) if name == "cam" else SmallNet(axes)
        seeded(network, seed)
        x = torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with Network(network, LABELS).opened() as model:
            stated.append(resolution_of(method, model, x))
            maps += list(method.attribute(model, x, TARGET)[0].numpy())
    assert {len(sizes) for sizes in stated} == {len(stated[0])}
    return np.mean(stated, axis=0), maps, np.array(shape) / maps[0].shape


def width(maps, axis):
    """Return over how many cells maps go with themselves: the full width at half of their mean autocorrelation."""
    varied = [(one - one.mean()) / one.std() for one in maps if one.std() > 0]
    if not varied:
        return float(maps[0].shape[axis])
    rows = np.concatenate([np.moveaxis(one, axis, -1).reshape(-1, one.shape[axis]) for one in varied])
    size = rows.shape[1]
    with_itself = np.array([(rows[:, : size - lag] * rows[:, lag:]).mean() for lag in range(size // 2 + 1)])
    with_itself /= with_itself[0]
    below = np.flatnonzero(with_itself < 0.5)
    if not len(below):
        return float(size)
    lag = below[0]
    above, under = with_itself[lag - 1], with_itself[lag]
    return 2 * (lag - 1 + (above - 0.5) / (above - under))


def measured(name, fields, axes):
    """Return what is stated, finest and coarsest, and what is measured, each (axes,) in elements."""
    stated, maps, cell = shown(name, fields, axes)
    return stated[0], stated[-1], np.array([width(maps, axis) for axis in range(axes)]) * cell


def check(finest, coarsest, found):
    # One axis alone may be narrow by chance of the few maps, or by what the network's kernels happen to be.
    assert np.exp(np.log(found / finest).mean()) >= LEAST, f"finer than said: {found} where {finest} is stated"
    assert np.exp(np.log(found / coarsest).mean()) <= MOST, f"coarser than said: {found} where {coarsest} is stated"


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", METHODS.table)
def test_a_map_is_as_fine_as_its_method_says(name, axes):
    check(*measured(name, FIELDS.get(name, {}), axes))


@pytest.mark.parametrize(("name", "fields"), OTHERS, ids=str)
def test_a_map_is_as_fine_as_the_fields_and_the_methods_inside_say(name, fields):
    check(*measured(name, fields, 2))


class Stages(torch.nn.Module):
    """Grids of 2, 4 and 12 elements a cell."""

    def __init__(self):
        super().__init__()
        steps = [("one", 2, 2), ("two", 4, 2), ("three", 4, 3)]
        for name, channels, stride in steps:
            setattr(self, name, torch.nn.Conv2d(channels, 4, stride, stride=stride))
        self.head = torch.nn.Linear(4, 3)
        seeded(self)
        self.double().eval()

    def forward(self, x):
        for layer in (self.one, self.two, self.three):
            x = torch.relu(layer(x))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("method", "right"),
    [
        (METHODS.make("layercam-fusion"), [2, 4, 12]),
        (METHODS.make("fused"), [2, 4, 12]),
        (METHODS.make("fused", layers=("three", "input")), [1, 12]),
        (METHODS.make("guided-grad-cam", layer="two"), [1, 4]),
        (METHODS.make("guided", method=GradCAM("three")), [1, 12]),
        (METHODS.make("consensus", methods=(GradCAM("three"), Occlusion(7), "gradient")), [1, 7, 12]),
        (METHODS.make("consensus", methods=(GradCAM("two"), GradCAM("two", relu=True))), [4]),
        (METHODS.make("smoothed", method=GradCAM("two")), [4]),
        (METHODS.make("tiled", method=GradCAM("two"), tile=24), [4]),
        (METHODS.make("tiled", method=Occlusion(), tile=24), [3]),
        (METHODS.make("lrp", composite="epsilon-plus-flat"), [2]),
        (METHODS.make("grad-cam", layer="input"), [1]),
    ],
    ids=lambda v: type(v).__name__ if hasattr(v, "traits") else str(v),
)
def test_a_map_put_together_has_the_size_of_each_part(method, right):
    with Network(Stages(), LABELS).opened() as model:
        sizes = resolution_of(method, model, torch.randn(1, 2, 48, 48, dtype=torch.float64))
    assert [one[0] for one in sizes] == right
    assert all(one == (one[0], one[0]) for one in sizes)


def test_a_layer_that_a_function_lays_out_has_cells_from_edge_to_edge():
    def folded(output):
        return output.repeat_interleave(2, dim=3)

    with Network(Stages(), LABELS, reshape_transform=folded).opened() as model:
        x = torch.randn(1, 2, 48, 48, dtype=torch.float64)
        assert resolution_of(METHODS.make("fused", layers=("two",)), model, x) == ((4.0, 2.0),)


def test_a_part_that_states_nothing_leaves_the_whole_unknown():
    @dataclass(frozen=True)
    class Unstated:
        traits = METHODS.get("gradient").traits

        def attribute(self, model, x, target):
            return x[:, :1]

    x = torch.randn(1, 2, 48, 48, dtype=torch.float64)
    with Network(Stages(), LABELS).opened() as model:
        assert resolution_of(Unstated(), model, x) == ()
        assert resolution_of(METHODS.make("consensus", methods=(Unstated(), "gradient")), model, x) == ()
        assert resolution_of(METHODS.make("smoothed", method=Unstated()), model, x) == ()


def test_a_piece_is_as_long_as_what_stays_one():
    assert pieces(torch.arange(12)[:, None].expand(12, 10) // 4) == (4.0, 10.0)
    assert pieces(torch.arange(24).reshape(2, 3, 4)) == (1.0, 1.0, 1.0)


def test_segments_are_measured_on_the_image_that_they_part():
    shape = (1, 1, 48, 48)
    even, halves = torch.zeros(shape), (torch.arange(48) >= 24).float().expand(shape)
    method = LIME(segments=9)
    with Network(Stages(), LABELS).opened() as model:
        assert method.resolution(model, even) == ((16.0, 16.0),)
        assert method.resolution(model, halves) != ((16.0, 16.0),)


def test_a_smoothed_method_s_segments_are_those_of_an_image_parted_with_noise():
    image = (torch.arange(48) >= 17).double().expand(1, 1, 48, 48)
    inner = LIME(samples=20, segments=9)
    noisy = METHODS.make("smoothed", method=inner, sigma=0.5)
    still = METHODS.make("smoothed", method=inner, sigma=0.0)
    with Network(Stages(), LABELS).opened() as model:
        assert still.resolution(model, image) == inner.resolution(model, image)
        assert noisy.resolution(model, image) != inner.resolution(model, image)
        assert noisy.resolution(model, image) == noisy.resolution(model, image)
