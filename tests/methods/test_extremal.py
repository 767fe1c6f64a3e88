"""What an extremal mask keeps of the score, beside what chance keeps, and how large it is."""

import pytest
import torch
from torch import nn

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.perturbation.extremal_perturbation import bell, smooth_maximum
from saliscope.model.network import Network

TARGET = LogitTarget((0, 1), ("spot", "other"))


class Spot(nn.Module):
    """The sum over one box of an image (N, 1, *S), twice: (N, 2)."""

    def __init__(self, box, shape):
        super().__init__()
        weight = torch.zeros(shape, dtype=torch.float64)
        weight[tuple(slice(b, b + 5) for b in box)] = 1
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        total = (x[:, 0] * self.weight).flatten(1).sum(1)
        return torch.stack([total, 2 * total], 1)


def run(box, shape, **fields):
    x = torch.ones(1, 1, *shape, dtype=torch.float64)
    method = METHODS.make("extremal-perturbation", baseline="zero", **fields)
    with Network(Spot(box, shape), TARGET.labels).opened() as model:
        found = dict(method.attribute_with(model, x, TARGET))
        own = found.pop("map")
        return own, list(model.notes), {**found, **method.diagnose(model, x, TARGET, own)}


@pytest.mark.parametrize(("box", "shape"), [((14, 3), (28, 28)), ((7, 7, 2), (14, 14, 14))])
def test_a_mask_on_the_evidence_keeps_more_than_one_moved(box, shape):
    found, notes, told = run(box, shape, areas=(0.1, 0.2), steps=40, rate=0.1, weight=5.0)
    assert not any("does not show" in n for n in notes)
    assert (told["score_kept"] > told["score_kept_elsewhere"] + 0.2).all()
    torch.testing.assert_close(told["mask_mean"], found.flatten(2).mean(2))
    torch.testing.assert_close(told["area_asked"], torch.full((1, 2), 0.15).double())


@pytest.mark.parametrize(("box", "shape"), [((14, 3), (28, 28)), ((7, 7, 2), (14, 14, 14))])
def test_a_mask_that_a_large_weight_laid_elsewhere_is_noted(box, shape):
    _, notes, told = run(box, shape, areas=(0.05,), steps=40, weight=1e6)
    assert (told["score_kept"] <= told["score_kept_elsewhere"]).all()
    assert any("a mask of 5%" in n and "does not show where the evidence is" in n for n in notes)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_mask_amid_cells_reaches_what_the_docstring_says(axes):
    middle = [bell(7, 2)[3:4] for _ in range(axes)]
    found = smooth_maximum(torch.ones(1, *[2] * axes, dtype=torch.float64), middle)
    assert float(found.flatten()[0]) == pytest.approx(0.8**axes, abs=0.02)
