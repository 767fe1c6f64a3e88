"""Every file of pydicom's wheel and of the data folder reads as expected or is refused as expected, nothing else."""

from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from saliscope.core.errors import InputError, MissingCodec, UnreadableFile
from saliscope.read import read

WHEEL = Path(pydicom.data.__file__).parent
#: No image, for the reason that must stand in the message.
REFUSED = {
    "liver": "a segmentation",
    "rtdose": "a radiotherapy dose",
    "badVR": "a radiotherapy dose",
    "rtplan.dcm": "a radiotherapy object",
    "rtplan_truncated": "a radiotherapy object",
    "rtstruct.dcm": "a radiotherapy object",
    "ExplVR_BigEndNoMeta": "a radiotherapy object",
    "ExplVR_LitEndNoMeta": "a radiotherapy object",
    "reportsi": "a structured report",
    "test-SR": "a structured report",
    "waveform": "a waveform",
    "DICOMDIR": "a table of contents",
    "chrJapMulti": "without pixel data",
    "chrKoreanMulti": "without pixel data",
    "chrSQEncoding": "without an image",
    "UN_sequence": "without an image",
    "empty_charset": "without an image",
    "meta_missing_tsyntax": "without an image",
    "nested_priv_SQ": "without an image",
    "no_meta_group_length": "without an image",
    "priv_SQ": "without an image",
    "emri_small_jpeg_2k_lossless_too_short": "without an image",
    "MR_truncated": "promises 8,192 bytes of pixels and the file holds 8,130",
    "JPEG2000-embedded-sequence-delimiter": "1024 x 3722445056",
    "no_meta.dcm": "not an image of a kind that is read",
}
PALETTES = ("fall", "hotiron", "hotmetalblue", "pet", "pet20step", "spring", "summer", "winter")
TWELVE_BIT = ("JPEG-lossy.dcm", "JPGExtended.dcm")


def _wheel() -> list[Path]:
    files = [p for p in WHEEL.rglob("*") if p.is_file() and not p.name.startswith((".", "__"))]
    # Of the hundred empty slices of one folder, one stands for all.
    return sorted(p for p in files if p.suffix not in (".py", ".pyc") and not ("IM0" in p.name and p.name[-2:] != "00"))


def _check(path: Path) -> None:
    reason = next((why for start, why in REFUSED.items() if path.name.startswith(start)), None)
    if path.stem in PALETTES or path.name.startswith("IM0"):
        reason = "without an image"
    if path.name in TWELVE_BIT:
        with pytest.raises(MissingCodec, match="pip install pylibjpeg-libjpeg"):
            read(path)
    elif reason:
        with pytest.raises(UnreadableFile) as caught:
            read(path)
        assert reason in str(caught.value)
        assert path.name in str(caught.value)
    elif path.suffix in (".dcm", "") and path.name != "README":
        _reads(path)
    else:
        with pytest.raises(InputError):
            read(path)


def _reads(path: Path) -> None:
    ds = pydicom.dcmread(path, force=True)
    image = read(path)
    colour = ds.SamplesPerPixel == 3 or ds.PhotometricInterpretation == "PALETTE COLOR"
    assert image.values.shape == (3 if colour else 1, ds.Rows, ds.Columns)
    assert image.display.shape == image.values.shape
    assert image.values.dtype == np.float32
    assert image.values.std() > 0
    if colour:
        assert image.values.min() >= 0
        assert image.values.max() <= 255
    assert image.units == ("HU" if ds.get("Modality") == "CT" else "")
    assert len(image.digest) == 64
    frames = int(ds.get("NumberOfFrames") or 1)
    assert any(f"{frames} frames" in n for n in image.notes) == (frames > 1)


@pytest.mark.parametrize("path", _wheel(), ids=lambda p: p.name)
def test_each_file_of_the_wheel(path: Path) -> None:
    _check(path)


def test_the_wheel_is_there() -> None:
    assert len(_wheel()) > 140


def test_each_file_of_the_data_folder(data: Path) -> None:
    files = sorted((data / "dicom").iterdir())
    assert len(files) == 52
    for path in files:
        _check(path)


def test_the_whole_wheel_as_a_folder_never_raises() -> None:
    from saliscope.read import discover

    sources, failures = discover([WHEEL])
    assert len(sources) > 80
    assert len({s.name for s in sources}) == len(sources)
    assert all(isinstance(f.error, InputError) for f in failures)
    # Reports, plans and tables of contents beside images are clutter, not failures.
    assert not [f for f in failures if "report" in str(f.error) or "DICOMDIR" in f.path.name]
