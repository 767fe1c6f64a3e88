"""A landmark planted at a millimetre comes back at that millimetre by every path out of saliscope, read by others.

The direct route plants single voxels in a source, lets saliscope read it, makes a map whose only voxels are those that
it read bright, and asks others where they lie in each object that is written. The truth is the affine by which the
source was drawn, so that a fault in reading and the same fault in writing do not cancel.
"""

from __future__ import annotations

import gzip
import subprocess
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dicom_cases import OBLIQUE, SHEARED, case_of, stamp
from dicom_tools import tool
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.figures.reading import interpret
from saliscope.write import image_files, write_files
from saliscope.write.dicom.kinds import chosen
from saliscope.write.dicom.objects import dicom_files
from saliscope.write.nifti import map_nifti

Places = dict[int, np.ndarray]

#: Millimetres by which a landmark may be off: decimal strings of DICOM hold 16 characters, NIfTI's affine is float32.
EXACT = 1e-3
TO_RAS = np.array([-1.0, -1.0, 1.0])
#: Number of a landmark and its index (plane, row, column): no flip, exchange of axes or shift maps these on themselves.
LANDMARKS = {1: (1, 3, 5), 2: (4, 17, 2), 3: (7, 8, 16)}
SHAPE = (9, 24, 20)
AXIAL = Geometry(SHAPE, (3.0, 0.7, 0.9), (40.0, 60.0, -30.0), ((0, 0, 1.0), (0, -1.0, 0), (-1.0, 0, 0)))
#: Grids (RAS+) of sources: the usual CT; tilted and anisotropic; axes turned round; planes that are not axial; sheared.
GRIDS = {
    "axial": AXIAL,
    "oblique": OBLIQUE,
    "flipped": OBLIQUE.flipped(1).flipped(2),
    "upside-down": OBLIQUE.flipped(0).flipped(1),
    "sagittal": replace(AXIAL, direction=((1.0, 0, 0), (0, 0, -1.0), (0, -1.0, 0))),
    "sheared": SHEARED,
}


@dataclass(frozen=True)
class Route:
    """A source with landmarks, where they are in truth (RAS+ mm), and the objects that were written of their map.

    `sheared`: its slices are shifted along themselves, as by a tilted gantry, and not all can say such a grid.
    """

    source: list[Path]
    sheared: bool
    truth: Places
    objects: dict[str, bytes]
    nifti: bytes


def planted(folder: Path, grid: Geometry) -> Places:
    """Write a CT series that is dark but for its landmarks, and return where the drawing put them."""
    values = np.zeros(grid.shape, np.float32)
    for number, index in LANDMARKS.items():
        values[index] = 500 * number
    shown = (values / 6).astype(np.uint8)
    image = MedicalImage(values[None], shown[None], grid, "CT", "HU", "landmarks", "landmarks")
    write_files(folder, image_files(image, "dicom"))
    matrix = np.column_stack([np.array(d) * s for d, s in zip(grid.direction, grid.spacing, strict=True)])
    return {number: matrix @ index + grid.origin for number, index in LANDMARKS.items()}


def gone(folder: Path, truth: Places, *, sheared: bool) -> Route:
    """Return the route of a source: read by saliscope, and written as whatever holds a place."""
    base, source = case_of(folder)
    image = base.image
    values = np.where(image.values[0] > 250, image.values[0] / 500, 0).astype(np.float32)
    explanation = replace(base.explanation, values=values, geometry=image.geometry)
    reading = interpret(explanation, image)
    result = replace(
        base, explanation=explanation, values=reading.values, labels=np.rint(reading.values).astype(np.uint8),
        reading={**reading.record(), "regions": []},
    )  # fmt: skip
    kinds = chosen("parametric-map+parametric-map-16+segmentation")
    made = dicom_files(result, source, kinds, stamp())
    assert not made.left_out
    return Route(
        sorted(folder.rglob("*.dcm")), sheared, truth, dict(made.files), map_nifti(reading.values, image.geometry)
    )


