"""FullGrad's own map sums to the score, less what has no place: whatever the padding, the strides and the layers."""

import pytest
import torch
from torch import nn

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing.networks import seeded

TARGET = LogitTarget((0, 1, 2), ("first", "second", "third"))


def diagnosed(net, x, method=None, change=lambda found: found):
    method = method or METHODS.make("full-grad")
    seeded(net)
    with Network(net.double().eval()).opened() as model:
        found = method.attribute(model, x, TARGET)
        return found, method.diagnose(model, x, TARGET, change(found)), net(x).detach()


class Piecewise(nn.Module):
    """Convolutions with biases, batch norm, pooling, a transposed convolution and a linear end, as asked for."""

    def __init__(self, axes, padding, stride, end):
        super().__init__()
        conv, norm, pool, back = (
            (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.ConvTranspose2d),
            (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, nn.ConvTranspose3d),
        )[axes - 2]
        self.first, self.norm = conv(2, 4, 3, padding=padding), norm(4)
        self.second, self.pool = conv(4, 4, 3, stride=stride, padding=padding), pool(2)
        self.back, self.wide = back(4, 4, 3, stride=3), conv(4, 4, 3, padding=4)
        self.end, self.head = end, nn.LazyLinear(3)

    def forward(self, x):
        seen = self.pool(self.second(self.norm(self.first(x)).relu()).relu())
        if self.end == "up":
            seen = self.wide(self.back(seen)).relu()
        return self.head(seen.flatten(1))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("end", ["down", "up"])
def test_the_map_of_a_piecewise_linear_network_sums_to_the_score(end, stride, padding, axes):
    x = torch.randn(2, 2, *(15, 12, 13)[:axes], dtype=torch.float64)
    net = Piecewise(axes, padding, stride, end).double()
    net(x)
    found, said, scores = diagnosed(net, x)
    missed = found.flatten(2).sum(2) + said["without_place"] - scores
    assert missed.abs().max() < 1e-12 * scores.abs().max()
    assert said["completeness_relative_gap"].max() < 1e-10


class ChannelsLast(nn.Module):
    """A layer norm over channels that stand last, or over those that stand first by a class of a library's kind."""

    class LayerNorm2d(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def __init__(self, first):
        super().__init__()
        self.first, self.stem = first, nn.Conv2d(1, 6, 2, stride=2)
        self.norm = self.LayerNorm2d(6) if first else nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        seen = self.stem(x)
        seen = self.norm(seen) if self.first else self.norm(seen.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head(seen.flatten(2).mean(2))


class Tokens(nn.Module):
    """Cells as a sequence through a linear layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(1, 6, 4, stride=4), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        seen = self.stem(x).flatten(2).transpose(1, 2)
        return self.head(self.mix(self.mix(seen).relu()).relu().mean(1))


class Slices(nn.Module):
    """Slices of an image as rows of a batch: image by image, of channels or of a volume, or slice by slice."""

    def __init__(self, *, volume, slices_first=False):
        super().__init__()
        self.volume, self.slices_first = volume, slices_first
        self.stem, self.norm, self.head = nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        slices = x.transpose(1, 2).flatten(0, 1) if self.volume else x.flatten(0, 1)[:, None]
        if self.slices_first:
            slices = x.transpose(0, 1).flatten(0, 1)[:, None]
        seen = self.norm(self.stem(slices)).relu().flatten(2).mean(2)
        seen = seen.reshape(-1, len(x), 4).transpose(0, 1) if self.slices_first else seen.reshape(len(x), -1, 4)
        return self.head(seen.amax(1))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (Tokens, (1, 16, 12)),
        (lambda: Slices(volume=False), (4, 12, 10)),
        (lambda: Slices(volume=True), (1, 4, 12, 10)),
        (lambda: Slices(volume=False, slices_first=True), (4, 12, 10)),
    ],
    ids=["tokens", "channels as slices", "volume as slices", "slices first"],
)
def test_terms_of_tokens_and_of_slices_count_and_have_no_place(net, shape, batch):
    x = torch.randn(batch, *shape, dtype=torch.float64)
    found, said, scores = diagnosed(net(), x)
    assert said["without_place"].abs().min() > 0
    assert said["completeness_relative_gap"].max() < 1e-10
    torch.testing.assert_close(found.flatten(2).sum(2) + said["without_place"], scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("first", [False, True])
def test_the_shift_of_a_layer_norm_lies_along_its_channels(first):
    """All of six channels on a grid of six by six: which axis they stand on is not to be told by its size."""
    x = torch.randn(1, 1, 12, 12, dtype=torch.float64)
    found, said, _ = diagnosed(ChannelsLast(first), x)
    assert found.isfinite().all()
    assert said["completeness_relative_gap"].max() > 1e-3, "a norm of the image adds more than its shift"
    one, other = (diagnosed(ChannelsLast(f), x) for f in (False, True))
    sums = [m.flatten(2).sum(2) + s["without_place"] for m, s, _ in (one, other)]
    torch.testing.assert_close(sums[0], sums[1], rtol=0, atol=1e-12)


def test_a_layer_norm_whose_axis_cannot_be_known_is_left_out_and_noted():
    class Odd(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.transpose(1, -1)).transpose(1, -1)

    net = nn.Sequential(nn.Conv2d(1, 6, 2, stride=2), Odd(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    x = torch.randn(1, 1, 12, 12)
    with Network(net.eval()).opened() as model:
        told, notes = model.biases(x), model.take_notes()
    assert "1" not in told
    assert any("fits no one axis" in note and "1" in note for note in notes)


def test_the_gap_is_that_of_the_map_that_is_given():
    x = torch.randn(1, 2, 15, 12, dtype=torch.float64)
    net = Piecewise(2, 1, 1, "down").double()
    net(x)
    _, right, scores = diagnosed(net, x)
    _, said, _ = diagnosed(net, x, change=lambda found: 2 * found)
    assert right["completeness_relative_gap"].max() < 1e-10
    torch.testing.assert_close(said["completeness_gap"], scores - said["without_place"], rtol=0, atol=1e-12)
