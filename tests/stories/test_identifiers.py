"""Identifiers of PS3.15's list stand in DICOM outputs alone: a canary in each, every command, failing ones too."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch
import typer
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from dicom_cases import write_source
from dicom_tools import free_port
from saliscope.cli.main import app, main
from saliscope.model.load import build
from saliscope.write.dicom.confidential import actions

#: The canary of an attribute is its tag between these, so that a leak tells where it came from.
TEXT = "ZQX{:08X}J"
UID = "1.2.840.99999.31415926535"
OTHERS = {"DA": "19330407", "TM": "070707.77", "DT": "19330407070707.77", "DS": "3141.59265", "IS": "314159265"}
FOUND = re.compile(rb"zqx[0-9a-f]{8}j|31415926535|19330407|070707\.77|3141\.59265|314159265", re.IGNORECASE)
TEXTS = ("PN", "LO", "SH", "LT", "ST", "UT", "AE", "UC", "UR", "CS")
#: Not of a data set in a file, or not free to be anything.
ELSEWHERE = (0x0000, 0x0002, 0x0004, 0x5000)
#: Fewer than the standard's list would mean that the list was not used.
LEAST = 500


def item(tag: int, depth: int = 0) -> list[Dataset]:
    """Return a sequence whose item names somebody, in sequences of its own too."""
    one, text = Dataset(), TEXT.format(tag)
    one.PatientName = one.PersonName = one.InstitutionName = one.CodeValue = one.CodeMeaning = text
    one.CodingSchemeDesignator = "99LOCAL"
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"{UID}.{tag}"
    one.add_new(0x00110010, "LO", text)
    one.add_new(0x00111010, "LO", text)
    if depth < 2:
        one.ReferencedStudySequence = item(tag, depth + 1)
    return [one]


def poison(ds: Dataset, slice_: int) -> int:
    """Put a canary into each attribute of the list that can stand in a file, private ones, and the file's own parts."""
    count = 0
    for pattern in actions():
        tag = int(pattern.replace("ggggeeee", "00111001").replace("xxxxxx", "000010").replace("xx", "00"), 16)
        if tag >> 16 in ELSEWHERE:
            continue
        try:
            vr = dictionary_VR(tag).split(" or ")[0]
        except KeyError:
            vr = "LO"
        text = TEXT.format(tag)
        value: Any = OTHERS.get(vr)
        if vr == "SQ":
            value = item(tag)
        elif vr == "UI":
            value = f"{UID}.{tag}" + (f".{slice_}" if tag == 0x00080018 else "")
        elif vr in TEXTS:
            value = text
        elif vr.startswith("O") or vr == "UN":
            value = text.encode()
        if value is not None:
            ds.add_new(tag, vr, value)
            count += 1
    ds.add_new(0x00110010, "LO", TEXT.format(0x00110010))
    ds.add_new(0x00111002, "SQ", item(0x00111002))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.SourceApplicationEntityTitle = TEXT.format(0x00020016)
    ds.file_meta.PrivateInformationCreatorUID = f"{UID}.2"
    ds.file_meta.PrivateInformation = TEXT.format(0x00020102).encode() + b" "
    ds.preamble = (TEXT.format(0x00000000).encode() * 9 + bytes(128))[:128]
    return count


def write_poisoned(folder: Path, kind: str, **tags: Any) -> Path:
    """Write a source of a kind with a canary in every attribute of the list."""
    write_source(folder, kind)
    files = sorted(folder.rglob("*.dcm"))
    assert files
    for i, path in enumerate(files):
        ds = pydicom.dcmread(path)
        assert poison(ds, i) > LEAST
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        ds.save_as(path)
        assert len(FOUND.findall(path.read_bytes())) > LEAST
    return folder


def plain_parts(data: bytes) -> Iterator[bytes]:
    """Yield bytes as they are, and what is packed in them: gzip, text chunks of PNG, pictures in HTML."""
    yield data
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    for kind in (b"zTXt", b"iTXt", b"eXIf"):
        for at in (m.start() for m in re.finditer(kind, data)):
            size = int.from_bytes(data[at - 4 : at], "big")
            chunk = data[at + 4 : at + 4 + size]
            yield chunk
            start = chunk.find(b"x\x9c")
            # In values that are compressed the letters of a chunk stand by chance.
            with suppress(zlib.error):
                if start >= 0:
                    yield zlib.decompressobj().decompress(chunk[start:])
    for found in re.findall(rb"base64,([A-Za-z0-9+/=]{40,})", data):
        yield from plain_parts(base64.b64decode(found))


