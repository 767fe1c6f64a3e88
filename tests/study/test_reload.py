"""What was saved comes back equal, shows itself again, and is refused where anything of it was changed."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import saliscope
from dicom_cases import write_source
from saliscope.core.errors import InputError, UnreadableFile, WriteError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Traits
from saliscope.core.provenance import Provenance
from saliscope.write import explanation_files, save


def net() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 2),
    )  # fmt: skip


X = torch.rand(1, 1, 24, 30, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[saliscope.Explanation, Path]:
    """Return an explanation with a map beside its own, and the folder that it was saved in."""
    e = saliscope.explain(X, net(), "rise", target=1)
    assert isinstance(e, saliscope.Explanation)
    return e, e.save(tmp_path_factory.mktemp("saved") / "case")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


floats = st.floats(allow_nan=False, allow_infinity=False, width=64)
positive = st.floats(1e-3, 1e3)


@st.composite
def grids(draw: st.DrawFn) -> Geometry:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=3)))
    spacing = [draw(positive) for _ in shape]
    if draw(st.booleans()):
        return Geometry.of_picture(shape, spacing if draw(st.booleans()) else None)
    turned = np.linalg.qr(np.array(draw(st.lists(st.floats(-1, 1), min_size=9, max_size=9))).reshape(3, 3) + np.eye(3))
    affine = np.column_stack([turned[0][:, : len(shape)] * spacing, [draw(st.floats(-1e3, 1e3)) for _ in range(3)]])
    return Geometry.of_affine(shape, affine, draw(st.sampled_from(["mm", "px"])))


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    n = draw(st.integers(1, 3))

    def numbers(of: st.SearchStrategy[float | None]) -> tuple[float | None, ...]:
        return tuple(draw(st.lists(of, min_size=n, max_size=n)))

    share = st.floats(0, 1)
    return Prediction(
        tuple(f"label {i}" for i in range(n)),
        numbers(floats),  # type: ignore[arg-type]
        draw(st.none() | st.just(numbers(share))),  # type: ignore[arg-type]
        draw(st.sampled_from(["multi-label", "multi-class", "regression", "segmentation"])),
        numbers(st.none() | share),
        draw(st.sampled_from([(), numbers(st.none() | share)])),
    )


@settings(max_examples=60)
@given(st.data())
def test_values_grids_and_prediction_come_back_equal(data: st.DataObject) -> None:
    grid = data.draw(grids())
    maps = arrays.arrays(np.float32, grid.shape, elements=st.floats(width=32, allow_nan=True))
    image = MedicalImage(
        np.zeros((1, *grid.shape), np.float32), np.zeros((1, *grid.shape), np.uint8), grid, "US", "", "d" * 64, "case"
    )
    e = saliscope.Explanation(
        data.draw(maps), grid, data.draw(st.sampled_from([grid, grid.on_grid([2] * grid.ndim)])), "label 0",
        data.draw(predictions()), Traits("cam", True, "layer", True, "selvaraju2017", "one forward", "small things"),
        Provenance("d" * 64, "a" * 64, "b" * 64, "net", "grad-cam", {"sigma": data.draw(floats), "sizes": [1, 2]},
                   "label 0", "body.1", "the last", {"torch": "2.10"}, "cpu", {"gap": data.draw(floats)}, ("a note",)),
        {"variance": data.draw(maps)} if data.draw(st.booleans()) else {},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = save(Path(place) / "map", explanation_files(e, np.zeros(grid.shape, np.float32), image, b"png", {}))
        back = saliscope.Explanation.load(folder)
        assert back.values.tobytes() == e.values.tobytes()
        assert back.beside.keys() == e.beside.keys()
        assert all(back.beside[name].tobytes() == values.tobytes() for name, values in e.beside.items())
        assert (back.geometry, back.seen) == (e.geometry, e.seen)
        assert back.prediction == e.prediction
        assert back.provenance == e.provenance
        assert (back.target, back.traits, back.image_name) == (e.target, e.traits, "case")
        assert back.on("image").geometry == grid


def test_with_its_tensor_every_file_is_made_again(saved, tmp_path: Path) -> None:
    e, folder = saved
    back = saliscope.Explanation.load(folder, image=X)
    assert np.array_equal(back.on("image"), e.on("image"))
    assert back.overlay().tobytes() == e.overlay().tobytes()
    assert repr(back) == repr(e)
    assert files_of(back.save(tmp_path / "again")) == files_of(folder)


@pytest.mark.parametrize("kind", ["dx", "ct-oblique"])
def test_with_its_file_every_file_is_made_again(kind: str, tmp_path: Path) -> None:
    write_source(tmp_path / "source", kind)
    e = saliscope.explain(tmp_path / "source", "spot-finder" if kind == "dx" else "spot-finder-3d")
    assert isinstance(e, saliscope.Explanation)
    folder = e.save(tmp_path / "out")
    again = saliscope.Explanation.load(folder, image=tmp_path / "source").save(tmp_path / "again")
    assert files_of(again) == files_of(folder), "the view is made again of its steps"
    image = saliscope.read_image(tmp_path / "source")
    assert files_of(saliscope.Explanation.load(folder, image=image).save(tmp_path / "third")) == files_of(folder)


def test_without_its_image_all_works_but_saving_and_new_pictures(saved, tmp_path: Path) -> None:
    e, folder = saved
    back = saliscope.Explanation.load(str(folder))
    for grid in ("image", "input"):
        np.testing.assert_array_equal(np.asarray(back.on(grid)), np.asarray(e.on(grid)))
    assert repr(back) == repr(e)
    picture = back.overlay()
    assert picture.tobytes() == e.overlay().tobytes(), "the picture that was saved"
    assert max(back.overlay(most=100).size) <= 200
    assert back._repr_png_() is not None
    html = saliscope.Explanations([back])._repr_html_()
    assert html is not None
    assert "The image is not loaded." in html
    with pytest.raises(WriteError, match=r"without its image.*Explanation\.load\(folder, image=") as refused:
        back.save(tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert refused.value.do


@pytest.mark.parametrize("other", ["another tensor", "another file", "no image at all"])
def test_another_image_is_refused(saved, other: str, tmp_path: Path) -> None:
    _, folder = saved
    if other == "another file":
        Image.fromarray(np.zeros((24, 30), np.uint8)).save(tmp_path / "other.png")
    image = {"another tensor": X + 0.5, "another file": tmp_path / "other.png", "no image at all": 3}[other]
    with pytest.raises(InputError, match="an image of type int" if other == "no image at all" else "another image"):
        saliscope.Explanation.load(folder, image=image)  # type: ignore[arg-type]


def test_several_maps_find_their_images(tmp_path: Path) -> None:
    both = torch.cat([X, 1 - X])
    found = saliscope.explain(both, net(), ["grad-cam", "gradient"], target=0)
    assert isinstance(found, saliscope.Explanations)
    place = found.save(tmp_path / "run")
    with pytest.raises(UnreadableFile, match=r"4 maps below it.*Explanations\.load"):
        saliscope.Explanation.load(place)
    back = saliscope.Explanations.load(place, image=[1 - X, X])
    assert {e.image_name for e in back} == {"tensor-0", "tensor-1"}
    assert files_of(back.save(tmp_path / "again")).keys() == files_of(place).keys()
    with pytest.raises(InputError, match="another image than"):
        saliscope.Explanations.load(place, image=[X])


FILES = (
    "explanation.json",
    "map.nii.gz",
    "map_native.nii.gz",
    "overlay.png",
    "error_native.nii.gz",
    "variance_native.nii.gz",
)


@pytest.fixture
def own(saved, tmp_path: Path) -> Path:
    """Return a copy of the saved map's folder, to be damaged."""
    _, folder = saved
    return Path(shutil.copytree(folder / "class-1.rise", tmp_path / "own"))


