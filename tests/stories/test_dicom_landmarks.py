"""What a network answers to lies where it lay: spots at known millimetres, explained for a network that finds spots.

Everything runs by the command line, from DICOM to DICOM. The network's cells are coarser than pixels, so places are
those of the middle of the map, and half a pixel is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest

from dicom_cases import OBLIQUE, write_source
from saliscope.cli.main import main
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.write import image_files, write_files

#: Error that is allowed, in source pixels, and for volumes in millimetres: that half of their smallest step.
HALF = 0.5
#: Where a slip of half a pixel is what one expects (pixels counted from their edge or their middle), less is allowed.
QUARTER = 0.25
TO_RAS = np.array([-1.0, -1.0, 1.0])
#: A grid as tilted as the oblique one, of enough elements for a spot: steps 2.5, 1.4 and 1.1 mm.
TILTED = Geometry((24, 48, 40), (2.5, 1.4, 1.1), OBLIQUE.origin, OBLIQUE.direction)
GRIDS = {"tilted": TILTED, "flipped": TILTED.flipped(1).flipped(2), "upside-down": TILTED.flipped(0).flipped(1)}
VOLUME_HALF_MM = HALF * min(TILTED.spacing)
#: Index (plane, row, column) of the spot of a volume, and (row, column) of that of a picture.
IN_VOLUME, IN_PICTURE = np.array([15, 12, 28]), np.array([31.0, 66.0])


def explained(source: Path, out: Path, model: str, words: str) -> dict[str, Path]:
    """Explain a source by the command line, and return the files of its map by name."""
    with pytest.raises(SystemExit) as end:
        main(["explain", str(source), "-m", model, "-t", "spot", "--dicom", words, "--quiet", "--out", str(out)])
    assert not end.value.code
    return {p.name: p for p in out.rglob("*") if p.suffix in (".dcm", ".gz")}


def middle(values: np.ndarray) -> np.ndarray:
    """Return the index of the middle of what is positive, by weight."""
    weights = np.clip(values, 0, None).astype(np.float64)
    axes = np.meshgrid(*[np.arange(n) for n in values.shape], indexing="ij")
    return np.array([float((axis * weights).sum() / weights.sum()) for axis in axes])


@dataclass(frozen=True)
class Found:
    """A spot in a volume: where it was drawn (RAS+ mm), and the files of its map."""

    truth: np.ndarray
    files: dict[str, Path]


@pytest.fixture(scope="module", params=GRIDS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Return a spot that is as round in the network's view as the network wants it, drawn and explained."""
    grid, folder = GRIDS[request.param], tmp_path_factory.mktemp("spot")
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    away = (index - IN_VOLUME) / (np.array(grid.shape) / 64)
    values = np.rint(1000 * np.exp(-(away**2).sum(-1) / (2 * 2.0**2))).astype(np.float32)
    image = MedicalImage(values[None], (values / 4).astype(np.uint8)[None], grid, "CT", "HU", "spot", "spot")
    write_files(folder / "source", image_files(image, "dicom"))
    matrix = np.column_stack([np.array(d) * s for d, s in zip(grid.direction, grid.spacing, strict=True)])
    files = explained(folder / "source", folder / "out", "spot-finder-3d", "slicer+parametric-map-16")
    return Found(matrix @ IN_VOLUME + grid.origin, files)


@pytest.mark.parametrize("kind", ["parametric-map", "parametric-map-16", "segmentation"])
def test_a_spot_of_a_volume_in_dicom(found: Found, kind: str) -> None:
    opened = hd.seg.segread if kind == "segmentation" else hd.imread
    words = {"combine_segments": True} if kind == "segmentation" else {}
    volume = opened(found.files[f"{kind}.dcm"]).get_volume(**words)
    place = volume.map_indices_to_reference(middle(volume.array)[None])[0] * TO_RAS
    assert np.linalg.norm(place - found.truth) < VOLUME_HALF_MM


