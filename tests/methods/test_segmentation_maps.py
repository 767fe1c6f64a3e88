"""Segmentations: the region whose mean logit is explained is that of the unchanged image."""

import pytest
import torch
from torch import nn

from saliscope.core.target import CallableTarget, Holding, LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.testing.networks import image, seeded

LABELS = ("background", "first", "second")


def run(name, x, target, net=None):
    with Network(net or Segmenter(), kind="segmentation").opened() as model:
        return METHODS.make(name).attribute(model, x, target), model.counts


def close(found, right, tolerance=1e-9):
    torch.testing.assert_close(found, right, rtol=0, atol=tolerance * float(right.abs().max()))


class Segmenter(nn.Module):
    """Three classes over space, each predicted somewhere."""

    def __init__(self, axes=3):
        super().__init__()
        convolution = nn.Conv2d if axes == 2 else nn.Conv3d
        self.first, self.last = convolution(2, 4, 3, padding=1), convolution(4, 3, 1)
        seeded(self)
        self.double()

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


SEGMENTED = LogitTarget((1, 2), LABELS[1:], "segmentation")


def test_the_region_of_a_segmentation_stays_while_the_input_changes():
    """Trap 27: with a mask predicted anew at every step a score is not of one thing, and no map is complete."""
    x, method = image(3), METHODS.make("integrated-gradients", steps=256)
    with Network(Segmenter(), kind="segmentation").opened() as model:
        found = method.attribute(model, x, SEGMENTED)
        said = method.diagnose(model, x, SEGMENTED, found)
        mask = model(x).argmax(1)[:, None] == torch.tensor([1, 2]).reshape(1, 2, 1, 1, 1)
        right = [(model(v)[:, 1:] * mask).flatten(2).sum(2) for v in (x, x.amin((2, 3, 4), keepdim=True).expand_as(x))]
    close(found.flatten(2).sum(2), (right[0] - right[1]) / mask.flatten(2).sum(2), 1e-3)
    assert said["completeness_relative_gap"].max() < 1e-3


@pytest.mark.parametrize("name", ["occlusion", "smoothgrad", "integrated-gradients"])
def test_an_image_of_a_segmentation_batch_has_its_own_region(name):
    x = image(3)
    together, _ = run(name, x, SEGMENTED)
    close(run(name, x[1:], SEGMENTED)[0], together[1:])


def test_only_a_segmentation_costs_a_run_to_hold_its_region():
    x, whole = image(3), CallableTarget(lambda output: output[:, 1].flatten(1).mean(1))
    assert isinstance(SEGMENTED, Holding)
    assert not isinstance(whole, Holding)
    for target, runs in ((SEGMENTED, 33), (whole, 32)):
        assert run("smoothgrad", x, target)[1].forward_samples == len(x) * runs


@pytest.mark.parametrize("axes", [2, 3])
def test_a_class_that_is_predicted_nowhere_is_explained_everywhere(axes):
    """A mask without an element has no mean; the map is then of the mean over the whole image, and never NaN."""
    x, net = image(axes), Segmenter(axes)
    with torch.no_grad():
        net.last.bias[1] = -1e3
    found, _ = run("integrated-gradients", x, SEGMENTED, net)
    target = CallableTarget(lambda output: output[:, 1].flatten(1).mean(1))
    close(found[:, :1], run("integrated-gradients", x, target, net)[0])


def test_occlusion_compares_one_region_before_and_after():
    """The whole image as one window: the drop is of the mean logit over the cells where x itself has the class."""
    x, net = image(3), Segmenter()
    with Network(net, kind="segmentation").opened() as model:
        found = METHODS.make("occlusion", window=tuple(x.shape[2:])).attribute(model, x, SEGMENTED)
        mask = model(x).argmax(1)[:, None] == torch.tensor([1, 2]).reshape(1, 2, 1, 1, 1)
        drop = (model(x) - model(x.mean((2, 3, 4), keepdim=True).expand_as(x)))[:, 1:] * mask
    right = drop.flatten(2).sum(2) / mask.flatten(2).sum(2)
    close(found, right.reshape(2, 2, 1, 1, 1).expand_as(found))
