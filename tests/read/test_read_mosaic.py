"""Siemens mosaics: a volume where nibabel places it too, or a refusal that says what is not known."""

from __future__ import annotations

import gzip
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, generate_uid

from saliscope.core.errors import InputError, MixedSeries, UnreadableFile
from saliscope.read import discover, headers, read

REAL = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"
TILES = np.arange(1, 10).repeat(20).reshape(3, 3, 4, 5).transpose(0, 2, 1, 3).reshape(12, 15).astype(np.uint16)
TURNED = [0.8, 0.6, 0, 0, 0, -1]  # rows run down the body, columns obliquely


def csa(**items: list[float]) -> bytes:
    """Return Siemens' private image header with these elements."""
    out = b"SV10\x04\x03\x02\x01" + struct.pack("<II", len(items), 77)
    for name, values in items.items():
        kind = b"US" if name.startswith("Number") else b"FD"
        out += struct.pack("<64si4s3i", name.encode(), len(values), kind, 3 if kind == b"FD" else 0, len(values), 77)
        for value in values:
            text = f"{value}".encode() + b"\0"
            text += b"\0" * (-len(text) % 4)
            out += struct.pack("<4i", len(text), len(text), 77, len(text)) + text
    return out


@pytest.fixture
def mosaic(make):
    """Return a function that writes a mosaic of 3 x 3 tiles of 4 x 5 pixels: count, private header, other tags."""

    def write(name: str = "a.dcm", count: int | None = 9, private: bytes | None = b"", **tags: object) -> Path:
        given = {
            "Modality": "MR", "SOPClassUID": MRImageStorage, "RescaleSlope": None, "RescaleIntercept": None,
            "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM", "MOSAIC"], "ImagePositionPatient": [-100, -90, 20],
            "ImageOrientationPatient": TURNED, "PixelSpacing": [3, 2], "SpacingBetweenSlices": 4,
        }  # fmt: skip
        path = make(name, TILES, **(given | tags))
        ds = pydicom.dcmread(path)
        if count is not None:
            ds.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
        data = csa(SliceNormalVector=[-0.6, 0.8, 0]) if private == b"" else private
        if data is not None:
            ds.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", data)
        ds.save_as(path)
        return path

    return write


@pytest.mark.parametrize("name", ["siemens_dwi_0.dcm.gz", "siemens_dwi_1000.dcm.gz"])
def test_a_mosaic_of_a_scanner_lies_where_nibabel_places_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.removesuffix(".gz")
    path.write_bytes(gzip.decompress((REAL / name).read_bytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom.dicomwrappers import wrapper_from_file

        peer = wrapper_from_file(str(path))
        values, affine = peer.get_data(), peer.affine
    image = read(path)
    assert image.geometry.shape == (48, 128, 128)
    index = np.random.default_rng(0).integers(0, values.shape, (500, 3))
    world = (np.c_[index, np.ones(500)] @ affine.T)[:, :3] * [-1, -1, 1]
    place = image.geometry.to_index(world)
    assert np.abs(place - np.rint(place)).max() < 1e-3
    assert np.array_equal(image.values[0][tuple(np.rint(place).astype(int).T)], values[tuple(index.T)])
    assert any("a mosaic of 48 slices, unfolded" in n for n in image.notes)


@pytest.mark.parametrize("against", [False, True])
def test_slices_lie_along_the_private_normal(mosaic, against: bool) -> None:
    # Column x row of the orientation is (-0.6, 0.8, 0) in LPS.
    normal = np.array([0.6, -0.8, 0]) if against else np.array([-0.6, 0.8, 0])
    image = read(mosaic(private=csa(SliceNormalVector=[float(v) for v in normal])))
    assert image.geometry.shape == (9, 4, 5)
    assert image.geometry.spacing == pytest.approx((4, 3, 2))
    first = (
        np.array([-100, -90, 20]) + 3 * (12 - 4) / 2 * np.array([0, 0, -1]) + 2 * (15 - 5) / 2 * np.array([0.8, 0.6, 0])
    )
    for tile in range(9):
        corner = image.geometry.to_index((first + tile * 4 * normal) * [-1, -1, 1])
        assert np.allclose(corner, [8 - tile if against else tile, 0, 0], atol=1e-6)
        assert (image.values[0, round(corner[0])] == tile + 1).all()


@pytest.mark.parametrize("count", [7, 8])
def test_empty_tiles_at_the_end_are_no_slices(mosaic, count: int) -> None:
    image = read(mosaic(count=count))
    assert image.geometry.shape == (count, 4, 5)
    assert sorted(image.values[0, :, 0, 0]) == list(range(1, count + 1))


def test_the_count_of_the_private_header_is_enough(mosaic) -> None:
    private = csa(NumberOfImagesInMosaic=[9], SliceNormalVector=[-0.6, 0.8, 0])
    assert read(mosaic(count=None, private=private)).geometry.shape == (9, 4, 5)


def test_the_private_count_tells_a_mosaic_whose_word_was_removed(mosaic) -> None:
    path = mosaic(ImageType=["DERIVED", "SECONDARY"])
    assert read(path).geometry.shape == (9, 4, 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"count": None}, "how many slices"),
        ({"count": 9, "private": csa(NumberOfImagesInMosaic=[8], SliceNormalVector=[-0.6, 0.8, 0])}, "how many slices"),
        ({"private": None}, "the order of its slices"),
        ({"private": b"SV10 nonsense"}, "the order of its slices"),
        ({"private": csa(SliceNormalVector=[1.0, 0, 0])}, "the order of its slices"),
        ({"SpacingBetweenSlices": None}, "how far its slices lie apart"),
        ({"ImagePositionPatient": None}, "where its slices lie"),
        ({"PixelSpacing": None}, "where its slices lie"),
        ({"count": 17}, "how its 17 tiles lie"),
        ({"count": None, "ImageType": ["DERIVED", "PRIMARY", "M", "VFRAME"]}, "how many slices"),
    ],
)
def test_what_cannot_be_placed_is_refused(mosaic, words: dict, said: str) -> None:
    with pytest.raises(UnreadableFile, match=f"a mosaic.*does not say {said}.*dcm2niix"):
        read(mosaic(**words))


