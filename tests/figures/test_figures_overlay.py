"""The picture must keep the source's pixels, mark the right place, and hold nothing that was not meant for it."""

from io import BytesIO

import numpy as np
import pytest
from made import a_volume, an_explanation, an_image, bump
from PIL import Image

from saliscope.core.geometry import Geometry
from saliscope.figures import interpret, overlay, overlay_png
from saliscope.figures.draw import annotated, blended, heat_layer, wrapped
from saliscope.figures.legend import facts, scale_bar
from saliscope.figures.panes import Slice, pane
from saliscope.figures.planes import views


def chunks(data):
    at, found = 8, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        found.append(data[at + 4 : at + 8].decode())
        at += 12 + length
    return found


@pytest.fixture
def picture():
    return an_image(Geometry.of_picture((600, 800), (0.5, 0.5)))


def test_the_image_keeps_its_pixels_where_the_map_is_silent(picture):
    reading = interpret(an_explanation(picture, bump((6, 8), (1, 1), 0.5)), picture)
    drawn = np.asarray(overlay(picture, reading))[:600, :800]
    same = (drawn == picture.display[0][..., None]).all(-1)
    assert same[300:560, 400:].all()
    assert not same[100:200, 100:200].all()


def test_the_same_map_gives_the_same_bytes_and_no_words_inside(picture):
    reading = interpret(an_explanation(picture, bump((6, 8), (1, 1))), picture)
    data = overlay_png(picture, reading)
    assert data == overlay_png(picture, interpret(an_explanation(picture, bump((6, 8), (1, 1))), picture))
    assert set(chunks(data)) == {"IHDR", "sRGB", "IDAT", "IEND"}
    assert Image.open(BytesIO(data)).mode == "RGB"


@pytest.mark.parametrize(
    "values", [np.zeros((6, 8)), np.full((6, 8), 3.0), np.full((6, 8), np.nan), -bump((6, 8), (2, 2)) * 0]
)
def test_an_empty_map_leaves_the_image_bare(picture, values):
    reading = interpret(an_explanation(picture, values), picture)
    drawn = np.asarray(overlay(picture, reading))[:600, :800].astype(int)
    changed = (drawn != picture.display[0][..., None]).any(-1)
    changed[:80, :] = False  # "no evidence" is written at the top
    changed[540:, :240] = False  # the scale bar
    assert not changed.any()


def test_a_signed_map_without_positive_values_says_so_and_shows_what_lowers_the_score(picture):
    reading = interpret(an_explanation(picture, -bump((6, 8), (3, 4))), picture)
    assert reading.scale.state == "no positive evidence"
    pane = views(picture, reading)[0]
    blue = np.asarray(blended(pane, reading.scale.palette))[350, 450].astype(int)
    assert blue[2] > blue[0]
    assert not pane.outlines


def test_the_outline_encloses_the_region_and_nothing_else(picture):
    values = np.zeros((600, 800), np.float32)
    values[100:200, 300:500] = 1
    values[400:403, 700:703] = 1  # a crumb
    pane = views(picture, interpret(an_explanation(picture, values), picture))[0]
    assert len(pane.outlines) == 1
    x, y = pane.outlines[0].T
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((300, 500, 100, 200), abs=1.0)


def test_an_outline_at_the_edge_is_closed():
    image = an_image(Geometry.of_picture((100, 100)))
    values = np.zeros((100, 100), np.float32)
    values[:20, :20] = 1
    line = views(image, interpret(an_explanation(image, values), image))[0].outlines[0]
    np.testing.assert_allclose(line[0], line[-1])


def test_each_region_bears_its_number(picture):
    values = bump((60, 80), (10, 10), 3) + 0.8 * bump((60, 80), (50, 70), 3)
    reading = interpret(an_explanation(picture, values), picture)
    pane = views(picture, reading)[0]
    for region, (x, y, text) in zip(reading.focus.regions, pane.marks, strict=True):
        assert text == str(region.number)
        assert (y, x) == pytest.approx([i + 0.5 for i in region.index], abs=8)


def test_small_images_are_enlarged_by_a_whole_number_and_it_is_said():
    image = an_image(Geometry.of_picture((28, 28)))
    pane = views(image, interpret(an_explanation(image, bump((7, 7), (3, 3))), image))[0]
    assert pane.size == (28 * 27, 28 * 27)
    assert pane.note == "enlarged 27 times"


def test_pixels_that_are_not_square_are_drawn_square_and_it_is_said():
    image = an_image(Geometry.of_picture((400, 900), (2.0, 1.0)))
    pane = views(image, interpret(an_explanation(image, bump((4, 9), (2, 3))), image))[0]
    assert pane.size == (900, 800)
    assert "square pixels" in pane.note


@pytest.mark.parametrize(
    ("step", "width", "length"), [(0.5, 800, 100), (1.0, 256, 50), (0.14, 2048, 50), (3.0, 64, 20)]
)
def test_the_scale_bar_is_as_long_as_it_says(step, width, length):
    pixels, text = scale_bar(step, width, "mm")
    assert text == f"{length} mm"
    assert pixels * step == pytest.approx(length)


def test_the_drawn_scale_bar_has_the_right_number_of_pixels():
    none = np.zeros((400, 600), np.float32)
    cut = Slice(np.full((1, 400, 600), 90, np.uint8), none, none, none.astype(np.uint8), (0.5, 0.5), None, "")
    drawn = np.asarray(annotated(pane(cut, None, 1.0), "sequential", "mm", 16))
    row = (drawn[400 - 9] == 255).all(-1)
    assert row.sum() == 100  # 50 mm of half a millimetre each


def test_unknown_spacing_has_no_bar():
    assert scale_bar(1.0, 500, "px") is None


def test_letters_are_drawn_only_where_they_are_known():
    known = Geometry((500, 600), (1, 1), (0, 0, 0), ((0, 0, -1), (-1, 0, 0)))
    for geometry, letters in [(known, ("S", "L", "I", "R")), (Geometry.of_picture((500, 600)), None)]:
        image = an_image(geometry)
        assert views(image, interpret(an_explanation(image, bump((5, 6), (2, 2))), image))[0].letters == letters


def test_the_legend_says_what_is_needed_to_read_the_map(picture):
    words = dict(facts(interpret(an_explanation(picture, bump((6, 8), (1, 1))), picture)))
    assert words["Method"] == "grad-cam"
    assert words["Prediction"] == "malignant: probability 0.83, at or above the operating threshold of 0.50"
    assert words["Layer"] == "features.norm5 (the last spatial layer)"
    assert words["Map grid"] == "6 × 8 cells of 50 mm"
    assert words["Nothing finer than"] == "50 mm"
    assert "per-image, 99.5th percentile" in words["Colours"]
    assert "half of the positive attribution" in words["Outline"]


def test_a_volume_is_drawn_with_planes_montage_and_profile():
    g = a_volume()
    image = an_image(g, modality="MR")
    drawn = overlay(image, interpret(an_explanation(image, bump(g.shape, (6, 20, 24), 3)), image))
    assert drawn.height > 700
    assert drawn.width > 1000


def test_long_words_never_leave_the_legend():
    for line in wrapped("a" * 500 + " " + "short words that wrap " * 9, 14, 300):
        assert len(line) < 60


def test_the_heat_layer_is_transparent_where_the_map_is_silent():
    layer = np.asarray(heat_layer(np.array([[0.0, 0.05, 1.0]], np.float32), "sequential"))
    assert layer[0, :, 3].tolist() == [0, 0, 255]