@pytest.fixture(scope="module", params=[*GRIDS, "reversed files", "enhanced"])
def route(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Route:
    folder = tmp_path_factory.mktemp("source")
    truth = planted(folder, GRIDS.get(request.param, OBLIQUE))
    if request.param == "reversed files":
        paths = sorted(folder.rglob("*.dcm"))
        for path, name in zip(paths, reversed([p.name for p in paths]), strict=True):
            path.rename(path.with_name(f"r{name}"))
    if request.param == "enhanced":
        enhance(folder)
    return gone(folder, truth, sheared=request.param == "sheared")


def enhance(folder: Path) -> None:
    """Turn the files of a series into one, a multi-frame image whose frames are in no order of place."""
    paths, order = sorted(folder.rglob("*.dcm")), (4, 0, 7, 2, 8, 5, 1, 3, 6)
    slices = [pydicom.dcmread(path) for path in paths]
    one = hd.legacy.LegacyConvertedEnhancedCTImage(slices, pydicom.uid.generate_uid(), 1, pydicom.uid.generate_uid(), 1)
    frames = np.frombuffer(one.PixelData, np.uint16).reshape(len(order), -1)
    one.PixelData = frames[list(order)].tobytes()
    one.PerFrameFunctionalGroupsSequence = [one.PerFrameFunctionalGroupsSequence[i] for i in order]
    for path in paths:
        path.unlink()
    one.save_as(paths[0].with_name("enhanced.dcm"))


def same(found: Places, truth: Places, tolerance: float = EXACT) -> None:
    """Fail unless each landmark is found, and at its place."""
    assert set(found) == set(truth)
    assert farthest(found, truth) <= tolerance


def farthest(found: Places, truth: Places) -> float:
    """Return by how many millimetres the worst landmark is off."""
    return max(float(np.linalg.norm(found[n] - place)) for n, place in truth.items())


def peaks(array: np.ndarray, unit: float = 1.0) -> dict[int, tuple[int, ...]]:
    """Return the index of each landmark in an array in which it is a single element of its number times a unit."""
    found = {}
    for number in LANDMARKS:
        where = np.argwhere(np.abs(array / unit - number) < 0.01)
        assert len(where) == 1, (number, len(where))
        found[number] = tuple(int(i) for i in where[0])
    return found


def by_equation(data: bytes) -> Places:
    """Return where landmarks lie by equation C.7.6.2.1-1 of PS3.3, from the functional groups of each frame."""
    ds = pydicom.dcmread(BytesIO(data))
    shared, found = ds.SharedFunctionalGroupsSequence[0], {}
    for frame, groups in zip(np.atleast_3d(ds.pixel_array), ds.PerFrameFunctionalGroupsSequence, strict=True):
        six = np.array(_group(groups, shared, "PlaneOrientationSequence").ImageOrientationPatient, float)
        down, across = map(float, _group(groups, shared, "PixelMeasuresSequence").PixelSpacing)
        origin = np.array(_group(groups, shared, "PlanePositionSequence").ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            value = frame[row, column]
            if "SegmentSequence" in ds:
                value = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            elif ds.BitsAllocated == 16:
                real = _group(groups, shared, "RealWorldValueMappingSequence")
                value = value * real.RealWorldValueSlope + real.RealWorldValueIntercept
            if value > 0.5:
                assert round(float(value)) not in found
                found[round(float(value))] = (origin + six[:3] * across * column + six[3:] * down * row) * TO_RAS
    return found


def _group(frame: pydicom.Dataset, shared: pydicom.Dataset, keyword: str) -> pydicom.Dataset:
    """Return the item of a functional group, where the frame or all frames have it."""
    return (frame if keyword in frame else shared)[keyword].value[0]


@pytest.mark.parametrize("kind", ["parametric-map", "parametric-map-16", "segmentation"])
def test_objects_by_the_equation_of_the_standard(route: Route, kind: str) -> None:
    same(by_equation(route.objects[f"{kind}.dcm"]), route.truth)


@pytest.mark.parametrize("kind", ["parametric-map", "parametric-map-16", "segmentation"])
def test_objects_by_highdicom(route: Route, kind: str) -> None:
    """And by SimpleITK and nibabel, into which highdicom hands them: ITK itself opens no such object."""
    opened = hd.seg.segread if kind == "segmentation" else hd.imread
    # Planes without a region have no frame in a segmentation, and its labels come as numbers of one array.
    words = {"allow_missing_positions": True, "combine_segments": True} if kind == "segmentation" else {}
    image = opened(BytesIO(route.objects[f"{kind}.dcm"]))
    if route.sheared:  # no volume of highdicom's has planes that are shifted along themselves; it says so
        with pytest.raises(RuntimeError, match="regularly-spaced"):
            image.get_volume(**words)
        return
    volume = image.get_volume(**words)
    volume = volume.astype(np.float32)
    found = peaks(volume.array)
    same({n: volume.map_indices_to_reference(np.array([i]))[0] * TO_RAS for n, i in found.items()}, route.truth)
    same(by_itk(volume.to_simpleitk()), route.truth)
    same(by_affine(volume.to_nibabel()), route.truth)


@pytest.mark.parametrize(("kind", "unit"), [("parametric-map", 1.0), ("parametric-map-16", 65535 / 3)])
def test_maps_by_dcm2niix(route: Route, tmp_path: Path, kind: str, unit: float) -> None:
    """It reads where a map lies; the steps of a 16-bit map it leaves as they are stored."""
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "map.dcm").write_bytes(route.objects[f"{kind}.dcm"])
    found = by_dcm2niix(tmp_path / "map", tmp_path, unit)
    if route.sheared:
        assert farthest(found, route.truth) > 0.5
        return
    same(found, route.truth)


def test_nifti_by_nibabel(route: Route) -> None:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(route.nifti))
    same(by_affine(image), route.truth)


