"""The doctor says ok of what imports, and of nothing else."""

import sys
from pathlib import Path

import pytest

from saliscope.cli.main import main
from saliscope.study import doctor
from saliscope.study.importing import failures

ROOT = Path(__file__).parents[2]
BROKEN = {
    "torchvision": "raise RuntimeError('operator torchvision::nms does not exist\\nand more')",
    "timm": "import os\nos.abort()",
    "monai": 'print(\'["monai", ""]\')',
    "h5py": "import sys\nsys.exit(3)",
    "onnx": "raise KeyError",
    "torchxrayvision": "",
}


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    """Put libraries on the path that fail each in another way, and one that is well."""
    for name, program in BROKEN.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(program)
        info = tmp_path / f"{name}-9.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_what_is_installed_and_does_not_import_is_broken(libraries, capsys):
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 1
    said = capsys.readouterr().out
    assert "broken   torchvision: 9.1: cannot be imported (operator torchvision::nms does not exist)" in said
    assert "Install the build that matches torch" in said
    assert "broken   timm: 9.1: cannot be imported (its import crashes the process (SIGABRT))" in said
    assert "broken   Keras HDF5: 9.1: cannot be imported (3)" in said
    assert "broken   ONNX: 9.1: cannot be imported (KeyError)" in said
    for well in ("MONAI: 9.1", "torchxrayvision: 9.1"):
        assert f"ok       {well}" in said


def test_one_that_hangs_or_leaves_takes_nothing_along(tmp_path, monkeypatch):
    for name, program in {"slow": "import time\ntime.sleep(60)", "gone": "import os\nos._exit(0)", "fine": ""}.items():
        (tmp_path / f"{name}_one.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = failures(("slow_one", "gone_one", "fine_one"), seconds=3)
    assert found == {
        "slow_one": "its import takes more than 3 s",
        "gone_one": "its import ends the process with code 0",
    }


def test_a_folder_where_it_is_called_stands_in_for_no_library(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise RuntimeError('not the library')")
    monkeypatch.chdir(tmp_path)
    assert failures(("json",)) == {}


def test_a_look_that_breaks_is_a_finding(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom.pixels.decoders.base", None)
    monkeypatch.setattr(doctor, "failures", lambda names: {})
    found = next(f for f in doctor.findings() if f.what == "codecs")
    assert found.state == "broken"
    assert found.do


@pytest.mark.parametrize(
    ("version", "newer"), [("2.13.1+cpu", False), ("2.14.0", True), ("3.0", True), ("2.10.0", False), ("2.9.1", False)]
)
def test_a_newer_torch_is_a_note(version, newer, monkeypatch):
    import torch

    monkeypatch.setattr(torch, "__version__", version)
    found = doctor._torch()
    assert found.state == ("note" if newer else "ok")
    assert ("newer than the newest that was tested" in found.detail) is newer


def test_what_the_makefile_pins_is_what_was_tested():
    pins = (ROOT / "constraints.txt").read_text()
    major, minor = doctor.TESTED_TORCH.split(".")
    assert f"torch<{major}.{int(minor) + 1}\n" in pins
    assert (ROOT / "Makefile").read_text().count("pip install") == (ROOT / "Makefile").read_text().count(
        "-c constraints.txt"
    )
    assert "<" not in (ROOT / "pyproject.toml").read_text().split('"torch>=')[1].split('"')[0]
