"""Write docs/explanation/dicom-shown.md: what an Orthanc draws of every kind of object, made of drawn patients.

Needs Debian's Orthanc (.ci/packages), and half a minute.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
from PIL import Image

import saliscope
from saliscope.phantom.catalogue import SCENES, phantom_set
from saliscope.write import image_files, write_files
from saliscope.write.dicom.kinds import KINDS, PROFILES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from dicom_tools import Orthanc, running_orthanc

PAGE = Path(__file__).resolve().parent / "explanation" / "dicom-shown.md"
#: Scenes, and the network that is explained on each: neither has seen a patient.
NETWORKS = {"chest": "phantom-chest-plain-clean-0", "body-ct": "phantom-body-ct-plain-clean-0"}
#: Pixels of the longer side of a picture on the page.
SIDE = 640
HEAD = """# What Orthanc shows of the objects

Written by `docs/make_dicom_shown.py`: a chest radiograph and a CT, both drawn by `saliscope phantom`, explained by
Grad-CAM for networks trained on such drawings, written as every kind of object, and sent to an Orthanc {version} by
STOW-RS. Below is what it drew (`/instances/.../preview`; of a volume the plane on which the map sums to most), or the
status of its answer: 415 where it draws nothing. It applies no palette, no presentation state and no transparency. What
other viewers show stands in the [conformance statement](../reference/conformance.md); [OHIF](dicom-in-ohif.md) was
looked at, for the others it is from their documents.
"""


def objects(scene: str, folder: Path) -> list[Path]:
    """Return every object that can be written of a positive case of a scene."""
    case = [case for case in phantom_set(scene, seed=5, distractors=False) if case.label][1]
    write_files(folder / "source", image_files(case.render(), "dicom"))
    found = saliscope.explain(folder / "source", NETWORKS[scene], "grad-cam", "present")
    assert isinstance(found, saliscope.Explanation)
    return saliscope.save_dicom(found, folder / "source", folder / "out", "+".join(KINDS))


def plane_of(paths: list[Path]) -> int:
    """Return the plane on which the map sums to most, from 0."""
    (path,) = [p for p in paths if p.stem == "parametric-map-16"]
    frames = np.atleast_3d(pydicom.dcmread(path).pixel_array)
    return int(np.argmax(frames.astype(np.float64).sum(axis=(1, 2))))


def frame_of(ds: pydicom.Dataset, plane: int) -> int | None:
    """Return the frame of a plane, from 0; None of a single frame. Of a segmentation the nearest that it has."""
    if int(ds.get("NumberOfFrames", 1)) == 1:
        return None
    if ds.Modality != "SEG":
        return plane
    groups = ds.PerFrameFunctionalGroupsSequence
    planes = [int(g.FrameContentSequence[0].FrameLabel.removeprefix("Plane ")) - 1 for g in groups]
    return int(np.argmin(np.abs(np.array(planes) - plane)))


def picture(server: Orthanc, path: Path, plane: int, name: str) -> str:
    """Return the cell of an object: the picture that the server drew, stored beside the page, or its status."""
    ds = pydicom.dcmread(path)
    frame = frame_of(ds, plane) if "PixelData" in ds else None
    answer = server.preview(server.find(ds.SOPInstanceUID), frame)
    if answer.status_code != 200:
        return f"nothing ({answer.status_code})"
    drawn = Image.open(BytesIO(answer.content))
    drawn = drawn.convert("RGB" if drawn.mode == "RGB" else "L")
    scale = SIDE / max(drawn.size)
    size = (round(drawn.width * scale), round(drawn.height * scale))
    small = drawn.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    small.save(PAGE.parent / f"{name}.png", optimize=True)
    which = "" if frame is None else f"<br>frame {frame + 1} of {ds.NumberOfFrames}"
    return f"![{KINDS[path.stem].title}]({name}.png){which}"  # type: ignore[index]


def main() -> None:
    """Write the page and its pictures."""
    cells: dict[str, dict[str, str]] = {}
    with TemporaryDirectory() as folder:
        (Path(folder) / "orthanc").mkdir()
        with running_orthanc(Path(folder) / "orthanc") as server:
            version = server.get("/system").json()["Version"]
            for scene in NETWORKS:
                paths = objects(scene, Path(folder) / scene)
                server.stow(*(path.read_bytes() for path in paths)).raise_for_status()
                plane, made = plane_of(paths), {}
                for path in paths:
                    made[path.stem] = picture(server, path, plane, f"dicom-shown-{scene}-{path.stem}")
                cells[scene] = {kind: made.get(kind, "not written") for kind in KINDS}
    lines = [HEAD.format(version=version)]
    lines += ["| Object | In profiles | " + " | ".join(SCENES[s].about for s in NETWORKS) + " |", "|---|---|---|---|"]
    for name, kind in KINDS.items():
        profiles = ", ".join(p.name for p in PROFILES.values() if name in p.kinds) or "by its own name"
        lines.append(f"| {kind.title} | {profiles} | " + " | ".join(cells[s][name] for s in NETWORKS) + " |")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
