"""Write docs/explanation/dicom-in-ohif.md: what OHIF draws of every kind of object, made of drawn patients.

Needs Orthanc and Chromium (`.ci/packages`), npm, and Playwright for Python (`pip install playwright`; no package of a
developer needs it). npm fetches the viewer, as its makers built it, into a temporary folder and checks its SHA-512;
nothing of it stays. Takes about six minutes.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from mimetypes import guess_type
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom
from make_dicom_shown import NETWORKS, objects, plane_of
from PIL import Image

from saliscope.phantom.catalogue import SCENES
from saliscope.write.dicom.kinds import KINDS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from dicom_tools import Orthanc, running_orthanc, tool

PAGE = Path(__file__).resolve().parent / "explanation" / "dicom-in-ohif.md"
VIEWER = "@ohif/app@3.13.2"
INTEGRITY = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
CHROMIUM = (
    "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
#: What is kept as a picture: (scene, kind).
PICTURES = {
    *(("body-ct", kind) for kind in KINDS if "map" in kind or "seg" in kind or "report" in kind),
    ("chest", "secondary-capture"),
}
WIDTH = 520
SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb", "sourceName": "archive",
    "configuration": {
        "friendlyName": "archive", "name": "archive", "qidoRoot": "/dicom-web", "wadoRoot": "/dicom-web",
        "wadoUriRoot": "/wado", "qidoSupportsIncludeField": False, "imageRendering": "wadors",
        "thumbnailRendering": "wadors", "enableStudyLazyLoad": True, "supportsFuzzyMatching": False,
        "supportsWildcard": True, "singlepart": "bulkdata,video", "bulkDataURI": {"enabled": True},
        "omitQuotationForMultipartRequest": True,
    },
}  # fmt: skip
CONFIG = {
    "routerBasename": None, "extensions": [], "modes": [], "showStudyList": True, "maxNumberOfWebWorkers": 2,
    "investigationalUseDialog": {"option": "never"}, "defaultDataSourceName": "archive", "dataSources": [SOURCE],
}  # fmt: skip
#: What the viewer holds of itself: the display sets, whether that of a series is refused, and what it drew.
STATE = """name => {
  const sets = services.displaySetService.getActiveDisplaySets();
  const one = sets.find(s => (s.SeriesDescription || '').startsWith(name)) || {};
  return {sets: sets.length, refused: !!one.unsupported, measurements: (one.measurements || []).length,
    canvases: document.querySelectorAll('.viewport-element canvas').length,
    documents: document.querySelectorAll('object, embed, iframe').length}
}"""
#: The elements of the segmentation that it holds, by source image.
SEGMENTED = """() => {
  const labels = cornerstoneTools.segmentation.state.getSegmentations()[0]?.representationData.Labelmap;
  return (labels?.imageIds || []).map((id, i) => {
    const image = cornerstone.cache.getImage(id), values = image.voxelManager.getScalarData(), on = [];
    for (let k = 0; k < values.length; k++) if (values[k]) on.push(k);
    return [cornerstone.metaData.get('sopCommonModule', labels.referencedImageIds[i]).sopInstanceUID, on];
  })
}"""
#: The volume of the parametric map that it holds, and where its planes lie (z, mm).
MAPPED = """() => {
  const volume = [...cornerstone.cache.getVolumes()].find(v => v.volumeId.startsWith('pmap'));
  if (!volume) return null;
  const data = volume.voxelManager.getCompleteScalarDataArray();
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength); let text = '';
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  const step = volume.spacing[2] * volume.direction[8];
  const z = [...Array(volume.dimensions[2]).keys()].map(k => volume.origin[2] + k * step);
  return {type: data.constructor.name, data: btoa(text), z}
}"""
#: To a plane, by its place along z: the planes are counted from the top here.
JUMP = """async ([z, plane]) => {
  const view = cornerstone.getRenderingEngines()[0]?.getViewports()[0];
  if (!view) return null;
  await cornerstone.utilities.jumpToSlice(view.element, {imageIndex: view.getNumberOfSlices() - 1 - plane});
  await new Promise(done => setTimeout(done, 2000));
  return view.getCamera().focalPoint[2] - z;
}"""


HEAD = """# What OHIF shows of the objects

Written by `docs/make_ohif_shown.py`: a chest radiograph and a CT, both drawn by `saliscope phantom`, explained by
Grad-CAM for networks trained on such drawings, and written as every kind of object into an Orthanc {1}. The viewer is
`{0}` from npm as its makers built it, in Chromium {2} without a graphics card, with one DICOMweb source and no other
setting. Each object was opened as a reader opens it: two clicks on its series, "Yes" where the viewer asks. What the
viewer then held was read out of it and compared with the object; the pictures were looked at.
"""
TAIL = """
## What to make of it

