"""A card for a stranger's weights: what is guessed is marked, built and tried, and what is not certain is asked for."""

import argparse
import importlib
import json
import tomllib
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import saliscope
from saliscope.cli.main import main
from saliscope.core.errors import CardError, ModelError, NetworkWarning, WeightsError
from saliscope.model.load import build, load
from saliscope.study.card_draft import Told, drafted
from saliscope.study.card_text import toml
from saliscope.study.card_words import said_labels, said_size, said_spread

RESIDUAL = {"widths": [4, 8], "strides": [2], "classes": 3}
SAID = {"widths": [4, 8], "strides": [2]}


def library(name):
    """Return a library, or skip and say why: a build for another torch raises RuntimeError and not ImportError."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"{name} does not import here: {str(error).splitlines()[0]}")


def run(*words: object) -> int:
    try:
        main([str(w) for w in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "an image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return build("u-net", {"widths": [4, 8], "classes": 2}).eval()


def test_from_a_file_to_a_map_in_two_commands(tmp_path, unet, picture, capsys):
    file = tmp_path / "my net.pth"
    torch.save(unet.state_dict(), file)
    assert run("model", "init", file, "--example", picture) == 0
    said = capsys.readouterr()
    card = tmp_path / "my net.toml"
    assert f"Next: saliscope explain '{picture}' --model '{card}'" in said.out
    assert "the example" in said.out
    assert "licence, attribution, intended use and limits are empty" in said.err
    assert run("explain", picture, "--model", card, "--method", "gradient", "--out", tmp_path / "out", "-q") == 0
    page = next((tmp_path / "out").rglob("page.html")).read_text()
    assert "were not told by its owner" in page
    with pytest.warns(NetworkWarning, match="guessed"):
        saliscope.explain(picture, card, "gradient")
    capsys.readouterr()
    assert run("model", "init", file, "--example", picture, "--overwrite", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["card"] == str(card)
    assert set(told["example"]) == {"class 0", "class 1"}
    assert run("model", "check", card) == 0
    assert "leaves empty: licence, attribution, intended, limits" in " ".join(capsys.readouterr().out.split())


def test_every_guessed_line_says_so_and_the_digest_is_pinned(tmp_path, unet):
    file = tmp_path / "w.pt"
    torch.save({"net": {f"module.{k}": v for k, v in unet.state_dict().items()}}, file)
    draft = drafted(file, tmp_path / "w.toml")
    assert not (tmp_path / "w.toml").exists()
    guessed = {line.partition(" = ")[0] for line in draft.guesses}
    assert {"architecture", "arguments", "labels", "output", "state_key", "prefix", "dimensions", "shape"} <= guessed
    assert "digest" not in guessed
    words = tomllib.loads(draft.text)
    assert words["output"] == "segmentation"
    assert (words["prefix"], words["state_key"]) == ("module.", "net")
    (tmp_path / "w.toml").write_text(draft.text)
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "w.toml").module(x), unet(x))
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="digest"):
        load(tmp_path / "w.toml")


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return build("residual-net", RESIDUAL).eval()


def test_a_lightning_checkpoint_with_a_loss_and_a_metric(tmp_path, resnet):
    state = {f"model._orig_mod.{k}": v for k, v in resnet.state_dict().items()}
    state |= {"criterion.pos_weight": torch.ones(3), "val_auroc.preds": torch.zeros(4)}
    held = {
        "pytorch-lightning_version": "2.5.0",
        "state_dict": state,
        "hyper_parameters": {"cfg": argparse.Namespace(img_size=48, names=2), "class_names": ["a", "b", "c"]},
    }
    torch.save(held, tmp_path / "l.ckpt")
    draft = drafted(tmp_path / "l.ckpt", tmp_path / "l.toml", Told("residual-net", SAID))
    words = tomllib.loads(draft.text)
    assert words["arguments"] == {**SAID, "classes": 3, "in_channels": 1, "dimensions": 2}
    assert words["labels"] == ["a", "b", "c"]
    assert words["output"] == "multi-label"
    assert words["ignore"] == ["criterion.", "val_auroc."]
    assert words["view"][1] == {"step": "resize", "shape": [48, 48]}
    assert dict(draft.facts)["file"] == "a Lightning checkpoint"
    assert "argparse.Namespace" in dict(draft.facts)["note"]
    x = torch.rand(1, 1, 48, 48)
    with torch.no_grad():
        assert torch.equal(draft.network.module(x), resnet(x))


def test_a_last_layer_that_lies_one_step_aside_is_found(tmp_path, resnet):
    for new in ("head.1.", "classifier."):
        torch.save({k.replace("head.", new): v for k, v in resnet.state_dict().items()}, tmp_path / "w.pt")
        words = tomllib.loads(drafted(tmp_path / "w.pt", tmp_path / "w.toml", Told("residual-net", SAID)).text)
        assert words["rename"] == {new: "head."}


def test_more_layers_than_the_architecture_has_are_never_left_out_unasked(tmp_path, resnet):
    state = {f"backbone.{k}": v for k, v in resnet.state_dict().items()}
    torch.save({**state, "head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"2 more than it has \(head.weight, head.bias\)"):
        drafted(tmp_path / "w.pt", tmp_path / "w.toml", Told("residual-net", SAID))
    draft = drafted(tmp_path / "w.pt", tmp_path / "w.toml", Told("residual-net", SAID, ignore=("head.",)))
    assert tomllib.loads(draft.text)["ignore"] == ["head."]
    assert not any(line.startswith("ignore") for line in draft.guesses)


def test_one_logit_is_binary_and_what_the_user_says_is_no_guess(tmp_path, picture):
    torch.save(build("residual-net", {**RESIDUAL, "classes": 1}).state_dict(), tmp_path / "w.pt")
    words = ["model", "init", tmp_path / "w.pt", "--architecture", "residual-net", "--argument", "widths=[4, 8]"]
    words += ["--argument", "strides=[2]", "--overwrite"]
    assert run(*words) == 0
    text = (tmp_path / "w.toml").read_text()
    assert 'output = "binary"  # guessed: one logit; ' in text
    assert tomllib.loads(text)["labels"] == ["negative", "positive"]
    assert run(*words, "--labels", "healthy,ill", "--kind", "binary", "--size", "40x32") == 0
    text = (tmp_path / "w.toml").read_text()
    for line in ('labels = ["healthy", "ill"]\n', 'output = "binary"\n', "shape = [40, 32]\n"):
        assert line in text
    assert run(*words, "--kind", "regression") == 0
    assert load(tmp_path / "w.toml").kind == "regression"


@pytest.mark.parametrize(
    ("told", "error", "said"),
    [
        (Told("residual-net"), ModelError, "do not fit residual-net"),
        (Told("plain-net"), WeightsError, "do not fit plain-net"),
        (Told("resid-net"), CardError, "'residual-net'"),
        (Told("residual-net", {"widht": 3}), CardError, "'widths'"),
        (Told("residual-net", {**SAID, "classes": 2}), WeightsError, r"head.weight \(3, 8\), not \(2, 8\)"),
        (Told("residual-net", SAID, labels=("a", "b")), CardError, "2 labels for an output of 3"),
        (Told("own_net:made"), CardError, "--allow-code"),
        (Told("", SAID), CardError, "--architecture too"),
        (Told(), ModelError, r"--argument strides='\[2, 2, 2\]'"),
    ],
)
def test_what_does_not_fit_is_said_with_what_to_give(tmp_path, resnet, told, error, said):
    torch.save(resnet.state_dict(), tmp_path / "w.pt")
    with pytest.raises(error, match=said):
        drafted(tmp_path / "w.pt", tmp_path / "w.toml", told)
    assert list(tmp_path.iterdir()) == [tmp_path / "w.pt"]


def test_names_that_nobody_knows_are_asked_for(tmp_path):
    torch.save(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(2, 2)).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="--architecture torchvision:NAME"):
        drafted(tmp_path / "w.pt", tmp_path / "w.toml")
    torch.save({"w": torch.ones(3), "a": torch.ones(2)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="names that are not known"):
        drafted(tmp_path / "w.pt", tmp_path / "w.toml")


def test_weights_that_are_not_finite_and_a_size_that_does_not_run_are_refused(tmp_path, unet):
    state = unet.state_dict()
    torch.save({**state, "head.bias": torch.full_like(state["head.bias"], float("nan"))}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="not finite"):
        drafted(tmp_path / "w.pt", tmp_path / "w.toml")
    program = torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 14 * 14, 1)))
    program.save(str(tmp_path / "p.ts"))
    with pytest.raises(ModelError, match="--size 256"):
        drafted(tmp_path / "p.ts", tmp_path / "p.toml", Told(allow_code=True))
    assert drafted(tmp_path / "p.ts", tmp_path / "p.toml", Told(allow_code=True, size=(16,))).output.shape == (1, 1)


def test_a_card_that_is_there_stays_and_a_refusal_leaves_nothing(tmp_path, unet, capsys):
    torch.save(unet.state_dict(), tmp_path / "w.pt")
    (tmp_path / "w.toml").write_text("mine")
    assert run("model", "init", tmp_path / "w.pt") == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "w.toml").read_text() == "mine"
    assert run("model", "init", tmp_path / "w.pt", "--overwrite") == 0
    (tmp_path / "in").mkdir()
    assert run("model", "init", tmp_path / "w.pt", "--out", tmp_path / "in" / "c.toml") == 0
    assert tomllib.loads((tmp_path / "in" / "c.toml").read_text())["weights"] == "../w.pt"
    load(tmp_path / "in" / "c.toml")
    for words in (["--kind", "multiclass"], ["--size", "0"], ["--argument", "strides"], ["--out", tmp_path / "in"]):
        assert run("model", "init", tmp_path / "w.pt", "--overwrite", *words) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "w.pt", "w.toml"]


def test_torchscript_is_read_where_its_layers_are_known_and_run_only_by_permission(tmp_path, unet, picture, capsys):
    torch.jit.trace(unet, torch.zeros(1, 1, 32, 32)).save(str(tmp_path / "known.ts"))
    assert tomllib.loads(drafted(tmp_path / "known.ts", tmp_path / "k.toml").text)["architecture"] == "u-net"
    own = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))
    torch.jit.script(own.eval()).save(str(tmp_path / "own.ts"))
    with pytest.raises(ModelError, match=r"run it as it is.*--allow-code"):
        drafted(tmp_path / "own.ts", tmp_path / "own.toml")
    assert run("model", "init", tmp_path / "own.ts", "--allow-code") == 0
    with pytest.raises(CardError, match="--allow-code"):
        load(tmp_path / "own.toml")
    words = ["explain", picture, "--model", tmp_path / "own.toml", "--allow-code", "-q"]
    assert run(*words, "--method", "gradient", "--out", tmp_path / "a") == 0
    capsys.readouterr()
    assert run(*words, "--method", "grad-cam", "--out", tmp_path / "b") != 0
    assert "layer" in "".join(capsys.readouterr())


def test_an_onnx_file_brings_its_architecture_and_its_activation(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'saliscope[onnx]'")
    from onnx import TensorProto, helper, numpy_helper

    for end, kind, labels in (("Softmax", "multi-class", 2), ("Sigmoid", "multi-label", 2), ("", "multi-class", 2)):
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f" if end else "y"]),
        ]
        nodes += [helper.make_node(end, ["f"], ["y"])] if end else []
        held = [numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "w")]
        ends = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
            for n, s in (("x", ["n", 1, 20, 24]), ("y", ["n", 2]))
        ]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        draft = drafted(tmp_path / "m.onnx", tmp_path / "m.toml")
        words = tomllib.loads(draft.text)
        assert (words["architecture"], words["output"], len(words["labels"])) == ("onnx", kind, labels)
        assert any(line.startswith("output") for line in draft.guesses) is (end == "")
        assert words["view"][1]["shape"] == [20, 24]
    with pytest.raises(CardError, match="brings its own"):
        drafted(tmp_path / "m.onnx", tmp_path / "m.toml", Told("torchvision:resnet18"))


def test_a_volume_of_monai_is_recognised(tmp_path):
    nets = library("monai.networks.nets")
    net = nets.BasicUNet(spatial_dims=3, in_channels=1, out_channels=3, features=(4, 4, 8, 8, 8, 4)).eval()
    torch.save(net.state_dict(), tmp_path / "w.pt")
    draft = drafted(tmp_path / "w.pt", tmp_path / "w.toml", Told(size=(32,)))
    words = tomllib.loads(draft.text)
    assert words["architecture"] == "monai.networks.nets.BasicUNet"
    assert (words["dimensions"], words["output"], words["source"]) == (3, "segmentation", "values")
    assert draft.output.shape == (1, 3, 32, 32, 32)
    net = nets.UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8), strides=(2,))
    torch.save(net.state_dict(), tmp_path / "u.pt")
    with pytest.raises(ModelError, match=r"--architecture monai:UNet --argument channels='\["):
        drafted(tmp_path / "u.pt", tmp_path / "u.toml")


def test_networks_of_torchvision_are_recognised_as_users_change_them(tmp_path):
    models = library("torchvision.models")
    grey = models.resnet18(num_classes=4)
    grey.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    grey.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 1))
    densenet = models.densenet121()
    densenet.classifier = nn.Sequential(nn.Linear(1024, 14), nn.Sigmoid())
    for net, name, more in (
        (grey, "resnet18", {"num_classes": 1, "in_channels": 1}),
        (densenet, "densenet121", {"num_classes": 14}),
        (models.vit_b_32(num_classes=2, image_size=64), "vit_b_32", None),
        (models.mobilenet_v3_small(num_classes=2), "mobilenet_v3_small", {"num_classes": 2}),
    ):
        torch.save({f"module.net.{k}": v for k, v in net.state_dict().items()}, tmp_path / "w.pt")
        if more is None:
            # The size of its positions is no argument that a shape tells: refused, and said.
            with pytest.raises(ModelError, match="pos_embedding"):
                drafted(tmp_path / "w.pt", tmp_path / "w.toml")
            continue
        draft = drafted(tmp_path / "w.pt", tmp_path / "w.toml", Told(size=(64,)))
        words = tomllib.loads(draft.text)
        assert words["architecture"] == f"torchvision.models.{name}"
        assert words["arguments"] == more
        (tmp_path / "w.toml").write_text(draft.text)
        x = torch.rand(1, more.get("in_channels", 3), 64, 64)
        last = net.classifier[0] if name == "densenet121" else None
        with torch.no_grad(), warnings.catch_warnings():
            logits = last(net.eval().features(x).relu().mean((2, 3))) if last is not None else net.eval()(x)
            assert torch.allclose(load(tmp_path / "w.toml").module(x), logits, atol=1e-5)


def test_two_networks_of_one_shape_are_told_apart_by_the_user(tmp_path):
    timm = library("timm")
    net = timm.create_model("mobilenetv3_small_100", num_classes=2)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"timm\.mobilenetv3_small_100 and timm\.tf_mobilenetv3_small_100"):
        drafted(tmp_path / "w.pt", tmp_path / "w.toml")
    draft = drafted(tmp_path / "w.pt", tmp_path / "w.toml", Told("timm:mobilenetv3_small_100", size=(64,)))
    assert tomllib.loads(draft.text)["architecture"] == "timm.mobilenetv3_small_100"


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setitem(sys.modules, "timm", None)
    state = {
        "layer1.0.conv1.weight": torch.ones(64, 64, 3, 3),
        "fc.weight": torch.ones(2, 512),
        "fc.bias": torch.ones(2),
    }
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"a ResNet.*pip install 'saliscope\[torchvision\]'"):
        drafted(tmp_path / "w.pt", tmp_path / "w.toml")


def test_words_of_a_trainer():
    assert said_labels({"class_to_idx": {"b": 1, "a": 0}}, 2) == (("a", "b"), "class_to_idx")
    assert said_labels({"x": {"id2label": {0: "a", 1: "b"}}}, 2) == (("a", "b"), "x.id2label")
    assert said_labels({"labels": ["a", "a"]}, 2) == said_labels({"classes": 2}, 2) == ((), "")
    assert said_labels({"classes": ["a", "b", "c"]}, 2) == ((), "")
    assert said_size({"a": {"img_size": (64, 96)}}, 2) == ((64, 96), "a.img_size")
    assert said_size({"size": True, "resolution": 7, "img_size": [8, 9, 10]}, 2) == ((), "")
    assert said_spread({"mean": [0.5], "std": [0.25]}, 1) == ([0.5], [0.25], "std")
    assert said_spread({"mean": [0.5], "std": [0.0]}, 1)[0] == said_spread({"mean": [0.5]}, 1)[0] == []


@pytest.mark.parametrize("value", ['a "quoted" \\ text\n\x7f', [1, 2.5, True], {"a.b": "c", "d": [1]}, {}, -1e-9])
def test_values_come_back_from_toml(value):
    assert tomllib.loads(f"x = {toml(value)}")["x"] == value
