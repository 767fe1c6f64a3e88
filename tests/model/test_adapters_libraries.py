"""torchvision, timm and torchxrayvision: their conventions as steps, their names in a card, and nothing fetched.

The conventions are tested with small stand-ins everywhere, and with the libraries themselves where they import.
"""

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from saliscope.core.errors import CardError, ModelError, WeightsError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.prediction import around
from saliscope.model.adapters.conventions import from_timm, from_torchvision, view_of_timm, view_of_torchvision
from saliscope.model.adapters.xrv import chest_view, from_xrv
from saliscope.model.load import build, load

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def library(name):
    """Return a library, or skip and say why: a build for another torch raises RuntimeError and not ImportError."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"{name} does not import here: {str(error).splitlines()[0]}")


def picture(rows=61, columns=90, channels=3):
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 255, (channels, 8, 8)).astype(np.uint8)
    smooth = [np.asarray(Image.fromarray(c).resize((columns, rows), Image.Resampling.BICUBIC)) for c in coarse]
    values = np.stack(smooth)
    values[:, 20:24, 30:60] = 255  # a marker with sharp edges
    return MedicalImage(values.astype(np.float32), values, Geometry.of_picture((rows, columns)), "", "", "", "one")


def by_pillow(values, shorter, crop, mode):
    """What torchvision does to a PIL image, by Pillow itself."""
    image = Image.fromarray(np.moveaxis(values, 0, -1))
    width, height = image.size
    size = (shorter, int(shorter * height / width)) if width < height else (int(shorter * width / height), shorter)
    small = np.asarray(image.resize(size, getattr(Image.Resampling, mode.upper())), np.float32) / 255
    top, left = (round((small.shape[i] - crop) / 2.0) for i in (0, 1))
    cut = small[top : top + crop, left : left + crop]
    return np.moveaxis((cut - IMAGENET["mean"]) / IMAGENET["std"], -1, 0)


class Preset:
    def __init__(self, mode="bilinear"):
        self.crop_size, self.resize_size = [32], [40]
        self.mean, self.std = IMAGENET["mean"], IMAGENET["std"]
        self.interpolation = types.SimpleNamespace(value=mode)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(61, 90), (90, 61)])
def test_a_picture_is_seen_as_torchvision_shows_it(mode, shape):
    image = picture(*shape)
    view = view_of_torchvision(Preset(mode))(image)
    want = by_pillow(image.display, 40, 32, mode)
    assert view.tensor.shape == (1, 3, 32, 32)
    # In levels of eight bits: Pillow rounds on its way, and cuts what a cubic overshoots between its two passes.
    assert np.abs(view.tensor[0].numpy() - want).max() <= (2 if mode == "bilinear" else 10) / 255 / 0.224
    assert np.abs(view.tensor[0].numpy() - want).mean() <= 0.5 / 255 / 0.224
    short, long = (40 / 61, 59 / 90)
    assert view.geometry.spacing == pytest.approx(
        (1 / short, 1 / long) if shape[0] < shape[1] else (1 / long, 1 / short)
    )


def test_timm_says_its_share_of_the_crop():
    configuration = {"input_size": (3, 32, 32), "crop_pct": 0.8, "interpolation": "bicubic", **IMAGENET}
    image = picture()
    view = view_of_timm(configuration)(image)
    assert np.abs(view.tensor[0].numpy() - by_pillow(image.display, 40, 32, "bicubic")).mean() <= 0.5 / 255 / 0.224
    for spoilt in ({"crop_mode": "squash"}, {"interpolation": "lanczos"}, {"mean": None}, {"input_size": (3, 32, 30)}):
        with pytest.raises(ModelError):
            view_of_timm({**configuration, **spoilt})


def test_a_network_takes_its_conventions_along():
    module = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    weights = types.SimpleNamespace(transforms=Preset, meta={"categories": ["crane", "crane", "cat"]})
    network = from_torchvision(module, weights)
    assert network.labels == ("crane", "crane 2", "cat")
    assert network.viewing == view_of_torchvision(Preset())
    with pytest.raises(ModelError, match="without its weights' transforms"):
        from_torchvision(module)
    with pytest.raises(ModelError, match="a preset with resize_size"):
        from_torchvision(module, object())
    with pytest.raises(ModelError, match="without pretrained_cfg"):
        from_timm(module)
    module.pretrained_cfg = {"input_size": (3, 32, 32), "architecture": "small", **IMAGENET}
    assert from_timm(module, ("a", "b", "c")).name == "small"


class Chest(nn.Module):
    """What torchxrayvision's networks do after their convolutions, as its source has it."""

    def __init__(self, num_classes=4, op_threshs=None, apply_sigmoid=False):
        super().__init__()
        self.pathologies = ["Effusion", "", "Mass", "Hernia"]
        self.apply_sigmoid = apply_sigmoid
        self.features = nn.Conv2d(1, 5, 3)
        self.classifier = nn.Linear(5, num_classes)
        self.register_buffer("op_threshs", op_threshs)

    def forward(self, x):
        out = self.classifier(self.features(x).mean((2, 3)))
        if self.op_threshs is not None:
            p, t = out.sigmoid(), self.op_threshs.expand(len(out), -1)
            low, high = p / (2 * t), 1 - (1 - p) / (2 * (1 - t))
            return torch.where(t.isnan(), torch.full_like(p, 0.5), torch.where(p < t, low, high))
        return out.sigmoid() if self.apply_sigmoid else out


