"""Networks that loop over their images, look at how many there are, or need several: each image has its own map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import ModelError
from saliscope.methods import METHODS
from saliscope.model.network import Network


class Plain(nn.Module):
    """conv -> ReLU -> conv -> ReLU -> mean -> linear."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Linear(4, 3)
        self.requires_grad_(requires_grad=False)

    def features(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu()).relu()

    def answers(self, h: Tensor) -> Tensor:
        return self.head(h.mean((-2, -1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.answers(self.features(x))


class Whole(Plain):
    """Every image by itself, through all layers."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(Whole, self).forward(one[None]) for one in x])


class First(Plain):
    """Every image by itself through the first layer only."""

    def forward(self, x: Tensor) -> Tensor:
        return self.answers(self.b(torch.cat([self.a(one[None]).relu() for one in x])).relu())


class Unbatched(Plain):
    """Every image without its axis of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.answers(self.features(one)) for one in x])


class Pairs(Plain):
    """Two images at a time."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(Pairs, self).forward(some) for some in x.split(2)])


class Eights(Plain):
    """Eight images at a time, which a trial with six does not see."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(Eights, self).forward(some) for some in x.split(8)])


class Crowded(Plain):
    """Another scale for more than eight images."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 if len(x) <= 8 else 1.5)


class Dark(Plain):
    """Takes the mean of the batch away where one of its images is dark."""

    def forward(self, x: Tensor) -> Tensor:
        h, dark = self.features(x), (x.mean((1, 2, 3)) < 0.2).any().float()
        return self.answers((h - 0.5 * dark * h.mean(0, keepdim=True)).relu())


class Distinct(Plain):
    """Runs equal images once."""

    def forward(self, x: Tensor) -> Tensor:
        several, back = torch.unique(x, dim=0, return_inverse=True)
        return super().forward(several)[back]


METHODS_ASKED: dict[str, dict[str, Any]] = {
    "ablation-cam": {},
    "recipro-cam": {},
    "smooth-grad-cam++": {"samples": 12, "tolerance": None},
    "score-cam": {},
    "smoothgrad": {"samples": 12, "tolerance": None},
    "occlusion": {"window": 4, "stride": 4},
    "layercam": {},
    "full-grad": {},
}


def image(n: int = 1) -> Tensor:
    return torch.rand((n, 1, 16, 16), generator=torch.Generator().manual_seed(1))


def maps(net: nn.Module, name: str, x: Tensor, **fields: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    found = saliscope.explain(x, net.eval(), METHODS.make(name, **METHODS_ASKED[name], **fields), target=0)
    several = found if isinstance(found, list) else [found]
    return np.stack([e.values for e in several]), several[0].provenance.notes


@pytest.mark.parametrize("name", METHODS_ASKED)
@pytest.mark.parametrize("net", [Whole, First, Unbatched, Pairs, Eights])
@pytest.mark.parametrize("n", [1, 3])
def test_a_network_that_loops_over_its_images_has_the_maps_of_one_that_does_not(
    net: type[Plain], name: str, n: int
) -> None:
    own, right = maps(net(), name, image(n))[0], maps(Plain(), name, image(n))[0]
    assert own.shape == right.shape
    assert np.abs(own - right).max() <= 1e-4 * np.abs(right).max()


def test_the_record_says_that_images_ran_alone_because_a_layer_loops() -> None:
    notes = maps(Whole(), "ablation-cam", image())[1]
    assert "Every image was run alone, because its layer a runs 1 time for one image and 6 for 6." in notes
    parts = maps(Eights(), "smooth-grad-cam++", image())[1]
    assert any("runs 1 time for one image and 2 for 12" in note for note in parts)


@pytest.mark.parametrize("name", ["smooth-grad-cam++", "smoothgrad", "occlusion", "recipro-cam"])
def test_a_network_that_looks_at_how_many_images_there_are_is_found(name: str) -> None:
    own, notes = maps(Crowded(), name, image())
    right = maps(Plain(), name, image())[0]
    assert np.abs(own - right).max() <= 1e-4 * np.abs(right).max()
    assert any("alone" in note for note in notes)


def test_a_mix_that_only_some_copies_bring_about_is_found_in_the_first_batch() -> None:
    x = image() * 0.2 + 0.19
    own, notes = maps(Dark(), "occlusion", x, baseline=-2.0)
    alone = maps(Dark(), "occlusion", x, baseline=-2.0, memory_mb=1e-6)[0]
    assert np.abs(own - alone).max() <= 1e-4 * np.abs(alone).max()
    assert any("alone" in note for note in notes)


@pytest.mark.parametrize("name", ["recipro-cam", "ablation-cam"])
def test_rows_that_a_network_takes_for_equal_are_replaced_one_by_one(name: str) -> None:
    own, notes = maps(Distinct(), name, image())
    right = maps(Plain(), name, image())[0]
    assert np.abs(own - right).max() <= 1e-4 * np.abs(right).max()
    assert any("every row was run alone" in note for note in notes)


def test_looks_at_larger_batches_are_counted_and_no_part_of_a_maps_cost() -> None:
    with Network(Plain()).opened() as model:
        model(image(12))
        assert (model.counts.forward_samples, model.counts.look_samples) == (12, 1 + 6 + 1)
        model(image(12))
        model(image(4))
        assert model.counts.look_samples == 8
        model(image(16))
        assert (model.counts.forward_samples, model.counts.look_samples) == (12 + 12 + 4 + 16, 9)
        suffix = model.suffix(image(), "b")
        ran = model.counts.suffix_samples
        suffix(suffix.activation.repeat(5, 1, 1, 1))
        assert (model.counts.suffix_samples - ran, model.counts.look_samples) == (5, 10)


class Likeliest(nn.Module):
    """A bag whose two likeliest patches answer; one patch alone is refused."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(1, 4, 4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(self.conv(x).relu().mean((2, 3)))
        return scores.topk(2, dim=0)[0].mean(0, keepdim=True)


class Several(Likeliest):
    """One answer for each image, of two at least."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) < 2:
            raise ValueError("two images at least")
        return self.head(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize("net", [Likeliest, Several])
def test_a_bag_that_needs_two_images_has_a_map_for_each(net: type[Likeliest]) -> None:
    x, bag = image(5), net().eval()
    found = saliscope.explain(x, bag, METHODS.make("occlusion", window=16, stride=16, baseline=0.0), target=0)
    assert isinstance(found, list)
    assert len(found) == 5
    for n, one in enumerate(found):
        hidden = x.clone()
        hidden[n] = 0
        row = n if net is Several else 0
        drop = float((bag(x) - bag(hidden))[row, 0].detach())
        assert np.allclose(one.values, drop, atol=1e-5)
    assert "Image 1 of 5 that the network answers for together" in found[0].provenance.notes[0]


def test_images_that_a_network_refuses_together_too_are_refused_with_what_one_of_them_raised() -> None:
    with pytest.raises(ModelError, match="expected 1 channels in place of 3"):
        saliscope.explain(torch.rand(5, 3, 16, 16), Likeliest().eval(), "occlusion", 0)


class Bright(Plain):
    """Mixes its batch only where one of its images is brighter than any of the trial."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.features(x)
        mixing = (x.amax() > 100).to(h)
        return self.answers(h - 0.5 * mixing * h.mean(0, keepdim=True))


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "deeplift"])
def test_of_a_few_images_of_the_callers_own_one_is_looked_at_alone(method: str) -> None:
    images = torch.cat([image(), 200 * image() + 150])
    together = saliscope.explain(images, Bright(), method, 0)
    for n, one in enumerate(together):
        alone = saliscope.explain(images[n : n + 1], Bright(), method, 0)
        np.testing.assert_allclose(one.values, alone.values, rtol=1e-4, atol=1e-5 * np.abs(alone.values).max())
    assert any("Every image was run alone" in note for note in together[0].provenance.notes)
