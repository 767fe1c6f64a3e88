"""saliscope.explain: any module, any number of images, targets and methods, in one order and at one cost."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import InputError, MethodError, ModelError, TargetError, WriteError
from saliscope.core.explanation import Explanation
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.model.network import Network
from saliscope.model.opened import OpenNetwork
from saliscope.study.drawing import lesion_in_speckle

CAMS = ["grad-cam", "hirescam", "layercam", "grad-cam++"]

#: Lists of as many classes as images could mean two things: that is said, and tried elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::saliscope.core.errors.TargetWarning")


class Net(nn.Module):
    """Strided convolutions, an in-place activation, a pooled linear head; `axes` dimensions, 14 labels."""

    def __init__(self, axes: int = 2, classes: int = 14) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.stem = nn.Sequential(conv(1, 4, 3, 2, 1), norm(4), nn.ReLU(inplace=True))
        self.body = nn.Sequential(conv(4, 6, 3, 2, 1), norm(6))
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.body(self.stem(x)))
        return self.head(y.mean(dim=tuple(range(2, x.ndim))))


def noise(axes: int = 2, n: int = 1, size: int = 16) -> Tensor:
    return torch.randn((n, 1, *[size] * axes), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the samples that really go through a network."""
    counted: list[int] = []
    run = OpenNetwork.run_once

    def counting(self: OpenNetwork, x: Tensor) -> Tensor:
        counted.append(len(x))
        return run(self, x)

    monkeypatch.setattr(OpenNetwork, "run_once", counting)
    return counted


@pytest.mark.parametrize("axes", [2, 3])
def test_one_call_for_any_module(axes: int) -> None:
    e = saliscope.explain(noise(axes), Net(axes), method="grad-cam", target=3, layer="body.1")
    assert isinstance(e, Explanation)
    assert e.values.shape == (4,) * axes
    assert e.values.dtype == np.float32
    # two convolutions of stride 2 and padding 1: cells centred on elements 0, 4, 8, 12, not on 1.5, 5.5 ...
    assert e.geometry.spacing == (4.0,) * axes
    np.testing.assert_allclose(e.geometry.to_world([0] * axes), e.seen.to_world([0] * axes))
    assert e.geometry.unit == "px"
    assert e.target == "class 3"
    assert e.provenance.layer == "body.1"
    assert e.provenance.layer_reason == "named by the caller"
    with pytest.raises(ValueError, match="read-only"):
        e.values[0] = 1


def test_the_map_is_the_methods_own_untouched() -> None:
    net, x = Net(), noise()
    e = saliscope.explain(x, net, target=3, layer="body.1")
    from saliscope.core.target import LogitTarget

    with Network(net).opened() as model:
        raw = GradCAM("body.1").attribute(model, x, LogitTarget((3,), ("c",)))
    assert isinstance(e, Explanation)
    np.testing.assert_array_equal(e.values, raw[0, 0].numpy())
    assert e.values.min() < 0  # signed: no ReLU by default


def test_four_methods_of_fourteen_labels_cost_one_forward_sample(forwards: list[int]) -> None:
    found = saliscope.explain(noise(), Net(), method=CAMS, target="all", layer="body.1")
    assert isinstance(found, list)
    assert len(found) == 4 * 14
    assert sum(forwards) == 1


def test_top_and_auto_cost_no_forward_of_their_own(forwards: list[int]) -> None:
    e = saliscope.explain(noise(), Net())
    assert isinstance(e, Explanation)
    assert sum(forwards) == 1
    assert e.provenance.layer == "relu"
    assert "last layer with a spatial grid (4 x 4)" in str(e.provenance.layer_reason)
    logits = e.prediction.logits
    assert e.target == e.prediction.labels[int(np.argmax(logits))]


def test_lists_come_in_the_order_images_targets_methods() -> None:
    net, x = Net(), noise(n=2)
    found = saliscope.explain(x, net, method=["grad-cam", "gradient"], target=[2, 0], layer="body.1")
    assert isinstance(found, list)
    said = [(e.provenance.image, e.target, e.provenance.method) for e in found]
    digests = list(dict.fromkeys(s[0] for s in said))
    assert said == [(d, t, m) for d in digests for t in ("class 2", "class 0") for m in ("grad-cam", "gradient")]
    alone = saliscope.explain(x[1:], net, method="grad-cam", target=0, layer="body.1")
    assert isinstance(alone, Explanation)
    np.testing.assert_allclose(found[6].values, alone.values, atol=1e-6)
    assert isinstance(saliscope.explain(x[:1], net, method=["gradient"], target=0), list)


def test_top_is_each_images_own_in_a_batch() -> None:
    class Sign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1, bias=False)
            with torch.no_grad():
                self.conv.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean(dim=(2, 3))

    x = torch.stack([torch.ones(1, 4, 4), -torch.ones(1, 4, 4)])
    found = saliscope.explain(x, Sign(), labels=("bright", "dark"), method="gradient")
    assert isinstance(found, list)
    assert [e.target for e in found] == ["bright", "dark"]


