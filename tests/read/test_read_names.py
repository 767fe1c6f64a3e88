"""Names of files and folders in any encoding: each is read and named, and each in the same way on every system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from saliscope.core.errors import InputError, printable
from saliscope.read import discover
from saliscope.read.naming import keyed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
NAMES = st.binary(min_size=1, max_size=40).filter(lambda n: not {0, 47} & {*n} and n not in (b".", b".."))
KEY = b"key"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "made" / "image.png"
    path.parent.mkdir()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(folders=st.lists(NAMES, min_size=2, max_size=4, unique=True), name=NAMES)
def test_pictures_with_any_names_are_read_and_told_apart(tmp_path, picture, folders, name) -> None:
    root = tmp_path / "names"
    shutil.rmtree(root, ignore_errors=True)
    for folder in folders:
        (root / os.fsdecode(folder)).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, os.fsencode(root) + b"/" + folder + b"/" + name)
    sources, failures = discover([root], key=KEY)
    visible = 0 if name.startswith(b".") else sum(not f.startswith(b".") for f in folders)
    assert len(sources) == visible
    assert len({s.name for s in sources}) == visible
    assert not visible or not failures
    for source in sources:
        assert source.name.isascii()
        assert source.load().geometry.shape == (8, 8)
        # Named one by one as well, however the name begins.
        assert discover([source.paths[0]], key=KEY)[0][0].paths == source.paths


@given(name=NAMES)
def test_a_message_with_any_name_can_be_stored_and_printed(name: bytes) -> None:
    said = str(InputError(f"{os.fsdecode(name)}: amiss", do="Check it"))
    said.encode()
    assert "\n" not in said
    assert "\x1b" not in said


@given(text=st.text(st.characters(categories=["Cs", "Ll", "Lo", "Cc"])))
def test_any_text_is_hashed_and_printable(text: str) -> None:
    assert keyed("a", text, KEY)[:2] == "a-"
    printable(text).encode()


def test_text_that_is_plain_stays_as_it_is() -> None:
    assert printable("Müller 日本 × µm.png") == "Müller 日本 × µm.png"
    assert printable("M\udcfcller\n\x1b[31m") == "M\\xfcller\\x0a\\x1b[31m"


def test_slices_without_identifiers_take_their_names(make, tmp_path: Path) -> None:
    for at, folder in enumerate((b"M\xfcller", b"M\xf6ller")):
        path = make(SOPInstanceUID=None, SeriesInstanceUID=None, ImagePositionPatient=[0, 0, at])
        (tmp_path / "study" / os.fsdecode(folder)).mkdir(parents=True)
        shutil.move(path, os.fsencode(tmp_path) + b"/study/" + folder + b"/\xe4.dcm")
    sources, failures = discover([tmp_path / "study"], key=KEY)
    assert (len(sources), len(failures)) == (2, 0)
    assert pydicom.dcmread(sources[0].paths[0]).get("SOPInstanceUID") is None


def test_a_list_holds_names_as_the_system_does(tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (b"\xfc.png", b"~nobody.png", "ü.png".encode(), b"a\x85b.png"):
        shutil.copy(picture, os.fsencode(tmp_path) + b"/" + name)
    for listed in ("list.txt", "list.csv"):
        lines = (b"\xfc.png", b"~nobody.png", "ü.png".encode(), b"a\x85b.png", b"x" * 300, b"~none/a.png")
        (tmp_path / listed).write_bytes(b"\n".join(lines) + b"\n")
        sources, failures = discover([tmp_path / listed])
        assert len(sources) == 4
        assert len(failures) == 2
    monkeypatch.chdir(tmp_path)
    assert len(discover(["~nobody.png"])[0]) == 1


NAME_THEM = """
import sys
from saliscope.read import discover
sources, failures = discover([sys.argv[1]], key=b"key")
print(*sorted(s.name for s in sources), len(failures))
"""


def test_names_are_the_same_whatever_the_encoding_of_the_terminal(tmp_path: Path, picture: Path) -> None:
    for folder in (b"M\xfcller", "Müller".encode(), b"b", "日本".encode() + b"\xff"):
        (tmp_path / "study" / os.fsdecode(folder)).mkdir(parents=True)
        shutil.copy(picture, os.fsencode(tmp_path) + b"/study/" + folder + b"/image.png")
    said = set()
    for words in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        ran = subprocess.run(
            [sys.executable, "-c", NAME_THEM, tmp_path / "study"],
            env=os.environ | words, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        said.add(ran.stdout)
    assert len(said) == 1
    assert len(said.pop().split()) == 5
