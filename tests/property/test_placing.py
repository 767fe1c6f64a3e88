"""Whatever the steps of a view do, what is seen there lies where it lay in the patient: within half a source pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from saliscope.core.geometry import ENDS, Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.steps import Crop, Frame, Orient, Pad, Resample, Resize, Step
from saliscope.model.view import Viewing

#: Error that is allowed, in source pixels: the issue's own figure.
HALF = 0.5


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Return a grid, 2D or 3D: oblique, anisotropic, flipped, sometimes sheared, anywhere in space."""
    n = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.integers(14, 30)) for _ in range(n))
    angles = [draw(st.floats(-np.pi, np.pi)) for _ in range(3)]
    turn = _rotation(*angles)[:, draw(st.permutations(range(3)))[:n]]
    turn = turn * np.array([draw(st.sampled_from([-1.0, 1.0])) for _ in range(n)])
    if n == 3 and draw(st.booleans()):
        turn[:, 0] += draw(st.floats(-0.4, 0.4)) * turn[:, 1]  # gantry tilt
    spacing = np.array([draw(st.floats(0.3, 4.0)) for _ in range(n)])
    origin = [draw(st.floats(-500, 500)) for _ in range(3)]
    return Geometry.of_affine(shape, np.column_stack([turn * spacing, origin]))


@st.composite
def steps(draw: st.DrawFn, geometry: Geometry) -> tuple[Step, ...]:
    """Return a chain of one to five steps that move the grid."""
    n = geometry.ndim
    chain: list[Step] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["resize", "resample", "crop", "pad", *(["orient"] if n == 3 else [])]))
        sizes = tuple(draw(st.integers(12, 36)) for _ in range(n))
        if kind == "resize":
            chain.append(Resize(sizes))
        elif kind == "resample":
            chain.append(Resample(tuple(s * draw(st.floats(0.7, 1.5)) for s in geometry.spacing)))
        elif kind == "crop":
            chain.append(Crop(tuple(max(12, s) for s in sizes)))
        elif kind == "pad":
            chain.append(Pad(draw(st.sampled_from([None, sizes]))))
        else:
            order = draw(st.permutations(ENDS))
            chain.append(Orient("".join(pair[draw(st.integers(0, 1))] for pair in order)))
    return tuple(chain)


def _rotation(a: float, b: float, c: float) -> np.ndarray:
    (ca, cb, cc), (sa, sb, sc) = np.cos([a, b, c]), np.sin([a, b, c])
    x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return np.asarray(x @ y @ z)


def blob(geometry: Geometry, centre: np.ndarray, width: float = 1.6) -> np.ndarray:
    """Return a Gaussian (*S), its width in pixels, its centre an index with fractions."""
    axes = np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij")
    far = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
    return np.exp(-far / (2 * width**2)).astype(np.float32)


