"""Tiles: equal to the whole where the receptive field allows it, in raw units, on the input's and on layers' grids."""

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from torch import nn

from saliscope.core.errors import MethodError, TargetError
from saliscope.core.target import CallableTarget, ComponentTarget, LogitTarget, PointTarget, Together
from saliscope.methods import METHODS
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.cam.hirescam import HiResCAM
from saliscope.methods.combine.windows import weights, windows
from saliscope.model.network import Network
from saliscope.testing.networks import SmallNet, seeded

SUMS = CallableTarget(lambda output: output.flatten(2).sum(2), ("first", "second"))
#: How far an element's gradient in `Local` reaches: to outputs two elements away, each of which sees two further.
REACH = 4
SHAPES = {2: (33, 26), 3: (18, 9, 23)}


#: Of every run the elements of an image, kept outside of the network, which is put back.
WIDEST: list[int] = []


class Local(nn.Module):
    """A network that never looks at the whole: two convolutions of 3, one of 1, two classes over space."""

    def __init__(self, axes, stride=1):
        super().__init__()
        convolution = nn.Conv2d if axes == 2 else nn.Conv3d
        self.first = convolution(1, 3, 3, padding=1, stride=stride)
        self.second = convolution(3, 4, 3, padding=1)
        self.last = convolution(4, 2, 1)
        seeded(self)
        self.double()

    def forward(self, x):
        WIDEST.append(x[0].numel())
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


