"""Loading fills the right module with the right numbers, and never runs what is in a file."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from saliscope.core.errors import CardError, ModelError, WeightsError
from saliscope.model.load import build, load
from saliscope.model.network import Network

CARD = """
schema = 1
name = "toy"
title = "A toy"
description = "For tests."
architecture = "{architecture}"
arguments = {arguments}
labels = ["a", "b"]
output = "multi-class"
thresholds = {{ b = 0.25 }}
modalities = ["CT"]
dimensions = 2
licence = "MIT"
attribution = "Nobody."
intended = "Tests."
limits = ["Everything else."]
view = []
"""
SMALL = "{ classes = 2, widths = [2, 4], strides = [2] }"


def written(
    folder: Path,
    extra: str = "",
    *,
    architecture: str = "residual-net",
    arguments: str = SMALL,
    file: Path | None = None,
) -> Path:
    if file is not None:
        extra += f'\nweights = "{file.name}"\ndigest = "sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"\n'
    path = folder / "toy.toml"
    path.write_text(CARD.format(architecture=architecture, arguments=arguments) + extra, encoding="utf-8")
    return path


@pytest.fixture
def net():
    torch.manual_seed(3)
    return build("residual-net", {"classes": 2, "widths": [2, 4], "strides": [2]}).eval()


def outputs(module):
    with torch.no_grad():
        return module(torch.linspace(-1, 1, 2 * 16 * 16).reshape(2, 1, 16, 16))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".nested.pt", ".legacy.pt", ".prefix.pt", ".ts"])
def test_the_same_numbers_come_back(tmp_path, net, suffix):
    file, state, extra = tmp_path / f"w{suffix}", net.state_dict(), ""
    if suffix == ".safetensors":
        save_file(state, file)
    elif suffix == ".ts":
        torch.jit.trace(net, torch.zeros(1, 1, 16, 16)).save(str(file))
    elif suffix == ".prefix.pt":
        torch.save({f"module.{k}": v for k, v in state.items()}, file)
        extra = 'prefix = "module."\n'
    elif suffix == ".nested.pt":
        torch.save({"state_dict": state, "epoch": 3}, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=suffix == ".pt")
    found = load(written(tmp_path, extra, file=file))
    assert isinstance(found, Network)
    assert not found.module.training
    assert torch.equal(outputs(found.module), outputs(net))
    assert found.digest == hashlib.sha256(file.read_bytes()).hexdigest() == found.weights_digest()
    assert found.thresholds == (None, 0.25)
    assert found.card is not None
    assert found.card.name == found.name == "toy"


def test_a_changed_file_is_refused_before_it_is_parsed(tmp_path, net, monkeypatch):
    file = tmp_path / "w.pt"
    torch.save(net.state_dict(), file)
    card = written(tmp_path, file=file)
    file.write_bytes(file.read_bytes() + b"\0")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("parsed"))
    with pytest.raises(WeightsError, match="have the digest sha256:"):
        load(card)


class Evil:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def evil_objects(canary):
    import builtins
    import os

    import numpy as np

    touch = f"open({str(canary)!r}, 'w').write('x')"
    array = np.empty(1, dtype=object)
    array[0] = Evil(builtins.eval, touch)
    return {
        "system": Evil(os.system, f"touch {canary}"),
        "eval": {"stem.0.weight": Evil(builtins.eval, touch)},
        "exec": {"state_dict": {"a": Evil(builtins.exec, touch)}},
        "popen": Evil(subprocess.Popen, ["touch", str(canary)]),
        "array": {"a": array},
        "module": torch.nn.Linear(1, 1),
    }


@pytest.mark.parametrize("kind", ["system", "eval", "exec", "popen", "array", "module"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "named safetensors"])
@pytest.mark.parametrize("forced", [False, True])
def test_nothing_in_a_weights_file_ever_runs(tmp_path, kind, form, forced, monkeypatch):
    import pickle

    canary, file = tmp_path / "canary", tmp_path / ("w.safetensors" if form == "named safetensors" else "w.pt")
    evil = evil_objects(canary)[kind]
    if form == "pickle":
        file.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, file, _use_new_zipfile_serialization=form != "legacy")
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(WeightsError, match=r"state dict|safetensors"):
        load(written(tmp_path, file=file))
    assert not canary.exists()


def test_the_canary_can_die(tmp_path):
    """The evil files above are truly evil: an ordinary unpickler runs them."""
    import pickle

    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(evil_objects(canary)["eval"]))
    assert canary.exists()


def test_other_kinds_of_file_are_named(tmp_path):
    import tarfile
    import zipfile

    import numpy as np

    files = {kind: tmp_path / f"{kind}.pt" for kind in ("zip", "tar", "HDF5", "NumPy", "no file")}
    with zipfile.ZipFile(files["zip"], "w") as archive:
        archive.writestr("a.txt", "a")
    with tarfile.open(files["tar"], "w") as tar:
        tar.add(files["zip"], "pickle")
    files["HDF5"].write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with files["NumPy"].open("wb") as file:
        np.save(file, np.zeros(3))
    files["no file"].write_bytes(b"hello" * 20)
    for kind, file in files.items():
        with pytest.raises(WeightsError, match=kind):
            load(written(tmp_path, file=file))


def test_broken_and_absent_files(tmp_path, net):
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="whole safetensors"):
        load(written(tmp_path, file=tmp_path / "w.safetensors"))
    torch.save(net.state_dict(), tmp_path / "w.pt")
    whole = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError):
        load(written(tmp_path, file=tmp_path / "w.pt"))
    with pytest.raises(WeightsError, match="No such file"):
        load(written(tmp_path, 'weights = "absent.pt"\n'))


def test_what_does_not_fit_is_named(tmp_path, net):
    state, file = net.state_dict(), tmp_path / "w.safetensors"
    cases = {
        r"1 missing \(head.bias\)": {k: v for k, v in state.items() if k != "head.bias"},
        r"1 not known \(extra\)": {**state, "extra": torch.zeros(1)},
        r"head.weight \(3, 4\), not \(2, 4\)": {**state, "head.weight": torch.zeros(3, 4)},
        "not finite in head.bias": {**state, "head.bias": torch.tensor([0.0, float("nan")])},
        r"say prefix = 'module\.'": {f"module.{k}": v for k, v in state.items()},
    }
    for said, wrong in cases.items():
        save_file(wrong, file)
        with pytest.raises(WeightsError, match=said):
            load(written(tmp_path, file=file))
    save_file(state, file)
    with pytest.raises(WeightsError, match="without the prefix 'net'"):
        load(written(tmp_path, 'prefix = "net"\n', file=file))


def test_code_runs_only_when_it_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "own_net.py").write_text(
        "print('ran')\nfrom torch.nn import Identity\n\ndef made():\n    return Identity()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    card = written(tmp_path, architecture="own_net:made", arguments="{}")
    with pytest.raises(CardError, match="--allow-code"):
        load(card)
    assert "own_net" not in sys.modules
    assert isinstance(load(card, allow_code=True).module, torch.nn.Identity)


@pytest.mark.parametrize(
    ("architecture", "arguments", "said"),
    [
        ("residual-nte", {}, "'residual-net'"),
        ("residual-net", {"clases": 2}, "'classes'"),
        ("residual-net", {"widths": [2, 4], "strides": [2, 2]}, "Correct the card's arguments"),
        ("monai.networks.nets.DenseNet11", {}, "'DenseNet1"),
        ("monai.networks.nets.resnet10", {}, "a class there"),
        (
            "monai.networks.nets.EfficientNetBN",
            {"model_name": "efficientnet-b0", "pretrained": True},
            "fetches weights",
        ),
        ("monai.data.Dataset", {}, "one of ours"),
        ("os.system", {}, "one of ours"),
    ],
)
def test_wrong_architectures_are_refused_with_advice(architecture, arguments, said):
    pytest.importorskip("monai")
    with pytest.raises(CardError) as caught:
        build(architecture, arguments)
    assert said in str(caught.value)


def test_code_that_is_not_a_network_is_refused():
    for address, said in (
        ("json:dumps", "arguments"),
        ("json:nothing", "import"),
        ("collections:OrderedDict", "Module"),
    ):
        with pytest.raises(CardError, match=said):
            build(address, {}, allow_code=True)


def test_monai_networks_load_without_fetching_weights(monkeypatch):
    pytest.importorskip("monai")
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: pytest.fail("fetched"))
    words = {"model_name": "efficientnet-b0", "in_channels": 1, "num_classes": 2}
    assert sum(p.numel() for p in build("monai.networks.nets.EfficientNetBN", words).parameters()) > 1e6


def test_without_monai_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(CardError, match=r"pip install 'saliscope\[monai\]'"):
        build("monai.networks.nets.DenseNet121", {})


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ModelError, match="Use 'cpu'"):
        load("spot-finder", device="cuda:99")


def test_cards_are_read_without_torch():
    code = "import sys, saliscope.model.card as c; [c.find(n).describe() for n in c.shipped()]"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)
