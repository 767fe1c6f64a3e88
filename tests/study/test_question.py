"""What may be asked in saliscope.explain, and what the answers are called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import MethodError, TargetError
from saliscope.core.explanation import Explanation
from saliscope.core.target import LogitTarget, PerImage, ProbabilityTarget
from saliscope.methods import METHODS
from saliscope.methods.combine.tiled import Tiled
from saliscope.study.memory import graph_share

LABELS = ("normal", "pneumonia", "effusion")


class Net(nn.Module):
    def __init__(self, axes: int = 2, classes: int = 3, *, spatial: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = (nn.Conv2d if axes == 2 else nn.Conv3d)(1, classes, 3, padding=1)
        self.spatial = spatial

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(torch.tanh(x))
        return y if self.spatial else torch.sin(torch.sin(y).flatten(2).sum(2))


def noise(n: int = 1, axes: int = 2) -> Tensor:
    return torch.randn((n, 1, *[8] * axes), generator=torch.Generator().manual_seed(3))


def explain(x: Tensor, target: object, **fields: object) -> list[Explanation]:
    net = fields.pop("net", None) or Net()
    found = saliscope.explain(x, net, "gradient", target, labels=LABELS, **fields)
    return found if isinstance(found, list) else [found]


def test_the_form_of_the_question_says_whether_a_list_comes_back() -> None:
    net = Net()
    for one in ("pneumonia", "probability:pneumonia", "contrast:pneumonia/normal", "probability:top"):
        assert isinstance(saliscope.explain(noise(), net, "gradient", one, labels=LABELS), Explanation)
    for several in ("all", "probability:all", ["pneumonia"], ["contrast:pneumonia"]):
        assert isinstance(saliscope.explain(noise(), net, "gradient", several, labels=LABELS), list)


def test_words_targets_and_both_in_one_question() -> None:
    found = explain(noise(), ["pneumonia", ProbabilityTarget((2,), ("effusion",)), "contrast:pneumonia/normal"])
    assert [e.target for e in found] == ["pneumonia", "probability of effusion", "pneumonia against normal"]
    alone = [explain(noise(), one)[0] for one in ("pneumonia", "probability:effusion", "contrast:pneumonia/normal")]
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-6)
    np.testing.assert_allclose(alone[2].values, (alone[0].values - explain(noise(), "normal")[0].values), atol=1e-6)


def test_each_image_its_own_question_by_words_or_targets() -> None:
    x = noise(2)
    for asked in (("effusion", "minus:normal"), (LogitTarget((2,), ("effusion",)), "minus:normal")):
        found = explain(x, PerImage(asked))
        assert [e.target for e in found] == ["effusion", "minus normal"]
        np.testing.assert_allclose(found[0].values, explain(x[:1], "effusion")[0].values, atol=1e-6)
        np.testing.assert_allclose(found[1].values, -explain(x[1:], "normal")[0].values, atol=1e-6)
    many = noise(12)
    own = [e.target for e in explain(many, "top")]
    assert len(set(own)) > 1
    each = explain(many, PerImage(("top", "probability:top") * 6))
    assert [e.target for e in each] == [f"probability of {t}" if n % 2 else t for n, t in enumerate(own)]
    with pytest.raises(TargetError, match="3 targets for 2 images"):
        explain(x, PerImage(("top", "top", "top")))


def test_images_one_by_one_have_their_own_question_too() -> None:
    images = [e for x in noise(2).split(1) for e in [x]]
    from saliscope.study.arrays import cases_of

    cases = [cases_of(x)[0].image for x in images]
    found = saliscope.explain(cases, Net(), "gradient", PerImage(("effusion", "normal")), labels=LABELS)
    assert isinstance(found, list)
    assert [e.target for e in found] == ["effusion", "normal"]
    with pytest.raises(TargetError, match="1 targets for 2 images"):
        saliscope.explain(cases, Net(), "gradient", PerImage(("effusion",)), labels=LABELS)


@pytest.mark.parametrize("axes", [2, 3])
def test_places_in_a_segmentation(axes: int) -> None:
    at = (4,) * axes
    words = ["point:pneumonia@" + "/".join(map(str, at)), "component:pneumonia", "probability:pneumonia"]
    found = explain(noise(axes=axes), words, kind="segmentation", net=Net(axes, spatial=True))
    assert [e.target for e in found] == [
        f"pneumonia at {'/'.join(map(str, at))}",
        "largest component of pneumonia",
        "probability of pneumonia",
    ]
    point = found[0].values
    assert np.count_nonzero(point) == 3**axes
    assert np.abs(point[(slice(3, 6),) * axes]).min() > 0


def test_the_same_question_is_asked_of_methods_that_change_the_image() -> None:
    x = noise(2)
    net = Net(spatial=True)
    words = ["component:pneumonia", "contrast:effusion/normal"]
    found = saliscope.explain(x, net, ["occlusion", "smoothgrad"], words, labels=LABELS, kind="segmentation")
    assert isinstance(found, list)
    assert len(found) == 8
    assert all(np.isfinite(e.values).all() for e in found)


def test_a_tile_by_tile_graph_needs_the_room_of_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    from saliscope.study import memory

    assert graph_share(METHODS.make("gradient"), (64, 64)) == 1
    assert graph_share(METHODS.make("grad-cam"), (64, 64)) == 0
    assert graph_share(METHODS.make("occlusion"), (64, 64)) == 0
    assert graph_share(METHODS.make("guided"), (64, 64)) == 1
    assert graph_share(Tiled("gradient", tile=16), (64, 64)) == 1 / 16
    assert graph_share(METHODS.make("smoothed", method=Tiled("gradient", tile=(16, 32))), (64, 64)) == 1 / 8
    assert graph_share(METHODS.make("consensus", methods=("occlusion", "gradient")), (64, 64)) == 1
    assert graph_share(METHODS.make("fused", layers=("conv",)), (64, 64)) == 0
    # The graph of the whole needs 384 bytes.
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 300)
    with pytest.raises(MethodError, match=r"tile by tile"):
        explain(noise(), "normal")
    found = saliscope.explain(noise(), Net(), Tiled("gradient", tile=4), "normal", labels=LABELS)
    assert isinstance(found, Explanation)
    with pytest.raises(MethodError, match=r"at most the 0 GiB"):
        saliscope.explain(noise(), Net(), Tiled("gradient", tile=8), "normal", labels=LABELS)