def test_a_chest_network_gives_logits_and_says_its_own_scale_beside():
    torch.manual_seed(4)
    module = Chest(op_threshs=torch.tensor([0.02, float("nan"), 0.9, float("nan")])).eval()
    network = from_xrv(module)
    assert network.labels == ("Effusion", "Mass", "Hernia")
    assert network.thresholds == pytest.approx((0.02, 0.9, None))
    x = network.viewing(picture(70, 50, 1)).tensor
    with torch.no_grad():
        theirs, ours = module(x)[0], network.module(x)
    said = network.predictions(ours)[0]
    assert said.rescaled[:2] == pytest.approx([float(theirs[0]), float(theirs[2])], abs=1e-6)
    assert said.rescaled[2] is None
    assert said.probabilities == pytest.approx(torch.sigmoid(ours)[0].tolist())
    assert "on the network's own scale, where that threshold is 0.50" in said.sentence("Effusion")
    assert "own scale" not in said.sentence("Hernia")
    assert module.op_threshs is not None, "the caller's module stays as it was"
    with pytest.raises(ModelError, match="without pathologies"):
        from_xrv(nn.Linear(1, 1))


def test_the_rescaled_probability_is_half_at_the_threshold():
    assert (around(0.0, 0.1), around(0.1, 0.1), around(1.0, 0.1)) == (0.0, 0.5, 1.0)
    assert around(0.05, 0.1) == pytest.approx(0.25)
    assert around(0.55, 0.1) == pytest.approx(0.75)


def test_a_chest_picture_lies_between_minus_and_plus_1024():
    image = picture(70, 50, 1)
    view = chest_view(50)(image)
    want = (2 * (image.display[0, 10:60].astype(np.float32) / 255) - 1) * 1024
    assert view.tensor.shape == (1, 1, 50, 50)
    assert np.allclose(view.tensor[0, 0].numpy(), want, atol=1e-3)
    assert (float(view.tensor.min()), float(view.tensor.max())) == (pytest.approx(want.min()), pytest.approx(1024))


CARD = """
schema = 1
name = "toy"
title = "A toy"
description = "For tests."
architecture = "{architecture}"
arguments = {arguments}
weights = "w.safetensors"
labels = {labels}
output = "multi-label"
scale = "operating-point"
thresholds = {{ Mass = 0.25 }}
modalities = ["DX"]
dimensions = 2
licence = "MIT"
attribution = "Nobody."
intended = "Tests."
limits = ["Everything else."]
view = []
"""


def test_a_card_drops_the_unused_outputs_of_a_chest_network(tmp_path, monkeypatch):
    models = types.ModuleType("torchxrayvision.models")
    models.DenseNet = Chest
    monkeypatch.setitem(sys.modules, "torchxrayvision", types.ModuleType("torchxrayvision"))
    monkeypatch.setitem(sys.modules, "torchxrayvision.models", models)
    torch.manual_seed(5)
    module = Chest().eval()
    save_file({**module.state_dict(), "op_threshs": torch.zeros(4)}, tmp_path / "w.safetensors")
    outputs = '{ outputs = ["Effusion", "", "Mass", "Hernia"] }'
    words = CARD.format(architecture="torchxrayvision.DenseNet", arguments=outputs, labels='["Mass", "Effusion"]')
    (tmp_path / "toy.toml").write_text(words)
    network = load(tmp_path / "toy.toml")
    x = torch.randn(2, 1, 9, 9)
    with torch.no_grad():
        assert torch.equal(network.module(x), module(x)[:, [2, 0]])
    assert network.predictions(network.module(x))[0].rescaled[0] is not None
    for change, said in (('"Mass"', "'Masses'"), ('["Effusion", "", "Mass", "Hernia"]', '["Mass"]')):
        (tmp_path / "toy.toml").write_text(words.replace(change, said.replace("'", '"'), 1))
        with pytest.raises(ModelError):
            load(tmp_path / "toy.toml")
    with pytest.raises(CardError, match="hides the logits"):
        build("torchxrayvision.DenseNet", {"apply_sigmoid": True})


