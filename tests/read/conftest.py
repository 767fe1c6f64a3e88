"""Files that the tests make themselves: DICOM slices with any tag changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Maker = Callable[..., Path]
SERIES = generate_uid(entropy_srcs=["a series"])


@pytest.fixture(autouse=True)
def _own_key(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's own key file out of the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.delenv("SALISCOPE_CASE_KEY", raising=False)


def ct(pixels: np.ndarray, **tags: Any) -> Dataset:
    """Return a CT slice with these stored pixels; a tag set to None is left out."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    wide = pixels.dtype.itemsize * 8
    given: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "SeriesInstanceUID": SERIES,
        "Modality": "CT",
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1],
        "SliceThickness": 9,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "Rows": pixels.shape[-3] if pixels.shape[-1] == 3 else pixels.shape[-2],
        "Columns": pixels.shape[-2] if pixels.shape[-1] == 3 else pixels.shape[-1],
        "SamplesPerPixel": 3 if pixels.shape[-1] == 3 else 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": wide,
        "BitsStored": wide,
        "HighBit": wide - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    } | tags
    for keyword, value in given.items():
        if value is not None:
            setattr(ds, keyword, value)
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB" if wide == 8 else "OW"
    return ds


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Return a function that writes a CT slice and returns its path."""

    def write(name: str = "slice.dcm", pixels: np.ndarray | None = None, **tags: Any) -> Path:
        stored = np.arange(12 * 10, dtype=np.uint16).reshape(12, 10) if pixels is None else pixels
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ds = ct(stored, **tags)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID if "SOPInstanceUID" in ds else generate_uid()
        ds.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def stack(make: Maker) -> Callable[..., Path]:
    """Return a function that writes slices at positions (LPS mm) in a folder, out of order, and returns the folder."""

    def write(positions: list[tuple[float, float, float]], folder: str = "series", **tags: Any) -> Path:
        path = Path()
        for i in np.random.default_rng(0).permutation(len(positions)):
            pixels = np.full((6, 5), 1024 + i, dtype=np.uint16)
            pixels[0, 0] = 0
            own = {k: v[i] if isinstance(v, dict) else v for k, v in tags.items()}
            position = [f"{p:.6g}" for p in positions[i]]
            path = make(f"{folder}/{(i * 7) % 10}-{i}.dcm", pixels, **{"ImagePositionPatient": position} | own)
        return path.parent

    return write
