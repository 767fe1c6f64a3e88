"""Volumes must hang as radiologists hang them, whatever way they are stored."""

import numpy as np
import pytest
from made import a_volume, an_explanation, an_image, bump

from saliscope.core.geometry import Geometry
from saliscope.figures import interpret
from saliscope.figures.planes import cuts, montage, peak, profile, stacked, view_panes, views

STORED = [((0, 1, 2), ()), ((2, 0, 1), (0,)), ((1, 2, 0), (1, 2)), ((0, 1, 2), (0, 1, 2)), ((2, 1, 0), (2,))]


def stored(geometry, array, axes, flips):
    """Return grid and array (*S) with axes reordered and some read from the other end."""
    grid, array = geometry.permuted(axes), array.transpose(axes)
    for axis in flips:
        grid, array = grid.flipped(axis), np.flip(array, axis)
    return grid, np.ascontiguousarray(array)


@pytest.mark.parametrize(("axes", "flips"), STORED)
def test_letters_and_pixels_agree(axes, flips):
    g = a_volume((12, 40, 48))
    # Bright where the patient is left, in front and at the head: a wedge along each axis.
    wedge = np.indices(g.shape) / np.array(g.shape).reshape(3, 1, 1, 1)
    left, front, head = wedge[2], 1 - wedge[1], wedge[0]
    for name, part in (("L", left), ("A", front), ("S", head)):
        grid, array = stored(g, 40 + 150 * part, axes, flips)
        image = an_image(grid, array[None])
        reading = interpret(an_explanation(image, bump(grid.shape, [n / 2 for n in grid.shape], 3)), image)
        for pane in views(image, reading):
            top, right, bottom, left_letter = pane.letters
            grey = pane.base[..., 0].astype(float)
            rows = np.flatnonzero(grey.max(1))  # thin planes have black above and below
            columns = np.flatnonzero(grey.max(0))
            grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            ends = {
                top: grey[2].mean(),
                bottom: grey[-3].mean(),
                left_letter: grey[:, 2].mean(),
                right: grey[:, -3].mean(),
            }
            if name in ends:
                assert max(ends, key=ends.get) == name


@pytest.mark.parametrize(("axes", "flips"), STORED)
def test_the_convention_is_radiological(axes, flips):
    grid, _ = stored(a_volume(), np.zeros((12, 40, 48)), axes, flips)
    axial, coronal, sagittal = cuts(grid)
    assert axial.letters == ("A", "L", "P", "R")
    assert coronal.letters == ("S", "L", "I", "R")
    assert sagittal.letters == ("S", "P", "I", "A")
    assert [c.name for c in (axial, coronal, sagittal)] == ["Axial", "Coronal", "Sagittal"]


def test_without_orientation_no_letters_are_made_up():
    assert all(c.letters is None for c in cuts(Geometry.of_picture((4, 5, 6))))


def test_the_planes_go_through_the_peak():
    g = a_volume((12, 40, 48))
    image = an_image(g, modality="MR")
    reading = interpret(an_explanation(image, bump(g.shape, (9, 10, 30), 2)), image)
    assert peak(reading.values) == (9, 10, 30)
    titles = [p.title for p in views(image, reading)]
    assert titles[0].startswith("Axial 10 of 12, z 7 mm")
    assert titles[1].startswith("Coronal 11 of 40, y 40 mm")
    assert titles[2].startswith("Sagittal 31 of 48, x 30 mm")


def test_a_plateau_peaks_in_its_middle():
    values = np.zeros((9, 9), np.float32)
    values[2:7, 2:7] = 1
    assert peak(values) == (4, 4)


def test_a_millimetre_is_as_long_in_every_plane_and_along_both_axes():
    g = a_volume((12, 40, 48))  # 3 mm slices of 1 mm pixels
    image = an_image(g)
    reading = interpret(an_explanation(image, bump(g.shape, (6, 20, 24), 2)), image)
    panes = views(image, reading)
    assert len({round(p.step, 6) for p in panes}) == 1
    step = panes[0].step
    assert panes[0].size == (round(48 / step), round(40 / step))
    assert panes[1].size == (round(48 / step), round(36 / step))
    assert panes[2].size == (round(40 / step), round(36 / step))


def test_few_slices_are_stacked_and_get_room_for_letters():
    g = Geometry.of_affine((4, 100, 100), np.array([[0, 0, -1, 0.0], [0, -1, 0, 0], [2, 0, 0, 0]]))
    image = an_image(g)
    panes = views(image, interpret(an_explanation(image, bump(g.shape, (2, 50, 50), 5)), image))
    assert stacked(panes)
    assert panes[1].size[1] == 120
    assert panes[1].heat.shape == panes[1].base.shape[:2]


def test_the_montage_spans_the_regions_and_no_more():
    g = a_volume((60, 20, 24))
    image = an_image(g)
    reading = interpret(an_explanation(image, bump(g.shape, (30, 10, 12), 2)), image)
    first, last = reading.focus.regions[0].slices
    numbers = [int(t) for *_, t in montage(image, reading).marks]
    assert numbers[0] == first - 1
    assert numbers[-1] == last + 1
    assert len(numbers) <= 12


def test_the_profile_adds_up_and_keeps_the_signs_apart():
    g = a_volume((12, 20, 24))
    image = an_image(g)
    values = bump(g.shape, (3, 10, 12), 1) - 0.5 * bump(g.shape, (9, 10, 12), 1)
    positive, negative = profile(interpret(an_explanation(image, values), image), g)
    assert positive.sum() + negative.sum() == pytest.approx(1, abs=1e-5)
    assert (positive.argmax(), negative.argmax()) == (3, 9)


def test_the_view_of_a_volume_is_shown_as_planes_and_a_picture_as_itself():
    g = a_volume((12, 20, 24))
    assert [p.letters[0] for p in view_panes(np.random.default_rng(0).random((1, *g.shape)), g)] == ["A", "S", "S"]
    flat = Geometry.of_picture((20, 30))
    colour = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    assert len(view_panes(colour, flat)) == 1
    assert np.ptp(view_panes(colour, flat)[0].base.astype(int), axis=2).max() > 50
    assert not view_panes(np.zeros((1, 20, 30), np.float32), flat)[0].base.any()