def test_nifti_by_simpleitk(route: Route, tmp_path: Path) -> None:
    (tmp_path / "map.nii.gz").write_bytes(route.nifti)
    if route.sheared:  # ITK has no grids whose axes are not at right angles, and says so
        with pytest.raises(RuntimeError, match="orthonormal"):
            sitk.ReadImage(str(tmp_path / "map.nii.gz"))
        return
    same(by_itk(sitk.ReadImage(str(tmp_path / "map.nii.gz"))), route.truth)


def test_the_source_itself_by_simpleitk(route: Route) -> None:
    """Others place the source where its map is: the two lie on each other in their viewers."""
    found = by_itk(itk_image(route.source), 500)
    if len(route.source) == 1:  # it takes frames in the order of the file, which here is none of place
        assert farthest(found, route.truth) > 3
        return
    if route.sheared:  # read as if at right angles: half a millimetre more with each slice, and nothing is said
        assert farthest(found, route.truth) > 3
        return
    same(found, route.truth)


def test_the_source_itself_by_dcm2niix(route: Route, tmp_path: Path) -> None:
    found = by_dcm2niix(route.source[0].parent, tmp_path, 500)
    if route.sheared:  # it sees the tilt, and its affine is off all the same
        assert farthest(found, route.truth) > 0.5
        return
    same(found, route.truth)


def by_affine(image: nib.Nifti1Image, unit: float = 1.0) -> Places:
    """Return where landmarks of a NIfTI lie by its affine."""
    found = peaks(np.asarray(image.dataobj), unit)
    return {n: nib.affines.apply_affine(image.affine, i) for n, i in found.items()}


def by_itk(image: sitk.Image, unit: float = 1.0) -> Places:
    """Return where landmarks of an image lie by ITK, which counts column first and speaks LPS."""
    found = peaks(sitk.GetArrayFromImage(image), unit)
    return {n: np.array(image.TransformIndexToPhysicalPoint(i[::-1])) * TO_RAS for n, i in found.items()}


def itk_image(paths: list[Path]) -> sitk.Image:
    """Return a DICOM image as SimpleITK reads it."""
    if len(paths) == 1:
        return sitk.ReadImage(str(paths[0]))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent)))
    return reader.Execute()


def by_dcm2niix(source: Path, out: Path, unit: float = 1.0) -> Places:
    """Return where landmarks of DICOM lie after dcm2niix made a NIfTI of it."""
    words = [tool("dcm2niix"), "-o", str(out), "-f", "made", "-z", "n", "-b", "n", str(source)]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    return by_affine(nib.load(out / "made.nii"), unit)
