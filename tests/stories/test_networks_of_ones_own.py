"""The how-to on loading a network: every card and every command in it, run file to file."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saliscope.cli.main import main
from saliscope.model.card import Card

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "loading-a-network.md").read_text(encoding="utf-8")
CARDS = {name: text for text in re.findall(r"```toml\n(.*?)```", GUIDE, re.S) for name in re.findall(r"^# (\S+)", text)}


def needs(name):
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"{name} does not import here: {str(error).splitlines()[0]}")


def run(*words):
    try:
        main([str(w) for w in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def explained(folder, image, card, *words):
    """Explain and return the one record."""
    assert run("model", "check", card) == 0
    assert run("explain", image, "--model", card, "-q", "--out", folder / "out", *words) == 0
    (record,) = (folder / "out").rglob("explanation.json")
    assert (record.parent / "overlay.png").stat().st_size > 1000
    return json.loads(record.read_text())


@pytest.mark.parametrize("name", list(CARDS))
def test_every_card_of_the_guide_is_a_card(tmp_path, name):
    (tmp_path / name).write_text(CARDS[name])
    assert Card.read(tmp_path / name).limits


def test_the_malaria_network_is_explained_on_the_parasite(tmp_path, data, monkeypatch):
    needs("h5py")
    monkeypatch.setenv("SALISCOPE_DATA", str(data))
    (tmp_path / "cell.toml").write_text(CARDS["cell.toml"])
    cell = data / "malaria-cnn" / "parasitized" / "C33P1thinF_IMG_20150619_114756a_cell_179.png"
    record = explained(tmp_path, cell, tmp_path / "cell.toml", "--target", "parasitized")
    assert record["prediction"]["sentence"].startswith("parasitized: probability 1.00")
    assert any("final sigmoid of malaria_model.h5 was taken off" in note for note in record["provenance"]["notes"])
    assert record["map"]["native_grid"]["shape"] == [24, 24]
    # The network ends in global average pooling and one dense layer: CAM is exact, and Grad-CAM is CAM by its cells.
    import saliscope

    gradient, exact = (saliscope.explain(cell, tmp_path / "cell.toml", m, "uninfected") for m in ("hirescam", "cam"))
    bias = float(saliscope.load(tmp_path / "cell.toml").module.get_submodule("dense_1").bias.detach())
    assert np.allclose(exact.values, gradient.values * 24 * 24, atol=1e-3 * np.abs(exact.values).max())
    assert float(exact.values.mean()) + bias == pytest.approx(exact.prediction.logits[-1], abs=1e-3)
    # The stain of a parasite is purple: more blue than green. The map is strongest beside it.
    small = np.asarray(Image.open(cell).convert("RGB").resize((24, 24), Image.Resampling.BOX), float)
    stain = small[..., 2] - small[..., 1]
    spots = np.argwhere(stain >= np.sort(stain.reshape(-1))[-6])
    peak = np.array(np.unravel_index(np.argmin(exact.values), (24, 24)))
    assert np.abs(spots - peak).max(1).min() <= 2


def test_an_onnx_file_is_explained(tmp_path):
    onnx = needs("onnx")
    values = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)
    kernel = np.random.default_rng(2).normal(size=(4, 1, 5, 5)).astype(np.float32)
    make = onnx.helper
    nodes = [
        make.make_node("Conv", ["x", "w"], ["a"], name="/features/conv/Conv", strides=[4, 4]),
        make.make_node("Relu", ["a"], ["r"], name="/features/relu/Relu"),
        make.make_node("GlobalAveragePool", ["r"], ["g"], name="/pool"),
        make.make_node("Flatten", ["g"], ["f"], name="/flatten"),
        make.make_node("Gemm", ["f", "v"], ["z"], name="/head", transB=1),
        make.make_node("Softmax", ["z"], ["y"], name="/softmax"),
    ]
    ends = [make.make_tensor_value_info(n, 1, s) for n, s in (("x", (1, 1, 64, 64)), ("y", (1, 2)))]
    held = [onnx.numpy_helper.from_array(v, n) for v, n in ((kernel, "w"), (values, "v"))]
    graph = make.make_graph(nodes, "g", ends[:1], ends[1:], held)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "nodule.toml").write_text(CARDS["nodule.toml"])
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (80, 70), dtype=np.uint8)).save(tmp_path / "one.png")
    record = explained(tmp_path, tmp_path / "one.png", tmp_path / "nodule.toml", "--target", "nodule")
    assert record["layer"]["name"] == "features_relu_Relu"
    assert record["map"]["native_grid"]["shape"] == [15, 15]
    notes = " ".join(record["provenance"]["notes"])
    assert "final softmax" in notes
    assert "fixed its batch at 1" in notes


def test_a_bundle_is_explained(tmp_path):
    nets = needs("monai.networks.nets")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "model"))
    try:
        from test_adapters_bundle import bundle
    finally:
        sys.path.pop(0)
    import nibabel

    assert nets
    folder, _ = bundle(tmp_path / "bundle")
    values = np.random.default_rng(0).normal(50, 100, (8, 12, 10)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "ct.nii.gz")
    record = explained(tmp_path, tmp_path / "ct.nii.gz", folder, "--target", "spleen")
    assert record["prediction"]["kind"] == "segmentation"
    assert any("orient" in step for step in record["provenance"]["view_steps"])


def test_a_chest_network_is_explained(tmp_path, monkeypatch):
    xrv = needs("torchxrayvision")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(xrv.models.DenseNet(num_classes=3).state_dict(), tmp_path / "chest.safetensors")
    (tmp_path / "chest.toml").write_text(CARDS["chest.toml"])
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (80, 70), dtype=np.uint8)).save(tmp_path / "one.png")
    record = explained(tmp_path, tmp_path / "one.png", tmp_path / "chest.toml", "--target", "Mass")
    assert "on the network's own scale" in record["prediction"]["sentence"]


def test_the_python_of_the_guide_runs():
    needs("torchvision")
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    held: dict[str, object] = {}
    exec(compile(code, "loading-a-network.md", "exec"), held)
    assert len(held["network"].labels) == 1000


def test_the_commands_of_the_guide_are_commands():
    lines = [line.split()[1:3] for line in GUIDE.splitlines() if line.startswith("saliscope ")]
    commands = [words if words[0] == "model" else words[:1] for words in lines]
    assert ["model", "fetch"] in commands
    for words in commands:
        assert run(*words, "--help") == 0


def test_the_guides_architectures_are_known():
    from saliscope.model.adapters.libraries import LIBRARIES
    from saliscope.model.load import FILES, MONAI

    named = re.findall(r'^\| .*? \| `"(\S+)"` \|', GUIDE, re.M)
    assert {*FILES} <= set(named)
    assert all(any(n.startswith(begin) for n in named) for begin in (*LIBRARIES, MONAI))
