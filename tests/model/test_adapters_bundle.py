"""A MONAI bundle becomes a card: its network and preprocessing as MONAI's own, its expressions never run."""

import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from saliscope.core.errors import CardError
from saliscope.model.card import find
from saliscope.model.library_steps import Divisible, Transpose
from saliscope.model.load import load
from saliscope.model.steps import Orient
from saliscope.read import read

nets = pytest.importorskip("monai.networks.nets", reason="MONAI is not installed: pip install 'saliscope[monai]'")

UNET = {
    "_target_": "UNet",
    "_desc_": "$a comment, which nobody reads",
    "spatial_dims": "@dimensions",
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "norm": "batch",
}
VOLUME = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {
        "_target_": "ScaleIntensityRanged",
        "keys": "@keys",
        "a_min": -57,
        "a_max": 164,
        "b_min": -1.0,
        "b_max": 1.0,
        "clip": True,
    },
    {"_target_": "EnsureTyped", "keys": "image"},
]
PICTURE = [
    {"_target_": "LoadImaged", "keys": ["image"]},
    {"_target_": "EnsureChannelFirstd", "keys": ["image"]},
    {"_target_": "ScaleIntensityd", "keys": ["image"], "minv": 0.0, "maxv": 1.0},
    {"_target_": "DivisiblePadd", "keys": ["image"], "k": 8},
]


