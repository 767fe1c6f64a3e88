"""Values of a layer on the elements of the input: linear between the centres of the layer's cells."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from saliscope.model.cells import Cells, untouched
from saliscope.model.network import Network
from saliscope.model.onto import onto
from saliscope.testing.networks import SmallNet, image


@pytest.mark.parametrize(("axes", "mode"), [(2, "bilinear"), (3, "trilinear")])
def test_without_cells_values_lie_edge_to_edge(axes, mode):
    values = torch.randn(2, 3, *(4, 3, 5)[:axes], dtype=torch.float64)
    shape = (12, 10, 9)[:axes]
    right = interpolate(values, size=shape, mode=mode, align_corners=False)
    torch.testing.assert_close(onto(values, None, shape), right, rtol=0, atol=1e-12)


def test_values_that_are_linear_in_place_stay_so_between_the_outermost_centres():
    cells = Cells((2.0, 4.0), (0.5, 3.0), (1.0, 1.0))
    rows, columns = 0.5 + 2 * torch.arange(5.0), 3 + 4 * torch.arange(4.0)
    values = (rows[:, None] + 10 * columns)[None, None].double()
    found = onto(values, cells, (12, 18))[0, 0]
    at = torch.arange(12.0)[:, None].clamp(0.5, 8.5) + 10 * torch.arange(18.0).clamp(3, 15)
    torch.testing.assert_close(found, at.double(), rtol=0, atol=1e-12)


def test_the_input_itself_is_left_as_it_is():
    values = torch.randn(1, 2, 6, 7)
    assert torch.equal(onto(values, untouched(2), (6, 7)), values)


@pytest.mark.parametrize("axes", [2, 3])
def test_an_open_network_places_by_the_cells_of_its_layer_and_surveys_once(axes):
    x = image(axes)
    with Network(SmallNet(axes)).opened() as model:
        values = model.probe(x, ["watched"]).activations["watched"].detach()
        found = model.onto_input(values, x, "watched")
        runs = model.runs(x)
        assert model.runs(x) is runs
        assert model.counts.forward_samples == len(x), "a survey is no run"
    # Cells of a stride of 2 without padding have their centre half-way between two elements.
    mode = "bilinear" if axes == 2 else "trilinear"
    right = interpolate(values, size=x.shape[2:], mode=mode, align_corners=False)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-12)


def test_a_padded_stride_is_not_stretched():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, stride=4, padding=1), nn.Flatten(), nn.Linear(9, 1)).double()
    x = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    values = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    values[..., 1, 1] = 1
    with Network(net).opened() as model:
        found = model.onto_input(values, x, "0")[0, 0]
    assert divmod(int(found.argmax()), 12) == (4, 4), "cell 1 looks at element 4, not at 5.5"


def test_notes_are_kept_once_and_taken_once():
    with Network(SmallNet(2)).opened() as model:
        model.note("one")
        model.note("two")
        model.note("one")
        assert model.take_notes() == ("one", "two")
        assert model.take_notes() == ()
