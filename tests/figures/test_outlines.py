"""Lines must be those of the pictures, with the right number on the right plane, and few points."""

from itertools import pairwise

import numpy as np
import pytest
from made import a_volume, an_explanation, an_image, bump
from scipy.spatial.distance import cdist

from saliscope.core.geometry import Geometry
from saliscope.figures import interpret
from saliscope.figures import outlines as module
from saliscope.figures.outlines import TOLERANCE, outlines
from saliscope.figures.planes import views


def two_bumps(shape, one, two):
    values = bump(shape, one, 1.2) + 0.8 * bump(shape, two, 1.2)
    return np.where(values < 0.05, 0, values)


def dense(line, step=0.02):
    parts = [np.linspace(a, b, max(2, int(np.linalg.norm(b - a) / step))) for a, b in pairwise(line)]
    return np.concatenate(parts)


def test_a_picture_has_one_line_around_each_region_within_the_tolerance_of_the_drawn_one():
    image = an_image(Geometry.of_picture((400, 600), (0.5, 0.5)))
    reading = interpret(an_explanation(image, two_bumps((8, 12), (2, 3), (5, 9))), image)
    found = outlines(image, reading)
    assert [(plane, region) for plane, region, _ in found] == [(0, 1), (0, 2)]
    (shown,) = views(image, reading)
    drawn = sorted((line[:, ::-1] - 0.5 for line in shown.outlines), key=lambda line: line[:, 1].mean())
    for (_, region, line), full in zip(found, drawn, strict=True):
        assert np.array_equal(line[0], line[-1])
        assert len(line) < 60 < len(full)
        assert cdist(full, dense(line)).min(axis=1).max() <= TOLERANCE + 0.01
        row, column = np.round(line.mean(0)).astype(int)
        assert reading.focus.labels[row, column] == region


def test_a_volume_has_lines_on_the_planes_of_each_region_and_on_no_others():
    image = an_image(a_volume((16, 60, 72)))
    reading = interpret(an_explanation(image, two_bumps((8, 12, 12), (2, 3, 3), (5, 9, 8))), image)
    labels = reading.focus.labels
    expected = {(p, int(n)) for p in range(16) for n in np.unique(labels[p]) if n}
    found = outlines(image, reading)
    assert {(plane, region) for plane, region, _ in found} == expected
    assert {1, 2} == {region for _, region in expected}


def test_a_region_at_the_edge_is_closed_within_the_image():
    image = an_image(Geometry.of_picture((40, 50)))
    values = np.zeros((40, 50))
    values[20:, 30:] = 1
    values[39, 49] = 100  # between it and the nothing beyond, the level would lie outside the image
    ((_, _, line),) = outlines(image, interpret(an_explanation(image, values), image))
    assert line.min() >= -0.5
    assert (line.max(0) <= (39.5, 49.5)).all()
    assert np.array_equal(line[0], line[-1])


def test_a_region_with_a_hole_has_two_lines():
    image = an_image(Geometry.of_picture((60, 60)))
    rows, columns = np.indices((60, 60)) - 30
    ring = np.abs(np.hypot(rows, columns) - 18) < 5
    found = outlines(image, interpret(an_explanation(image, ring.astype(float)), image))
    assert [region for _, region, _ in found] == [1, 1]


def test_a_map_without_regions_has_no_lines():
    image = an_image(Geometry.of_picture((40, 50)))
    assert outlines(image, interpret(an_explanation(image, np.zeros((4, 5))), image)) == ()


def test_a_region_of_one_element_keeps_its_shape():
    image = an_image(Geometry.of_picture((40, 50)))
    values = np.zeros((40, 50))
    values[20, 30] = 1
    ((_, _, line),) = outlines(image, interpret(an_explanation(image, values), image))
    assert len(line) >= 4
    assert np.abs(line - (20, 30)).max() <= 0.5


@pytest.mark.parametrize("points", [3000, 12000])
def test_a_ragged_line_has_no_more_points_than_files_can_hold(points):
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 2 * np.pi, points)
    line = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (300 + rng.normal(0, 3, points))[:, None]
    line[-1] = line[0]
    simpler = module._simpler(line)
    assert 100 < len(simpler) <= module.MOST_POINTS
    assert np.array_equal(simpler[0], simpler[-1])