- **Segmentations of volumes are right**: every element on the source image that it belongs to.
- **The 32-bit map of a volume is right but faint.** OHIF multiplies a map by 100 and shows it from 0 to 100 in rainbow
  colours, whatever its range, and makes low values transparent. What is negative is not seen. The overlay says little
  until its window is set by hand.
- **Do not send the 16-bit map to OHIF.** It multiplies the stored steps by 100 in 16 bits, which overflow: the stripes
  above are no map. It says so only in the browser's console.
- **A segmentation of a radiograph breaks OHIF**: it reads the spacing of the regions without asking whether there is
  one, and the standard asks for none on an image without a place in the patient (PS3.3 A.51.5). Load the page again.
- **The report shows the outlines of the regions** with their numbers. What has no place, such as the probability,
  stands apart from the groups of measurements: OHIF shows nothing of a report in which one group has no line.

Not looked at: oblique slices, images of several frames, several regions, other versions, modes and settings of OHIF.
"""


def main() -> None:
    """Write the page and its pictures."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        site = fetched(folder / "viewer")
        (folder / "orthanc").mkdir()
        made = {scene: objects(scene, folder / scene) for scene in NETWORKS}
        browser = playwright.chromium.launch(executable_path=tool("chromium"), args=list(CHROMIUM))
        with running_orthanc(folder / "orthanc") as archive, served(site, archive) as root:
            versions = (VIEWER, archive.get("/system").json()["Version"], browser.version.split(".")[0])
            for path in (p for scene in NETWORKS for p in (folder / scene).rglob("*") if p.suffix == ".dcm"):
                archive.store(path.read_bytes())
            cells = {(s, p.stem): looked(browser, root, s, p, plane_of(made[s])) for s in NETWORKS for p in made[s]}
        browser.close()
    PAGE.write_text(page(versions, cells), encoding="utf-8")


def fetched(folder: Path) -> Path:
    """Fetch the viewer and return the folder of its pages; fails where npm or this file finds another SHA-512."""
    folder.mkdir()
    words = [tool("npm"), "pack", VIEWER, "--json", "--pack-destination", str(folder)]
    (told,) = json.loads(subprocess.run(words, check=True, capture_output=True, timeout=300, cwd=folder).stdout)  # noqa: S603
    assert told["integrity"] == INTEGRITY, told["integrity"]
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "dist"


@contextmanager
def served(site: Path, archive: Orthanc) -> Iterator[str]:
    """Serve the viewer and the archive's DICOMweb as one origin on loopback, isolated for shared memory."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

        def do_GET(self) -> None:
            """Answer with a page of the viewer, its configuration or the archive's answer."""
            path, status = self.path.split("?")[0], 200
            if path.startswith(("/dicom-web/", "/wado")):
                words = {"Accept": self.headers.get("Accept", "*/*"), "Host": self.headers["Host"]}
                answer = archive.get(self.path, headers=words)
                status, body, kind = answer.status_code, answer.content, answer.headers.get("Content-Type", "")
            elif path == "/app-config.js":
                body, kind = f"window.config = {json.dumps(CONFIG)};".encode(), "text/javascript"
            else:
                file = site / path.lstrip("/")
                file = file if file.is_file() else site / "index.html"
                body = file.read_bytes()
                kind = "application/wasm" if file.suffix == ".wasm" else guess_type(file.name)[0] or "text/plain"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            with suppress(ConnectionError):  # a page that was closed wants no answer
                self.end_headers()
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def looked(browser: Any, root: str, scene: str, path: Path, plane: int) -> str:
    """Open an object as a reader does (two clicks, "Yes" where asked) and return the cell of what was seen."""
    ds, kind = pydicom.dcmread(path), KINDS[path.stem]  # type: ignore[index]
    view, errors = browser.new_page(viewport={"width": 1400, "height": 900}), []
    view.on("console", lambda m: errors.append(m.text) if m.type == "error" or "Boundary" in m.text else None)
    view.goto(f"{root}/viewer?StudyInstanceUIDs={ds.StudyInstanceUID}")
    view.get_by_text("Skip all").click(timeout=90_000)  # its guided tour
    view.wait_for_timeout(1500)
    view.get_by_text(re.compile(f"^{kind.series}:")).first.dblclick()
    view.wait_for_timeout(7000)
    if (yes := view.get_by_text("Yes", exact=True)).count():
        yes.first.click()
        view.wait_for_timeout(6000)
    seen = view.evaluate(STATE, f"{kind.series}:")
    cell = judged(view, ds, path.stem, seen)
    if errors and cell != REFUSED:
        cell += f". It logs: `{re.sub(r'[|`]', '', errors[0].splitlines()[0])[:110]}`"
    if (scene, path.stem) in PICTURES:
        cell += f"<br>{kept(view, scene, path, plane)}"
    view.close()
    return cell


