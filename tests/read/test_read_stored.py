"""Pictures whose header promises more than the file holds: refused, and no memory taken for what is not there."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from saliscope.core.errors import UnreadableFile
from saliscope.read import read

NOISE = np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8)
TIMES = [2, 100, 1300]
Taller = Callable[[int], bytes]


def saved(image: Image.Image, kind: str, **words: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **words)
    return out.getvalue()


def taller_png(data: bytes, times: int) -> bytes:
    head = data[12:20] + struct.pack(">I", 40 * times) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def taller_jpeg(data: bytes, times: int) -> bytes:
    at = next(data.index(m) for m in (b"\xff\xc0", b"\xff\xc2") if m in data)
    return data[: at + 5] + struct.pack(">H", 40 * times) + data[at + 7 :]


def taller_bmp(data: bytes, times: int) -> bytes:
    return data[:22] + struct.pack("<i", 40 * times) + data[26:]


def taller_tiff(data: bytes, times: int, tags: tuple[int, ...] = (257,)) -> bytes:
    changed = bytearray(data)
    for tag in tags:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            at = tiff.pages.first.tags[tag].valueoffset
        changed[at : at + 2] = struct.pack("<H", 40 * times)
    return bytes(changed)


def tiff(**words: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, NOISE, **words)
    return out.getvalue()


def lzw(times: int) -> bytes:
    return taller_tiff(saved(Image.fromarray(NOISE), "TIFF", compression="tiff_lzw"), times, (257, 278))


def jpeg_in_tiff(times: int) -> bytes:
    return taller_tiff(saved(Image.fromarray(NOISE), "TIFF", compression="jpeg"), times, (257, 278))


GREY, RGB = Image.fromarray(NOISE), Image.fromarray(NOISE).convert("RGB")
MADE: dict[str, Taller] = {
    "grey.png": lambda n: taller_png(saved(GREY, "PNG"), n),
    "rgb.png": lambda n: taller_png(saved(RGB, "PNG"), n),
    "bit.png": lambda n: taller_png(saved(Image.fromarray(NOISE > 99), "PNG"), n),
    "grey.jpg": lambda n: taller_jpeg(saved(GREY, "JPEG"), n),
    "rgb.jpg": lambda n: taller_jpeg(saved(RGB, "JPEG", quality=95), n),
    "progressive.jpg": lambda n: taller_jpeg(saved(RGB, "JPEG", progressive=True), n),
    "restarts.jpg": lambda n: taller_jpeg(saved(GREY, "JPEG", restart_marker_blocks=3), n),
    "cmyk.jpg": lambda n: taller_jpeg(saved(RGB.convert("CMYK"), "JPEG"), n),
    "grey.bmp": lambda n: taller_bmp(saved(GREY, "BMP"), n),
    "plain.tif": lambda n: taller_tiff(tiff(), n),
    "one-strip.tif": lambda n: taller_tiff(tiff(), n, (257, 278)),
    "tiles.tif": lambda n: taller_tiff(tiff(tile=(16, 16)), n),
    "deflate.tif": lambda n: taller_tiff(tiff(compression="zlib"), n, (257, 278)),
    "deflated-strips.tif": lambda n: taller_tiff(tiff(compression="zlib", rowsperstrip=8), n),
    "deflated-tiles.tif": lambda n: taller_tiff(tiff(compression="zlib", tile=(16, 16)), n),
    "lzma.tif": lambda n: taller_tiff(tiff(compression="lzma"), n, (257, 278)),
    "lzw.tif": lzw,
    "jpeg.tif": jpeg_in_tiff,
}


@pytest.mark.parametrize("name", MADE)
def test_a_picture_that_is_whole_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(MADE[name](1))
    assert read(tmp_path / name).values.shape[1:] == (40, 48)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", MADE)
def test_a_taller_header_is_refused(tmp_path: Path, name: str, times: int) -> None:
    path = tmp_path / name
    path.write_bytes(MADE[name](times))
    with pytest.raises(UnreadableFile, match=r"promise|broken"):
        read(path)


@pytest.mark.parametrize("name", ["plain.tif", "one-strip.tif", "deflate.tif", "grey.png", "rgb.png"])
def test_no_memory_is_taken_for_what_is_not_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(MADE[name](1300))
    with pytest.raises(UnreadableFile):
        read(path)  # once, for what imports take
    tracemalloc.start()
    with pytest.raises(UnreadableFile):
        read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1300 * NOISE.nbytes / 4


def test_strips_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    data = bytearray(tiff(rowsperstrip=1))
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        tag = opened.pages.first.tags[273]
        at, first, size = tag.valueoffset, tag.value[0], {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
    data[at : at + 40 * size] = first.to_bytes(size, "little") * 40
    assert first > at
    (tmp_path / "a.tif").write_bytes(data[: first + 48])
    with pytest.raises(UnreadableFile, match="promise 1,920 bytes"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("words", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"quality": 5}])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 17), (64, 40)])
def test_no_whole_jpeg_is_taken_for_a_part(tmp_path: Path, words: dict, size: tuple[int, int]) -> None:
    for seed in range(5):
        values = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
        for image in (Image.fromarray(values), Image.fromarray(values[..., 0]), Image.new("RGB", size, (128,) * 3)):
            image.save(tmp_path / "a.jpg", **words)
            assert read(tmp_path / "a.jpg").geometry.shape == (image.height, image.width)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_no_whole_png_is_taken_for_a_part(tmp_path: Path, bits: int) -> None:
    """Also interlaced, of each depth, of sizes that fill no byte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for wide, high in ((1, 1), (5, 3), (8, 8), (17, 9)):
        head = struct.pack(">IIBBBBB", wide, high, bits, 0, 0, 0, 0)
        lines = (b"\0" + bytes((wide * bits + 7) // 8)) * high
        for part in (lines, lines[:-1]):
            data = (
                b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(part)) + chunk(b"IEND", b"")
            )
            (tmp_path / "a.png").write_bytes(data)
            if part is lines:
                assert read(tmp_path / "a.png").geometry.shape == (high, wide)
            else:
                with pytest.raises(UnreadableFile):
                    read(tmp_path / "a.png")