def leaks(folder: Path, *, pseudonyms: bool = False, besides: tuple[str, ...] = ()) -> list[str]:
    """Return where a canary stands below a folder, DICOM files left out unless they bear pseudonyms."""
    said = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if any(name.startswith(b) for b in besides):
            continue
        said += [f"name {name}: {m!r}" for m in FOUND.findall(name.encode())]
        if not path.is_file() or (path.suffix == ".dcm" and not pseudonyms):
            continue
        for part in plain_parts(path.read_bytes()):
            said += [f"{name}: {m!r}" for m in FOUND.findall(part)[:3]]
    return said


@dataclass
class Said:
    """What a command said, by each way that it can."""

    code: int
    text: str

    @property
    def leaks(self) -> list[bytes]:
        return FOUND.findall(self.text.encode())


Run = Callable[..., Said]


@pytest.fixture
def run(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Return a function that runs a command and gives all it said: both outputs, log records, warnings."""
    monkeypatch.delenv("SALISCOPE_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)

    def go(*words: object) -> Said:
        caplog.clear()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            code: Any = 0
            try:
                main([str(w) for w in words])
            except SystemExit as end:
                code = end.code
        out, err = capfd.readouterr()
        logs = "\n".join(f"{r.getMessage()} {r.exc_text or ''}" for r in caplog.records)
        return Said(int(code or 0), "\n".join([out, err, logs, *(str(w.message) for w in warned)]))

    return go


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of poisoned sources: ct, cr, us."""
    folder = tmp_path_factory.mktemp("poisoned")
    for kind in ("ct", "cr", "us"):
        write_poisoned(folder / kind, kind, BodyPartExamined="CHEST", BurnedInAnnotation="NO")
    return folder


MODELS = {"cr": "spot-finder", "us": "spot-finder", "ct": "spot-finder-3d"}
#: The commands that other tests here run, each by name.
EXAMINED = {
    "explain", "check", "export", "audit-model", "pacs send", "pacs find", "pacs fetch", "pacs echo", "pacs serve",
    "pacs status", "pacs retry", "model fetch", "model init",
}  # fmt: skip
#: The commands that take no image: they are run all the same.
UNTOUCHED: dict[str, list[str]] = {
    "demo": ["--out", "demo", "-q"],
    "methods": [],
    "metrics": [],
    "models": [],
    "model show": ["spot-finder"],
    "model check": ["spot-finder"],
    "phantom": ["chest", "--count", "1", "--size", "32", "--format", "dicom", "-o", "phantom", "-q"],
    "doctor": [],
    "pacs config": [],
    "pacs orthanc-script": ["--out", "script.py"],
}


def commands(command: Any, before: str = "") -> Iterator[str]:
    """Yield the name of every command, with that of its group."""
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_no_command_is_forgotten() -> None:
    assert set(commands(typer.main.get_command(app))) == EXAMINED | set(UNTOUCHED)


@pytest.mark.parametrize("name", UNTOUCHED)
def test_commands_without_images(name: str, run: Run, tmp_path: Path) -> None:
    said = run(*name.split(), *UNTOUCHED[name])
    assert said.code == 0, said.text[-500:]
    assert not said.leaks
    assert not leaks(tmp_path)


@pytest.mark.parametrize("kind", ["cr", "us"])
def test_a_card_made_with_an_example(kind: str, run: Run, sources: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(build("u-net", {"widths": [4, 8], "classes": 2}).state_dict(), tmp_path / "weights.pt")
    (example,) = list((sources / kind).rglob("*.dcm"))[:1]
    for words in ((), ("--overwrite", "--json")):
        said = run("model", "init", "weights.pt", "--example", example, *words)
        assert said.code == 0, said.text[-500:]
        assert not said.leaks
    assert not leaks(tmp_path, besides=("weights.pt",))


@pytest.mark.parametrize("kind", ["cr", "us", "ct"])
def test_explained_and_exported(kind: str, run: Run, sources: Path, tmp_path: Path) -> None:
    dicom = "pacs-basic+segmentation" if kind != "ct" else "archive"
    words = ["-m", MODELS[kind], "--dicom", dicom, "-o", tmp_path / "out"]
    said = run("explain", sources / kind, *words, "--json", *(["--check"] if kind == "cr" else []))
    assert said.code == 0, said.text[-500:]
    assert not said.leaks
    assert not leaks(tmp_path)
    written = list((tmp_path / "out").rglob("*.dcm"))
    assert written
    name, study = TEXT.format(0x00100010), f"{UID}.{0x0020000D}"
    for path in written:
        ds = pydicom.dcmread(path)
        assert (ds.PatientName, ds.StudyInstanceUID, ds.preamble) == (name, study, bytes(128)), path
    again = run("export", tmp_path / "out", sources / kind, "--dicom", dicom, "-o", tmp_path / "again", "--json")
    assert again.code == 0, again.text[-500:]
    assert not again.leaks
    assert not leaks(tmp_path)


@pytest.mark.parametrize("kind", ["cr", "us", "ct"])
def test_under_pseudonyms_no_canary_is_left_anywhere(kind: str, run: Run, sources: Path, tmp_path: Path) -> None:
    dicom = "pacs-basic+segmentation+pdf" if kind != "ct" else "archive"
    out = tmp_path / "out"
    said = run("explain", sources / kind, "-m", MODELS[kind], "--dicom", dicom, "--pseudonymise", "-o", out, "-q")
    assert said.code == 0, said.text[-500:]
    assert not said.leaks
    assert list(out.rglob("*.dcm"))
    assert not leaks(tmp_path, pseudonyms=True)
    again = run("export", out, sources / kind, "--dicom", dicom, "--pseudonymise", "-o", tmp_path / "again")
    assert again.code == 0, again.text[-500:]
    assert not again.leaks
    assert not leaks(tmp_path, pseudonyms=True)


def test_checked_and_audited(run: Run, sources: Path, tmp_path: Path) -> None:
    said = run("check", sources / "cr", "-m", "spot-finder", "-o", tmp_path / "checked", "--json")
    assert said.code in (0, 3), said.text[-500:]
    assert not said.leaks
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    rows = ["image,patient,label"]
    for i, path in enumerate(sorted((sources / "ct").rglob("*.dcm"))[:3]):
        shutil.copy(path, cohort / f"{i}.dcm")
        rows.append(f"{i}.dcm,{TEXT.format(i)},spots")
    table = tmp_path / "in.csv"
    table.write_text("\n".join(rows))
    said = run(
        "audit-model", "spot-finder", *sorted(cohort.iterdir()), "--table", table, "-o", tmp_path / "audit", "--json"
    )
    assert not said.leaks, (said.leaks, said.text[-800:])
    assert not leaks(tmp_path, besides=("cohort", "in.csv"))


def cut(folder: Path) -> None:
    path = min(folder.rglob("*.dcm"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bent(folder: Path) -> None:
    path = min(folder.rglob("*.dcm"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00PN").replace(b"ZQX0008", b"ZQX\xff\xff08"))


def gap(folder: Path) -> None:
    sorted(folder.rglob("*.dcm"))[3].unlink()


def mixed(folder: Path) -> None:
    for i, path in enumerate(sorted(folder.rglob("*.dcm"))):
        ds = pydicom.dcmread(path)
        ds.RescaleType, ds.Modality = ("HU", "CT") if i % 2 else ("US", "MR")
        ds.save_as(path)


def undecodable(folder: Path) -> None:
    for path in folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
        ds.PixelData = pydicom.encaps.encapsulate([TEXT.format(1).encode() * 50])
        ds["PixelData"].is_undefined_length = True
        ds.save_as(path)


def no_uids(folder: Path) -> None:
    for path in folder.rglob("*.dcm"):
        path.write_bytes(path.read_bytes().replace(f"{UID}.{0x0020000D}".encode(), b"../" + b"ZQX0020000DJ" * 2 + b"0"))


BROKEN = {"cut": cut, "bent": bent, "gap": gap, "mixed": mixed, "undecodable": undecodable, "no uids": no_uids}


@pytest.mark.parametrize("how", BROKEN)
def test_sources_that_fail(how: str, run: Run, sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(sources / "ct", folder)
    BROKEN[how](folder)
    for words in (
        ["explain", folder, "-m", "spot-finder-3d", "--dicom", "archive"],
        ["check", folder, "-m", "spot-finder-3d"],
    ):
        if words[0] == "check" and how not in ("cut", "undecodable"):
            continue  # it reads by the same door
        said = run(*words, "-o", tmp_path / words[0], "--json")
        assert said.code in (0, 2, 3)
        assert said.code or how in ("bent", "mixed"), said.text[-500:]
        assert "Traceback" not in said.text
        assert not said.leaks, (said.leaks, said.text[-800:])
    assert not leaks(tmp_path, besides=("in",))


def test_wrong_words(run: Run, sources: Path, tmp_path: Path) -> None:
    cr, out = sources / "cr", tmp_path / "out"
    for words in (
        ["explain", cr, "-m", "no-such-model"],
        ["explain", cr, "-m", "spot-finder", "-t", "no-such-target"],
        ["explain", cr, "-m", "spot-finder", "--method", "no-such-method"],
        ["explain", cr, "-m", "spot-finder", "--layer", "no.such.layer"],
        ["explain", cr, "-m", "spot-finder-3d"],
        ["explain", cr, "-m", "spot-finder", "--dicom", "no-such-profile"],
        ["explain", cr, "-m", "spot-finder", "--dicom", "ohif-volume"],
        ["explain", cr, "-m", "spot-finder", "--limit", "max_elements=10"],
        ["check", cr, "-m", "spot-finder-3d"],
        ["export", out, cr],
        ["audit-model", "no-such-model", cr],
        ["model", "fetch", min(cr.rglob("*.dcm"))],
    ):
        said = run(*words, *(["-o", out] if words[0] != "model" else []))
        assert said.code in (1, 2, 3), (words, said.text[-300:])
        assert "Traceback" not in said.text, words
        assert not said.leaks, (words, said.leaks)
        assert not leaks(tmp_path)


@pytest.mark.parametrize("number", [28, 13, 5])
def test_a_disk_that_is_full_read_only_or_broken(
    number: int, run: Run, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "out"))

    monkeypatch.setattr("os.fsync", fail)
    said = run("explain", sources / "cr", "-m", "spot-finder", "--dicom", "pacs-basic", "-o", tmp_path / "out")
    assert said.code in (2, 3)
    assert "Traceback" not in said.text
    assert not said.leaks, said.leaks
    assert not leaks(tmp_path)


def test_an_object_that_a_library_cannot_make(
    run: Run, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = TEXT.format(0x00100010)

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError(f"Invalid value for {name}")

    monkeypatch.setattr("saliscope.write.dicom.secondary_capture.secondary_capture", fail)
    said = run("explain", sources / "cr", "-m", "spot-finder", "--dicom", "pacs-basic", "-o", tmp_path / "out")
    assert said.code in (2, 3)
    assert "Traceback" not in said.text
    assert not said.leaks, said.leaks
    assert not leaks(tmp_path)


@contextmanager
def archive() -> Iterator[tuple[int, list[Dataset]]]:
    """Run a peer that takes every object and answers every search with canaries; yield its port and what it took."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

    took: list[Dataset] = []

    def store(event: Any) -> int:
        took.append(event.dataset)
        return 0

    def find(_: Any) -> Iterator[tuple[int, Dataset]]:
        answer = Dataset()
        answer.QueryRetrieveLevel, answer.StudyInstanceUID = "STUDY", "1.2.3"
        answer.StudyDate, answer.ModalitiesInStudy = "20260101", "CT"
        for keyword in ("PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName"):
            setattr(answer, keyword, TEXT.format(1))
        yield 0xFF00, answer

    ae = AE("ARCHIVE")
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax)
    ae.add_supported_context(Verification)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store), (evt.EVT_C_FIND, find)]
    )
    try:
        yield server.socket.getsockname()[1], took
    finally:
        server.shutdown()


def configured(folder: Path, port: int, rules: str = "") -> Path:
    path = folder / "saliscope.toml"
    path.write_text(
        f'[node]\nfolder = "spool"\nport = {free_port()}\nquiet_s = 1\n[health]\nport = {free_port()}\n'
        f'[peers.archive]\nkind = "dicom"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\nmay_send = true\n'
        f'[peers.web]\nkind = "dicomweb"\nurl = "http://127.0.0.1:{free_port()}/dicom-web"\nauth = "none"\n{rules}'
    )
    return path


RULES = """
[[rules]]
name = "pictures"
modality = ["CR"]
model = "spot-finder"
method = ["grad-cam"]
target = ["top"]
profile = "pacs-basic"
send_to = ["archive"]
"""


def test_traffic_with_a_peer_and_without(run: Run, sources: Path, tmp_path: Path) -> None:
    cr = sources / "cr"
    with archive() as (port, took):
        config = ["--config", configured(tmp_path, port)]
        for words, code in (
            (["echo", "archive"], 0),
            (["send", "archive", cr, "--json"], 0),
            (["find", "archive", "--modality", "CT"], 0),
            (["find", "archive", "--date", "20260101", "--json"], 0),
            (["status", "--json"], 2),  # no node has run here
            (["retry"], None),
        ):
            said = run("pacs", *words, *config)
            assert code is None or said.code == code, (words, said.text[-500:])
            assert not said.leaks, (words, said.leaks)
        assert str(took[0].PatientName) == TEXT.format(0x00100010)
    broken = tmp_path / "in"
    shutil.copytree(cr, broken)
    cut(broken)
    config = ["--config", configured(tmp_path, free_port())]
    for words in (
        ["echo", "archive"],
        ["send", "archive", cr],
        ["send", "archive", broken],
        ["send", "web", cr],
        ["find", "archive", "--modality", "CT"],
        ["find", "web", "--modality", "CT"],
        ["fetch", "web", f"{UID}.1", "--out", tmp_path / "fetched"],
        ["send", "nobody", cr],
    ):
        said = run("pacs", *words, *config)
        assert said.code in (2, 3), (words, said.text[-500:])
        assert "Traceback" not in said.text, words
        assert not said.leaks, (words, said.leaks)
    assert not leaks(tmp_path, besides=("in",))


def test_a_node_that_explains_what_it_is_sent(sources: Path, tmp_path: Path, run: Run) -> None:
    with archive() as (port, took):
        path = configured(tmp_path, port, RULES)
        node = int(re.search(r"port = (\d+)", path.read_text())[1])  # type: ignore[index]
        words = [sys.executable, "-W", "always", "-m", "saliscope", "pacs", "serve", "--config", str(path)]
        environment = {k: v for k, v in os.environ.items() if k != "SALISCOPE_DEBUG"}
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        lines: list[str] = []
        assert child.stderr is not None
        listener = threading.Thread(target=lambda: lines.extend(child.stderr or ()), daemon=True)
        listener.start()
        try:
            wait_for(lambda: any("listens" in x for x in lines), child, lines)
            hostile = tmp_path / "hostile.dcm"
            ds = pydicom.dcmread(min((sources / "cr").rglob("*.dcm")))
            ds.Rows = 60_000
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{UID}.7"
            ds.StudyInstanceUID = f"{UID}.8"
            ds.save_as(hostile)
            port_of = (tmp_path / "to.toml").write_text(
                path.read_text().replace(f"port = {port}", f"port = {node}").replace('"ARCHIVE"', '"SALISCOPE"')
                .replace("[node]", '[node]\nae_title = "ARCHIVE"').replace('"spool"', '"other"')
            )  # fmt: skip
            assert port_of
            for what in (hostile, sources / "cr"):
                said = run("pacs", "send", "archive", what, "--config", tmp_path / "to.toml")
                assert said.code == 0, said.text[-500:]
                assert not said.leaks
            wait_for(lambda: len(took) >= 2, child, lines)
        finally:
            child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=60)
            listener.join(10)
    assert child.returncode == 0
    said_by_node = out + "".join(lines)
    assert not FOUND.findall(said_by_node.encode()), said_by_node
    assert "Traceback" not in said_by_node
    assert {str(d.PatientName) for d in took} == {TEXT.format(0x00100010)}
    state = run("pacs", "status", "--json", "--config", path)
    assert not state.leaks
    assert json.loads(state.text[: state.text.rindex("}") + 1])


def wait_for(there: Callable[[], bool], child: subprocess.Popen[str], lines: list[str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert child.poll() is None, lines
        assert time.monotonic() < end, lines
        time.sleep(0.1)


def test_a_canary_that_leaks_is_found(tmp_path: Path) -> None:
    """The search itself can fail: in names, packed text and pictures in pages."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    said, out = PngInfo(), BytesIO()
    said.add_text("Comment", TEXT.format(7) * 20, zip=True)
    Image.new("L", (4, 4)).save(out, "PNG", pnginfo=said)
    assert TEXT.format(7).encode() not in out.getvalue()
    (tmp_path / "page.html").write_bytes(b"data:image/png;base64," + base64.b64encode(out.getvalue()))
    assert leaks(tmp_path)
    (tmp_path / "page.html").unlink()
    assert not leaks(tmp_path)
    (tmp_path / "map.nii.gz").write_bytes(gzip.compress(b"x" + TEXT.format(1).lower().encode()))
    assert leaks(tmp_path)
    (tmp_path / "map.nii.gz").rename(tmp_path / "a.dcm")
    assert not leaks(tmp_path)
    (tmp_path / "a.dcm").rename(tmp_path / f"{TEXT.format(2)}.dcm")
    assert leaks(tmp_path)
