"""Checkpoints as strangers write them: the weights are found, and nothing beside them is ever built or run."""

import argparse
import builtins
import functools
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saliscope.core.errors import CardError, ModelError, WeightsError
from saliscope.model.card import find
from saliscope.model.checkpoint import read_checkpoint
from saliscope.model.file_kind import file_kind
from saliscope.model.torch_archive import Inert, read_archive
from saliscope.model.weights import named


class Settings(dict):
    """A table of a trainer's own class."""


class Slotted:
    __slots__ = ("a",)

    def __init__(self):
        self.a = 1


class Evil:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)).eval()


def lightning(state, **more):
    """Return what Lightning's trainer saves, as far as a reader meets it."""
    return {
        "epoch": 3,
        "global_step": 99,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.1)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}}}],
        "hyper_parameters": {
            "lr": 1e-3,
            "args": argparse.Namespace(image_size=96),
            "folder": Path("data"),
            "schedule": functools.partial(int, "3"),
            "gain": np.float64(2.0),
            "table": np.zeros(3),
            "config": Settings(depth=3),
            "slots": Slotted(),
            "model": nn.Linear(2, 2),
        },
        **more,
    }


def test_a_lightning_checkpoint_gives_its_weights_and_its_plain_settings(tmp_path, net):
    file = tmp_path / "l.ckpt"
    torch.save(lightning({f"model.{k}": v for k, v in net.state_dict().items()}), file)
    found = read_checkpoint(file)
    assert found.place == "state_dict"
    assert found.others == ()
    assert all(torch.equal(found.state[f"model.{k}"], v) for k, v in net.state_dict().items())
    assert {"argparse.Namespace", "functools.partial"} <= set(found.foreign)
    settings = found.beside["hyper_parameters"]
    assert settings["lr"] == 1e-3
    assert settings["args"].state == {"image_size": 96}
    assert settings["config"].state == {"depth": 3}
    assert isinstance(settings["schedule"], Inert)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_protocol_of_pickle_is_read(tmp_path, net, protocol):
    file = tmp_path / "p.pt"
    torch.save(lightning(net.state_dict()), file, pickle_protocol=protocol)
    assert torch.equal(read_checkpoint(file).state["0.weight"], net[0].weight)


def test_tensors_come_back_as_they_were_stored(tmp_path):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "view": base[1:3, ::2],
        "turned": base.t(),
        "half": base.half(),
        "brain": base.bfloat16(),
        "whole": torch.arange(3),
        "truth": torch.tensor([True, False]),
        "single": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "parameter": nn.Parameter(base),
    }
    torch.save({"state_dict": state, "x": argparse.Namespace()}, tmp_path / "t.pt")
    found, foreign = read_archive(tmp_path / "t.pt")
    assert foreign == ["argparse.Namespace"]
    for name, value in state.items():
        got = found["state_dict"][name]
        assert got.dtype == value.dtype
        assert torch.equal(got, value.detach())


def test_wrappers_in_wrappers_and_copies(tmp_path, net):
    state = net.state_dict()
    moved = {k: v + 1 for k, v in state.items()}
    cases = {
        "model": {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}, "epoch": 1},
        "checkpoint/model/state_dict": {"checkpoint": {"model": {"state_dict": state}}, "args": argparse.Namespace()},
        "net": {"net": state, "ema": moved, "acc": 0.9},
        "model_state_dict": {"ema_state_dict": moved, "model_state_dict": state},
        "generator": {"generator": state},
        "": dict(state),
    }
    for place, held in cases.items():
        torch.save(held, tmp_path / "w.pt")
        found = read_checkpoint(tmp_path / "w.pt")
        assert found.place == place
        assert torch.equal(found.state["0.weight"], state["0.weight"])
        assert found.others == tuple(k for k in held if k.startswith("ema"))
    assert torch.equal(read_checkpoint(tmp_path / "w.pt", "").state["0.weight"], state["0.weight"])
    torch.save(cases["net"], tmp_path / "w.pt")
    assert torch.equal(read_checkpoint(tmp_path / "w.pt", "ema").state["0.weight"], moved["0.weight"])
    with pytest.raises(WeightsError, match="'net' or 'ema'"):
        read_checkpoint(tmp_path / "w.pt", "teacher")


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.zeros(1, 1, 4, 4))])
def test_a_torchscript_program_gives_its_weights_without_being_loaded(tmp_path, net, make, monkeypatch):
    make(net).save(str(tmp_path / "n.ts"))
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: pytest.fail("loaded"))
    found = read_checkpoint(tmp_path / "n.ts").state
    assert set(found) == set(net.state_dict())
    assert all(torch.equal(found[k], v) for k, v in net.state_dict().items())


def evil(canary):
    touch = f"open({str(canary)!r}, 'w').write('x')"
    return {
        "eval": Evil(builtins.eval, touch),
        "exec": Evil(builtins.exec, touch),
        "getattr": Evil(builtins.getattr, Path(canary), "touch"),
        "system": Evil(os.system, f"touch {canary}"),
        "import": Evil(builtins.__import__, "antigravity"),
    }


