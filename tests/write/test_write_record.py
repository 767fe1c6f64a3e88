"""The record must be readable by any JSON reader, complete, and the same every time."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliscope.core.errors import WriteError
from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Traits
from saliscope.core.provenance import Provenance
from saliscope.write import csv_bytes, explanation_files, explanation_record, json_bytes, plain, safe_name, save

ONTO = Geometry.of_picture((8, 12))


def an_explanation(values=None):
    values = np.arange(6, dtype=np.float32).reshape(2, 3) - 2 if values is None else values
    return Explanation(
        values, ONTO.on_grid((2, 3)), ONTO, "malignant",
        Prediction(("benign", "malignant"), (0.1, 1 / 3), (0.4, 0.6), "multi-class", (None, 0.5)),
        Traits("cam", True, "layer", True, "selvaraju2017", "one forward", "small things"),
        Provenance("d" * 64, "a" * 64, "b" * 64, "net 1", "grad-cam", {"layer": "auto", "sizes": (1, 2)}, "malignant",
                   "features.norm5", "the last", {"torch": "2.10"}, "cpu", {"gap": np.float32(0.25)}, ("a note",)),
    )  # fmt: skip


IMAGE = MedicalImage(
    np.zeros((1, 8, 12), np.float32), np.zeros((1, 8, 12), np.uint8), ONTO, "US", "", "d" * 64, "case-1", ("said",)
)  # fmt: skip


def files(explanation=None):
    e = explanation or an_explanation()
    return explanation_files(e, np.zeros(ONTO.shape, np.float32), IMAGE, b"png", {"regions": [], "sentences": ["one"]})


def test_the_folder_holds_what_it_should(tmp_path):
    save(tmp_path / "malignant.grad-cam", files())
    names = sorted(p.name for p in (tmp_path / "malignant.grad-cam").iterdir())
    assert names == ["explanation.json", "map.nii.gz", "map_native.nii.gz", "overlay.png"]


def test_the_same_explanation_gives_the_same_bytes():
    assert files() == files()


def test_the_record_holds_all_that_makes_the_map_again():
    record = json.loads(files()["explanation.json"])
    assert record["schema_version"] == "1.0"
    assert record["image"] == {"name": "case-1", "modality": "US", "units": "", "notes": ["said"], "sha256": "d" * 64}
    assert record["method"]["name"] == "grad-cam"
    assert record["method"]["fields"] == {"layer": "auto", "sizes": [1, 2]}
    assert record["layer"] == {"name": "features.norm5", "reason": "the last"}
    assert record["prediction"]["thresholds"] == [0.5, 0.5], "of two classes that exclude each other"
    assert record["prediction"]["called"] == ["malignant"]
    assert record["prediction"]["logits"][1] == 0.333333333
    assert record["map"]["native_grid"]["shape"] == [2, 3]
    assert record["map"]["grid"]["unit"] == "px"
    assert record["map"]["resolution"] == []
    assert record["map"]["native_minimum"] == -2
    assert record["provenance"]["image_sha256"] == "d" * 64
    assert record["provenance"]["diagnostics"] == {"gap": 0.25}
    assert record["reading"]["sentences"] == ["one"]


def test_a_map_of_nan_gives_a_file_that_json_can_read():
    text = files(an_explanation(np.full((2, 3), np.nan, np.float32)))["explanation.json"].decode()
    assert "NaN" not in text
    assert json.loads(text)["map"]["native_maximum"] is None


@given(st.floats(allow_nan=True, allow_infinity=True, width=32))
def test_every_float32_survives_or_becomes_null(x):
    back = json.loads(json_bytes({"x": np.float32(x)}))["x"]
    assert back is None if not np.isfinite(x) else np.float32(back) == np.float32(x)


def test_keys_are_sorted_and_text_is_kept():
    assert json_bytes({"b": "μ", "a": {2: 1}}).decode() == '{\n "a": {\n  "2": 1\n },\n "b": "μ"\n}\n'


def test_what_is_not_plain_is_refused_not_guessed():
    with pytest.raises(WriteError, match="a object in a record"):
        json_bytes({"x": object()})


def test_a_path_keeps_only_its_name():
    assert plain(Path("somewhere") / "of" / "a user" / "card.toml") == "card.toml"


def test_plain_takes_numbers_of_numpy_and_sets():
    assert plain({"a": np.int64(3), "b": np.bool_(True), "c": {2, 1}, "d": np.eye(2, dtype=int)}) == {
        "a": 3, "b": True, "c": [1, 2], "d": [[1, 0], [0, 1]],
    }  # fmt: skip


def test_the_record_follows_the_target_of_a_caller():
    e = replace(an_explanation(), target="my own")
    said = explanation_record(e, IMAGE, {})["prediction"]["sentence"]
    assert said.startswith("my own: a score made of the network's output; its strongest answer is malignant: prob")


def test_a_spreadsheet_runs_no_cell():
    got = csv_bytes(["file", "why"], [{"file": "=HYPERLINK()", "why": 'a "quoted", cell'}, {"file": "-1"}]).decode()
    assert got == 'file,why\n\'=HYPERLINK(),"a ""quoted"", cell"\n\'-1,\n'


@given(st.text())
def test_any_text_becomes_one_part_of_a_path(text):
    name = safe_name(text)
    assert name
    assert name not in (".", "..")
    assert len(name) <= 81
    assert Path(name).name == name
    assert not set(name) & set('/\\:*?"<>|\0')


@pytest.mark.parametrize(
    ("text", "name"), [("Lung Opacity", "Lung-Opacity"), ("../x", "x"), ("", "unnamed"), ("con", "con_")]
)
def test_names_stay_readable(text, name):
    assert safe_name(text) == name
