"""A node of saliscope for tests: its configuration, the service in this process or in one of its own, files to send."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pydicom
from pydicom.uid import generate_uid

from dicom_tools import free_port
from saliscope.pacs.config import Config
from saliscope.pacs.queue import Queue
from saliscope.study.service import serve

RULES = """
[[rules]]
name = "volumes"
modality = ["CT"]
model = "spot-finder-3d"
method = ["grad-cam"]
target = ["top"]
profile = "archive"
send_to = ["archive"]

[[rules]]
name = "pictures"
modality = ["CR", "DX"]
model = "spot-finder"
method = ["grad-cam"]
target = ["top"]
profile = "pacs-basic"
send_to = ["archive"]
"""


def configured(
    folder: Path, archive: str, *, rules: str = RULES, node: str = "", quiet_s: float = 1.0, aet: str = "ARCHIVE"
) -> Path:
    """Write a configuration whose archive is that table's words, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "saliscope.toml"
    path.write_text(
        f'[node]\nfolder = "spool"\nport = {free_port()}\nquiet_s = {quiet_s}\n{node}\n'
        f"[health]\nport = {free_port()}\n\n[peers.archive]\n{archive}\n"
        f'\n[peers.sender]\nkind = "dicom"\nae_title = "SENDER"\nmay_send = true\n{rules}'
    )
    return path


def dicom_archive(port: int, aet: str = "ARCHIVE", *, can_find: bool = True) -> str:
    """Return the words of a peer by DICOM on loopback, which may send."""
    return (
        f'kind = "dicom"\nae_title = "{aet}"\nhost = "127.0.0.1"\nport = {port}\nmay_send = true\n'
        f"can_find = {str(can_find).lower()}"
    )


@contextmanager
def served(path: Path, watch: str = "") -> Iterator[tuple[Config, list[str]]]:
    """Run the service in this process; yield its configuration and the lines that it tells, as they come."""
    config, stop, lines = Config.read(path), Event(), list[str]()
    ended: list[Any] = []

    def work() -> None:
        try:
            ended.append(serve(config, lines.append, stop, watch))
        except BaseException as error:  # noqa: BLE001 - raised below
            ended.append(error)

    thread = Thread(target=work)
    thread.start()
    until(lambda: bool(ended) or any("listens" in x for x in lines), 30)
    try:
        assert not ended, ended
        yield config, lines
    finally:
        stop.set()
        thread.join(30)
    assert ended == [True], (ended, lines)


def started(path: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the service in a process of its own and wait until it listens; what it says is in service.log beside."""
    log = path.with_name("service.log")
    with log.open("ab") as out:
        at = out.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "saliscope", "pacs", "serve", "-c", str(path), *words],
            stdout=out, stderr=out, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    until(lambda: b"listens" in log.read_bytes()[at:] or process.poll() is not None, 60)
    assert process.poll() is None, log.read_text()
    return process


def until(true: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Wait until something is true and return whether it became so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def at_rest(queue: Queue, studies: int) -> bool:
    """Wait until so many studies are explained and nothing is waiting or in work; return whether it became so."""

    def done() -> bool:
        c = queue.counts()
        busy = c["studies_waiting"] + c["studies_explaining"] + c["owed_waiting"] + c["owed_sending"]
        return c["studies_explained"] == studies and not busy

    return until(done, 60)


def pictures(folder: Path, count: int, *, size: int = 32, kind: str = "1.2.840.10008.5.1.4.1.1.1") -> list[Path]:
    """Write so many CR pictures, each a study of its own, small and with a bright spot, and return their paths."""
    import numpy as np
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        ds, meta = Dataset(), FileMetaDataset()
        ds.SOPClassUID = meta.MediaStorageSOPClassUID = kind
        ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
        ds.Modality, ds.PatientName, ds.PatientID = "CR", "Canary^Carla", "CANARY-4711"
        ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.StudyID = ds.ReferringPhysicianName = ""
        ds.StudyDate, ds.StudyTime, ds.SeriesNumber, ds.InstanceNumber = "20260101", "120000", 1, 1
        ds.Manufacturer, ds.ImageType, ds.PatientOrientation = "maker", ["ORIGINAL", "PRIMARY"], ["L", "F"]
        ds.Rows = ds.Columns = size
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelSpacing = ["0.5", "0.5"]
        values = np.random.default_rng(number).integers(0, 300, (size, size))
        values[size // 3 : size // 3 + 6, size // 3 : size // 3 + 6] += 3000
        ds.PixelData = values.astype("<u2").tobytes()
        ds.file_meta = meta
        path = folder / f"{number:03d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def stored(config: Config, files: Sequence[Path], aet: str = "SENDER", **words: Any) -> list[int]:
    """Send files to a node by pynetdicom, and return the status of each; -1 where there is none."""
    from pynetdicom import AE

    ae = AE(aet)
    datasets = [pydicom.dcmread(f) for f in files]
    for ds in datasets:
        ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    assoc = ae.associate("127.0.0.1", config.node.port, ae_title=config.node.ae_title, **words)
    if not assoc.is_established:
        return []
    found = []
    for ds in datasets:
        try:
            found.append(int(assoc.send_c_store(ds).get("Status", -1)))
        except (RuntimeError, ValueError):
            found.append(-1)
    assoc.release()
    return found


def health(config: Config) -> dict[str, Any]:
    """Return what the health endpoint tells."""
    import requests

    session = requests.Session()
    session.trust_env = False
    return dict(json.loads(session.get(f"http://127.0.0.1:{config.health.port}/health", timeout=5).text))
