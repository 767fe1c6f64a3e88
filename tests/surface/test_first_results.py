"""The first results on drawn radiographs: the page is what the table says, and what measured it does what it says."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def maker():
    """The script and what it is made of; its folder is on the path only as long as the tests run."""
    before = list(sys.path)
    sys.path.insert(0, str(DOCS))
    yield import_module("make_first_results")
    sys.path[:] = before


def test_the_page_is_what_the_table_says(maker) -> None:
    page = import_module("first_results_page")
    assert maker.TABLE.with_suffix(".md").read_text() == page.page(maker.rows_of(maker.TABLE))


def test_every_method_that_fits_is_in_the_table(maker) -> None:
    rows = maker.rows_of(maker.TABLE)
    assert {r.network for r in rows} == set(maker.NETS)
    for name in maker.NETS:
        own = [r for r in rows if r.network == name]
        assert {r.method for r in own} == set(maker.methods(few=False)) | set(maker.methods(few=True))
        assert {r.case for r in own} == set(range(maker.CASES))


def test_a_row_counts_what_is_on_nodule_and_word(maker) -> None:
    """A map that is the nodule's mask has everything on it; one that is the word's has nothing."""
    from dataclasses import dataclass

    @dataclass
    class Made:
        values: np.ndarray
        geometry: object
        seen: object

    case = maker.cases()[0]
    image = case.render()
    masks = {e.role: case.regions[e.name].mask for e in case.elements if e.role in ("finding", "shortcut")}
    for role, hit, said in (("finding", 1.0, 0.0), ("shortcut", 0.0, 1.0)):
        made = Made(masks[role].astype(np.float32), image.geometry, image.geometry)
        row = maker.row("net", "method", 0, case, image, made, 0.5)
        assert row.hit == hit
        assert row.said == pytest.approx(said)
        assert (row.nodule, row.marker) == (pytest.approx(1 - said), pytest.approx(said))
    flat = maker.row("n", "m", 0, case, image, Made(np.ones(image.geometry.shape), image.geometry, image.geometry), 0.5)
    assert flat.nodule == pytest.approx(flat.nodule_area)
    assert flat.marker == pytest.approx(flat.marker_area)
    nothing = maker.row(
        "n", "m", 0, case, image, Made(-np.ones((2, 2)), image.geometry.on_grid((2, 2)), image.geometry), 0
    )
    assert np.isnan(nothing.said)


def test_a_rank_correlation_is_what_it_should_be(maker) -> None:
    measures = import_module("first_results_measures")
    a = np.arange(30.0)
    assert measures.rank_correlation(a, a**3, range(30)).value == pytest.approx(1)
    assert measures.rank_correlation(a, -a, range(30)).high == pytest.approx(-1)
    assert measures.rank_correlation(a, np.ones(30), range(30)).value == 0
    both = measures.mean([1.0, 1.0, 3.0, np.nan], [0, 0, 1, 2])
    assert (both.value, both.n) == (pytest.approx(5 / 3), 3)
    assert both.low <= both.value <= both.high