def test_paths_and_cards_and_views(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(lesion_in_speckle(80)).save(path)
    e = saliscope.explain(path, "spot-finder", target="spot")
    assert isinstance(e, Explanation)
    assert e.seen.shape == (128, 128)
    assert e.provenance.layer_reason == "the default of the model card"
    view = [{"step": "resize", "shape": [16, 16]}, {"step": "scale"}]
    bare = saliscope.explain([path, path], Net(), target=lambda out: out[:, 0] - out[:, 1], view=view)
    assert isinstance(bare, list)
    assert [b.target for b in bare] == ["callable", "callable"]
    np.testing.assert_allclose(bare[0].seen.extent, (80, 80))


def test_spacing_travels() -> None:
    e = saliscope.explain(noise(), Net(), target=0, layer="body.1", spacing_mm=(0.5, 0.25))
    assert isinstance(e, Explanation)
    assert (e.geometry.unit, e.geometry.spacing) == ("mm", (2.0, 1.0))


def test_showing_and_saving(tmp_path: Path) -> None:
    e = saliscope.explain(noise(), Net(), target=1, layer="body.1")
    assert isinstance(e, Explanation)
    data = e._repr_png_()
    assert data is not None
    assert Image.open(BytesIO(data)).size == e.overlay(480).size < e.overlay().size, "a notebook keeps it"
    place = e.save(tmp_path / "kept")
    assert (place / "page.html").is_file()
    assert (place / "class-1.grad-cam" / "map.nii.gz").is_file()
    with pytest.raises(WriteError, match="there already"):
        e.save(tmp_path / "kept")


def test_half_precision_and_double_networks_are_met_on_their_own_ground() -> None:
    e = saliscope.explain(noise(), Net().double(), target=0, layer="body.1")
    f = saliscope.explain(noise(), Net(), target=0, layer="body.1")
    assert isinstance(e, Explanation)
    assert isinstance(f, Explanation)
    np.testing.assert_allclose(e.values, f.values, atol=1e-6)


def test_completeness_is_reported_with_integrated_gradients() -> None:
    e = saliscope.explain(noise(), Net(), method="integrated-gradients", target=0)
    assert isinstance(e, Explanation)
    assert abs(e.provenance.diagnostics["completeness_gap"]) < 0.1


def test_probabilities_in_place_of_logits_are_noticed() -> None:
    e = saliscope.explain(noise(), nn.Sequential(Net(), nn.Softmax(dim=1)), target=0, method="gradient")
    assert isinstance(e, Explanation)
    assert any("probabilities" in note for note in e.provenance.notes)


def test_faults_say_what_to_do() -> None:
    net, x = Net(), noise()
    with pytest.raises(InputError, match=r"x\[None\]"):
        saliscope.explain(x[0], net)
    with pytest.raises(InputError, match=r"forward=lambda net, x"):
        saliscope.explain((x, x), net)
    with pytest.raises(ModelError, match="a torch module"):
        saliscope.explain(x, 3)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="0 to 13"):
        saliscope.explain(x, net, target=14)
    with pytest.raises(MethodError, match="Did you mean 'smoothgrad'"):
        saliscope.explain(x, net, method="smooth-grad")
    with pytest.raises(MethodError, match="at least one"):
        saliscope.explain(x, net, method=[])


def test_a_network_that_fails_leaves_no_trace() -> None:
    class Breaks(Net):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("half-way")

    net = Breaks().train()
    with pytest.raises(ModelError, match=r"Breaks, which raised RuntimeError on .*half-way"):
        saliscope.explain(noise(), net, layer="body.1")
    assert all(m.training for m in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())


def test_long_methods_say_how_far_they_are() -> None:
    from saliscope.model.view import View
    from saliscope.study.arrays import cases_of
    from saliscope.study.asking import make_methods
    from saliscope.study.explain import explained

    said: list[str] = []
    (case,) = cases_of(noise())
    assert isinstance(case.view, View)
    explained([case], Network(Net()), make_methods(["occlusion", "grad-cam"], "body.1"), [0], said.append)
    assert said[0] == "grad-cam"
    assert len([s for s in said if s.startswith("occlusion, ")]) > 1


def test_the_weights_are_digested_once_for_all_images_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Network] = []
    real = Network.weights_digest
    monkeypatch.setattr(Network, "weights_digest", lambda self: asked.append(self) or real(self))
    found = saliscope.explain(torch.cat([noise()] * 3), Net(), ["grad-cam", "gradient"], [0, 1])
    assert len({e.provenance.weights for e in found}) == 1
    assert len(asked) == 1


def test_a_graph_that_does_not_fit_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    from saliscope.study import memory

    monkeypatch.setattr(memory, "free_bytes", lambda _device: 3000)
    # Per image: 2 x 4 x 8 x 8 of the stem's first two, in place its third, 3 x 6 x 4 x 4, 14: half of about 5 kB.
    assert isinstance(saliscope.explain(noise(), Net(), method="gradient", target=0), Explanation)
    with pytest.raises(MethodError, match="on 2 views of"):  # what fits for one image does not for two
        saliscope.explain(torch.cat([noise(), noise()]), Net(), method="gradient", target=0)
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1000)
    for method in ("gradient", "smoothgrad", "integrated-gradients"):
        with pytest.raises(MethodError, match=r"at most the 0 GiB"):
            saliscope.explain(noise(), Net(), method=method, target=0)
    assert isinstance(saliscope.explain(noise(), Net(), method="occlusion", target=0), Explanation)
    assert isinstance(saliscope.explain(noise(), Net(), target=0), Explanation)
