"""TIFF: every kind of value equal to what tifffile says, or refused as a kind that is not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from saliscope.core.errors import TooLarge, UnreadableFile
from saliscope.read import Limits, read

STACK = np.random.default_rng(0).integers(0, 60_000, (5, 20, 30)).astype(np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)
TYPES = ("bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8")


def made(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return (rng.normal(size=shape) * 100).astype(dtype)


def by_tifffile(path: Path, dtype: np.dtype[Any], photometric: str, planar: str) -> np.ndarray:
    """Return the values (C, row, column) that must be read: white-is-zero turned, colour from 0 to 255."""
    values = tifffile.imread(path)
    if photometric == "rgb" and planar == "contig":
        values = np.moveaxis(values, -1, 0)
    values = values if values.ndim == 3 else values[None]
    if photometric == "miniswhite":
        values = ~values if dtype.kind == "b" else np.iinfo(dtype).max - values
    scale = 255 / np.iinfo(dtype).max if photometric == "rgb" and dtype.itemsize > 1 else 1
    return values.astype(np.float64) * scale


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    kind=st.sampled_from(TYPES),
    photometric=st.sampled_from(["minisblack", "miniswhite", "rgb"]),
    planar=st.sampled_from(["contig", "separate"]),
    byteorder=st.sampled_from("<>"),
    compression=st.sampled_from([None, "zlib", "lzma"]),
    predictor=st.sampled_from([None, 2]),
    tile=st.sampled_from([None, (16, 16)]),
    rows=st.integers(1, 40),
    size=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    big=st.booleans(),
    seed=st.integers(0, 9),
)
def test_every_kind_is_equal_to_tifffile_or_refused(
    tmp_path, kind, photometric, planar, byteorder, compression, predictor, tile, rows, size, big, seed
) -> None:
    dtype, path = np.dtype(kind), tmp_path / "a.tif"
    shape = size if photometric != "rgb" else (3, *size) if planar == "separate" else (*size, 3)
    where = {"tile": tile} if tile else {"rowsperstrip": rows}
    how = {"planarconfig": planar} if photometric == "rgb" else {}
    words = {"photometric": photometric, "compression": compression, "predictor": predictor, "bigtiff": big}
    try:
        tifffile.imwrite(path, made(dtype, shape, seed), byteorder=byteorder, **words, **where, **how)
    except (KeyError, ValueError, NotImplementedError, TypeError):
        return  # a kind that tifffile does not write
    readable = dtype.kind in "bu" or photometric == "minisblack"
    if dtype.kind == "c" or not readable or (dtype.kind == "b" and photometric == "rgb"):
        with pytest.raises(UnreadableFile, match=r"a\.tif: a TIFF of .*The file may be whole"):
            read(path)
        return
    image = read(path)
    expected = by_tifffile(path, dtype, photometric, planar)
    assert image.values.shape == expected.shape
    assert np.allclose(image.values, expected.astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16", "F", "1", "P"])
@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
def test_what_pillow_compresses_is_read_as_pillow_reads_it(tmp_path: Path, mode: str, compression: str) -> None:
    if compression == "jpeg" and mode not in ("L", "RGB"):
        return
    source = {
        "L": Image.fromarray(COLOUR[..., 0]), "RGB": Image.fromarray(COLOUR), "I;16": Image.fromarray(STACK[0]),
        "F": Image.fromarray(STACK[0] / np.float32(7)), "1": Image.fromarray(COLOUR[..., 0] > 100),
        "P": Image.fromarray(COLOUR).convert("P"),
    }[mode]  # fmt: skip
    source.save(tmp_path / "a.tif", compression=compression)
    told = Image.open(tmp_path / "a.tif")
    expected = np.asarray(told.convert("RGB") if mode == "P" else told)
    expected = np.moveaxis(expected, -1, 0) if expected.ndim == 3 else expected[None]
    assert np.allclose(read(tmp_path / "a.tif").values, expected)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_white_is_zero_under_each_compression(tmp_path: Path, compression: str) -> None:
    for grey in (COLOUR[..., 0], COLOUR[..., 0] > 100):
        # Pillow turns the values as it writes.
        Image.fromarray(grey).save(tmp_path / "a.tif", compression=compression, tiffinfo={262: 0})
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            assert tiff.pages.first.photometric == 0
            if compression != "tiff_lzw":
                assert np.array_equal(tiff.pages.first.asarray(), ~grey)
        assert np.array_equal(read(tmp_path / "a.tif").values[0], grey)


def test_a_fax_or_an_unknown_kind_is_refused_by_what_it_is(tmp_path: Path) -> None:
    Image.fromarray(COLOUR[..., 0] > 100).save(tmp_path / "fax.tif", compression="group4")
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "print.tif")
    tifffile.imwrite(tmp_path / "five.tif", np.zeros((9, 9, 5), "u1"), photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(tmp_path / "deep.tif", STACK[:, :16, :16], volumetric=True, photometric="minisblack")
    for name, what in (("fax", "CCITTFAX4"), ("print", "CMYK"), ("five", "5 samples"), ("deep", "5 planes")):
        with pytest.raises(UnreadableFile, match=rf"{name}\.tif: a TIFF of .*{what}.*save it as a plain TIFF"):
            read(tmp_path / f"{name}.tif")


def test_sixteen_bit_colour_is_scaled_and_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 5, 3), 257 * 7 + 100, "u2"), photometric="rgb")
    image = read(tmp_path / "a.tif")
    assert image.values.max() == pytest.approx(7 + 100 / 257)
    assert image.display.max() == 7
    assert any("16 bits, scaled to 0 to 255" in n for n in image.notes)


def test_alpha_and_palette(tmp_path: Path) -> None:
    alpha = np.dstack([COLOUR, np.where(np.arange(30) < 15, 255, 0)[None].repeat(20, 0).astype("u1")])
    for extra in ("unassalpha", "assocalpha"):
        tifffile.imwrite(tmp_path / "a.tif", alpha, photometric="rgb", extrasamples=[extra])
        image = read(tmp_path / "a.tif")
        assert np.array_equal(image.values[:, :, :15], np.moveaxis(COLOUR, -1, 0)[:, :, :15])
        assert (image.values[:, :, 15:] == 0).all() == (extra == "unassalpha")
        assert any("over black" in n for n in image.notes)
    table = np.stack([np.arange(256) * 257, np.zeros(256), np.arange(256)[::-1] * 257]).astype("u2")
    tifffile.imwrite(tmp_path / "b.tif", COLOUR[..., 0], photometric="palette", colormap=table)
    index = COLOUR[..., 0]
    assert np.array_equal(read(tmp_path / "b.tif").values, np.stack([index, index * 0, 255 - index]))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_orientation_tag_turns_as_exif_says(tmp_path: Path, turn: int, compression: str) -> None:
    from PIL import ImageOps

    picture = Image.fromarray(COLOUR[..., 0])
    picture.save(tmp_path / "a.tif", tiffinfo={274: turn}, compression=compression)
    picture.getexif()[274] = turn
    expected = np.asarray(ImageOps.exif_transpose(picture))
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.values[0], expected)
    assert any("EXIF" in n for n in image.notes) == (turn > 1)


OME = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.6, "PhysicalSizeZ": 2.0}
MM = {f"PhysicalSize{a}Unit": "mm" for a in "XYZ"}
IMAGEJ = {"axes": "ZYX", "spacing": 3.0, "unit": "mm"}


@pytest.mark.parametrize(
    ("words", "spacing"),
    [
        ({"ome": True, "metadata": OME | MM}, (2, 0.6, 0.5)),
        ({"ome": True, "metadata": OME}, (0.002, 0.0006, 0.0005)),
        ({"imagej": True, "resolution": (2, 4), "metadata": IMAGEJ}, (3, 0.25, 0.5)),
        ({"imagej": True, "resolution": (2, 4), "metadata": IMAGEJ | {"unit": "um"}}, (0.003, 0.00025, 0.0005)),
    ],
)
def test_pages_with_lengths_in_all_directions_are_a_volume(tmp_path: Path, words: dict, spacing: tuple) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, **words)
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.values[0], STACK)
    assert image.geometry.spacing == pytest.approx(spacing)
    assert (image.geometry.unit, image.geometry.frame) == ("mm", "image")
    with pytest.raises(TooLarge, match="5 slices"):
        read(tmp_path / "a.tif", Limits(max_slices=4))


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "resolution": (2, 4), "metadata": {"axes": "ZYX", "spacing": 3.0}},
        {"imagej": True, "resolution": (2, 4), "metadata": IMAGEJ | {"axes": "TYX"}},
        {"imagej": True, "resolution": (2, 4), "metadata": IMAGEJ | {"axes": "CYX"}},
        {"ome": True, "metadata": OME | {"axes": "TYX"}},
        {"ome": True, "metadata": OME | {"axes": "CYX"}},
        {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.6}},
    ],
)
def test_of_other_pages_the_first_is_read_and_said(tmp_path: Path, words: dict) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", **words)
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.values, STACK[:1])
    assert any("5 pages in the file; the first is read" in n for n in image.notes)


def test_an_ome_file_whose_planes_lie_elsewhere_is_no_volume(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, ome=True, metadata=OME)
    data = (tmp_path / "a.tif").read_bytes()
    moved = data.replace(b'<TiffData IFD="0" PlaneCount="5"', b'<TiffData IFD="4" PlaneCount="1"')
    assert moved != data
    (tmp_path / "a.tif").write_bytes(moved)
    assert read(tmp_path / "a.tif").geometry.shape == (20, 30)


def test_a_description_that_is_broken_gives_no_lengths(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], description='<?xml version="1.0"?><OME><Image</OME>')
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.values[0], STACK[0])
    assert image.geometry.unit == "px"


def test_a_slide_is_refused_and_a_pyramid_read_whole(tmp_path: Path) -> None:
    words = "Aperio Image Library v11.2.1 |MPP = 0.2500|AppMag = 40"
    tifffile.imwrite(tmp_path / "a.svs.tif", COLOUR, description=words, photometric="rgb", tile=(16, 16))
    with pytest.raises(UnreadableFile, match=r"whole-slide image \(SVS\).*Export the region"):
        read(tmp_path / "a.svs.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as tiff:
        tiff.write(COLOUR, subifds=1, photometric="rgb")
        tiff.write(COLOUR[::2, ::2], subfiletype=1, photometric="rgb")
    image = read(tmp_path / "b.tif")
    assert image.values.shape == (3, 20, 30)
    assert any("smaller copies" in n for n in image.notes)


def test_values_beyond_single_precision_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[1e300, 1.0]]))
    with pytest.raises(UnreadableFile, match="single precision"):
        read(tmp_path / "a.tif")
