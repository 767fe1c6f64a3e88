"""Occlusion by its engines: the same map, the contract, and what is refused."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from saliscope.core.errors import MethodError
from saliscope.core.target import LogitTarget, choose
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing import CHECKS
from saliscope.testing.networks import AFTER, SmallNet, image

LABELS = ("first", "second", "third")
TARGET = LogitTarget((0, 1, 2), LABELS)


def attribute(method, net, x, target=TARGET):
    with Network(net, LABELS).opened() as model:
        return method.attribute(model, x, target), model.counts, model.take_notes()


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("engine", ["exact", "approximate"])
def test_the_engines_keep_the_contract(engine, check):
    check(METHODS.make("occlusion", engine=engine, window=4, stride=2))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
def test_the_map_by_regions_equals_the_map_by_full_runs(after, axes):
    net, x = SmallNet(axes, after), image(axes)
    full = METHODS.make("occlusion", window=3, stride=2, engine="full")
    right, counts, notes = attribute(full, net, x)
    found, fewer, said = attribute(replace(full, engine="exact"), net, x)
    assert (found - right).abs().max() <= 1e-9 * right.abs().max()
    assert notes == ()
    assert counts.incremental_windows == 0
    assert fewer.incremental_windows > 0
    assert fewer.forward_samples == len(x) * (1 + 4 + 1), "the image, the checked windows, and the image beside them"
    assert "ran by regions" in said[0]


def test_each_image_keeps_its_own_segmented_region():
    class Segments(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 3, 3, padding=1).double()

        def forward(self, x):
            return torch.tanh(self.conv(x))

    net, x = Segments(), image(2)
    target = choose([0, 2], LABELS, "segmentation")
    full = METHODS.make("occlusion", window=3, stride=2, engine="full")
    right, _, _ = attribute(full, net, x, target)
    found, counts, _ = attribute(replace(full, engine="exact"), net, x, target)
    assert counts.incremental_windows > 0
    assert (found - right).abs().max() <= 1e-9 * right.abs().max()


def filled(image, box):
    """Return the image (C, *S) with a box replaced by the means of its neighbours, solved as one dense system."""
    cells = list(product(*[range(b.start, b.stop) for b in box]))
    found = image.clone()
    for channel in range(len(image)):
        left, right = np.zeros((len(cells), len(cells))), np.zeros(len(cells))
        for row, cell in enumerate(cells):
            for axis, step in product(range(len(cell)), (-1, 1)):
                near = tuple(c + step * (a == axis) for a, c in enumerate(cell))
                if not 0 <= near[axis] < image.shape[1 + axis]:
                    continue
                left[row, row] += 1
                if near in cells:
                    left[row, cells.index(near)] -= 1
                else:
                    right[row] += float(image[(channel, *near)])
        for cell, value in zip(cells, np.linalg.solve(left, right), strict=True):
            found[(channel, *cell)] = value
    return found


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("engine", ["full", "exact"])
def test_inpainted_windows_equal_a_literal_solve(engine, axes):
    net, x = SmallNet(axes).eval(), image(axes)
    window, stride = (4, 3, 5)[:axes], (3, 3, 4)[:axes]
    method = METHODS.make("occlusion", window=window, stride=stride, baseline="inpaint", engine=engine)
    found, counts, _ = attribute(method, net, x)
    assert (counts.incremental_windows > 0) == (engine == "exact")
    begins = [[*range(0, n - w, s), n - w] for n, w, s in zip(x.shape[2:], window, stride, strict=True)]
    for n, one in enumerate(x):
        total, covers = torch.zeros_like(found[n]), torch.zeros(x.shape[2:])
        for corner in product(*begins):
            box = tuple(slice(b, b + w) for b, w in zip(corner, window, strict=True))
            with torch.no_grad():
                drop = (net(one[None]) - net(filled(one, box)[None]))[0]
            total[(slice(None), *box)] += drop.reshape(-1, *[1] * axes)
            covers[box] += 1
        right = total / covers
        assert right.abs().max() > 0
        assert (found[n] - right).abs().max() <= 1e-9 * right.abs().max()


def test_inpainted_windows_need_surroundings_and_skip_what_is_flat():
    x = image(2, batch=1)
    whole = METHODS.make("occlusion", window=tuple(x.shape[2:]), baseline="inpaint")
    with pytest.raises(MethodError, match="whole image"):
        attribute(whole, SmallNet(2), x)
    empty, counts, _ = attribute(METHODS.make("occlusion", baseline="inpaint"), SmallNet(2), torch.zeros_like(x))
    assert (empty == 0).all()
    assert counts.incremental_windows == 0


@pytest.mark.parametrize("engine", ["exact", "approximate", "auto"])
def test_windows_that_change_nothing_are_not_run(engine):
    x = torch.zeros(1, 2, 12, 10, dtype=torch.float64)
    x[..., :4, :4] = image(2, batch=1)[..., :4, :4]
    method = METHODS.make("occlusion", window=2, stride=2, baseline="zero", engine=engine)
    found, counts, _ = attribute(method, SmallNet(2), x)
    assert counts.incremental_windows <= 4 * (2 + 6)
    assert (found[..., 4:, :] == 0).all()
    assert (found[..., :4, :4] != 0).all()
    empty, counts, _ = attribute(method, SmallNet(2), torch.zeros_like(x))
    assert (empty == 0).all()
    assert counts.incremental_windows == 0


def test_auto_takes_full_runs_where_regions_save_little():
    _, counts, notes = attribute(METHODS.make("occlusion"), SmallNet(2), image(2, batch=1))
    assert counts.incremental_windows == 0
    assert "% of the operations" in notes[0]


@pytest.mark.parametrize(("fields", "word"), [({"engine": "exakt"}, "exact"), ({"fidelity": 0.0}, "fidelity")])
def test_what_is_refused(fields, word):
    with pytest.raises(MethodError, match=word):
        METHODS.make("occlusion", **fields)
