"""DICOM sources that tests make themselves, and an explanation of each whose map is known: for all tests of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Traits
from saliscope.core.provenance import Provenance
from saliscope.figures.overlay import overlay
from saliscope.figures.reading import interpret
from saliscope.phantom.case import Case
from saliscope.phantom.catalogue import make_scene
from saliscope.read import Limits, discover, headers
from saliscope.write import image_files, write_files
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp

TIME = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PATIENT = {
    "PatientName": "Müller^Änne",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19500102",
    "PatientSex": "F",
    "AccessionNumber": "ACC-1",
    "StudyID": "7",
    "StudyDate": "20251231",
    "StudyTime": "235959",
    "ReferringPhysicianName": "House^G",
    "SpecificCharacterSet": "ISO_IR 192",
}
_TURNED = Rotation.from_euler("xyz", [12, -8, 20], degrees=True).as_matrix()
_AFFINE = np.column_stack([_TURNED @ np.diag([-1.1, -1.4, 4.0])[:, [2, 1, 0]], [31.0, 12.0, -70.0]])
#: An anisotropic grid (plane, row, column), tilted in all three angles.
OBLIQUE = Geometry.of_affine((9, 24, 20), _AFFINE)
#: The same with a gantry tilt: its slices are shifted along their rows from one to the next.
SHEARED = Geometry.of_affine((9, 24, 20), _AFFINE + np.outer(_TURNED @ [0, 0.5, 0], [1, 0, 0, 0]))


def volume(geometry: Geometry, modality: str = "CT") -> MedicalImage:
    """Return a volume of whole numbers, a bright block on noise, on any grid."""
    values = np.random.default_rng(3).integers(0, 300, geometry.shape)
    values[tuple(slice(n // 3, n // 2) for n in geometry.shape)] += 600
    shown = np.clip(values // 4, 0, 255).astype(np.uint8)
    units = "HU" if modality == "CT" else ""
    return MedicalImage(values[None].astype(np.float32), shown[None], geometry, modality, units, f"v-{modality}", "v")


def write_source(folder: Path, kind: str) -> Path:
    """Write a DICOM source of a kind and return its path: ct, mr, ct-oblique, ct-flipped,
    ct-sheared, dx, cr, cr-unspaced, us.
    """
    scenes = {"ct": "body-ct", "mr": "brain", "dx": "chest", "cr": "chest", "cr-unspaced": "chest", "us": "ultrasound"}
    if kind in scenes:
        image = Case(make_scene(scenes[kind], 96 if kind not in ("ct", "mr") else 48), 4).render()
    else:
        grids = {"ct-oblique": OBLIQUE, "ct-flipped": OBLIQUE.flipped(1).flipped(2), "ct-sheared": SHEARED}
        image = volume(grids[kind])
    files = image_files(image, "dicom")
    study, series, frame = (generate_uid(entropy_srcs=[kind, w]) for w in ("study", "series", "frame"))
    write_files(folder, files)
    for name in files:
        ds = pydicom.dcmread(folder / name)
        for keyword, value in PATIENT.items():
            setattr(ds, keyword, value)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        if "FrameOfReferenceUID" in ds:
            ds.FrameOfReferenceUID = frame
        if kind.startswith("cr"):
            ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
            ds.Modality = "CR"
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
                if keyword in ds:
                    delattr(ds, keyword)
            ds.PatientOrientation = ["L", "F"]
        if kind == "cr-unspaced":
            for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
                if keyword in ds:
                    delattr(ds, keyword)
        ds.save_as(folder / name)
    return folder


def case_of(path: Path, *, card: Mapping[str, Any] | None = None, signed: bool = False) -> tuple[Result, DicomSource]:
    """Return the result of a known map over the image at a path: two bumps on a grid half as fine, cut off below."""
    (source,), failures = discover([path], Limits())
    assert not failures, failures
    image = source.load()
    grid = image.geometry
    native = grid.on_grid([max(2, -(-n // 2)) for n in grid.shape])
    index = np.stack(np.meshgrid(*[np.arange(n) / n for n in native.shape], indexing="ij"))
    values = np.zeros(native.shape, np.float32)
    for height, middle in ((2.0, (0.4, 0.4, 0.4)), (1.0, (0.75, 0.7, 0.7))):
        away = sum((i - m) ** 2 for i, m in zip(index, middle[-grid.ndim :], strict=True))
        values += np.float32(height) * np.exp(-away / 0.008).astype(np.float32)
    values[values < 0.05] = 0
    if signed:
        values -= np.float32(0.2)
    explanation = Explanation(
        values, native, grid, "nodule", Prediction(("nodule",), (1.9,), (0.87,), "binary", (0.5,)),
        Traits("cam", signed, "layer", class_discriminative=True, citation="selvaraju2017", cost="1", blind="little"),
        Provenance(
            image.digest, "a" * 64, "b" * 64, "a-network", "grad-cam", {"absolute": False}, "nodule", "features.3",
            "the last spatial layer", {"saliscope": "0.1.0"}, "cpu",
        ),
    )  # fmt: skip
    reading = interpret(explanation, image)
    labels = reading.focus.labels if reading.focus else np.zeros(grid.shape, np.uint8)

    def capture() -> np.ndarray:
        one = np.asarray(overlay(image, reading))
        return np.repeat(one[None], grid.shape[0] if grid.ndim == 3 else 1, axis=0)

    result = Result(
        explanation, image, reading.values, labels, reading.record(), card, capture, lambda: (), lambda: b"%PDF-1.4\n"
    )
    read, planes = headers(source)
    return result, DicomSource(tuple(read), tuple(planes))


def stamp(number: int = 0) -> Stamp:
    """Return the stamp of a test: a fixed time."""
    return Stamp(TIME, number)


def hidden(result: Result) -> Result:
    """Return the result with a card that hides its map."""
    card = {"state": "do-not-read", "state_name": "DO NOT READ", "map_hidden": True, "headline": "", "reasons": ["no"]}
    return replace(result, card=card)