def test_a_spot_of_a_volume_in_nifti(found: Found) -> None:
    for name in ("map.nii.gz", "map_native.nii.gz"):
        image = nib.load(found.files[name])
        place = nib.affines.apply_affine(image.affine, middle(np.asarray(image.dataobj)))
        assert np.linalg.norm(place - found.truth) < VOLUME_HALF_MM, name


@dataclass(frozen=True)
class Drawn:
    """A spot in a radiograph: the spacing that its header gives, its pixels, and the objects of its map."""

    spacing: float | None
    size: tuple[int, int]
    files: dict[str, Path]

    def read(self, kind: str) -> pydicom.Dataset:
        """Return an object of the map."""
        return pydicom.dcmread(BytesIO(self.files[f"{kind}.dcm"].read_bytes()))


@pytest.fixture(scope="module", params=["cr", "cr-unspaced"])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    folder = tmp_path_factory.mktemp("picture")
    (path,) = write_source(folder / "source", request.param).rglob("*.dcm")
    ds = pydicom.dcmread(path)
    row, column = np.mgrid[: ds.Rows, : ds.Columns]
    away = (row - IN_PICTURE[0]) ** 2 + (column - IN_PICTURE[1]) ** 2
    ds.PixelData = np.rint(3000 * np.exp(-away / (2 * 2.2**2))).astype(np.uint16).tobytes()
    ds.WindowCenter, ds.WindowWidth = "1500", "3000"
    ds.save_as(path)
    words = "pacs-basic+segmentation+parametric-map"
    files = explained(folder / "source", folder / "out", "spot-finder", words)
    spacing = ds.get("ImagerPixelSpacing")
    return Drawn(float(spacing[0]) if spacing else None, (ds.Rows, ds.Columns), files)


def test_a_spot_of_a_radiograph_in_pixels(drawn: Drawn) -> None:
    """With and without pixel spacing: what is outlined, segmented and burnt in lies on the same pixels."""
    state = drawn.read("presentation-state")
    lines = [o for item in state.GraphicAnnotationSequence for o in item.get("GraphicObjectSequence", ())]
    (line,) = [np.array(o.GraphicData).reshape(-1, 2) for o in lines]
    assert all(o.GraphicAnnotationUnits == "PIXEL" for o in lines)
    # Column first; the middle of the first pixel is at one half (PS3.3 C.10.5.1.2).
    np.testing.assert_allclose((line.min(0) + line.max(0)) / 2, IN_PICTURE[::-1] + 0.5, atol=QUARTER)
    mask = drawn.read("segmentation").pixel_array
    assert mask.shape == drawn.size
    np.testing.assert_allclose(middle(mask), IN_PICTURE, atol=HALF)
    picture = drawn.read("secondary-capture").pixel_array[:, :, :].astype(float)
    factor = picture.shape[0] // drawn.size[0]
    heat = np.clip(picture[..., 0] - picture[..., 2] - 40, 0, None)[40:-40, 40 : factor * drawn.size[1] - 40]
    np.testing.assert_allclose((middle(heat) + 40.5) / factor, IN_PICTURE + 0.5, atol=QUARTER)


def test_a_spot_of_a_radiograph_in_millimetres(drawn: Drawn) -> None:
    """Nobody invents millimetres: without spacing there is no parametric map, and NIfTI names no unit."""
    image = nib.load(drawn.files["map.nii.gz"])
    at = middle(np.asarray(image.dataobj)[..., 0].T)
    np.testing.assert_allclose(at, IN_PICTURE, atol=HALF)
    if drawn.spacing is None:
        assert "parametric-map.dcm" not in drawn.files
        assert image.header.get_xyzt_units()[0] == "unknown"
        return
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms()[:2], drawn.spacing, rtol=1e-5)
    ds = drawn.read("parametric-map")
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    np.testing.assert_allclose(np.array(measures.PixelSpacing, float), drawn.spacing, rtol=1e-6)
    assert "PlanePositionSequence" not in ds.PerFrameFunctionalGroupsSequence[0]
    np.testing.assert_allclose(middle(ds.pixel_array), IN_PICTURE, atol=HALF)
