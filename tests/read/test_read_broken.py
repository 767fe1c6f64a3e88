"""Bad input: one clear error of our own tree, before decoding, within bounds."""

import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from saliscope.core.errors import InputError, TooLarge, UnreadableFile
from saliscope.core.image import MedicalImage
from saliscope.read import Limits, discover, read


def outcome(path: Path) -> tuple[str, MedicalImage | None]:
    """Return the message of a refusal, or the image; any other error comes through."""
    try:
        return "", read(path)
    except InputError as error:
        return str(error), None


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "examples_palette.dcm"])
def test_a_dicom_cut_anywhere_reads_whole_or_is_refused(name: str, tmp_path: Path) -> None:
    source = Path(str(get_testdata_file(name, download=False)))
    whole, data = read(source), source.read_bytes()
    rng = np.random.default_rng(0)
    for keep in sorted({0, 1, 131, 132, 140, 200, *rng.integers(1, len(data) - 150, 25).tolist()}):
        path = tmp_path / "cut.dcm"
        path.write_bytes(data[:keep])
        said, image = outcome(path)
        assert "cut.dcm" in said or (image is not None and np.array_equal(image.values, whole.values))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_dicom_with_any_bytes_changed_never_raises_another_error(tmp_path: Path, data: st.DataObject) -> None:
    source = Path(str(get_testdata_file("MR_small_RLE.dcm", download=False))).read_bytes()
    broken = bytearray(source)
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(132, 2500))] = data.draw(st.integers(0, 255))
    path = tmp_path / "noise.dcm"
    path.write_bytes(bytes(broken))
    said, image = outcome(path)
    assert image is not None or "noise.dcm" in said