@pytest.mark.parametrize(
    ("architecture", "module", "extra"),
    [
        ("torchvision.models.resnet18", "torchvision.models", "torchvision"),
        ("timm.resnet18", "timm", "timm"),
        ("torchxrayvision.DenseNet", "torchxrayvision.models", "xrv"),
    ],
)
@pytest.mark.parametrize("error", [ImportError("no module"), RuntimeError("operator torchvision::nms does not exist")])
def test_a_library_that_is_missing_or_broken_is_named(monkeypatch, architecture, module, extra, error):
    def fail(name, *_):
        assert name == module
        raise error

    monkeypatch.setattr("saliscope.model.adapters.library.import_module", fail)
    with pytest.raises(CardError, match=rf"does not import .*saliscope\[{extra}\]"):
        build(architecture, {})
    for key in ("pretrained", "weights", "weights_backbone"):
        with pytest.raises(CardError, match="which fetches weights"):
            build(architecture, {key: "DEFAULT"})


def test_torchvision_itself(tmp_path):
    torchvision = library("torchvision")
    name = "torchvision.models.resnet18"
    module = build(name, {"num_classes": 5})
    assert module.fc.out_features == 5
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    network = from_torchvision(torchvision.models.resnet18(weights=None), weights)
    assert len(set(network.labels)) == 1000
    path = tmp_path / "one.png"
    image = picture(300, 400)
    Image.fromarray(np.moveaxis(image.display, 0, -1)).save(path)
    want = weights.transforms()(Image.open(path))
    got = network.viewing(image).tensor[0]
    assert got.shape == want.shape
    assert float((got - want).abs().mean()) <= 1 / 255 / 0.224
    segmenter = build("torchvision.models.segmentation.fcn_resnet50", {"num_classes": 3})
    assert segmenter.backbone is not None
    for wrong in ("resnet19", "detection.fasterrcnn_resnet50_fpn", "list_models"):
        with pytest.raises(CardError):
            build(f"torchvision.models.{wrong}", {})


def test_timm_itself():
    timm = library("timm")
    module = build("timm.resnet18.a1_in1k", {"num_classes": 4})
    network = from_timm(module, ("a", "b", "c", "d"))
    data = importlib.import_module("timm.data")
    want = data.create_transform(**data.resolve_data_config({}, model=module), is_training=False)
    image = picture(300, 400)
    theirs = want(Image.fromarray(np.moveaxis(image.display, 0, -1)))
    ours = network.viewing(image).tensor[0]
    assert theirs.shape == ours.shape
    assert float((ours - theirs).abs().mean()) <= 1 / 255 / 0.224
    assert timm.is_model("resnet18")
    for wrong in ("resnet19", "hf-hub:someone/something"):
        with pytest.raises(CardError):
            build(f"timm.{wrong}", {})


def test_torchxrayvision_itself():
    xrv = library("torchxrayvision")
    torch.manual_seed(6)
    limits = torch.tensor([0.1] * 17 + [float("nan")])
    module = xrv.models.DenseNet(op_threshs=limits).eval()
    network = from_xrv(module)
    image = picture(80, 64, 1)
    values = xrv.datasets.normalize(image.display[0].astype(np.float32), 255)[None]
    values = xrv.datasets.XRayResizer(224)(xrv.datasets.XRayCenterCrop()(values))
    view = network.viewing(image).tensor
    inside = (slice(None), slice(4, -4), slice(4, -4))  # its resizing has a border of zeros, ours goes on
    assert np.allclose(view[0].numpy()[inside], values[inside], atol=8)
    with torch.no_grad():
        theirs, said = module(view)[0], network.predictions(network.module(view))[0]
    assert said.rescaled[:17] == pytest.approx(theirs[:17].tolist(), abs=1e-5)
    assert said.rescaled[17] is None


def test_a_pickled_module_of_a_library_is_refused_and_not_run(tmp_path):
    torch.save(Chest(), tmp_path / "w.pt")
    words = CARD.format(architecture="residual-net", arguments="{ classes = 2 }", labels='["Mass", "b"]')
    card = Path(tmp_path / "toy.toml")
    card.write_text(words.replace("w.safetensors", "w.pt"))
    with pytest.raises(WeightsError, match="a pickled module"):
        load(card)
