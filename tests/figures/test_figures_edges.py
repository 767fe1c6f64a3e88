"""Odd sizes must give a picture, a page and a record like any other."""

import json

import numpy as np
import pytest
from made import a_volume, an_explanation, an_image, bump

from saliscope.core.geometry import Geometry
from saliscope.figures import interpret, overlay, page


@pytest.mark.parametrize(
    ("geometry", "shape"),
    [
        (Geometry.of_picture((1, 1)), (1, 1)),
        (Geometry.of_picture((1, 50)), (1, 5)),
        (Geometry.of_picture((300, 2)), (3, 1)),
        (Geometry.of_picture((40, 50), (5.0, 0.2)), (4, 5)),
        (Geometry.of_picture((6, 20, 30)), (2, 2, 3)),
        (Geometry.of_picture((1, 20, 30), (8, 1, 1)), (1, 2, 3)),
        (a_volume((1, 40, 48)), (1, 4, 4)),
        (a_volume((5, 1, 48)), (2, 1, 4)),
        (a_volume((3, 4, 5)).permuted((2, 0, 1)), (5, 3, 4)),
    ],
    ids=lambda x: "x".join(map(str, x)) if isinstance(x, tuple) else "",
)
@pytest.mark.parametrize("modality", ["CT", "US"])
def test_odd_sizes(geometry, shape, modality):
    image = an_image(geometry, modality=modality)
    values = bump(shape, [0] * len(shape)) - 0.3
    reading = interpret(an_explanation(image, values), image)
    assert overlay(image, reading).width > 100
    assert "Research use" in page(image, [reading], image.values)
    json.dumps(reading.record(), allow_nan=False)


def test_a_network_that_saw_none_of_the_image_has_no_evidence_in_it():
    image = an_image(Geometry.of_picture((50, 50)))
    seen = image.geometry.cropped((100, 100), (20, 20))
    reading = interpret(an_explanation(image, bump((4, 4), (1, 1)), seen.on_grid((4, 4)), seen), image)
    assert reading.scale.state == "zero"
    assert reading.focus is None
    assert overlay(image, reading).width > 100


def test_colour_images_keep_their_colour():
    image = an_image(Geometry.of_picture((300, 400)), channels=3)
    reading = interpret(an_explanation(image, bump((3, 4), (0, 0), 0.3)), image)
    drawn = np.asarray(overlay(image, reading))[150, 200]
    assert not (drawn == drawn[0]).all()
