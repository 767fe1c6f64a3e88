"""The tools of others that judge DICOM: dciodvfy, dcmdump, and an Orthanc of the tests' own on loopback."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from saliscope.write.dicom.kinds import KINDS

ALLOWED = Path(__file__).parent / "write" / "dicom" / "allowed.toml"
PLUGINS = Path("/usr/share/orthanc/plugins")
#: Where Debian puts programs that are not on everybody's PATH.
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def tool(name: str) -> str:
    """Return the path of a program; skip without it, but fail in CI, where it must be."""
    found = shutil.which(name, path=_PLACES)
    if found is None:
        without(f"{name} is not installed: run .ci/packages")
    return str(found)


def without(reason: str) -> None:
    """Skip because something is not installed, but fail in CI, where it must be."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Allowed:
    """A known complaint of dciodvfy: of which kinds of object, as a line or a pattern for all of it, and why."""

    kinds: tuple[str, ...]
    reason: str
    line: str = ""
    pattern: str = ""

    def explains(self, complaint: str, kind: str) -> bool:
        """Return whether this line explains a complaint about an object of a kind."""
        if kind not in self.kinds and "all" not in self.kinds:
            return False
        return complaint == self.line if self.line else re.fullmatch(self.pattern, complaint) is not None


@cache
def allowed() -> tuple[Allowed, ...]:
    """Return the known complaints."""
    rows = tomllib.loads(ALLOWED.read_text()).get("allowed", [])
    return tuple(Allowed(**{**row, "kinds": tuple(row["kinds"])}) for row in rows)


def kind_of(data: bytes | Path) -> str:
    """Return the kind of object that a file is, by its SOP class; "" for any other."""
    with _as_file(data) as path:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "BitsAllocated"])
    names = [k.name for k in KINDS.values() if ds.SOPClassUID in k.sop_classes]
    if names[:2] == ["parametric-map", "parametric-map-16"]:
        return names[ds.get("BitsAllocated") == 16]
    return names[0] if names else ""


def all_complaints(data: bytes | Path) -> list[str]:
    """Return every error and warning of dciodvfy about a DICOM file, once each."""
    judge = tool("dciodvfy")
    with _as_file(data) as path:
        said = subprocess.run([judge, str(path)], capture_output=True, check=False, timeout=120)
    text = (said.stderr + said.stdout).decode("utf-8", "replace")
    lines = dict.fromkeys(line.strip() for line in text.splitlines() if line.startswith(("Error", "Warning")))
    if said.returncode != 0 and not any(line.startswith("Error") for line in lines):
        lines[f"Error - dciodvfy ended with {said.returncode}"] = None
    return list(lines)


def complaints(data: bytes | Path, kind: str = "") -> list[str]:
    """Return the errors and warnings of dciodvfy that no line of allowed.toml explains for the kind of object."""
    kind = kind or kind_of(data)
    return [line for line in all_complaints(data) if not any(row.explains(line, kind) for row in allowed())]


def dumped(data: bytes | Path) -> str:
    """Return what dcmdump prints of a DICOM file; fail where it finds an error or a warning."""
    program = tool("dcmdump")
    with _as_file(data) as path:
        said = subprocess.run([program, str(path)], capture_output=True, check=False, timeout=120)
    told = [x for x in said.stderr.decode("utf-8", "replace").splitlines() if x.startswith(("E:", "W:", "F:"))]
    assert said.returncode == 0, told
    assert not told, told
    return said.stdout.decode("utf-8", "replace")


