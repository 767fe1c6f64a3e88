"""The confounders of sun2023, on pictures of 320 x 320 and as elements of scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.element import Element
from saliscope.phantom.scenes.field import Field
from saliscope.phantom.shortcuts.sun import Columns, Corner, Tag, hyperintensities, obstruction, tag

Confounder = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
ALL = [tag, hyperintensities, obstruction]
ELEMENTS = [(tag, Tag()), (hyperintensities, Columns()), (obstruction, Corner())]


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(30, 220, (320, 320), dtype=np.uint8)


@pytest.mark.parametrize("plant", ALL)
def test_it_changes_its_mask_only_and_leaves_the_picture_that_was_given(plant: Confounder, picture: np.ndarray) -> None:
    before = picture.copy()
    seen, mask = plant(picture)
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(seen[~mask], picture[~mask])
    assert (seen != picture)[mask].mean() > 0.9
    assert seen.dtype == np.uint8


def test_columns_are_those_of_the_paper(picture: np.ndarray) -> None:
    """Their lines: img[:, 20:25] = 255 and img[:, -25:-20] = 255."""
    expected = picture.copy()
    expected[:, 20:25] = 255
    expected[:, -25:-20] = 255
    seen, mask = hyperintensities(picture)
    np.testing.assert_array_equal(seen, expected)
    assert mask.sum() == 2 * 5 * 320


def test_the_obstruction_is_that_of_the_paper(picture: np.ndarray) -> None:
    """Their line: a filled polygon (0, 320), (320, 320), (320, 280), (0, 310) of value 0."""
    expected = Image.fromarray(picture)
    ImageDraw.Draw(expected).polygon(((0, 320), (320, 320), (320, 280), (0, 310)), fill=0)
    np.testing.assert_array_equal(obstruction(picture)[0], np.asarray(expected))


def test_the_tag_is_what_pillow_writes_at_their_place_and_size(picture: np.ndarray) -> None:
    """Their line: text "CXR-ROOM1" at (20, 280), size 18, value 0; their typeface is not ours to give away."""
    expected = Image.fromarray(picture)
    ImageDraw.Draw(expected).text((20, 280), "CXR-ROOM1", font=ImageFont.load_default(18), fill=0)
    seen, mask = tag(picture)
    assert np.abs(seen.astype(int) - np.asarray(expected)).max() <= 1
    rows, columns = np.nonzero(mask)
    assert (rows.min() >= 280, rows.max() <= 300, columns.min() >= 20, columns.max() <= 140) == (True,) * 4


@pytest.mark.parametrize(("plant", "element"), ELEMENTS)
def test_as_an_element_it_lies_where_it_lies_in_the_paper(
    plant: Confounder, element: Element, picture: np.ndarray
) -> None:
    found = Case(Field((320, 320)), 1, (element,)).regions[element.name].mask
    expected = plant(picture)[1]
    # The element has no ink that is too faint to be seen.
    assert not (found & ~expected).any()
    assert found.sum() > 0.85 * expected.sum()
    if not isinstance(element, Tag):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("plant", "element"), ELEMENTS)
@pytest.mark.parametrize("shape", [(64, 64), (160, 160), (640, 640), (480, 640)])
def test_it_is_scaled_with_the_picture(
    plant: Confounder, element: Element, shape: tuple[int, int], picture: np.ndarray
) -> None:
    found = Case(Field(shape), 1, (element,)).regions[element.name].mask
    spots, expected = np.argwhere(found) / shape, np.argwhere(plant(picture)[1]) / 320
    assert np.abs(spots.min(0) - expected.min(0)).max() < 0.03
    # Letters keep their form where the picture is not square.
    if not isinstance(element, Tag) or shape[0] == shape[1]:
        np.testing.assert_allclose(spots.mean(0), expected.mean(0), atol=0.03)


@pytest.mark.parametrize("wrong", [np.zeros((320, 300), np.uint8), np.zeros((320, 320)), np.zeros((64, 64), np.uint8)])
def test_another_picture_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="320"):
        tag(wrong)


def test_on_a_real_radiograph(data: Path) -> None:
    path = sorted((data / "chest-xray-nih" / "original-1024").iterdir())[0]
    real = np.asarray(Image.open(path).convert("L").resize((320, 320)))
    for plant in ALL:
        seen, mask = plant(real)
        np.testing.assert_array_equal(seen[~mask], real[~mask])
        assert mask.any()
