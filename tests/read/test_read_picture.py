"""PNG, JPEG, TIFF and BMP."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliscope.core.errors import InputError, TooLarge, UnreadableFile
from saliscope.read import Limits, read

GREY = np.arange(200, dtype=np.uint8).reshape(10, 20)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_eight_bit_grey_is_kept(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(GREY).save(tmp_path / f"a.{suffix}", dpi=(300, 300))
    image = read(tmp_path / f"a.{suffix}")
    assert np.array_equal(image.values[0], GREY)
    assert np.array_equal(image.display[0], GREY)
    assert (image.geometry.unit, image.geometry.frame, image.modality) == ("px", "image", "")
    assert any("spacing" in n and "unknown" in n for n in image.notes)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_keeps_its_values_and_shows_its_range(tmp_path: Path, suffix: str) -> None:
    deep = GREY.astype(np.uint16) * 100 + 5000
    Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
    image = read(tmp_path / f"a.{suffix}")
    assert np.array_equal(image.values[0], deep)
    assert (image.display.min(), image.display.max()) == (0, 255)
    assert any("5000 to 24900" in n for n in image.notes)


def test_float_tiff_with_nan(tmp_path: Path) -> None:
    values = GREY.astype(np.float32) / 7
    values[3, 4] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    image = read(tmp_path / "a.tif")
    assert image.padding is not None
    assert image.padding.sum() == 1


def test_colour_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (200, 30, 60)).save(tmp_path / "a.jpg", quality=95)
    image = read(tmp_path / "a.jpg")
    assert image.values.shape == (3, 10, 20)
    assert np.abs(image.values[:, 5, 5] - [200, 30, 60]).max() <= 3


def test_alpha_is_laid_over_black_and_said(tmp_path: Path) -> None:
    rgba = np.zeros((10, 20, 4), np.uint8)
    rgba[..., 0], rgba[:5, :, 3] = 200, 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read(tmp_path / "a.png")
    assert image.values[0, 0, 0] == 200
    assert image.values[0, 9, 0] == 0
    assert any("over black" in n for n in image.notes)


def test_grey_behind_alpha_or_a_palette_is_one_channel(tmp_path: Path) -> None:
    Image.fromarray(GREY).convert("RGBA").save(tmp_path / "a.png")
    Image.fromarray(GREY).convert("P").save(tmp_path / "b.png")
    for name in "ab":
        assert np.array_equal(read(tmp_path / f"{name}.png").values, GREY[None])


def test_a_colour_palette_becomes_rgb(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").values[:, 0, 0].tolist() == [10, 20, 30]


def test_exif_orientation_is_applied_and_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / "a.jpg", quality=100, exif=exif)
    image = read(tmp_path / "a.jpg")
    assert image.geometry.shape == (20, 10)
    assert np.abs(image.values[0] - np.rot90(GREY, -1)).max() <= 2
    assert any("EXIF" in n for n in image.notes)


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.values[0], GREY)
    assert any("2 pages" in n for n in image.notes)


def test_sixteen_bit_colour_is_said_to_be_read_in_eight(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x12\x34" * 12) * 4
    parts = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)), chunk(b"IDAT", zlib.compress(rows))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))
    image = read(tmp_path / "a.png")
    assert image.values[0, 0, 0] == 0x12
    assert any("eight bits" in n for n in image.notes)


def test_a_large_header_is_refused_before_decoding(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    import struct
    import zlib

    data[16:24] = struct.pack(">II", 65535, 65535)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "a.png").write_bytes(bytes(data))
    with pytest.raises(TooLarge, match="65535 x 65535"):
        read(tmp_path / "a.png")


def test_the_limit_may_be_set_above_pillows_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").geometry.shape == (10, 20)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(TooLarge):
        read(tmp_path / "a.png", Limits(max_elements=199))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UnreadableFile):
        read(path)


def test_other_formats_are_refused_by_what_they_are(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(InputError, match="kind that is read"):
        read(tmp_path / "a.png")
