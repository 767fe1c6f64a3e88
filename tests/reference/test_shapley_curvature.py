"""Shapley-CAM where torch has no second derivative of an operation as the network runs it."""

import pytest
import torch
from torch import nn

from saliscope.core.errors import MethodError, ModelError
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))


class Attending(nn.Module):
    """A convolution, attention between its cells, and a linear head; `fused` as torch offers it, or written out."""

    def __init__(self, axes, *, fused):
        super().__init__()
        self.layer, self.fused = (nn.Conv2d, nn.Conv3d)[axes - 2](1, 6, 3, stride=2), fused
        self.mixed, self.head = nn.Linear(6, 18), nn.Linear(6, 3)

    def forward(self, x):
        q, k, v = self.mixed(self.layer(x).flatten(2).transpose(1, 2)).chunk(3, dim=2)
        if self.fused:
            seen = nn.functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        else:
            seen = (q @ k.transpose(1, 2) / 6**0.5).softmax(2) @ v
        return self.head(seen.mean(1))


class Gated(nn.Module):
    """A hard sigmoid, in place or not, or written as the clamp that it is, and a square."""

    def __init__(self, how):
        super().__init__()
        self.layer, self.head, self.how = nn.Conv2d(1, 4, 3), nn.Linear(4, 3), how

    def forward(self, x):
        seen = self.layer(x)
        values = 4 * seen
        if self.how == "clamp":
            gate = (values + 3).clamp(0, 6) / 6
        else:
            result = nn.functional.hardsigmoid(values, inplace=self.how == "in place")
            gate = values if self.how == "in place" else result
        return self.head((seen * gate).flatten(2).mean(2))


def mapped(net, x):
    with Network(net.double().eval()).opened() as model:
        return METHODS.make("shapley-cam", layer="layer").attribute(model, x, TARGET)


def pair(first, second, axes=2):
    torch.manual_seed(0)
    one = first()
    other = second()
    other.load_state_dict(one.state_dict())
    x = torch.randn(1, 1, *[9] * axes, dtype=torch.float64)
    return mapped(one, x), mapped(other, x)


@pytest.mark.parametrize("axes", [2, 3])
def test_fused_attention_has_the_curvature_of_attention_written_out(axes):
    found, right = pair(lambda: Attending(axes, fused=True), lambda: Attending(axes, fused=False), axes)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-12 * float(right.abs().max()))


@pytest.mark.parametrize("how", ["plain", "in place"])
def test_a_hard_sigmoid_has_the_curvature_of_the_clamp_that_it_is(how):
    found, right = pair(lambda: Gated(how), lambda: Gated("clamp"))
    torch.testing.assert_close(found, right, rtol=0, atol=1e-12 * float(right.abs().max()))


def test_what_torch_derives_only_once_is_refused_by_name():
    class Distant(Gated):
        def forward(self, x):
            seen = self.layer(x).flatten(2)
            return self.head(torch.cdist(seen, 2 * seen).mean(2))

    torch.manual_seed(0)
    with pytest.raises(MethodError, match=r"_cdist_backward.*grad-cam"):
        mapped(Distant("clamp"), torch.randn(1, 1, 9, 9, dtype=torch.float64))


def test_another_failure_of_the_network_stays_its_own():
    class Failing(Gated):
        def forward(self, x):
            seen = self.layer(x)
            if seen.requires_grad and torch.is_grad_enabled():
                raise RuntimeError("the network was told to fail")
            return self.head(seen.flatten(2).mean(2))

    with pytest.raises(ModelError, match="told to fail"):
        mapped(Failing("clamp"), torch.randn(1, 1, 9, 9, dtype=torch.float64))
