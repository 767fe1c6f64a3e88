"""The breast ultrasound results: the page is what the tables say, and what measured them does what it says."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def maker():
    """The script and what it is made of; its folders are on the path only as long as the tests run."""
    before = list(sys.path)
    sys.path.insert(0, str(DOCS))
    yield import_module("make_busi_results")
    sys.path[:] = before


@pytest.fixture
def finder(maker) -> ModuleType:
    return import_module("busi_marks")


@pytest.fixture
def erasing(maker) -> ModuleType:
    return import_module("busi_erasing")


@pytest.fixture
def tissue() -> np.ndarray:
    """Speckle as wide as a beam makes it, darker with depth, with a dark lesion: nothing is burnt in."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    speckle = gaussian_filter(rng.normal(size=(200, 256)), (1.2, 3.5))
    grey = 110 + 25 * speckle / speckle.std() - 0.3 * np.arange(200)[:, None]
    row, column = np.ogrid[:200, :256]
    grey[((row - 90) / 30) ** 2 + ((column - 130) / 45) ** 2 < 1] *= 0.4
    return grey.clip(0, 255).round().astype(np.float32)


def cross(grey: np.ndarray, row: int, column: int) -> None:
    grey[row - 4 : row + 5, column] = grey[row, column - 4 : column + 5] = 230


def letters(grey: np.ndarray, row: int, column: int) -> np.ndarray:
    """Draw "LT" and return where."""
    drawn = np.zeros(grey.shape, bool)
    drawn[row : row + 8, column] = drawn[row + 7, column : column + 5] = True
    drawn[row : row + 8, column + 10] = drawn[row, column + 8 : column + 13] = True
    grey[drawn] = 235
    return drawn


def test_the_page_is_what_the_tables_say(maker) -> None:
    assert maker.PAGE.read_text() == maker.page(), "old: docs/make_busi_results.py page"


def test_every_method_of_the_catalogue_is_on_the_page_or_left_out_for_a_reason(maker) -> None:
    shown = {r.method for r in maker.rows_of(maker.MAPS, maker.MapRow) if r.network == maker.TRAINED}
    assert shown | set(maker.LEFT_OUT) == set(maker.METHODS.names())


def test_no_mark_is_found_where_none_is(finder, tissue: np.ndarray) -> None:
    assert not any(mask.any() for mask in finder.marks(tissue).values())


def test_letters_are_found_where_they_were_drawn(finder, tissue: np.ndarray) -> None:
    drawn = letters(tissue, 165, 20)
    found = finder.marks(tissue)
    assert (found["text"] & drawn).sum() >= 0.9 * drawn.sum()
    assert found["text"].sum() < 6 * drawn.sum()
    assert not found["calipers"].any()


def test_calipers_and_the_line_between_them_are_found(finder, tissue: np.ndarray) -> None:
    cross(tissue, 90, 80)
    cross(tissue, 90, 180)
    tissue[90, 86:176:3] = 220
    found = finder.marks(tissue)["calipers"]
    assert found[90, 76:185].all()
    assert found[86:95, 80].all()
    assert found[86:95, 180].all()
    assert found[:70].sum() + found[110:].sum() == 0


def test_what_stands_alone_is_tissue(finder, tissue: np.ndarray) -> None:
    """A stroke without a second letter, and pale crosses that no line joins."""
    tissue[160:168, 30] = 235
    for column in (80, 180):
        tissue[86:95, column] += 90
        tissue[90, column - 4 : column + 5] += 90
    assert not any(mask.any() for mask in finder.marks(tissue).values())
    tissue[90, 86:176:2] += 60
    assert finder.marks(tissue)["calipers"][90, 76:185].all()


def test_the_scanners_mark_and_a_frame_are_found(finder, tissue: np.ndarray) -> None:
    tissue[:10, :11] = 20
    tissue[1, 2:9] = tissue[7, 2:9] = tissue[1:8, 2] = tissue[1:8, 8] = 220
    box = np.zeros(tissue.shape, bool)
    box[40, 60:200] = box[150, 60:200] = box[40:151, 60] = box[40:151, 199] = True
    tissue[box] += 45
    found = finder.marks(tissue)
    assert found["corner"][1:7, 2:9].all()
    assert found["corner"].sum() < 150
    assert (found["frame"] & box).sum() > 0.6 * box.sum()


def test_auroc_and_average_precision_share_ties(maker) -> None:
    mask = np.array([[True, False, False, False]])
    told = maker.told_apart
    assert told(np.zeros((1, 4), np.float32), mask) == pytest.approx((0.5, 0.25))
    assert told(np.array([[2, 1, 0, 0]], np.float32), mask) == pytest.approx((1, 1))
    assert told(np.array([[1, 1, 0, 0]], np.float32), mask) == pytest.approx((5 / 6, 0.5))
    assert told(np.array([[0, 1, 2, 3]], np.float32), mask) == pytest.approx((0, 0.25))


def test_a_fill_is_the_mean_of_its_neighbours(erasing) -> None:
    plane = np.add.outer(2.0 * np.arange(12), 3.0 * np.arange(15))
    mask = np.zeros(plane.shape, bool)
    mask[3:8, 4:9] = mask[6:10, 8:12] = True
    broken = np.where(mask, 99, plane)
    assert erasing.filled(broken, mask) == pytest.approx(plane)
    at_edge = np.zeros(plane.shape, bool)
    at_edge[0:2, 0:2] = True
    filled = erasing.filled(np.full(plane.shape, 7.0), at_edge)
    assert filled == pytest.approx(7)
    with pytest.raises(ValueError, match="surroundings"):
        erasing.filled(plane, np.ones(plane.shape, bool))


def test_shapes_elsewhere_are_whole_and_clear(erasing) -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:30, 30:45] = mask[25:35, 40:50] = True
    for other in erasing.moved(mask, mask, near=False):
        assert other.sum() == mask.sum()
        assert not (other & mask).any()
    near = erasing.moved(mask, np.zeros_like(mask), near=True)
    assert len(near) == erasing.PLACES
    for other in near:
        step = np.argwhere(other).mean(0) - np.argwhere(mask).mean(0)
        assert erasing.NEAR[0] - 1 <= np.hypot(*step) <= erasing.NEAR[1] + 1


def test_intervals_draw_whole_groups(maker) -> None:
    page = import_module("busi_results_page")
    alone = page.mean([0.0, 1.0] * 20, list(range(40)))
    twins = page.mean([0.0, 1.0] * 20, [i % 2 for i in range(40)])
    assert alone.value == twins.value == 0.5
    assert 0.3 < alone.low < 0.4 < 0.6 < alone.high < 0.7
    assert (twins.low, twins.high) == (0, 1)
    assert page.mean([float("nan"), 2.0], [0, 1]).n == 1
