"""Compressed files give the pixels of their uncompressed siblings; colour spaces end in one RGB."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from saliscope.core.errors import MissingCodec
from saliscope.read import read


def wheel(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert found, name
    return Path(str(found))


#: (sibling, other, largest difference of a grey value or of a colour value of 255)
SAME = [
    ("MR_small.dcm", "MR_small_RLE.dcm", 0),
    ("MR_small.dcm", "MR_small_bigendian.dcm", 0),
    ("MR_small.dcm", "MR_small_implicit.dcm", 0),
    ("MR_small.dcm", "MR_small_jp2klossless.dcm", 0),
    ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm", 0),
    ("SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm", 1e-4),
    ("SC_rgb_rle.dcm", "SC_rgb_rle_32bit.dcm", 1e-4),
    ("SC_rgb_rle.dcm", "SC_rgb_jpeg_gdcm.dcm", 0),
    ("SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", 3),
    ("SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm", 6),
    ("SC_rgb_rle.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", 3),
    ("SC_rgb_rle.dcm", "SC_rgb_gdcm_KY.dcm", 5),
    ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm", 0),
    ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_jpeg.dcm", 5),
    ("SC_jpeg_no_color_transform_2.dcm", "SC_rgb_jpeg_app14_dcmd.dcm", 0),
]
SHARED = [
    ("SC_rgb.dcm", "SC_rgb_16bit.dcm", 1e-4),
    ("SC_rgb.dcm", "SC_rgb_32bit.dcm", 1e-4),
    ("SC_rgb.dcm", "SC_rgb_expb.dcm", 0),
    ("SC_rgb.dcm", "SC_rgb_expb_16bit.dcm", 1e-4),
    ("SC_rgb.dcm", "SC_rgb_2frame.dcm", 0),
    ("SC_rgb.dcm", "SC_ybr_full_uncompressed.dcm", 6),
    ("SC_rgb.dcm", "SC_rgb_dcmtk_ebcr_dcmd.dcm", 3),
    ("SC_rgb.dcm", "SC_rgb_dcmtk_ebcyn1_dcmd.dcm", 6),
    ("SC_rgb.dcm", "SC_rgb_gdcm2k_uncompressed.dcm", 5),
    ("emri_small.dcm", "emri_small_RLE.dcm", 0),
    ("emri_small.dcm", "emri_small_big_endian.dcm", 0),
    ("emri_small.dcm", "emri_small_jpeg_2k_lossless.dcm", 0),
    ("emri_small.dcm", "emri_small_jpeg_ls_lossless.dcm", 0),
    ("JLSL_RGB_ILV0.dcm", "JLSL_RGB_ILV1.dcm", 0),
    ("JLSL_RGB_ILV0.dcm", "JLSL_RGB_ILV2.dcm", 0),
    ("JLSL_RGB_ILV0.dcm", "JLSN_RGB_ILV0.dcm", 10),
    ("parametric_map_float.dcm", "parametric_map_double_float.dcm", 1e-6),
]


def difference(a: np.ndarray, b: np.ndarray, most: float) -> float:
    """Return the largest difference; of a lossy chart in the middle of its stripes, where JPEG does not ring."""
    rows = slice(5, None, 10) if most >= 1 and a.shape[-2] == 100 else slice(None)
    return float(np.abs(a - b)[..., rows, :].max())


@pytest.mark.parametrize(("one", "other", "most"), SAME)
def test_siblings_of_the_wheel_agree(one: str, other: str, most: float) -> None:
    assert difference(read(wheel(one)).values, read(wheel(other)).values, most) <= most


@pytest.mark.parametrize(("one", "other", "most"), SHARED)
def test_siblings_of_the_data_folder_agree(data: Path, one: str, other: str, most: float) -> None:
    a, b = (read(data / "dicom" / name) for name in (one, other))
    assert difference(a.values, b.values, most) <= most
    assert a.geometry == b.geometry


def test_lossless_jpeg_equals_what_gdcm_writes_without_compression(data: Path) -> None:
    ds = pydicom.dcmread(data / "dicom" / "JPEG-LL.dcm")
    ds.decompress(decoding_plugin="gdcm")
    assert np.array_equal(read(data / "dicom" / "JPEG-LL.dcm").values[0], ds.pixel_array.astype(np.float32))


def test_the_deflated_transfer_syntax_reads() -> None:
    plain = pydicom.dcmread(wheel("image_dfl.dcm")).pixel_array
    assert np.array_equal(read(wheel("image_dfl.dcm")).values[0], plain.astype(np.float32))


def test_colours_of_the_test_chart_are_right() -> None:
    image = read(wheel("SC_rgb_rle.dcm"))
    at = {5: (255, 0, 0), 25: (0, 255, 0), 45: (0, 0, 255), 65: (0, 0, 0), 95: (255, 255, 255)}
    for row, colour in at.items():
        assert tuple(image.values[:, row, 50]) == colour
        assert tuple(image.display[:, row, 50]) == colour


def test_without_a_codec_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders.base import JPEG2000LosslessDecoder

    monkeypatch.setattr(JPEG2000LosslessDecoder, "_available", {})
    with pytest.raises(MissingCodec, match="pip install pylibjpeg"):
        read(wheel("MR_small_jp2klossless.dcm"))


def test_an_unknown_transfer_syntax_is_a_missing_codec(make) -> None:
    path = make()
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.99", 1))
    with pytest.raises(MissingCodec, match="private or unknown syntax"):
        read(path)


def test_a_frame_that_claims_another_size_is_refused_before_decoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ds = pydicom.dcmread(wheel("MR_small_jp2klossless.dcm"))
    stream = bytearray(ds.PixelData)
    at = stream.index(b"\xff\x4f\xff\x51") + 8
    stream[at : at + 8] = (60_000).to_bytes(4, "big") * 2
    ds.PixelData = bytes(stream)
    ds.save_as(tmp_path / "bomb.dcm")
    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(Exception, match="64 x 64 pixels and the compressed frame 60000 x 60000"):
        read(tmp_path / "bomb.dcm")