def test_these_are_all_the_files(own: Path) -> None:
    assert {p.name for p in own.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(own: Path, name: str) -> None:
    (own / name).unlink()
    with pytest.raises(UnreadableFile, match=rf"no {name}" if name == FILES[0] else rf"{name} is missing"):
        saliscope.Explanation.load(own)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_changed_file_is_refused_by_name(own: Path, name: str) -> None:
    data = (own / name).read_bytes()
    if name.endswith(".gz"):
        raw = bytearray(gzip.decompress(data))
        raw[-1] ^= 1
        data = gzip.compress(bytes(raw))
    (own / name).write_bytes(data + (b"" if name.endswith(".gz") else b"\x00"))
    with pytest.raises(UnreadableFile, match=rf"{name} changed since"):
        saliscope.Explanation.load(own)


@pytest.mark.parametrize("where", [("target",), ("prediction", "kind"), ("provenance", "model"), ("image", "name")])
def test_a_record_that_was_edited_is_refused(own: Path, where: tuple[str, ...]) -> None:
    record = json.loads((own / "explanation.json").read_text())
    place = record
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = "another"
    (own / "explanation.json").write_text(json.dumps(record))
    with pytest.raises(UnreadableFile, match=r"explanation\.json changed since"):
        saliscope.Explanation.load(own)


@pytest.mark.parametrize("version", ["2.0", "0.9", ""])
def test_a_layout_that_is_not_known_is_refused(own: Path, version: str) -> None:
    record = json.loads((own / "explanation.json").read_text())
    (own / "explanation.json").write_text(json.dumps({**record, "schema_version": version}))
    with pytest.raises(UnreadableFile, match="a record of layout"):
        saliscope.Explanation.load(own)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema_version": "1.1"}'])
def test_what_is_no_record_is_refused(own: Path, text: str) -> None:
    (own / "explanation.json").write_text(text)
    with pytest.raises(UnreadableFile):
        saliscope.Explanation.load(own)


def test_a_record_of_the_layout_before_is_read(own: Path) -> None:
    """1.0 had no digests, and grids as an affine only."""
    record = json.loads((own / "explanation.json").read_text())
    for key in ("digest", "files"):
        del record[key]
    for name in ("grid", "native_grid", "seen"):
        for key in ("origin", "direction"):
            del record["map"][name][key]
    del record["prediction"]["own_thresholds"], record["provenance"]["viewing"]
    (own / "explanation.json").write_text(json.dumps({**record, "schema_version": "1.0"}))
    back = saliscope.Explanation.load(own)
    np.testing.assert_allclose(back.on("image").geometry.affine, Geometry.of_picture((24, 30)).affine, atol=1e-9)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"no explanation\.json"):
        saliscope.Explanation.load(tmp_path / "nothing")


def test_a_view_whose_steps_are_not_known_is_left_out_of_the_page(tmp_path: Path) -> None:
    write_source(tmp_path / "source", "dx")
    e = saliscope.explain(tmp_path / "source", "spot-finder")
    assert isinstance(e, saliscope.Explanation)
    viewing = {"source": "values", "steps": [{"step": "unheard-of"}]}
    folder = replace(e, provenance=replace(e.provenance, viewing=viewing)).save(tmp_path / "out")
    again = saliscope.Explanation.load(folder, image=tmp_path / "source").save(tmp_path / "again")
    assert (again / "page.html").is_file()