REFUSED = "not shown: marked as unsupported"


def judged(view: Any, ds: pydicom.Dataset, kind: str, seen: dict[str, Any]) -> str:
    """Return in words what the viewer made of an object."""
    if not seen["sets"]:
        return "**the whole page of the viewer goes black**"
    if seen["refused"]:
        return REFUSED
    if kind == "segmentation":
        return segmented(ds, view.evaluate(SEGMENTED))
    if kind.startswith("parametric-map"):
        return mapped(ds, view.evaluate(MAPPED))
    if kind == "pdf":
        return "opens as a document" if seen["documents"] else "nothing opens"
    if not seen["canvases"]:
        return f"**opens as an empty black view** ({seen['measurements']} groups of measurements read, none shown)"
    return "opens as a picture" + (f", {ds.NumberOfFrames} frames to scroll" if "NumberOfFrames" in ds else "")


def segmented(ds: pydicom.Dataset, rows: list[tuple[str, list[int]]]) -> str:
    """Compare the elements that the viewer holds for each source image with those of the segmentation."""
    ours: dict[str, set[int]] = {}
    for groups, frame in zip(ds.PerFrameFunctionalGroupsSequence, ds.pixel_array, strict=True):
        uid = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        ours[uid] = ours.get(uid, set()) | set(np.flatnonzero(frame).tolist())
    theirs = {uid: set(on) for uid, on in rows if on}
    if not theirs:
        return "no overlay"
    wrong = sum(ours.get(uid) != theirs.get(uid) for uid in ours | theirs)
    count = sum(map(len, theirs.values()))
    return f"overlay: {count} elements on {len(theirs)} source images, {wrong} images differ from the object"


def mapped(ds: pydicom.Dataset, held: dict[str, Any] | None) -> str:
    """Compare the values that the viewer holds at each place with those of the map; it keeps them times 100."""
    if held is None:
        return "the image without the map"
    raw = "FloatPixelData" not in ds
    ours = ds.pixel_array if raw else np.frombuffer(ds.FloatPixelData, "<f4").reshape(-1, ds.Rows, ds.Columns)
    theirs = np.frombuffer(base64.b64decode(held["data"]), np.dtype(held["type"].removesuffix("Array").lower()))
    theirs = theirs.reshape(ours.shape)
    z = [float(g.PlanePositionSequence[0].ImagePositionPatient[2]) for g in ds.PerFrameFunctionalGroupsSequence]
    order = [int(np.argmin(np.abs(np.array(z) - place))) for place in held["z"]]
    expected = ours[order].astype(np.float64) * 100
    wrong = np.abs(theirs - expected) > 1e-5 * np.abs(expected).max()
    if wrong.any():
        return f"**drawn wrong**: {wrong.mean():.0%} of its values are not the map's"
    top = np.abs(theirs).max()
    return f"overlay in colour: every value at its place, times 100 (largest {top:.1f} of a fixed window of 0 to 100)"


def kept(view: Any, scene: str, path: Path, plane: int) -> str:
    """Store the view beside the page, of a volume at a plane, and return it in the page's words."""
    if path.stem.startswith(("segmentation", "parametric-map")):
        ds = pydicom.dcmread(path.parent / "parametric-map.dcm")
        place = ds.PerFrameFunctionalGroupsSequence[plane].PlanePositionSequence[0].ImagePositionPatient[2]
        off = view.evaluate(JUMP, [float(place), plane])
        assert abs(off) < 0.1, f"the plane is {off} mm from the one meant"
    picture = Image.open(BytesIO(view.screenshot())).convert("RGB").crop((288, 50, 1364, 894))
    picture.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    name = f"dicom-in-ohif-{scene}-{path.stem}.png"
    picture.quantize(128).save(PAGE.parent / name, optimize=True)
    return f"![{path.stem} of a drawn {scene} in OHIF]({name})"


def page(versions: tuple[str, str, str], cells: dict[tuple[str, str], str]) -> str:
    """Return the page."""
    lines = [
        HEAD.format(*versions),
        "| Object | " + " | ".join(SCENES[s].about for s in NETWORKS) + " |",
        "|---|---|---|",
    ]
    for name, kind in KINDS.items():
        lines.append(f"| {kind.title} | " + " | ".join(cells.get((s, name), "not written") for s in NETWORKS) + " |")
    return "\n".join([*lines, TAIL])


if __name__ == "__main__":
    main()
