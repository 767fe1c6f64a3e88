"""The face for Python: maps on other grids, as arrays and tensors, lists that show themselves, progress, catalogues."""

from __future__ import annotations

import copy
import io
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import saliscope
from saliscope.core.errors import GeometryError, InputError, SaliscopeError, TargetError, WriteError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.listing import ROWS, table
from saliscope.core.placed import PlacedMap
from saliscope.figures.place import within
from saliscope.figures.reading import interpret

#: Lists of as many classes as images could mean two things: that is said, and tried elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::saliscope.core.errors.TargetWarning")


class Net(torch.nn.Module):
    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        torch.manual_seed(3)
        conv = torch.nn.Conv2d if dims == 2 else torch.nn.Conv3d
        pool = torch.nn.AdaptiveAvgPool2d if dims == 2 else torch.nn.AdaptiveAvgPool3d
        self.body = torch.nn.Sequential(conv(1, 6, 3, stride=2, padding=1), torch.nn.ReLU())
        self.head = torch.nn.Sequential(pool(1), torch.nn.Flatten(), torch.nn.Linear(6, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def picture(rows: int = 40, columns: int = 60, seed: int = 0, digest: str = "d") -> MedicalImage:
    grey = np.random.default_rng(seed).integers(0, 255, (1, rows, columns)).astype(np.uint8)
    geometry = Geometry.of_picture((rows, columns), (0.5, 0.25))
    return MedicalImage(grey.astype(np.float32), grey, geometry, "US", "", digest * 64, f"case-{digest}")


CROP = [{"step": "centre-crop", "shape": [32, 32]}]


def cropped() -> saliscope.Explanation:
    e = saliscope.explain(picture(), Net(), target=1, view=CROP)
    assert isinstance(e, saliscope.Explanation)
    return e


def one(**more: object) -> saliscope.Explanation:
    e = saliscope.explain(noise(1, 1, 24, 30), Net(), target=1, **more)  # type: ignore[arg-type]
    assert isinstance(e, saliscope.Explanation)
    return e


def test_a_map_on_the_image_is_what_the_page_shows_and_zero_where_nothing_was_seen() -> None:
    e = cropped()
    placed = e.on("image")
    assert (placed.shape, placed.values.dtype, placed.geometry) == ((40, 60), np.float32, picture().geometry)
    np.testing.assert_array_equal(placed.values, interpret(e, picture()).values)
    seen = within(placed.geometry, e.seen)
    assert 0 < seen.sum() < seen.size
    assert (placed.values[~seen] == 0).all()
    assert np.abs(placed.values[seen]).max() > 0
    assert not placed.values.flags.writeable


def test_a_map_on_the_input_lies_where_the_network_saw() -> None:
    e = cropped()
    values, geometry = e.on("input")
    assert geometry == e.seen
    assert values.shape == (32, 32)
    box = within(e.on("image").geometry, e.seen)
    np.testing.assert_allclose(values, e.on("image").values[box].reshape(32, 32), atol=1e-6)


def test_a_map_that_lies_on_the_input_keeps_every_value() -> None:
    e = one(method="gradient")
    np.testing.assert_array_equal(e.on("input").values, e.values)


def test_a_volume_is_placed_too() -> None:
    e = saliscope.explain(noise(1, 1, 8, 12, 16), Net(3), target=0, spacing_mm=(3.0, 1.0, 1.0))
    assert isinstance(e, saliscope.Explanation)
    assert e.values.shape == (4, 6, 8)
    assert e.on("image").shape == e.on("input").shape == (8, 12, 16)
    assert e.on("image").geometry.spacing == (3.0, 1.0, 1.0)


def test_another_grid_is_refused_in_a_sentence() -> None:
    with pytest.raises(GeometryError, match=r"the grid 'picture'; expected 'image' or 'input'"):
        one().on("picture")  # type: ignore[arg-type]
    with pytest.raises(GeometryError, match="a map of shape"):
        PlacedMap(np.zeros((2, 2), np.float32), Geometry.of_picture((2, 3)))


@pytest.mark.parametrize("what", ["own grid", "image"])
def test_a_map_is_an_array_and_a_tensor(what: str) -> None:
    e = one()
    given = e if what == "own grid" else e.on("image")
    values = np.asarray(given)
    np.testing.assert_array_equal(values, given.values)
    assert np.shares_memory(values, given.values)
    assert not values.flags.writeable
    assert np.asarray(given, dtype=np.float64).dtype == np.float64
    own = np.array(given)
    own += 1
    assert (own != given.values).all()
    with pytest.raises(ValueError, match="copy"):
        np.array(given, dtype=np.float64, copy=False)
    tensor = given.to_tensor()
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, given.values.shape)
    tensor += 1
    np.testing.assert_array_equal(np.asarray(given) + 1, tensor.numpy())


def test_the_repr_is_a_few_telling_lines() -> None:
    lines = repr(cropped()).splitlines()
    assert lines[0] == "Explanation of 'class 1' by grad-cam at layer body"
    assert len(lines) == 4
    told = "\n".join(lines)
    for word in ("probability 1.00", "16 × 16 of 1 × 0.5 mm", "case-d", "32 × 32 of 0.5 × 0.25 mm", "network: Net"):
        assert word in told, told
    assert max(map(len, lines)) < 120


def several() -> saliscope.Explanations:
    images = [picture(), picture(seed=1, digest="e")]
    found = saliscope.explain(images, Net(), ["grad-cam", "gradient", "occlusion"], target=[0, 1], labels=["a", "<b>"])
    assert isinstance(found, saliscope.Explanations)
    return found


def test_many_come_back_as_a_list_that_stays_one() -> None:
    found = several()
    assert len(found) == 12
    assert isinstance(found, list)
    for made in (found[2:4], found[:1] + found[3:5], found.copy(), copy.copy(found), pickle.loads(pickle.dumps(found))):
        assert isinstance(made, saliscope.Explanations)
    assert isinstance(found[0], saliscope.Explanation)
    assert [e.provenance.method for e in found[:3]] == ["grad-cam", "gradient", "occlusion"]
    assert isinstance(saliscope.explain(noise(2, 1, 24, 30), Net(), target=0), saliscope.Explanations)


def test_a_list_is_a_table_in_a_terminal() -> None:
    found = several()
    head, first, *rest = repr(found).splitlines()
    assert head.split() == ["IMAGE", "TARGET", "PROBABILITY", "METHOD", "LAYER", "LARGEST"]
    assert first.split()[:2] == ["case-d", "a"]
    assert float(first.split()[-1]) == pytest.approx(found[0].values.max(), rel=0.01)
    assert len(rest) == 11
    assert max(map(len, rest)) < 100
    long = table([{"a": "x" * 99, "b": "y"}] * (ROWS + 5)).splitlines()
    assert (len(long), long[-1]) == (ROWS + 2, "... and 5 more")
    assert max(map(len, long)) < 40
    assert repr(saliscope.Explanations()) == "<Explanations: none>"


def test_a_list_is_a_labelled_grid_of_small_pictures_in_a_notebook() -> None:
    found = several()
    html = found._repr_html_()
    assert html is not None
    assert re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', html) == ["grad-cam", "gradient", "occlusion"]
    assert html.count('<th scope="row"') == 4, "two images by two targets"
    assert html.count("case-d") == html.count("case-e") == 2
    assert "&lt;b&gt;" in html
    assert "<b>" not in html, "a label is text"
    sizes = [(int(w), int(h)) for w, h in re.findall(r'<img [^>]*width="(\d+)" height="(\d+)"', html)]
    assert len(sizes) == 12
    assert max(max(size) for size in sizes) <= 320
    assert "Research use, not for diagnosis." in html
    assert "http" not in html, "nothing is fetched from anywhere"


def test_five_methods_weigh_less_than_600_kb_on_noise_too() -> None:
    net, x = Net(), noise(1, 1, 256, 256)
    found = saliscope.explain(x, net, ["grad-cam", "gradient", "input-x-gradient", "hirescam", "layercam"], target=1)
    assert isinstance(found, saliscope.Explanations)
    html = found._repr_html_()
    assert html is not None
    assert html.count("<img") == 5
    assert len(html) < 600_000
    single = found[0]._repr_png_()
    assert single is not None
    assert len(single) < 600_000


def test_the_same_method_with_other_fields_has_a_column_of_its_own() -> None:
    made = [saliscope.METHODS.make("grad-cam"), saliscope.METHODS.make("grad-cam", relu=True)]
    found = saliscope.explain(noise(1, 1, 24, 30), Net(), made, target=1)
    assert isinstance(found, saliscope.Explanations)
    columns = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', found._repr_html_() or "")
    assert len(set(columns)) == 2


def test_an_empty_list_has_nothing_to_show_and_nothing_to_save(tmp_path: Path) -> None:
    assert saliscope.Explanations()._repr_html_() is None
    with pytest.raises(WriteError, match="an empty list"):
        saliscope.Explanations().save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_images_are_saved_in_folders_of_their_own_whole_or_not_at_all(tmp_path: Path) -> None:
    found = several()
    place = found.save(tmp_path / "out")
    assert sorted(p.name for p in place.iterdir()) == ["case-d", "case-e"]
    assert len(saliscope.Explanations.load(place)) == 12
    with pytest.raises(WriteError, match="there already"):
        found.save(place)
    lost = saliscope.Explanations.load(place)[6:]
    with pytest.raises(WriteError, match="without its image"):
        (found[:6] + lost).save(tmp_path / "half")
    assert not (tmp_path / "half").exists()


def test_catalogues_are_iterated_over_by_name_and_short_to_print() -> None:
    for catalogue in (saliscope.METHODS, saliscope.METRICS):
        assert list(catalogue) == catalogue.names()
        assert len(catalogue) == len(catalogue.names()) > 20
        assert catalogue.names()[0] in catalogue
        assert "nothing" not in catalogue
        assert len(repr(catalogue)) < 100
    assert "grad-cam" in saliscope.METHODS
    assert repr(saliscope.METRICS).startswith(f"<{len(saliscope.METRICS)} metrics: ")


def test_progress_is_told_to_a_function() -> None:
    steps: list[str] = []
    found = saliscope.explain(noise(2, 1, 24, 30), Net(), ["grad-cam", "occlusion"], "top", progress=steps.append)
    assert len(found) == 4
    assert steps[0] == "1 of 2: grad-cam"
    assert steps[-1].startswith("2 of 2: occlusion, ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_on_a_terminal_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for screen in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", screen)
        one(progress=True)
        told = screen.getvalue()
        assert ("grad-cam" in told) == isinstance(screen, Terminal), "a file keeps no lines that replace each other"
        if told:
            last = told.rstrip("\r").rpartition("\r")[2]
            assert not last.strip(), "the line is wiped"


def test_what_is_no_progress_is_refused() -> None:
    with pytest.raises(InputError, match="progress of type str"):
        one(progress="yes")


def test_a_check_gives_the_map_with_its_card() -> None:
    x, net, steps = noise(1, 1, 32, 32), Net(), []
    checked = saliscope.check(x, net, "grad-cam", progress=steps.append)
    assert isinstance(checked, saliscope.CheckedExplanation)
    plain = saliscope.explain(x, net, "grad-cam")
    np.testing.assert_array_equal(np.asarray(checked.explanation), np.asarray(plain))
    assert checked.state in ("not-assessed", "do-not-read", "doubtful")
    assert repr(checked).splitlines()[0].endswith(f"{checked.explanation.target!r} by grad-cam on tensor-0")
    html = checked._repr_html_()
    assert checked.card.results[1].question in html
    assert any("checking" in step for step in steps)


def test_a_map_that_its_card_hides_is_not_drawn_among_others(tmp_path: Path) -> None:
    found = saliscope.check(noise(1, 1, 32, 32), Net(), "edges", target=[0, 1])
    assert isinstance(found, saliscope.CheckedExplanations)
    assert isinstance(found[:1], saliscope.CheckedExplanations)
    states = [one.state for one in found]
    assert "do-not-read" in states
    html = found._repr_html_()
    assert html.count("<img") == sum(state != "do-not-read" for state in states)
    assert html.count("the map is hidden") == states.count("do-not-read")
    hidden = next(one for one in found if one.state == "do-not-read")
    before, shown, after = hidden._repr_html_().partition("Show the hidden map")
    assert shown
    assert "<img" not in before
    assert "<img" in after
    place = found.save(tmp_path / "out")
    assert len(list(place.glob("*/card.html"))) == 2
    assert repr(found).splitlines()[0].split()[-1] == "STATE"
    back = saliscope.Explanations.load(place)
    assert (back._repr_html_() or "").count("<img") == html.count("<img"), "hidden when it is loaded, too"


def test_an_audit_gives_a_card_that_a_check_takes(tmp_path: Path) -> None:
    images, net, steps = noise(4, 1, 32, 32), Net(), []
    rows = [{"image": f"tensor-{n}", "patient": n // 2, "label": "a"} for n in range(4)]
    card = saliscope.audit(images, net, "grad-cam", 1, table=rows, labels=["a", "b"], progress=steps.append)
    assert isinstance(card, saliscope.AuditCard)
    assert (card.target, card.cohort.images, card.cohort.patients) == ("b", 4, 2)
    assert steps[0].startswith("b by grad-cam: ")
    assert repr(card).startswith("Audit of 'b' by grad-cam for Net, over 4 images")
    assert "over 4 images" in card._repr_html_()
    place = card.save(tmp_path / "audit")
    assert saliscope.AuditCard.read(place / "audit.json").digest == card.digest
    for given in (card, place / "audit.json", [card]):
        checked = saliscope.check(images[:1], net, "grad-cam", 1, labels=["a", "b"], card=given)
        assert isinstance(checked, saliscope.CheckedExplanation)
        assert checked.card.audit == card.digest
    both = saliscope.audit([picture(), picture(seed=1, digest="e")], net, "grad-cam")
    assert isinstance(both, saliscope.AuditCards)
    assert repr(both).splitlines()[0].split() == ["TARGET", "METHOD", "IMAGES", "BARRED", "SHORTCUTS", "CHECKS"]
    assert [one.target for one in both[:]] == ["class 0", "class 1"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: saliscope.check(noise(1, 1, 32, 32), Net(), target=lambda out: out[:, 0]), "a target of type"),
        (lambda: saliscope.check(noise(1, 1, 32, 32), Net(), target=[]), "a target of type"),
        (lambda: saliscope.check(noise(1, 1, 32, 32), Net(), tier="fast"), "the tier 'fast'"),
        (lambda: saliscope.check(noise(1, 1, 32, 32), Net(), card="nowhere.json"), "nowhere.json"),
        (lambda: saliscope.audit(noise(2, 1, 32, 32), Net(), target="top"), "of an audit"),
        (lambda: saliscope.audit(noise(2, 1, 32, 32), Net(), view=CROP), "a tensor for a network with a view"),
        (lambda: saliscope.audit([], Net()), "images of type list"),
        (lambda: saliscope.audit([picture()], Net(), table=[{"name": "x"}]), "with the columns name"),
        (lambda: saliscope.audit([picture()], Net(), table=[{"image": "x"}]), "has a row for none"),
    ],
)
def test_what_cannot_be_checked_or_audited_is_refused_in_a_sentence(call, words: str) -> None:
    with pytest.raises(SaliscopeError, match=words) as refused:
        call()
    assert refused.value.do


def test_a_target_without_a_name_is_a_target_error() -> None:
    with pytest.raises(TargetError):
        saliscope.check(noise(1, 1, 32, 32), Net(), target=None)  # type: ignore[arg-type]


def test_the_overlay_keeps_to_the_size_that_is_asked_for() -> None:
    e = cropped()
    small, whole = e.overlay(most=100), e.overlay()
    assert isinstance(small, Image.Image)
    assert small.width < whole.width