@pytest.mark.parametrize("kind", ["eval", "exec", "getattr", "system", "import"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_checkpoint_runs(tmp_path, net, kind, protocol):
    canary, file = tmp_path / "canary", tmp_path / "w.ckpt"
    held = {"state_dict": net.state_dict(), "hyper_parameters": {"x": evil(canary)[kind]}}
    torch.save(held, file, pickle_protocol=protocol)
    if kind == "getattr":
        # Harmless of itself, and left as a name like any other.
        assert "builtins.getattr" in {n.replace("__builtin__", "builtins") for n in read_checkpoint(file).foreign}
    else:
        with pytest.raises(WeightsError, match="would call"):
            read_checkpoint(file)
    assert not canary.exists()


def test_these_files_are_truly_evil(tmp_path):
    pickle.loads(pickle.dumps(evil(tmp_path / "canary")["eval"]))
    assert (tmp_path / "canary").exists()


def test_a_file_cannot_change_what_reads_the_next(tmp_path):
    """A pickle that sets attributes of what stands for torch's functions changes nothing outside its own reading."""
    rebuild = torch._utils._rebuild_tensor_v2.__defaults__

    def attack(archive, name):
        body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}X\x03\x00\x00\x00runX\x01\x00\x00\x00xsX\x0c\x00\x00\x00"
        body += b"__defaults__)s\x86b."
        archive.writestr(name, body)

    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        attack(archive, "a/data.pkl")
    with pytest.raises(WeightsError):
        read_checkpoint(tmp_path / "a.pt")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == rebuild
    torch.save({"state_dict": {"w": torch.ones(2)}, "x": argparse.Namespace()}, tmp_path / "b.pt")
    assert read_checkpoint(tmp_path / "b.pt").state["w"].tolist() == [1, 1]


@pytest.mark.parametrize("inside", [False, True])
def test_a_pickled_module_is_refused_with_the_way_to_store_its_weights(tmp_path, net, inside):
    file = tmp_path / "my model.pt"
    torch.save({"model": net, "epoch": 1} if inside else net, file)
    for read in (read_checkpoint, find):
        with pytest.raises(WeightsError) as caught:
            read(file)
        said = str(caught.value)
        assert "pickled module (torch.nn.modules.container.Sequential)" in said
        assert "['model']" in said if inside else "['model']" not in said
        assert f"saliscope model init '{tmp_path / 'my model-state.pt'}'" in said
        assert "torch.save(m.state_dict()" in said
    # What the message says is what makes the weights: run as it stands.
    program = said.split('python -c "')[1].split('"; then')[0]
    exec(program, {})
    assert torch.equal(read_checkpoint(tmp_path / "my model-state.pt").state["0.weight"], net[0].weight)


def test_names_are_translated(net):
    state = {f"model._orig_mod.{k}": v for k, v in net.state_dict().items()}
    state = {**state, "model.inner._fsdp_wrapped_module.w": torch.ones(1), "loss.weight": torch.ones(2)}
    got = named(state, "model.", rename={"model.inner.": "outer."}, ignore=["loss."])
    assert set(got) == {*net.state_dict(), "outer.w"}
    with pytest.raises(WeightsError, match=r"without the prefix 'model\.'"):
        named(state, "model.")
    with pytest.raises(WeightsError, match=r"two arrays for 0\.weight"):
        named({"0.weight": torch.ones(1), "a.0.weight": torch.ones(1)}, rename={"a.": ""})


def stand_ins(folder, net):
    """Make a file of every kind that is handed over in place of a card."""
    torch.save(net.state_dict(), folder / "a.pt")
    torch.save({"state_dict": net.state_dict()}, folder / "a b.ckpt")
    torch.save(net.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.jit.script(net).save(str(folder / "a.ts"))
    save_file(net.state_dict(), folder / "a.safetensors")
    (folder / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    (folder / "a.onnx").write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(64))
    with zipfile.ZipFile(folder / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    return ["a.pt", "a b.ckpt", "old.pth", "a.ts", "a.safetensors", "a.h5", "a.onnx", "a.keras"]


def test_a_weights_file_in_place_of_a_card_is_answered_with_the_command(tmp_path, net, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in stand_ins(tmp_path, net):
        with pytest.raises(CardError) as caught:
            find(name)
        quoted = f"'{name}'" if " " in name else name
        assert str(caught.value).endswith(f"Write its card with one command: saliscope model init {quoted}")
        assert "\n" not in str(caught.value)
    Path("a.toml").write_text('weights = "a.pt"\n')
    with pytest.raises(CardError, match=r"Its card lies beside it: take a\.toml"):
        find("a.pt")


def test_what_is_left_of_a_file_is_called_so(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    files = {
        "cut off": whole[: len(whole) // 2],
        "empty": b"",
        "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        "web page": b"<!DOCTYPE html>\n<html></html>",
    }
    for said, held in files.items():
        for name in ("x.pt", "x.safetensors"):
            (tmp_path / name).write_bytes(held)
            for read in (read_checkpoint, find):
                with pytest.raises(WeightsError, match=said):
                    read(tmp_path / name)
    with pytest.raises(CardError, match="no such file"):
        find(tmp_path / "absent.pt")
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(CardError, match="SavedModel"):
        find(tmp_path)


def test_an_archive_whose_storage_is_cut_off_or_claims_too_much_is_refused(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(8)}, "x": argparse.Namespace()}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:8] if "/data/" in name else old.read(name))
    with pytest.raises(WeightsError, match="cannot be read"):
        read_checkpoint(tmp_path / "b.pt")


def test_an_exported_program_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.pt2", "w") as archive:
        archive.writestr("p/archive_format", "pt2")
    assert file_kind(tmp_path / "p.pt2") == "exported"
    with pytest.raises(ModelError, match=r"torch\.onnx\.export"):
        find(tmp_path / "p.pt2")