@contextmanager
def _as_file(data: bytes | Path) -> Iterator[Path]:
    if isinstance(data, Path):
        yield data
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object.dcm"
        path.write_bytes(data)
        yield path


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Orthanc:
    """An Orthanc that runs on loopback: its ports, its AE title, and what tests ask of it."""

    http: int
    dicom: int
    folder: Path
    aet: str = "ORTHANC"
    session: requests.Session = field(default_factory=requests.Session, repr=False)

    @property
    def url(self) -> str:
        """Return the root of its REST API."""
        return f"http://127.0.0.1:{self.http}"

    @property
    def dicomweb(self) -> str:
        """Return the root of its DICOMweb."""
        return f"{self.url}/dicom-web"

    def get(self, path: str, **words: Any) -> requests.Response:
        """Return its answer to a GET below its root, whatever the status."""
        return self.session.get(f"{self.url}{path}", timeout=30, **words)

    def post(self, path: str, data: bytes | str = b"", **words: Any) -> requests.Response:
        """Return its answer to a POST below its root, whatever the status."""
        return self.session.post(f"{self.url}{path}", data=data, timeout=60, **words)

    def store(self, data: bytes) -> str:
        """Store a DICOM file by REST and return Orthanc's own name of the instance."""
        answer = self.post("/instances", data)
        answer.raise_for_status()
        return str(answer.json()["ID"])

    def stow(self, *objects: bytes) -> requests.Response:
        """Return the answer to storing DICOM files by DICOMweb (STOW-RS, PS3.18 10.5)."""
        boundary = "dicom-boundary-7f3a"
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + data + b"\r\n" for data in objects) + f"--{boundary}--".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        return self.post("/dicom-web/studies", body, headers=headers)

    def find(self, uid: str) -> str:
        """Return Orthanc's own name of the instance with a SOP Instance UID, "" where it has none."""
        rows = self.post("/tools/lookup", uid).json()
        return next((str(r["ID"]) for r in rows if r["Type"] == "Instance"), "")

    def preview(self, instance: str, frame: int | None = None) -> requests.Response:
        """Return its answer to a request for a picture of an instance: PNG with 200, or 415 where it draws none."""
        of = f"/instances/{instance}" + ("" if frame is None else f"/frames/{frame}")
        return self.get(f"{of}/preview", headers={"Accept": "image/png"})

    def file(self, instance: str) -> bytes:
        """Return the DICOM file of an instance as it is stored."""
        answer = self.get(f"/instances/{instance}/file")
        answer.raise_for_status()
        return answer.content

    def modality(self, name: str, aet: str, port: int) -> None:
        """Let it know a DICOM node of this machine, to which it can send."""
        words = json.dumps({"AET": aet, "Host": "127.0.0.1", "Port": port})
        self.session.put(f"{self.url}/modalities/{name}", data=words, timeout=30).raise_for_status()

    def clear(self) -> None:
        """Delete every patient that it holds."""
        for patient in self.get("/patients").json():
            self.session.delete(f"{self.url}/patients/{patient}", timeout=30)


@contextmanager
def running_orthanc(folder: Path, configuration: Mapping[str, Any] | None = None) -> Iterator[Orthanc]:
    """Run an Orthanc with its storage in a folder, and `configuration` over that of the tests; it ends with the block.

    Ports that somebody else took in the meantime are chosen again.
    """
    program = tool("Orthanc")
    if not (PLUGINS / "libOrthancDicomWeb.so").exists():
        without("Orthanc has no DICOMweb: run .ci/packages")
    for _ in range(3):
        server = Orthanc(free_port(), free_port(), folder)
        server.session.trust_env = False  # no proxy stands between this machine and itself
        process = _started(program, server, configuration or {})
        try:
            if _up(server, process):
                yield server
                return
        finally:
            _stopped(process)
            server.session.close()
    pytest.fail(f"Orthanc did not start: {(folder / 'log.txt').read_text()[-2000:]}")


def _started(program: str, server: Orthanc, configuration: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    folder = server.folder
    words = {
        "Name": "tests", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "HttpPort": server.http, "DicomPort": server.dicom, "DicomAet": server.aet, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "SslEnabled": False, "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowFind": True, "DicomCheckModalityHost": False,
        "StrictAetComparison": False, "StableAge": 1, "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so")],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "HttpThreadsCount": 4,
        **configuration,
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(words))
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen([program, str(path)], stdout=log, stderr=log, preexec_fn=_die_with_parent)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the tests die, even by SIGKILL (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _up(server: Orthanc, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it answers at both doors; False where it ended, such as over a port that was taken."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if server.get("/system").status_code == 200:
                with socket.create_connection(("127.0.0.1", server.dicom), timeout=2):
                    return process.poll() is None
        except OSError:
            pass
        time.sleep(0.1)
    return False


def _stopped(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Run an Orthanc on loopback for all tests of this worker, with DICOMweb and a storage of its own."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


def strictly(data: bytes) -> pydicom.Dataset:
    """Return a DICOM file read with every value checked; fail where pydicom finds one that the standard forbids."""
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        ds = pydicom.dcmread(BytesIO(data))
        for element in ds.iterall():
            assert element.VR, element.tag
    finally:
        pydicom.config.settings.reading_validation_mode = before
    return ds