def picture(shape, n=1):
    return torch.randn(n, 1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def run(method, net, x, target=SUMS, kind="multi-class"):
    with Network(net, kind=kind).opened() as model:
        return method.attribute(model, x, target), model


def far_from_borders(shape, tile, step, away):
    """Return where every tile that covers an element ends at least `away` from it, or at the edge of the image."""
    masks = []
    for n, t, s in zip(shape, tile, step, strict=True):
        begins = [*range(0, n - t, s), n - t]
        good = torch.ones(n, dtype=torch.bool)
        for b in begins:
            if b > 0:
                good[b : b + away] = False
            if b + t < n:
                good[b + t - away : b + t] = False
        masks.append(good)
    found = masks[0]
    for mask in masks[1:]:
        found = found[..., None] & mask
    return found


def close(found, right):
    torch.testing.assert_close(found, right, rtol=0, atol=1e-12 * float(right.abs().max()))


@pytest.mark.parametrize("axes", [2, 3])
def test_gradient_equals_the_whole_away_from_the_tiles_borders(axes):
    net, x = Local(axes), picture(SHAPES[axes], 2)
    right, _ = run(METHODS.make("gradient"), net, x)
    found, _ = run(METHODS.make("tiled", tile=13, overlap=0.25), net, x)
    tile = [min(13, n) for n in x.shape[2:]]
    step = [9 if t == 13 else t for t in tile]
    inside = far_from_borders(x.shape[2:], tile, step, REACH)
    assert 0.02 < inside.double().mean() < 0.9
    close(found[..., inside], right[..., inside])
    assert (found[..., ~inside] - right[..., ~inside]).abs().max() > 1e-3 * right.abs().max()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", ["gradient", "input-x-gradient", "occlusion"])
def test_with_a_margin_of_the_receptive_field_the_map_is_that_of_the_whole(name, axes):
    net, x = Local(axes), picture((19, 16) if axes == 2 else (14, 5, 13))
    fields = {"window": 1, "stride": 1, "baseline": 0.0} if name == "occlusion" else {}
    method = METHODS.make(name, **fields)
    right, _ = run(method, net, x)
    close(run(METHODS.make("tiled", method=method, tile=11, overlap=0.1, margin=REACH), net, x)[0], right)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_layers_map_is_tiled_on_the_layers_grid(axes):
    net, x = Local(axes, stride=2), picture((34, 26) if axes == 2 else (20, 9, 23))
    right, _ = run(HiResCAM("second"), net, x)
    found, _ = run(METHODS.make("tiled", method=HiResCAM("second"), tile=11, overlap=0.1, margin=3), net, x)
    assert found.shape == right.shape == (1, 2, *[-(-n // 2) for n in x.shape[2:]])
    close(found, right)


@pytest.mark.parametrize("axes", [2, 3])
def test_no_tile_is_scaled(axes):
    """A score ten thousand times weaker in one half of the image stays so in the map."""
    x = picture((16, 12) if axes == 2 else (16, 6, 6))
    ramp = torch.ones(x.shape[2:], dtype=torch.float64)
    ramp[:8] = 1e-4

    class Scaled(Local):
        def forward(self, v):
            return v * (1 - (1 - 1e-4) * (v[:, :1] > 50).double())

    x[:, :, :8] += 100
    right, _ = run(METHODS.make("gradient"), Scaled(axes), x, CallableTarget(lambda o: o.flatten(1).sum(1)))
    found, _ = run(METHODS.make("tiled", tile=4), Scaled(axes), x, CallableTarget(lambda o: o.flatten(1).sum(1)))
    close(found, right)
    close(right[0, 0], ramp)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_segmentations_region_is_that_of_the_whole_in_its_units(axes):
    net, x = Local(axes), picture((19, 16) if axes == 2 else (14, 5, 13), 2)
    middle = tuple(n // 2 for n in x.shape[2:])
    for target in (
        LogitTarget((0, 1), ("first", "second"), "segmentation"),
        ComponentTarget(1, "second"),
        Together((PointTarget(0, "first", middle), LogitTarget((1,), ("second",), "segmentation"))),
    ):
        with Network(net, kind="segmentation").opened() as model:
            images = [target.held(lambda v=v: model(v)) if hasattr(target, "held") else target for v in x.split(1)]
        right = torch.cat(
            [run(METHODS.make("gradient"), net, v, t)[0] for v, t in zip(x.split(1), images, strict=True)]
        )
        found, _ = run(METHODS.make("tiled", tile=11, margin=REACH), net, x, target, "segmentation")
        close(found, right)


def test_tiles_without_a_part_of_the_target_are_not_run():
    net, x = Local(2), picture((32, 32))
    at = PointTarget(1, "second", (3, 3))
    method = METHODS.make("tiled", tile=8, overlap=0.0)
    found, model = run(method, net, x, at)
    assert model.counts.forward_samples == 1
    close(found, run(METHODS.make("gradient"), net, x, at)[0])
    assert (found[0, 0, 8:] == 0).all()


def test_only_tiles_pass_the_network_and_the_record_says_so():
    net, x = Local(3), picture((40, 40, 40))
    WIDEST.clear()
    _, model = run(METHODS.make("tiled", tile=(16, 20, 24)), net, x)
    assert max(WIDEST) == 16 * 20 * 24
    assert model.take_notes() == (
        "Made of 18 tiles of 16 x 20 x 24 elements, in their own units.",
        "Each tile was scored as an image of its own.",
    )


def test_the_record_says_it_of_several_columns_too_but_not_of_a_region():
    x = picture((24, 24))
    sums = Together((SUMS, SUMS))
    assert len(run(METHODS.make("tiled", tile=8), Local(2), x, sums)[1].take_notes()) == 2
    region = LogitTarget((0, 1), ("first", "second"), "segmentation")
    assert len(run(METHODS.make("tiled", tile=8), Local(2), x, region, "segmentation")[1].take_notes()) == 1


def test_an_image_smaller_than_a_tile_is_one_tile():
    net, x = Local(2), picture((20, 30))
    close(run(METHODS.make("tiled"), net, x)[0], run(METHODS.make("gradient"), net, x)[0])
    assert METHODS.make("tiled").tile_of((256, 256, 90)) == [96, 96, 90]


@pytest.mark.parametrize("stride", [Fraction(1), Fraction(4), Fraction(1, 2)])
@pytest.mark.parametrize(("size", "tile", "overlap", "margin"), [(50, 16, 0.25, 0), (47, 13, 0.5, 3), (9, 20, 0.25, 2)])
def test_windows_cover_an_axis_begin_on_cells_and_overlap(size, tile, overlap, margin, stride):
    found = windows(size, tile, overlap, margin, stride)
    assert found[0].begin == 0
    assert found[-1].end == size
    for w in found:
        assert w.begin % stride == 0
        assert w.cell == w.begin / stride
        assert w.cut == (w.begin > 0, w.end < size)
    cells = int(size / stride)
    count = torch.zeros(cells, dtype=torch.float64)
    for w in found:
        own = int((w.end - w.begin) / stride)
        count[w.cell : w.cell + own] += weights(w, own, margin, stride, count)
    assert count.min() > 0, "a cell that no tile counts"
    for one, after in pairwise(found):
        assert one.end - after.begin >= max(overlap * min(tile, size), 2 * margin) - (stride if stride > 1 else 0)


def test_what_cannot_be_tiled_is_refused():
    x = picture((24, 24))
    with pytest.raises(MethodError, match="tiles of 5 elements with a margin of 3"):
        run(METHODS.make("tiled", tile=5, margin=3), Local(2), x)
    with pytest.raises(MethodError, match="one number, or one for each axis"):
        run(METHODS.make("tiled", tile=(5, 5, 5)), Local(2), x)
    with pytest.raises(TargetError, match="whole image at once"):
        run(METHODS.make("tiled", tile=8), Local(2, stride=2), x, LogitTarget((0,), ("first",), "segmentation"))

    class Pooled(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(4), nn.Conv2d(2, 2, 1))
            self.double()

    with pytest.raises(MethodError, match="do not lie alike in a tile and in the whole"):
        run(METHODS.make("tiled", method=HiResCAM("1"), tile=8), Pooled(), x)


def test_a_classifier_scores_each_tile_as_an_image_of_its_own():
    x = torch.randn(1, 2, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    net, target = SmallNet(2), LogitTarget((1,), ("second",))
    found, _ = run(METHODS.make("tiled", method=GradCAM("watched"), tile=6, overlap=0.0), net, x, target)
    right, _ = run(GradCAM("watched"), net, x[:, :, 6:, :6], target)
    close(found[:, :, 3:, :3], right)
