"""What a run wrote comes back as the same explanation, and only from a folder that a run wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import saliscope
from dicom_cases import write_source
from saliscope.core.errors import UnreadableFile
from saliscope.study.stored import stored
from saliscope.write.record import seal


def same(one: saliscope.Explanation, other: saliscope.Explanation) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    assert one.beside.keys() == other.beside.keys()
    for name, values in one.beside.items():
        np.testing.assert_array_equal(values, other.beside[name])
    for grid, back in ((one.geometry, other.geometry), (one.seen, other.seen)):
        np.testing.assert_allclose(grid.affine, back.affine, rtol=1e-8, atol=1e-7)
        assert (grid.shape, grid.unit, grid.frame) == (back.shape, back.unit, back.frame)
    assert one.traits == other.traits
    assert one.target == other.target
    assert len(one.resolution) == len(other.resolution) > 0
    np.testing.assert_allclose(one.resolution, other.resolution, rtol=1e-8)
    plain = json.loads(json.dumps(dict(one.provenance.fields)))
    assert replace(one.provenance, fields=plain, diagnostics={}) == replace(other.provenance, diagnostics={})
    assert one.prediction.labels == other.prediction.labels
    np.testing.assert_allclose(one.prediction.logits, other.prediction.logits, rtol=1e-8)
    assert one.prediction.sentence(one.target) == other.prediction.sentence(other.target)


@pytest.mark.parametrize(
    ("kind", "model", "method"),
    [
        ("ct-oblique", "spot-finder-3d", "grad-cam"),
        ("dx", "spot-finder", "gradient"),
        ("us", "spot-finder", "rise"),
        ("us", "spot-finder", "fused"),
        ("cr-unspaced", "spot-finder", "grad-cam"),
    ],
)
def test_an_explanation_comes_back_from_its_folder(kind: str, model: str, method: str, tmp_path: Path) -> None:
    write_source(tmp_path / "source", kind)
    made = saliscope.METHODS.make(method, **({"samples": 64} if method == "rise" else {}))
    one = saliscope.explain(tmp_path / "source", model, made)
    assert isinstance(one, saliscope.Explanation)
    one.save(tmp_path / "out")
    (found,) = stored(tmp_path / "out")
    assert found.card is None
    same(one, found.explanation)


def test_of_a_map_written_before_methods_stated_it_the_resolution_is_not_known(tmp_path: Path) -> None:
    write_source(tmp_path / "source", "dx")
    one = saliscope.explain(tmp_path / "source", "spot-finder", "occlusion")
    assert isinstance(one, saliscope.Explanation)
    one.save(tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*/explanation.json")
    record = json.loads(path.read_text())
    assert record["map"].pop("resolution")
    record["digest"] = seal(record)
    path.write_text(json.dumps(record))
    (found,) = stored(tmp_path / "out")
    assert found.explanation.resolution == ()
    assert found.explanation.finest == found.explanation.coarsest == found.explanation.geometry.spacing


def test_what_no_run_wrote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"no explanation\.json"):
        stored(tmp_path)


@pytest.mark.parametrize("damage", ["no map", "no json", "another layout", "a path that leads out"])
def test_a_damaged_folder_is_refused_in_a_line(damage: str, tmp_path: Path) -> None:
    write_source(tmp_path / "source", "dx")
    one = saliscope.explain(tmp_path / "source", "spot-finder")
    assert isinstance(one, saliscope.Explanation)
    one.save(tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*/explanation.json")
    record = json.loads(path.read_text())
    if damage == "no map":
        (path.parent / "map_native.nii.gz").unlink()
    elif damage == "no json":
        path.write_text("{")
    elif damage == "another layout":
        path.write_text(json.dumps({**record, "schema_version": "9.0"}))
    else:
        record["map"]["native_file"] = "../../elsewhere.nii.gz"
        path.write_text(json.dumps(record))
    with pytest.raises(UnreadableFile):
        stored(tmp_path / "out")
