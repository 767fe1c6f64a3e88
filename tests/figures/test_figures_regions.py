"""The regions must be where the attribution is, with the right share, size, place and side."""

import numpy as np
import pytest
from made import a_volume, an_explanation, an_image, bump

from saliscope.core.geometry import Geometry
from saliscope.figures.anatomy import place_of
from saliscope.figures.reading import interpret
from saliscope.figures.regions import focus_of
from saliscope.figures.totals import level_holding


def every(shape):
    return np.ones(shape, dtype=bool)


def test_the_smallest_set_is_exact_in_rank():
    values = np.random.default_rng(0).random(1000).astype(np.float32)
    level, held = level_holding(values.reshape(10, 100), 0.5)
    k = int((values >= level).sum())
    falling = np.sort(values)[::-1].astype(np.float64)
    assert falling[:k].sum() >= values.sum(dtype=np.float64) / 2 > falling[: k - 1].sum()
    assert held == pytest.approx(falling[:k].sum() / falling.sum())


def test_a_map_that_is_nearly_all_zero_gives_only_what_is_not():
    values = np.zeros((200, 200), np.float32)
    values[3, 4], values[100, 100] = 3, 1
    focus = focus_of(values, Geometry.of_picture((200, 200)), every((200, 200)))
    assert focus.labels.astype(bool).sum() == 1
    assert focus.held == pytest.approx(0.75)
    assert [r.index for r in focus.regions] == [(3, 4)]


def test_ties_are_all_in_and_the_true_share_is_said():
    values = np.zeros((10, 10), np.float32)
    values[0, :4], values[9, 6:] = 1, 1
    focus = focus_of(values, Geometry.of_picture((10, 10)), every((10, 10)))
    assert focus.held == 1
    assert [r.share for r in focus.regions] == [0.5, 0.5]
    assert focus.coverage == 0.08


def test_negative_values_count_for_nothing():
    values = np.full((6, 6), -5, np.float32)
    values[2, 2] = 1
    focus = focus_of(values, Geometry.of_picture((6, 6)), every((6, 6)))
    assert focus.held == 1
    assert focus.regions[0].elements == 1
    assert focus_of(-np.ones((3, 3), np.float32), Geometry.of_picture((3, 3)), every((3, 3))) is None


def test_crumbs_are_counted_not_listed():
    values = np.zeros((60, 60), np.float32)
    values[10:20, 10:20] = 1
    values[40:60:4, 40:60:4] = 1  # 25 specks beside a region of 100
    focus = focus_of(values, Geometry.of_picture((60, 60)), every((60, 60)))
    assert len(focus.regions) == 1
    assert focus.crumbs == 25
    assert focus.crumb_share == pytest.approx(0.2)


def test_corners_that_touch_are_one_region():
    values = np.zeros((6, 6), np.float32)
    values[1, 1] = values[2, 2] = 1
    assert len(focus_of(values, Geometry.of_picture((6, 6)), every((6, 6))).regions) == 1


def test_size_and_centre_are_in_millimetres():
    g = Geometry.of_affine((50, 40), np.array([[0, -0.5, 30], [-2, 0, 10], [0, 0, 7]]))
    values = np.zeros(g.shape, np.float32)
    values[10:20, 4:8] = 1
    region = focus_of(values, g, every(g.shape)).regions[0]
    assert (region.size, region.size_unit) == (pytest.approx(40), "mm²")
    assert region.centre_mm == pytest.approx((30 - 0.5 * 5.5, 10 - 2 * 14.5, 7))


def test_without_spacing_sizes_are_counted_and_no_millimetres_are_made_up():
    values = np.zeros((50, 40), np.float32)
    values[10:20, 4:8] = 1
    region = focus_of(values, Geometry.of_picture((50, 40)), every((50, 40))).regions[0]
    assert (region.size, region.size_unit, region.centre_mm) == (40, "px", None)
    assert "mm" not in region.sentence()


