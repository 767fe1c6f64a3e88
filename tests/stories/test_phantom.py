"""From a drawn case to a map on its own grid, and the three truths: what was planted, what is used, what a map says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope
from saliscope.cli.main import main
from saliscope.core.target import LogitTarget
from saliscope.model.network import Network
from saliscope.phantom.catalogue import phantom_set
from saliscope.phantom.effects.counterfactual import cohort_effects
from saliscope.write.nifti import nifti_affine


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as end:
        main([*map(str, words), "-q"])
    assert not end.value.code


@pytest.mark.parametrize(
    ("scene", "size", "count", "kind", "model"),
    [
        ("chest", 96, 2, "dicom", "spot-finder"),
        ("chest", 96, 2, "nifti", "spot-finder"),
        ("chest", 96, 2, "png", "spot-finder"),
        ("ultrasound", 96, 2, "dicom", "spot-finder"),
        ("brain", 40, 1, "dicom", "spot-finder-3d"),
        ("body-ct", 40, 1, "dicom", "spot-finder-3d"),
        ("body-ct", 40, 1, "nifti", "spot-finder-3d"),
    ],
)
def test_what_is_written_is_explained_and_the_map_is_placed(
    scene: str, size: int, count: int, kind: str, model: str, tmp_path: Path
) -> None:
    run("phantom", scene, "--size", size, "--count", count, "--seed", 1, "--format", kind, "--out", tmp_path / "set")
    run("explain", tmp_path / "set" / "images", "-m", model, "-t", "spot", "--out", tmp_path / "maps")
    with (tmp_path / "set" / "cases.csv").open(newline="") as file:
        by_digest = {row["sha256"]: row for row in csv.DictReader(file)}
    cases = {case.name: case for case in phantom_set(scene, count=count, seed=1, size=size)}
    found = sorted((tmp_path / "maps").glob("*/spot.grad-cam"))
    assert len(found) == len(by_digest) == count
    for folder in found:
        record = json.loads((folder / "explanation.json").read_text())
        # The names of cases hold no identifier; the digest brings a map and its truth together.
        case = cases[by_digest[record["provenance"]["image_sha256"]]["case"]]
        geometry = case.anatomy.geometry
        placed = nib.load(folder / "map.nii.gz")
        assert np.squeeze(placed.dataobj).shape == geometry.shape[::-1]
        if kind != "png":
            assert np.allclose(placed.affine, nifti_affine(geometry), atol=1e-4)
            assert record["map"]["grid"]["unit"] == "mm"
            assert record["map"]["grid"]["frame"] == geometry.frame
        assert np.ptp(np.asarray(placed.dataobj)) > 0


class LooksAt(nn.Module):
    """The mean of some pixels (*S), as one logit."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).flatten(1).sum(1, keepdim=True)


def test_a_map_that_points_at_the_shortcut_of_a_shortcut_network_is_right() -> None:
    made = phantom_set("chest", "nodule", "columns", contamination=1.0, count=8, size=64)
    tagged = [case for case in made if "columns" in case.regions]
    columns = tagged[0].regions["columns"].mask
    weight = torch.from_numpy(columns / columns.sum()).float()
    network = Network(LooksAt(weight), labels=("nodule",), kind="regression", name="looks at the columns")
    # What it was taught to call "nodule" is, by intervention, the shortcut.
    used = cohort_effects(tagged, network, LogitTarget((0,), ("nodule",), "regression"))
    shortcut, finding = used.role("shortcut", "nodule"), used.role("finding", "nodule")
    assert shortcut is not None
    assert finding is not None
    assert shortcut.share.mean > 0.95
    assert finding.share.mean < 0.05
    for case in tagged:
        found = saliscope.explain(case.render(), network, "gradient", "nodule")
        mass = np.abs(found.values)
        # Faithful: all of it lies where the effect is. Not plausible: none of it lies on the finding.
        assert mass[columns].sum() == pytest.approx(mass.sum())
        assert mass[case.truth["required"].mask & ~columns].sum() == 0
        assert mass[case.truth["forbidden"].mask].sum() > 0.9 * mass.sum()