@given(st.binary(max_size=600), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"BM"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused(tmp_path: Path, tail: bytes, magic: bytes) -> None:
    path = tmp_path / "any.png"
    path.write_bytes(magic + tail)
    with pytest.raises(InputError):
        read(path)


def test_an_empty_file(tmp_path: Path) -> None:
    for name in ("a.dcm", "a.nii.gz", "a.png", "a"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(UnreadableFile, match="an empty file"):
            read(tmp_path / name)


def test_what_a_file_is_counts_and_not_its_name(make, tmp_path: Path) -> None:
    path = make()
    disguised = tmp_path / "really.png"
    path.rename(disguised)
    assert read(disguised).modality == "CT"


def test_a_codec_that_panics_is_a_broken_file_and_ctrl_c_is_not(make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """Stands for pyo3's PanicException, which a codec in Rust raises on some broken frames."""

    def fail(error: BaseException) -> None:
        raise error

    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", lambda *_, **__: fail(Panic("index out of bounds")))
    with pytest.raises(UnreadableFile, match=r"a Panic while decoding its pixels"):
        read(make())
    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", lambda *_, **__: fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        read(make())


def test_an_impossible_size_is_refused_from_the_header(make) -> None:
    path = make(Rows=65535, Columns=65535)
    with pytest.raises(TooLarge, match="1 x 65535 x 65535 x 1"):
        read(path)
    assert discover([path])[1]


def test_a_header_that_promises_more_than_the_file_holds(make) -> None:
    with pytest.raises(UnreadableFile, match="promises 8,000,000 bytes of pixels and the file holds 240"):
        read(make(Rows=2000, Columns=2000))
    with pytest.raises(UnreadableFile, match="promises 24,000 bytes"):
        read(make(NumberOfFrames=100))


@pytest.mark.parametrize(
    "tags", [{"Rows": 0}, {"Columns": 0}, {"Rows": None}, {"NumberOfFrames": -3}, {"SamplesPerPixel": 7}]
)
def test_a_size_that_cannot_be(make, tags: dict) -> None:
    with pytest.raises(UnreadableFile):
        read(make(**tags))


@pytest.mark.parametrize("tag", ["BitsAllocated", "PixelRepresentation", "PhotometricInterpretation"])
def test_a_missing_element_of_the_pixel_module(make, tag: str) -> None:
    with pytest.raises(UnreadableFile, match=r"slice\.dcm"):
        read(make(**{tag: None}))


def test_limits_may_be_set(make) -> None:
    path = make()
    with pytest.raises(TooLarge, match="bytes; expected at most 100"):
        read(path, Limits(max_file_bytes=100))
    with pytest.raises(TooLarge, match="12 x 10"):
        read(path, Limits(max_elements=119))
    read(path, Limits(max_elements=120))


def deflate_bomb(path: Path, size: int) -> None:
    """Write a DICOM file of the deflated syntax whose data set inflates to this many bytes."""
    plain = pydicom.dcmread(str(get_testdata_file("image_dfl.dcm", download=False)), stop_before_pixels=True)
    plain.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    plain.save_as(path)
    data = path.read_bytes()
    deflated = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = data[: 144 + int.from_bytes(data[140:144], "little")]
    element = b"\xe0\x7f\x10\x00OB\0\0" + size.to_bytes(4, "little")
    path.write_bytes(head + deflated.compress(element) + deflated.compress(bytes(size)) + deflated.flush())


def test_a_deflate_bomb_is_refused(tmp_path: Path) -> None:
    deflate_bomb(tmp_path / "bomb.dcm", 40_000_000)
    assert (tmp_path / "bomb.dcm").stat().st_size < 60_000
    with pytest.raises(TooLarge, match="inflates to more than 20,000,000 bytes"):
        read(tmp_path / "bomb.dcm", Limits(max_inflated_bytes=20_000_000))


def test_a_deflate_bomb_stays_within_memory(tmp_path: Path) -> None:
    deflate_bomb(tmp_path / "bomb.dcm", 400_000_000)
    code = (
        "import re, sys\n"
        "from saliscope.read import Limits, discover\n"
        "sources, failures = discover([sys.argv[1]], Limits(max_inflated_bytes=2**26), key=b'k')\n"
        "assert not sources and type(failures[0].error).__name__ == 'TooLarge', failures\n"
        # Not ru_maxrss: that begins with the peak of whoever started this process.
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bomb.dcm")], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 300_000


def test_a_deeply_nested_sequence_is_refused_or_read(tmp_path: Path, make) -> None:
    data = make().read_bytes()
    nest = b"\x09\x00\x10\x00SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 10_000
    at = data.index(b"\x18\x00\x50\x00")
    (tmp_path / "deep.dcm").write_bytes(data[:at] + nest + data[at:])
    with pytest.raises(InputError):
        read(tmp_path / "deep.dcm")


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../out.dcm", "/etc/out.dcm", "a/../../b.dcm", "C:\\out.dcm"])
def test_a_zip_that_points_outside_is_refused(tmp_path: Path, make, name: str) -> None:
    packed = zipped(tmp_path / "slip.zip", {name: make().read_bytes()})
    with pytest.raises(UnreadableFile, match="outside the archive"):
        read(packed)


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        entry = zipfile.ZipInfo("link.dcm")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(UnreadableFile, match="is a link"):
        read(tmp_path / "link.zip")


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    packed = zipped(tmp_path / "bomb.zip", {f"{i}.dcm": bytes(10_000_000) for i in range(4)})
    with pytest.raises(TooLarge, match="-fold"):
        read(packed)
    with pytest.raises(TooLarge, match="inflates"):
        read(packed, Limits(max_inflated_bytes=1000))
    with pytest.raises(TooLarge, match="a zip of 4 files"):
        read(packed, Limits(max_zip_entries=3))


def test_a_broken_or_empty_zip_is_refused(tmp_path: Path, make) -> None:
    packed = zipped(tmp_path / "a.zip", {"slice.dcm": make().read_bytes()})
    data = packed.read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[:-40])
    with pytest.raises(UnreadableFile):
        read(tmp_path / "cut.zip")
    with pytest.raises(UnreadableFile):
        read(zipped(tmp_path / "none.zip", {}))
    flipped = bytearray(data)
    flipped[80] ^= 0xFF
    (tmp_path / "flip.zip").write_bytes(bytes(flipped))
    with pytest.raises(InputError):
        read(tmp_path / "flip.zip")