def bundle(folder, transforms=VOLUME, network=None, dimensions=3, outputs=None, **more):
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    out = {
        "type": "image",
        "format": "segmentation",
        "num_channels": 2,
        "channel_def": {"0": "background", "1": "spleen"},
    }
    metadata = {
        "name": "Tiny spleen",
        "task": "Segmentation of the spleen",
        "description": "Nothing learnt.",
        "authors": "Nobody",
        "intended_use": "Research.",
        "network_data_format": {
            "inputs": {"image": {"modality": "CT", "num_channels": 1, "spatial_shape": [16] * dimensions}},
            "outputs": {"pred": outputs or out},
        },
    }
    config = {
        "dimensions": dimensions,
        "keys": ["image"],
        "device": "$__import__('os').system('touch /tmp/never')",
        "network_def": UNET if network is None else network,
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        **more,
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    net = nets.UNet(dimensions, 1, 2, (4, 8), (2,), norm="batch")
    torch.save(net.state_dict(), folder / "models" / "model.pt")
    return folder, net.eval()


def composed(transforms):
    from monai.transforms import (
        Compose,
        DivisiblePadd,
        EnsureChannelFirstd,
        EnsureTyped,
        LoadImaged,
        Orientationd,
        ScaleIntensityd,
        ScaleIntensityRanged,
    )

    known = (
        DivisiblePadd,
        EnsureChannelFirstd,
        EnsureTyped,
        LoadImaged,
        Orientationd,
        ScaleIntensityd,
        ScaleIntensityRanged,
    )
    makers = {maker.__name__: maker for maker in known}
    plain = [{k: ["image"] if v == "@keys" else v for k, v in t.items()} for t in transforms]
    return Compose([makers[t.pop("_target_")](**t) for t in plain])


def test_a_volume_is_seen_and_segmented_as_monai_does(tmp_path):
    folder, net = bundle(tmp_path / "bundle")
    values = np.random.default_rng(0).normal(50, 100, (8, 12, 10)).astype(np.float32)
    affine = np.array([[0, -1.0, 0, 4], [-2.0, 0, 0, 1], [0, 0, 3.0, -7], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "ct.nii.gz")
    network = load(folder)
    assert Orient("RAS") in network.viewing.steps
    assert not any(isinstance(s, Transpose) for s in network.viewing.steps)
    view = network.viewing(read(tmp_path / "ct.nii.gz"))
    want = composed(VOLUME)({"image": str(tmp_path / "ct.nii.gz")})["image"]
    assert view.tensor.shape[1:] == want.shape
    assert torch.allclose(view.tensor[0], want.as_tensor(), atol=1e-5)
    # The grid says where the elements lie, as MONAI's own affine does.
    assert np.allclose(view.geometry.affine, np.asarray(want.affine)[:, [0, 1, 2, 3]], atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(network.module(view.tensor), net(want.as_tensor()[None]), atol=1e-5)
    assert (network.labels, network.kind, network.name) == (("background", "spleen"), "segmentation", "Tiny spleen")
    assert any("pins no digest" in line for line in network.card.limits)


def test_a_picture_is_seen_with_its_axes_as_monai_reads_them(tmp_path):
    folder, _ = bundle(tmp_path / "bundle", PICTURE, dimensions=2)
    values = np.random.default_rng(0).integers(0, 255, (20, 13), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "one.png")
    view = load(folder).viewing(read(tmp_path / "one.png"))
    want = composed(PICTURE)({"image": str(tmp_path / "one.png")})["image"]
    assert view.tensor.shape == (1, 1, 16, 24)
    assert torch.allclose(view.tensor[0], want.as_tensor(), atol=1e-6)


def test_a_sliding_window_becomes_one_run_on_a_view_that_fits_and_is_said(tmp_path):
    window = {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 64], "overlap": 0.5}
    card = find(bundle(tmp_path / "bundle", inferer=window)[0])
    assert card.view.steps[-1] == Divisible(32)
    assert any("slides a window of 96 x 96 x 64" in line for line in card.limits)


@pytest.mark.parametrize(
    ("outputs", "after", "kind", "labels"),
    [
        (
            {"type": "probabilities", "num_channels": 3, "channel_def": {"0": "A", "1": "B", "2": "B"}},
            {},
            "multi-class",
            ("A", "B 1", "B 2"),
        ),
        ({"type": "probabilities", "num_channels": 2}, {"sigmoid": True}, "multi-label", ("class 0", "class 1")),
        (
            {"type": "probabilities", "num_channels": 1, "channel_def": {"0": "mass"}},
            {"sigmoid": True},
            "binary",
            ("not mass", "mass"),
        ),
    ],
)
def test_the_kind_of_output_comes_from_the_metadata(tmp_path, outputs, after, kind, labels):
    tail = {"transforms": [{"_target_": "Activationsd", "keys": "pred", **after}]}
    card = find(bundle(tmp_path / "bundle", outputs=outputs, postprocessing=tail)[0])
    assert (card.output, card.labels) == (kind, labels)


def with_transform(**words):
    return {"transforms": [*VOLUME[:2], {"keys": "image", **words}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": {**UNET, "_target_": "scripts.net.Mine"}}, "code of its own"),
        ({"network": {**UNET, "_target_": "os.system"}}, "code of its own"),
        ({"network": {**UNET, "out_channels": "$2"}}, "an expression, which is not run"),
        ({"network": "$import os"}, "an expression, which is not run"),
        ({"network": {**UNET, "out_channels": "@nowhere"}}, "not there"),
        ({"network": {**UNET, "out_channels": "@loop"}, "loop": "@loop"}, "refers to itself"),
        ({"network": {"no": "target"}}, "without a network_def"),
        (with_transform(_target_="CropForegroundd", source_key="image"), "'CropForegroundd'"),
        (with_transform(_target_="Lambdad", func="$lambda x: x"), "an expression"),
        (with_transform(_target_="scripts.Mine"), "'scripts.Mine'"),
        (with_transform(_target_="Spacingd", pixdim=[1, 1, -1]), "pixdim"),
        (with_transform(_target_="ScaleIntensityRanged", a_min=0), "KeyError"),
        (with_transform(_target_="ScaleIntensityRanged", a_min=0, a_max=1), "no b_min"),
        (with_transform(_target_="Resized", spatial_size=8, size_mode="longest"), "size_mode"),
        ({"network": {**UNET, "spatial_dims": 4}}, "spatial dimensions"),
        ({"postprocessing": [{"_target_": "Activationsd", "sigmoid": True}]}, "overlapping classes"),
    ],
)
def test_what_is_not_known_is_refused_and_named(tmp_path, change, said):
    with pytest.raises(CardError) as refused:
        find(bundle(tmp_path / "bundle", **change)[0])
    assert said in str(refused.value)


def test_a_broken_configuration_is_refused(tmp_path):
    folder, _ = bundle(tmp_path / "bundle")
    for text in ("{", "[1]", "[" * 100_000):
        (folder / "configs" / "inference.json").write_text(text)
        with pytest.raises(CardError):
            find(folder)


def test_a_network_that_monai_does_not_have_is_refused_with_the_nearest_name(tmp_path):
    folder, _ = bundle(tmp_path / "bundle", network={**UNET, "_target_": "UNett"})
    with pytest.raises(CardError, match="UNet"):
        load(folder)