def test_a_left_sided_blob_is_called_left_however_the_volume_is_stored():
    g = a_volume((30, 40, 48))
    values = bump(g.shape, (25, 8, 40), 2)  # high plane: head; low row: front; high column: the patient's left
    for axes, flips in [((0, 1, 2), ()), ((2, 0, 1), (0,)), ((1, 2, 0), (1, 2)), ((0, 1, 2), (0, 2))]:
        grid, array = g.permuted(axes), values.transpose(axes)
        for axis in flips:
            grid, array = grid.flipped(axis), np.flip(array, axis)
        region = focus_of(np.ascontiguousarray(array), grid, every(grid.shape)).regions[0]
        assert region.place == "superior, anterior, patient's left third of the volume"
        assert region.centre_mm == pytest.approx((20, 42, 55), abs=0.2)
        assert region.size_unit == "ml"
        first, last = region.slices
        head = (first + last) / 2 - 0.5 > 15
        assert head == (axes.index(0) not in flips)  # slices are counted as they are stored


def test_slices_are_counted_from_one_along_the_axis_of_head_and_foot():
    g = a_volume((12, 20, 24)).permuted((1, 2, 0))
    values = np.zeros(g.shape, np.float32)
    values[5:9, 5:9, 3:6] = 1
    region = focus_of(values, g, every(g.shape)).regions[0]
    assert (region.slices, region.planes) == ((4, 6), 12)
    assert region.size == pytest.approx(4 * 4 * 3 * 3 / 1000)


@pytest.mark.parametrize(
    ("index", "place"),
    [((5, 5), "upper left"), ((5, 95), "upper right"), ((95, 50), "lower centre"), ((50, 5), "middle left")],
)
def test_a_picture_without_orientation_has_picture_words(index, place):
    assert place_of(index, Geometry.of_picture((100, 100))) == f"{place} of the picture"
    assert place_of((50, 50), Geometry.of_picture((100, 100))) == "centre of the picture"


def test_a_radiograph_with_orientation_has_patient_words():
    # Columns run to the patient's left, rows to the feet: the reader's right is the patient's left.
    g = Geometry((100, 100), (1, 1), (0, 0, 0), ((0, 0, -1), (-1, 0, 0)))
    assert place_of((5, 95), g) == "superior, patient's left third of the image"


def test_shares_outside_body_border_and_padding():
    g = Geometry.of_picture((100, 100))
    display = np.zeros((1, 100, 100))
    display[:, 20:80, 20:80] = 180
    display[:, 40:60, 40:60] = 5  # a lung: dark, but enclosed
    image = an_image(g, display, "CT")
    values = np.zeros((100, 100))
    values[50, 50], values[30, 30], values[2, 50], values[10, 50] = 4, 3, 2, 1
    shares = interpret(an_explanation(image, values), image).shares
    assert shares.outside_body == pytest.approx(0.3)
    assert shares.border == pytest.approx(0.2)
    assert shares.border_area == pytest.approx(0.19)

    seen = g.cropped((-50, 0), (200, 100))
    padded = np.zeros((4, 2))
    padded[0, 0], padded[2, 1] = 1, 3
    shares = interpret(an_explanation(image, padded, seen.on_grid((4, 2)), seen), image).shares
    assert shares.padding == pytest.approx(0.25)


@pytest.mark.parametrize("modality", ["US", "", "OT"])
def test_no_body_is_claimed_where_dark_may_be_fluid(modality):
    display = np.zeros((1, 50, 50))
    display[:, 10:40, 10:40] = 180
    image = an_image(Geometry.of_picture((50, 50)), display, modality)
    shares = interpret(an_explanation(image, bump((5, 5), (2, 2))), image).shares
    assert shares.outside_body is None
    assert "not determined" in shares.body


def test_a_body_that_fills_the_picture_has_no_outside():
    image = an_image(Geometry.of_picture((50, 50)), modality="MR")
    assert interpret(an_explanation(image, bump((5, 5), (2, 2))), image).shares.outside_body is None


def test_a_volume_of_unknown_modality_is_given_a_body_and_it_is_said():
    g = a_volume((6, 40, 48))
    display = np.zeros((1, *g.shape))
    display[:, :, 10:30, 10:38] = 180
    image = an_image(g, display, modality="")
    shares = interpret(an_explanation(image, bump((3, 8, 8), (1, 0, 0))), image).shares
    assert shares.outside_body > 0.5
    assert "the modality is not known" in shares.body
