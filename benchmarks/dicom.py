"""What a map of a CT costs to write as DICOM, beside highdicom's own classes where they say the same.

A drawn volume of 120 slices of 512 x 512 with a smooth map; every run makes the object and encodes it as a file. The
values are read back and compared. Times are processor time of one thread.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from measure import QUICK, Row, fresh, interleaved, peak_added, row
from pydicom.sr.codedict import codes

from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Traits
from saliscope.core.provenance import Provenance
from saliscope.figures.reading import interpret
from saliscope.read import Limits, discover, headers
from saliscope.study.dicom import result_of
from saliscope.write import image_files, write_files
from saliscope.write.dicom.kinds import KINDS, chosen
from saliscope.write.dicom.objects import dicom_files, encoded
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp

PLANES, SIDE = (12, 128) if QUICK else (120, 512)
PEER = f"highdicom {version('highdicom')}"
WHAT = f"{PLANES} x {SIDE} x {SIDE}"
ALONE = ("parametric-map-16", "segmentation", "secondary-capture", "presentation-state", "structured-report", "pdf")


@cache
def case() -> tuple[Result, DicomSource, tuple[pydicom.Dataset, ...]]:
    """Return a map of a drawn CT, its source, and the source's files as highdicom takes them."""
    grid = Geometry.of_affine((PLANES, SIDE, SIDE), [[0, 0, -0.7, 170.0], [0, -0.7, 0, 170.0], [1.5, 0, 0, -90.0]])
    values = np.random.default_rng(0).integers(0, 400, grid.shape).astype(np.float32)
    drawn = MedicalImage(values[None], (values[None] / 4).astype(np.uint8), grid, "CT", "HU", "bench", "bench")
    with tempfile.TemporaryDirectory() as place:
        write_files(Path(place), image_files(drawn, "dicom"))
        (source,), _ = discover([place], Limits(), b"a key of the benchmark's own")
        image, (read, planes) = source.load(), headers(source)
    native = grid.on_grid([max(2, n // 16) for n in grid.shape])
    middle = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in native.shape], indexing="ij"))
    smooth = np.exp(-4 * (middle**2).sum(0)).astype(np.float32)
    explanation = Explanation(
        smooth, native, image.geometry, "finding", Prediction(("finding",), (1.0,), (0.73,), "binary", (0.5,)),
        Traits("cam", signed=False, grid="layer", class_discriminative=True, citation="", cost="", blind=""),
        Provenance(image.digest, "0" * 64, "0" * 64, "bench", "grad-cam", {}, "finding", "layer", "", {}, "cpu"),
    )  # fmt: skip
    result = result_of(image, interpret(explanation, image))
    return result, DicomSource(tuple(read), tuple(planes)), tuple(read)


def ours(kind: str) -> bytes:
    """Return an object of saliscope's as a file."""
    result, source, _ = case()
    return dicom_files(result, source, chosen(kind), stamp()).files[f"{kind}.dcm"]


def stamp() -> Stamp:
    """Return a fixed time."""
    from datetime import UTC, datetime

    return Stamp(datetime(2026, 1, 1, tzinfo=UTC))


def theirs_map() -> bytes:
    """Return highdicom's Parametric Map of the same values."""
    result, _, sources = case()
    mapping = hd.pm.RealWorldValueMapping(
        "map", "map", codes.UCUM.NoUnits, (float(result.values.min()), float(result.values.max())), 1, 0
    )
    made = hd.pm.ParametricMap(
        list(sources), result.values, hd.UID(), 1, hd.UID(), 1, "bench", "bench", "1", "1",
        contains_recognizable_visual_features=False, real_world_value_mappings=[mapping], window_center=0.5,
        window_width=1.0, content_label="MAP",
    )  # fmt: skip
    return encoded(made)


def theirs_regions() -> bytes:
    """Return highdicom's Segmentation of the same regions."""
    result, _, sources = case()
    numbers = [int(n) for n in np.unique(result.labels) if n]
    algorithm = hd.AlgorithmIdentificationSequence("bench", codes.DCM.ArtificialIntelligence, "1")
    segments = [
        hd.seg.SegmentDescription(
            n, f"Region {n}", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion,
            hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm,
        )
        for n in numbers
    ]  # fmt: skip
    made = hd.seg.Segmentation(
        list(sources), result.labels, hd.seg.SegmentationTypeValues.BINARY, segments, hd.UID(), 1, hd.UID(), 1,
        "bench", "bench", "1", "1",
    )  # fmt: skip
    return encoded(made)


def values_of(data: bytes) -> np.ndarray:
    """Return the values of a file."""
    return pydicom.dcmread(BytesIO(data)).pixel_array


def rows() -> list[Row]:
    """Return the rows: two kinds beside highdicom's, the others alone with the size of their file."""
    found = []
    for kind, theirs in (("parametric-map", theirs_map), ("segmentation", theirs_regions)):
        found.append(_beside(kind, theirs))
    for kind in ALONE:
        if kind != "segmentation":
            times = interleaved({"ours": lambda kind=kind: ours(kind)}, 3)
            note = f"file of {len(ours(kind)) / 2**20:.1f} MiB"
            found.append(row(f"{KINDS[kind].title}, {WHAT}", times.median("ours"), unit="s", note=note))
    for kind in ("parametric-map", "secondary-capture"):
        added = fresh(__file__, kind)
        note = f"the map itself has {PLANES * SIDE * SIDE * 4 / 2**20:.0f} MiB"
        found.append(row(f"memory beyond image and map, {KINDS[kind].title}, {WHAT}", added, unit="MiB", note=note))
    return found


def _beside(kind: str, theirs: Callable[[], bytes]) -> Row:
    times = interleaved({"ours": lambda: ours(kind), "theirs": theirs}, 5)
    same = values_of(ours(kind)), values_of(theirs())
    error = (
        float(np.abs(same[0].astype(float) - same[1].astype(float)).max()) if same[0].shape == same[1].shape else None
    )
    return row(
        f"{KINDS[kind].title}, {WHAT}", times.median("ours"), times.median("theirs"), **times.ratio("theirs", "ours"),
        unit="s", peer_version=PEER, error=error, note="error is the largest difference of values read back",
    )  # fmt: skip


if __name__ == "__main__":
    case()
    sys.stdout.write(json.dumps(peak_added(lambda: ours(sys.argv[1]))) + "\n")
