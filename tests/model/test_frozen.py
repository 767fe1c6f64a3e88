"""A network frozen for many runs says what it says itself, or is left as it is."""

import pytest
import torch
from torch import nn

from saliscope.model.frozen import frozen
from saliscope.model.network import Network
from saliscope.testing.networks import AFTER, SmallNet, image


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
def test_it_gives_what_the_network_gives_for_any_number_of_images(after, axes):
    x = image(axes, batch=5).float()
    net = SmallNet(axes, after).float()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with Network(net).opened() as model:
        quick = model.frozen(x)
        assert quick is not None
        for count in (1, 4, 5):
            torch.testing.assert_close(quick(x[:count] + 1), model(x[:count] + 1), rtol=0, atol=1e-5)
        counted = model.counts.forward_samples
        quick(x)
        assert model.counts.forward_samples == counted + 5
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


class Forks(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] * (2 if bool(x.sum() > 0) else 1)


class Warms(nn.Module):
    """Gives other logits in its first run, in which it is traced."""

    def __init__(self):
        super().__init__()
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        return x.flatten(1)[:, :3] + (1.0 if self.runs == 1 else 0.0)


class Named(nn.Module):
    def forward(self, x):
        return {"logits": x.flatten(1)[:, :3], "more": x}


@pytest.mark.parametrize(("net", "reason"), [(Forks(), "cannot be traced"), (Warms(), "differs by")])
def test_a_network_that_does_not_stay_the_same_is_left_as_it_is(net, reason):
    with Network(net).opened() as model:
        assert reason in str(frozen(model, image(2, batch=4).float()))


def test_only_single_precision_is_frozen():
    with Network(SmallNet(2)).opened() as model:
        assert "float32" in str(frozen(model, image(2)))


def test_the_logits_are_chosen_as_they_are_elsewhere():
    x = image(2, batch=3).float()
    with Network(Named()).opened() as model:
        quick = model.frozen(x)
        assert quick is not None
        torch.testing.assert_close(quick(x), x.flatten(1)[:, :3])
