"""A round trip through an archive in numbers: docs/explanation/dicom-round-trip.md, and the archive's own page of it.

Drawn studies lie in an Orthanc on loopback; it sends them to `saliscope pacs serve`, which explains them and sends the
results back. Needs Orthanc (`.ci/packages`) and Chromium; takes about a minute.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from dicom_tools import Orthanc, free_port, running_orthanc, tool

PAGE, PICTURE = (
    Path(__file__).resolve().parent / "explanation" / name for name in ("dicom-round-trip.md", "dicom-round-trip.png")
)
#: A drawn scene, the network that explains it, its modality, what the page calls it, and the profile of its results.
STUDIES = (
    ("chest", "phantom-chest-plain-clean-0", "DX", "A radiograph (DX, one image)", "pacs-basic+pdf"),
    ("body-ct", "phantom-body-ct-plain-clean-0", "CT", "A CT series", "pacs-basic+ohif-volume"),
)
SEED = 5
HEAD = """# A round trip through an archive
Written by `docs/make_round_trip.py`: two studies, drawn by `saliscope phantom`, lie in an Orthanc {version}. It sends
them to `saliscope pacs serve` (C-STORE), which explains each by Grad-CAM when it is complete, and sends the results
back (C-STORE) into the study that they belong to. [What Orthanc draws of them](dicom-shown.md) is a page of its own.

| Counted | by | |
|---|---|--:|
| objects in the archive before | the archive | {before} |
| objects received | the node | {total_received} |
| studies explained | the node | {total_explained} |
| results sent | the node | {total_sent} |
| results sent a second time | the node | {total_sent_again} |
| errors | the node | {errors} |
| results in the archive | the archive | {after} |
"""


def main() -> None:
    """Write the page and its picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "orthanc").mkdir()
        sources = {study[0]: drawn(folder / "drawn" / study[0], study[0]) for study in STUDIES}
        with running_orthanc(folder / "orthanc") as archive:
            config = configured(folder, archive)
            for path in (p for paths in sources.values() for p in paths):
                archive.store(path.read_bytes())
            before = archive.get("/statistics").json()["CountInstances"]
            archive.modality("saliscope", "SALISCOPE", tomllib.loads(config.read_text())["node"]["port"])
            with serving(config, folder):
                for study in archive.get("/studies").json():
                    archive.post("/modalities/saliscope/store", study).raise_for_status()
                counts = at_rest(config)
            rows = {scene: results(archive, paths[0]) for scene, paths in sources.items()}
            screenshot(archive, sources["body-ct"][0])
            version = archive.get("/system").json()["Version"]
    after, errors = sum(map(len, rows.values())), counts["total_errors_explain"] + counts["total_errors_send"]
    PAGE.write_text(page(HEAD.format(version=version, before=before, after=after, errors=errors, **counts), rows))


def drawn(folder: Path, scene: str) -> list[Path]:
    """Draw one positive case as DICOM and return its files."""
    words = ["--finding", "nodule", "--count", "1", "--seed", str(SEED), "--format", "dicom", "--contamination", "0"]
    saliscope("phantom", scene, *words, "--out", str(folder), "-q")
    (row,) = csv.DictReader((folder / "cases.csv").open())
    path = folder / row["image"]
    return sorted(path.iterdir()) if path.is_dir() else [path]


def configured(folder: Path, archive: Orthanc) -> Path:
    """Write the node's configuration and return its path."""
    rules = "".join(
        f'[[rules]]\nname = "{scene}"\nmodality = ["{modality}"]\nmodel = "{model}"\ntarget = ["present"]\n'
        f'method = ["grad-cam"]\nprofile = "{profile}"\nsend_to = ["archive"]\n'
        for scene, model, modality, _, profile in STUDIES
    )
    path = folder / "saliscope.toml"
    path.write_text(
        f'[node]\nfolder = "spool"\nport = {free_port()}\nquiet_s = 2\n[health]\nport = {free_port()}\n'
        f'[peers.archive]\nkind = "dicom"\nae_title = "{archive.aet}"\nhost = "127.0.0.1"\nport = {archive.dicom}\n'
        f"may_send = true\ncan_find = true\n{rules}"
    )
    return path


@contextmanager
def serving(config: Path, folder: Path) -> Iterator[None]:
    """Run the node in a process of its own while the block lasts."""
    told = folder / "service.log"
    words = [sys.executable, "-m", "saliscope", "pacs", "serve", "-c", str(config)]
    with told.open("wb") as log:
        process = subprocess.Popen(words, stderr=log, stdout=log)  # noqa: S603
    try:
        while b"listens" not in told.read_bytes():
            assert process.poll() is None, told.read_text()
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(60)


def at_rest(config: Path) -> dict[str, int]:
    """Return the node's counts once both studies are explained and nothing waits."""
    while True:
        counts: dict[str, int] = json.loads(saliscope("pacs", "status", "--json", "-c", str(config)))["counts"]
        assert not counts["studies_failed"], counts
        busy = ("studies_waiting", "studies_explaining", "owed_waiting", "owed_sending")
        if counts["studies_explained"] == len(STUDIES) and not sum(counts[name] for name in busy):
            return counts
        time.sleep(1)


def results(archive: Orthanc, source: Path) -> list[str]:
    """Return a line for each result in the archive that lies in the study of a source."""
    series = archive.get(f"/studies/{study_of(archive, source)}/series").json()
    found = []
    for one in sorted(series, key=lambda s: int(s["MainDicomTags"]["SeriesNumber"])):
        tags = one["MainDicomTags"]
        for instance in one["Instances"] if int(tags["SeriesNumber"]) >= 9000 else ():
            frames = max(1, len(archive.get(f"/instances/{instance}/frames").json()))
            size = archive.get(f"/instances/{instance}").json()["FileSize"]
            words = (
                tags["SeriesNumber"],
                tags["Modality"],
                tags["SeriesDescription"],
                str(frames),
                f"{size / 1e6:.2f}",
            )
            found.append(f"| {' | '.join(words)} |")
    return found


def study_of(archive: Orthanc, source: Path) -> str:
    """Return the archive's own name of the study of a source."""
    (row,) = archive.post("/tools/lookup", str(pydicom.dcmread(source).StudyInstanceUID)).json()
    return str(row["ID"])


def screenshot(archive: Orthanc, source: Path) -> None:
    """Keep what Orthanc's own pages show of a study with its results."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "page.png"
        address = f"{archive.url}/app/explorer.html#study?uuid={study_of(archive, source)}"
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,900"]
        chromium = [tool("chromium"), *words, "--virtual-time-budget=8000", f"--screenshot={out}", address]
        subprocess.run(chromium, check=True, capture_output=True, timeout=120)  # noqa: S603
        picture = Image.open(out).convert("RGB")
        picture.thumbnail((900, 900), Image.Resampling.LANCZOS)
        picture.quantize(64).save(PICTURE, optimize=True)


def saliscope(*words: str) -> str:
    """Run a command and return what it wrote to stdout."""
    whole = [sys.executable, "-m", "saliscope", *words]
    return subprocess.run(whole, check=True, capture_output=True, timeout=600).stdout.decode()  # noqa: S603


def page(head: str, rows: dict[str, list[str]]) -> str:
    """Return the page."""
    lines = [head]
    for scene, model, _, title, profile in STUDIES:
        lines += [f"## {title}", f"Explained: `present` of `{model}`; written: `{profile}`.", ""]
        lines += ["| Series | Modality | What | Frames | MB |", "|--:|---|---|--:|--:|", *rows[scene], ""]
    lines += ["![The CT study with its results in Orthanc's own pages](dicom-round-trip.png)"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