def test_mosaics_of_one_series_are_volumes_of_their_own(mosaic) -> None:
    for time, position in enumerate(([-100, -90, 20], [-100, -90, 24])):
        mosaic(f"series/{time}.dcm", ImagePositionPatient=position, SOPInstanceUID=generate_uid())
    folder = mosaic("series/2.dcm", SOPInstanceUID=generate_uid()).parent
    sources, failures = discover([folder])
    assert not failures
    assert [s.kind for s in sources] == ["dicom"] * 3
    assert all(s.load().geometry.shape == (9, 4, 5) for s in sources)
    together = replace(sources[0], kind="dicom-series", paths=tuple(p for s in sources for p in s.paths))
    with pytest.raises(MixedSeries, match="a mosaic, a volume of its own"):
        together.load()


def test_no_dicom_result_refers_to_a_tile(mosaic) -> None:
    (source,), _ = discover([mosaic()])
    with pytest.raises(InputError, match="a mosaic, whose slices are no frames"):
        headers(source)


def test_the_word_in_a_file_of_several_frames_is_no_mosaic(make) -> None:
    frames = []
    for z in (0, 3, 6):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, z]
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    path = make(
        pixels=np.ones((3, 4, 5), np.uint16), NumberOfFrames=3, PerFrameFunctionalGroupsSequence=frames, Modality="MR",
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], SOPClassUID=EnhancedMRImageStorage,
        ImagePositionPatient=None,
    )  # fmt: skip
    assert read(path).geometry.shape == (3, 4, 5)


def test_an_enhanced_file_of_one_frame_that_says_so_privately_is_refused(make) -> None:
    path = make(Modality="MR", SOPClassUID=EnhancedMRImageStorage, ImageType=["ORIGINAL", "PRIMARY", "M", "NONE"])
    ds = pydicom.dcmread(path)
    inner, frame = Dataset(), Dataset()
    inner.private_block(0x21, "SIEMENS MR SDI 02", create=True).add_new(0x75, "LO", "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC")
    frame.private_block(0x21, "SIEMENS MR SDI 02", create=True).add_new(0xFE, "SQ", [inner])
    ds.PerFrameFunctionalGroupsSequence = [frame]
    ds.save_as(path)
    with pytest.raises(UnreadableFile, match="a mosaic"):
        read(path)


def test_another_modality_may_use_the_word(make) -> None:
    assert read(make(Modality="CT", ImageType=["DERIVED", "SECONDARY", "MOSAIC"])).geometry.shape == (12, 10)
