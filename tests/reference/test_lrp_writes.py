"""LRP where a network writes values into constants, and where its parameters ask for gradients while it runs."""

import pytest
import torch
from test_lrp_networks import COMPOSITES, measured
from test_propagation_analysis import close, run
from torch import nn

from saliscope.methods import METHODS
from saliscope.testing.networks import image


class Written(nn.Module):
    """conv -> ReLU -> what `between` makes of it and the network -> conv -> ReLU -> mean -> linear."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
        self.between = between

    def forward(self, x):
        h = self.between(self, self.first(x).relu())
        return self.head(self.second(h).relu().mean((2, 3)))


CHANNELS = torch.arange(4)


def _unfrozen(net, h):
    net.second.requires_grad_(requires_grad=True)
    return h


def _toggled(net, h):
    net.second.weight.requires_grad_(not net.second.weight.requires_grad)
    return h


def _made(net, h):
    if not hasattr(net, "scale"):
        net.scale = nn.Parameter(torch.ones_like(h[:1]))
    return h * net.scale


SAME = {
    "index_add_": lambda net, h: torch.zeros_like(h).index_add_(1, CHANNELS, h),
    "scatter_add_": lambda net, h: torch.zeros_like(h).scatter_add_(
        1, torch.zeros_like(h, dtype=torch.long) + CHANNELS[:, None, None], h
    ),
    "index_copy_": lambda net, h: torch.zeros_like(h).index_copy_(1, CHANNELS, h),
    "a layer unfrozen in forward": _unfrozen,
    "a weight toggled in forward": _toggled,
    "a parameter made in forward": _made,
}


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", SAME)
def test_writes_into_constants_and_parameters_that_ask_for_gradients_leave_the_map_as_it_is(name, composite):
    method, x = METHODS.make("lrp", composite=composite), image(2, batch=1)
    right = run(method, Written(lambda _, h: h).double(), x)
    net = Written(SAME[name]).double()
    close(run(method, net, x), right, 1e-4)
    assert float(measured(method, net, x)["conservation_relative_gap"].abs().max()) < 1e-3


def test_what_a_constant_keeps_of_values_added_to_it_is_counted():
    net = Written(lambda _, h: torch.ones_like(h).index_add_(1, CHANNELS, h)).double()
    assert (
        float(
            measured(METHODS.make("lrp", composite="epsilon"), net, image(2, batch=1))[
                "conservation_relative_gap"
            ].max()
        )
        < 1e-3
    )
