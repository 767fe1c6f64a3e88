"""The sentences must be true, plain, and claim nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made import CAM, a_volume, an_explanation, an_image, bump

from saliscope.core.errors import GeometryError
from saliscope.core.geometry import Geometry
from saliscope.figures import interpret
from saliscope.figures.wording import ALWAYS


@pytest.fixture
def image():
    return an_image(Geometry.of_picture((140, 140), (0.5, 0.5)))


def said(image, values, **more):
    return interpret(an_explanation(image, values, **more), image).sentences


def test_the_first_sentence_says_where_how_much_and_how_large(image):
    first = said(image, bump((7, 7), (1, 1), 0.6))[0]
    assert first.startswith("Half of the positive attribution for 'malignant' lies in ")
    assert "in one region. It is in the upper left of the picture: " in first
    assert "mm²" in first
    assert "centre row " in first


def test_the_cell_size_is_said(image):
    assert "Cells of this map are 10 mm wide: it cannot show anything finer." in said(image, bump((7, 7), (1, 1)))
    flat = an_image(Geometry.of_picture((140, 70)))
    assert "Cells of this map are 20 × 10 px wide: it cannot show anything finer." in said(flat, bump((7, 7), (1, 1)))


FINE = "The map has about one value for each element of the image (0.5 mm)."
CELL = "Cells of this map are {} mm wide: it cannot show anything finer."
COARSE = "This map cannot show anything finer than about {} mm, although it has a value every {} mm."
PARTS = "Parts of this map cannot show anything finer than about {} mm, others nothing finer than {} mm."


@pytest.mark.parametrize(
    ("shape", "resolution", "words"),
    [
        ((70, 70), ((16.0, 16.0),), COARSE.format(16, 1)),
        ((70, 70), ((1.0, 1.0),), CELL.format(1)),
        ((140, 140), ((0.5, 0.5),), FINE),
        ((140, 140), ((0.5, 6.0),), COARSE.format("0.5 × 6", 0.5)),
        ((140, 140), ((0.5, 0.5), (4.0, 4.0), (10.0, 20.0)), PARTS.format("10 × 20", 0.5)),
        ((7, 7), (), CELL.format(10)),
    ],
)
def test_how_fine_a_thing_a_map_can_show_is_that_of_its_method_not_of_its_grid(image, shape, resolution, words):
    map_ = replace(an_explanation(image, bump(shape, (1, 1))), resolution=resolution)
    assert words in interpret(map_, image).sentences


@pytest.mark.parametrize(
    "values", [bump((7, 7), (1, 1)), -bump((7, 7), (1, 1)), np.zeros((7, 7)), np.full((7, 7), np.nan)]
)
def test_every_map_says_what_it_is_not(image, values):
    words = said(image, values)
    assert words[-2:] == ALWAYS
    text = " ".join(words).lower()
    for claim in ("trusted", "diagnos", "reliable", "lesion", "tumour", "confirm"):
        assert claim not in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((7, 7)), "No evidence: the map is zero everywhere."),
        (np.full((7, 7), 2.0), "No evidence: the map is the same everywhere"),
        (np.full((7, 7), np.nan), "No evidence: the map holds values that are not numbers"),
        (-bump((7, 7), (1, 1)), "No positive evidence for this label anywhere in the image."),
    ],
)
def test_empty_maps_say_so_first(image, values, words):
    reading = interpret(an_explanation(image, values), image)
    assert reading.sentences[0].startswith(words)
    assert reading.focus is None
    assert reading.record()["regions"] == []


def test_noise_is_called_scattered():
    image = an_image(Geometry.of_picture((128, 128)))
    first = said(image, np.random.default_rng(0).normal(size=(128, 128)))[0]
    assert "scattered over" in first
    assert "none of which holds 2 % of it" in first


def test_a_control_is_called_one(image):
    control = replace(CAM, family="control", signed=False)
    words = said(image, bump((7, 7), (3, 3)), traits=control)
    assert words[0].startswith("This is a control map")
    text = " ".join(words)
    assert "attribution" not in text
    assert "explains the model's score" not in text
    assert "'malignant'" not in text
    signed = said(image, bump((7, 7), (3, 3)) - bump((7, 7), (1, 1)), traits=replace(control, signed=True))
    assert not any("against" in s for s in signed)


def test_negative_attribution_is_mentioned_only_for_signed_methods(image):
    values = bump((7, 7), (1, 1)) - bump((7, 7), (5, 5))
    assert any("50 % of the attribution, by magnitude, is negative" in s for s in said(image, values))
    unsigned = said(image, np.abs(values), traits=replace(CAM, signed=False))
    assert not any("negative" in s for s in unsigned)


def test_a_map_that_is_nearly_all_negative_says_so_before_it_says_where_the_rest_lies(image):
    words = said(image, bump((7, 7), (1, 1)) - 30 * bump((7, 7), (5, 5)))
    assert words[0].startswith("97 % of the attribution, by magnitude, is negative: it counts against 'malignant'.")
    assert words[1].startswith("Half of the positive attribution")
    assert sum("negative" in s for s in words) == 1


def test_padding_and_border_are_mentioned():
    image = an_image(Geometry.of_picture((60, 100)))
    seen = image.geometry.cropped((-20, 0), (100, 100))
    values = np.zeros((10, 10))
    values[0, 5], values[5, 0] = 1, 1
    words = said(image, values, geometry=seen.on_grid((10, 10)), seen=seen)
    assert any("50 % of the positive attribution lies in padding around the image" in s for s in words)
    assert any("lies in the border strip" in s for s in words)


def test_a_crop_is_not_called_the_image(image):
    seen = image.geometry.cropped((20, 20), (100, 100))
    words = said(image, bump((5, 5), (2, 2)), geometry=seen.on_grid((5, 5)), seen=seen)
    assert "of the part of the image that the network saw" in words[0]


def test_a_volume_names_its_slices():
    image = an_image(a_volume(), modality="MR")
    assert ", slices " in said(image, bump((4, 8, 8), (1, 2, 2)))[0]


def test_the_record_is_plain_and_complete(image):
    reading = interpret(an_explanation(image, bump((7, 7), (1, 1))), image)
    record = json.loads(json.dumps(reading.record(), allow_nan=False))
    assert record["sentences"] == list(reading.sentences)
    assert record["regions"][0]["size_unit"] == "mm²"
    assert record["focus"]["held_share"] >= 0.5


def test_a_map_of_another_image_is_refused(image):
    with pytest.raises(GeometryError, match="another image"):
        interpret(an_explanation(replace(image, digest="e" * 64), bump((7, 7), (1, 1))), image)


def test_a_reading_cannot_be_changed(image):
    reading = interpret(an_explanation(image, bump((7, 7), (1, 1))), image)
    with pytest.raises(ValueError, match="read-only"):
        reading.values[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        reading.focus.labels[0, 0] = 1


def test_ranks_are_read_from_their_highest_tenth_and_never_as_attribution():
    image = an_image(Geometry.of_picture((40, 50)))
    order = np.argsort(np.argsort(bump((40, 50), (10, 12), 6.0), axis=None)).reshape(40, 50) / (40 * 50 - 1)
    ranks = replace(CAM, quantity="rank", signed=False, family="combine", grid="input")
    reading = interpret(an_explanation(image, order, traits=ranks), image)
    said = " ".join(reading.sentences)
    assert "10 % of the image that the methods together rank highest" in said
    assert "1 region." in said
    assert "positive attribution" not in said
    low, high = reading.scale.ends
    assert (low, high) == (pytest.approx(0.9, abs=0.01), 1.0)
    drawn = reading.scale.normalised(reading.values)
    assert ((drawn > 0) == (reading.values > low)).all()
    np.testing.assert_array_equal(reading.values, order.astype(np.float32))
