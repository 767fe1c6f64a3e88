"""From a real file to files: the map lies on the source's own grid, and the record says how it came about."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from saliscope.cli.main import main


def explained(source: Path, out: Path, *words: str) -> Path:
    """Run the command on one source and return the folder of its case."""
    with pytest.raises(SystemExit) as end:
        main(["explain", str(source), *words, "--quiet", "--out", str(out)])
    assert not end.value.code
    (case,) = [p for p in out.iterdir() if p.is_dir()]
    return case


def lps_to_ras(image: sitk.Image) -> np.ndarray:
    """Return the affine (column, row, plane) of an image as SimpleITK reads it, in RAS+."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


def test_a_ct_series(data: Path, tmp_path: Path) -> None:
    folder = data / "abdominal-ct" / "example_ct_dicom"
    case = explained(folder, tmp_path / "out", "-m", "spot-finder-3d", "-t", "spot", "--method", "grad-cam,gradient")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    source = reader.Execute()
    for method in ("grad-cam", "gradient"):
        heat = nib.load(case / f"spot.{method}" / "map.nii.gz")
        assert heat.shape == source.GetSize()
        np.testing.assert_allclose(heat.affine, lps_to_ras(source), atol=1e-3)
        assert heat.get_data_dtype() == np.float32
    native = nib.load(case / "spot.grad-cam" / "map_native.nii.gz")
    assert native.shape == (16, 16, 16)
    # Four view elements to a cell; the view has 64 elements over the same extent.
    extent = np.array(source.GetSize()) * np.array(source.GetSpacing())
    np.testing.assert_allclose(native.header.get_zooms(), extent / 16, rtol=1e-4)
    text = "".join(p.read_text() for p in case.rglob("*.json")) + (case / "page.html").read_text()
    tags = sitk.ReadImage(str(next(folder.iterdir())))
    for key in ("0010|0010", "0010|0020", "0020|000d", "0008|0018"):
        if tags.HasMetaDataKey(key) and len(tags.GetMetaData(key).strip()) > 3:
            assert tags.GetMetaData(key).strip() not in text


def test_an_mr_volume_gets_back_its_own_affine(data: Path, tmp_path: Path) -> None:
    source = sorted((data / "hippocampus-mr" / "images").glob("*.nii*"))[0]
    case = explained(source, tmp_path / "out", "-m", "spot-finder-3d", "-t", "spot")
    heat, image = nib.load(case / "spot.grad-cam" / "map.nii.gz"), nib.load(source)
    assert heat.shape == image.shape
    np.testing.assert_allclose(heat.affine, image.affine, atol=1e-5)


def test_a_breast_ultrasound_and_where_its_map_falls(data: Path, tmp_path: Path) -> None:
    """On this image the mass of the map is denser inside the expert's outline than outside it."""
    from PIL import Image

    folder = data / "breast-ultrasound-busi" / "malignant"
    source = folder / "images" / "malignant-001.jpg"
    case = explained(source, tmp_path / "out", "-m", "breast-ultrasound", "-t", "malignant")
    heat = nib.load(case / "malignant.grad-cam" / "map.nii.gz").get_fdata()[..., 0].T
    mask = np.asarray(Image.open(folder / "masks" / f"{source.stem}.png").convert("L")) > 127
    assert heat.shape == mask.shape
    positive = heat.clip(min=0)
    assert positive[mask].mean() > 2 * positive[~mask].mean()
    record = json.loads((case / "malignant.grad-cam" / "explanation.json").read_text())
    assert record["map"]["grid"]["unit"] == "px"
    assert "not for diagnosis" in (case / "page.html").read_text()


def test_a_chest_x_ray_that_is_a_picture(data: Path, tmp_path: Path) -> None:
    source = sorted((data / "chest-xray-nih" / "original-1024").glob("*.png"))[0]
    case = explained(source, tmp_path / "out", "-m", "chest-pneumonia-28", "-t", "all")
    assert {p.name for p in case.iterdir() if p.is_dir()} == {"normal.grad-cam", "pneumonia.grad-cam"}
    one, other = (nib.load(case / f"{t}.grad-cam" / "map.nii.gz") for t in ("normal", "pneumonia"))
    assert one.shape == (1024, 1024, 1)
    # One logit: class 0 is its negative, and so is its map.
    np.testing.assert_allclose(one.get_fdata(), -other.get_fdata(), atol=1e-6)


@pytest.mark.long
def test_a_brain_of_256_cubed_within_20_gib(data: Path, tmp_path: Path) -> None:
    words = ["-m", "brain-extraction", "-t", "brain", "-q", "-o", str(tmp_path / "out")]
    source = str(data / "brain-mr" / "t1_crop.nii.gz")
    environment = {**os.environ, "SALISCOPE_DATA": str(data)}
    command = [sys.executable, "-m", "saliscope.cli.main", "explain", source, *words]
    subprocess.run(command, check=True, env=environment)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert peak < 20, f"{peak:.1f} GiB"
    (case,) = [p for p in (tmp_path / "out").iterdir() if p.is_dir()]
    heat = nib.load(case / "brain.grad-cam" / "map.nii.gz")
    np.testing.assert_allclose(heat.affine, nib.load(source).affine, atol=1e-5)
