"""Names that are no UTF-8, on every path of the command line: in, out, networks, lists, JSON, tables, any terminal."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from saliscope.study.drawing import lesion_in_speckle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
TERMINALS = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / os.fsdecode(b"studi\xe9")
    for name in (b"M\xfcller", b"Schmidt", "日本".encode() + b"\xff"):
        place = folder / os.fsdecode(name)
        place.mkdir(parents=True)
        Image.fromarray(lesion_in_speckle(96)).save(place / "image.png")
    (folder / "Schmidt" / os.fsdecode(b"br\xf6ken\n\x1b[31m.png")).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def run(terminal: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    asked = [sys.executable, "-m", "saliscope", *(os.fsencode(str(w)) for w in words)]
    return subprocess.run(asked, env=os.environ | TERMINALS[terminal], capture_output=True, check=False)


@pytest.mark.parametrize("terminal", TERMINALS)
def test_a_folder_of_foreign_names_is_explained(study: Path, tmp_path: Path, terminal: str) -> None:
    out = tmp_path / os.fsdecode(b"o\xfct")
    ran = run(terminal, "explain", study, study / "*" / "im*.png", "--model", "spot-finder", "--out", out)
    assert ran.returncode == 3, ran.stderr
    assert b"Traceback" not in ran.stderr
    assert b"3 explained; 1 failed" in ran.stdout
    assert b"\x1b" not in ran.stderr
    (failed,) = csv.DictReader((out / "failures.csv").read_text().splitlines())
    assert failed["source"].endswith("Schmidt/br\\xf6ken\\x0a\\x1b[31m.png")
    record = json.loads((out / "run.json").read_text())
    names = {c["name"] for c in record["cases"]}
    assert len(names) == 3
    for name in names:
        assert (out / name / "page.html").read_text()
        assert name in (out / "index.html").read_text()


def test_json_of_foreign_names_is_json(study: Path, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"o\xfct")
    ran = run("ascii", "explain", study, "--model", "spot-finder", "--out", out, "--json", "-q")
    told = json.loads(ran.stdout)
    assert os.fsencode(told["out"].encode("utf-8", "surrogateescape")) == os.fsencode(out)
    assert told["failures"][0]["source"].endswith("br\\xf6ken\\x0a\\x1b[31m.png")


def test_a_network_an_audit_and_a_baseline_lie_under_foreign_names(study: Path, tmp_path: Path) -> None:
    import saliscope.model.zoo

    network = tmp_path / os.fsdecode(b"mod\xe8le")
    shutil.copytree(Path(saliscope.model.zoo.__file__).parent / "chest-pneumonia-28", network)
    image = study / os.fsdecode(b"M\xfcller") / "image.png"
    out = tmp_path / os.fsdecode(b"o\xfct")
    ran = run("utf-8", "explain", image, "--model", network / "card.toml", "--out", out / "one")
    assert ran.returncode == 0, ran.stderr
    words = ("--method", "occlusion", "--option", f"occlusion.baseline=file:{image}", "--out", out / "two")
    ran = run("utf-8", "explain", image, "--model", "spot-finder", *words)
    assert ran.returncode == 0, ran.stderr
    ran = run("ascii", "check", image, "--model", "spot-finder", "--out", out / "three")
    assert ran.returncode == 0, ran.stderr