def weighted_centre(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the world position of the intensity-weighted centre."""
    axes = np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij")
    weights = np.clip(values, 0, None).astype(np.float64)
    return geometry.to_world([float((a * weights).sum() / weights.sum()) for a in axes])


def image_of(values: np.ndarray, geometry: Geometry) -> MedicalImage:
    shown = np.zeros((1, *geometry.shape), np.uint8)
    return MedicalImage(values[None].astype(np.float32), shown, geometry, "MR", "", "", "case")


def apart(source: Geometry, a: np.ndarray, b: np.ndarray) -> float:
    """Return the distance of two world positions in source pixels, along the worst axis."""
    return float(np.abs(source.to_index(a) - source.to_index(b)).max())


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_landmark_keeps_its_place_in_the_patient(data: st.DataObject) -> None:
    geometry = data.draw(geometries())
    middle = (np.array(geometry.shape) - 1) / 2
    landmark = middle + np.array([data.draw(st.floats(-1, 1)) for _ in geometry.shape])
    image = image_of(blob(geometry, landmark), geometry)
    view = Viewing(data.draw(steps(geometry)))(image)
    seen = view.tensor[0, 0].numpy()
    assert seen.shape == view.geometry.shape
    # A crop may cut through the blob, and then its centre is not what was put in.
    edge = max(float(np.abs(np.take(seen, i, axis)).max()) for axis in range(seen.ndim) for i in (0, -1))
    assume(edge < 0.002)
    assert apart(geometry, weighted_centre(seen, view.geometry), geometry.to_world(landmark)) < HALF


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_world_coordinates_seen_through_a_view_are_those_of_its_grid(data: st.DataObject) -> None:
    """Stronger than a landmark: fill the image with its own x, y or z in mm and compare at every element."""
    geometry = data.draw(geometries())
    chain = [s for s in data.draw(steps(geometry)) if not isinstance(s, Pad)]
    world = geometry.to_world(np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij"), -1))
    axis = data.draw(st.sampled_from([0, 1, 2]))
    frame = Frame(world[..., axis][None].astype(np.float32), geometry)
    for step in chain:
        frame = step(frame)
    grid = frame.geometry
    assume(min(grid.shape) > 8)
    expected = grid.to_world(np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1))[..., axis]
    inner = tuple(slice(3, -3) for _ in grid.shape)  # interpolation runs out of neighbours at the border
    step_mm = max(abs(d[axis]) * s for d, s in zip(geometry.direction, geometry.spacing, strict=True))
    assert np.abs(frame.values[0] - expected)[inner].max() < HALF * step_mm + 2e-3


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_index_maps_go_there_and_back(data: st.DataObject) -> None:
    geometry = data.draw(geometries())
    image = image_of(blob(geometry, np.array(geometry.shape) / 2), geometry)
    view = Viewing(data.draw(steps(geometry)))(image).geometry
    matrix, offset = (geometry.permuted(range(geometry.ndim))).index_map(view)
    points = np.array([[0.0] * geometry.ndim, [3.5] * geometry.ndim])
    assert np.allclose(view.to_world(points @ matrix.T + offset), geometry.to_world(points), atol=1e-6)
    back, home = view.index_map(geometry)
    assert np.allclose((points @ matrix.T + offset) @ back.T + home, points, atol=1e-6)


def test_a_wrong_grid_is_noticed() -> None:
    """The measure can fail: one pixel of displacement is more than half a pixel of error."""
    geometry = Geometry.of_affine((20, 22), np.column_stack([[0, 0, 2], [1, 0.5, 0], [0, 0, 0]]))
    landmark = np.array([9.0, 11.0])
    frame = Crop((14, 14))(Frame(blob(geometry, landmark)[None], geometry))
    wrong = frame.geometry.cropped([1, 0], frame.geometry.shape)
    assert apart(geometry, weighted_centre(frame.values[0], frame.geometry), geometry.to_world(landmark)) < 0.05
    assert apart(geometry, weighted_centre(frame.values[0], wrong), geometry.to_world(landmark)) > HALF


@pytest.mark.parametrize("turned", [False, True])
def test_a_real_volume_resampled_as_simpleitk_does(data: Path, tmp_path: Path, turned: bool) -> None:
    sitk = pytest.importorskip("SimpleITK")
    import nibabel as nib

    from saliscope.read import read

    path = data / "hippocampus-mr" / "images" / "hippocampus_001.nii.gz"
    if turned:
        affine = np.eye(4)
        affine[:3, :3] = _rotation(0.3, -0.4, 0.7) @ np.diag([0.8, -1.3, 2.1])
        affine[:3, 3] = [-31, 17, 55]
        path = tmp_path / "turned.nii.gz"
        stored = nib.load(data / "hippocampus-mr" / "images" / "hippocampus_001.nii.gz")
        nib.save(nib.Nifti1Image(np.asarray(stored.dataobj), affine), path)
    image = read(path)
    chain = (Orient("SAR"), Resize((44, 60, 40)), Crop((40, 48, 36)), Pad((48, 48, 48)))
    view = Viewing(chain)(image)
    target, to_lps = view.geometry, np.diag([-1.0, -1, 1])
    grid = sitk.Image([int(n) for n in target.shape[::-1]], sitk.sitkFloat32)
    grid.SetSpacing([float(s) for s in target.spacing[::-1]])
    grid.SetOrigin((to_lps @ np.array(target.origin)).tolist())
    grid.SetDirection((to_lps @ np.array(target.direction[::-1]).T).ravel().tolist())
    theirs = sitk.GetArrayFromImage(sitk.Resample(sitk.ReadImage(str(path), sitk.sitkFloat32), grid))
    ours = view.tensor[0, 0].numpy()
    inner = (slice(6, 42), slice(4, 44), slice(8, 40))
    error = np.abs(ours - theirs)[inner]
    spread = float(theirs[inner].std())
    # Every axis is enlarged, so both interpolate linearly and smooth nothing.
    assert error.max() < 0.02 * spread
    shifted = np.abs(np.roll(ours, 1, axis=2) - theirs)[inner]
    assert np.median(shifted) > 20 * max(np.median(error), 1e-6)
