"""Shortcuts, distractors and the suppressor: each changes exactly what its mask says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.element import Element, Site
from saliscope.phantom.findings.nodule import Nodule
from saliscope.phantom.scene import Acquisition
from saliscope.phantom.scenes.field import Field
from saliscope.phantom.shortcuts.acquired import Blur, Exposure, Noise, Resolution
from saliscope.phantom.shortcuts.calipers import Calipers
from saliscope.phantom.shortcuts.collimation import Collimation
from saliscope.phantom.shortcuts.device import PATHS, Device, distance_to, smooth
from saliscope.phantom.shortcuts.marker import Marker, Words
from saliscope.phantom.shortcuts.ruler import Ruler
from saliscope.phantom.shortcuts.sun import Columns, Corner, Tag
from saliscope.phantom.shortcuts.wedge import Wedge

FLAT = Field((96, 128), spacing_mm=2.5, grain=3.0)
SOLID = Field((12, 96, 96), spacing_mm=3.0)
FILM = [Marker(), Words(), Calipers(), Ruler(), Collimation(), Columns(), Corner(), Tag()]
BODY = [Device(form="pacemaker"), Device(form="line"), Device(form="drain"), Device(form="electrode"), Wedge()]
PLACED = FILM + BODY
NOWHERE = [Exposure(), Noise(), Blur(), Resolution()]


def title(element: Element) -> str:
    return f"{element.kind}-{getattr(element, 'form', '')}".strip("-")


@pytest.mark.parametrize("scene", [FLAT, SOLID], ids=["2d", "3d"])
@pytest.mark.parametrize("element", PLACED, ids=title)
def test_an_element_changes_its_mask_and_nothing_else(element: Element, scene: Field) -> None:
    case = Case(scene, 3, (Nodule(), element))
    without, tagged = case.render({"nodule"}).values[0], case.render().values[0]
    mask = case.regions[element.name].mask
    assert 0 < mask.mean() < 0.5
    np.testing.assert_array_equal(tagged[~mask], without[~mask])
    # Inked faintly, or as grey as what lies below: rarely is a pixel of the mask as it was.
    assert (tagged != without)[mask].mean() > 0.9


@pytest.mark.parametrize("element", FILM, ids=title)
def test_what_is_burnt_in_stands_in_every_plane(element: Element) -> None:
    mask = Case(SOLID, 3, (element,)).regions[element.name].mask
    assert (mask == mask[:1]).all()


@pytest.mark.parametrize("element", PLACED + NOWHERE, ids=title)
def test_equal_fields_give_equal_pictures(element: Element) -> None:
    pictures = [Case(FLAT, 5, (Nodule(), element)).render() for _ in range(2)]
    np.testing.assert_array_equal(pictures[0].values, pictures[1].values)
    assert pictures[0].digest == pictures[1].digest
    assert len({e.role for e in (element, replace(element, role="distractor"))}) == 2  # type: ignore[type-var]


@pytest.mark.parametrize("element", [Marker(), Collimation(), Device(), Calipers()], ids=title)
def test_another_seed_puts_it_elsewhere(element: Element) -> None:
    first, second = (Case(FLAT, seed, (element,)).regions[element.name].mask for seed in (1, 2))
    assert (first != second).any()


@pytest.mark.parametrize("element", [Marker(), Words(), Collimation(), Ruler(), Device(), Wedge()], ids=title)
def test_its_place_hangs_on_no_other_element(element: Element) -> None:
    alone = Case(FLAT, 7, (element,)).regions[element.name].mask
    beside = Case(FLAT, 7, (Nodule(), Tag(), element)).regions[element.name].mask
    np.testing.assert_array_equal(alone, beside)


@pytest.mark.parametrize("element", NOWHERE, ids=title)
def test_what_has_no_place_has_no_region_and_is_never_forbidden(element: Element) -> None:
    case = Case(FLAT, 1, (element,))
    assert element.name not in case.regions
    assert case.truth["forbidden"].empty


def test_how_the_picture_is_taken() -> None:
    site = Site.of(FLAT, FLAT.draw(0), np.zeros(FLAT.shape, bool), 0, "any")
    usual = Acquisition(exposure=2, noise=3, blur_mm=4, pixel=2)

    def taken(element: Element) -> Acquisition:
        plant = element.plant(site)
        assert plant.taking is not None
        return plant.taking(usual)

    assert taken(Exposure(factor=1.5)) == replace(usual, exposure=3)
    assert taken(Noise(factor=2)) == replace(usual, noise=6)
    assert taken(Blur(blur_mm=3)) == replace(usual, blur_mm=5)
    assert taken(Resolution(pixel=3)) == replace(usual, pixel=6)


@pytest.mark.parametrize("element", PLACED, ids=title)
def test_a_shortcut_is_forbidden_and_a_distractor_is_not(element: Element) -> None:
    findings = (Nodule(diameter_mm=20),)
    truth = Case(FLAT, 2, (*findings, element)).truth
    if element.role != "shortcut":
        element = replace(element, role="shortcut")  # type: ignore[type-var]
        truth = Case(FLAT, 2, (*findings, element)).truth
    mask = Case(FLAT, 2, (*findings, element)).regions[element.name].mask
    np.testing.assert_array_equal(truth["forbidden"].mask, mask & ~truth["required"].mask)
    assert not (truth["allowed"].mask & mask).any()
    beside = replace(element, role="distractor")  # type: ignore[type-var]
    assert Case(FLAT, 2, (*findings, beside)).truth["forbidden"].empty


@pytest.mark.parametrize("corner", ["top-left", "top-right", "bottom-left", "bottom-right"])
def test_a_marker_stands_in_its_corner_and_is_as_large_as_it_says(corner: str) -> None:
    element = Marker(corner=corner, frame="none", tilt=0.0, height=0.1, text="L")  # type: ignore[arg-type]
    rows, columns = np.nonzero(Case(FLAT, 1, (element,)).regions["marker"].mask)
    assert (rows.max() < 48) == corner.startswith("top")
    assert (rows.min() >= 48) == corner.startswith("bottom")
    assert (columns.max() < 64) == corner.endswith("left")
    assert (columns.min() >= 64) == corner.endswith("right")
    assert abs(np.ptp(rows) + 1 - 0.1 * 96) <= 1.5


def test_a_marker_is_round_in_millimetres_and_not_in_pixels() -> None:
    from saliscope.phantom.shortcuts.marker import lettered

    high, wide = lettered("R", "circle", 20.0, 0.0, (0.5, 1.0)).shape
    assert abs(high / wide - 2) < 0.1


def test_letters_of_a_marker_can_be_told_apart() -> None:
    first, second = (Case(FLAT, 1, (Marker(text=t, height=0.12, tilt=0.0),)).regions["marker"].mask for t in "LR")
    assert (first != second).mean() > 0.001


def test_a_marker_too_large_for_the_picture_is_refused() -> None:
    with pytest.raises(InputError, match="inside the picture"):
        Case(FLAT, 1, (Marker(height=0.9),)).render()


def test_a_framed_marker_is_larger_than_a_bare_one() -> None:
    sizes = [Case(FLAT, 1, (Marker(frame=f),)).regions["marker"].mask.sum() for f in ("none", "circle", "box")]  # type: ignore[arg-type]
    assert sizes[0] < sizes[1]
    assert sizes[0] < sizes[2]


def test_calipers_measure_the_finding_and_not_a_line() -> None:
    case = Case(FLAT, 4, (Nodule(diameter_mm=40.0), Ruler(role="distractor"), Calipers()))
    spots = np.argwhere(case.regions["nodule"].mask)
    inked = np.argwhere(case.regions["calipers"].mask)
    assert np.abs(inked.mean(0) - spots.mean(0)).max() < 2
    assert 35 < np.linalg.norm(np.ptp(inked, axis=0) * 2.5) < 80


def test_calipers_lie_anywhere_where_there_is_nothing_to_measure() -> None:
    masks = [Case(FLAT, seed, (Ruler(), Calipers(length_mm=30.0))).regions["calipers"].mask for seed in (1, 2)]
    assert (masks[0] != masks[1]).any()
    for mask in masks:
        assert np.linalg.norm(np.ptp(np.argwhere(mask), axis=0) * 2.5) < 75


@pytest.mark.parametrize(("spacing", "step"), [(0.2, 2), (1.0, 10), (3.0, 20)])
def test_a_ruler_counts_millimetres(spacing: float, step: int) -> None:
    case = Case(Field((256, 256), spacing_mm=spacing), 1, (Ruler(edge="bottom"),))
    column_starts = np.flatnonzero(np.diff(case.regions["ruler"].mask.any(axis=0).astype(int)) == 1)
    assert abs(float(np.diff(column_starts).mean()) * spacing - step) < 0.05 * step


def test_shutters_leave_the_middle_and_are_darkest_at_the_edge() -> None:
    case = Case(FLAT, 1, (Collimation(),))
    values, mask = case.render().values[0], case.regions["collimation"].mask
    assert mask[[0, -1]].all()
    assert mask[:, [0, -1]].all()
    assert not mask[20:-20, 20:-20].any()
    assert values[[0, -1]].max() == round(0.02 * 4095)


def test_the_edge_of_shutters_is_soft() -> None:
    seen = Case(Field((200, 200), noise=0.0), 1, (Collimation(soft=0.05),)).render().values[0, 100]
    dark, edge = round(0.02 * 4095), seen[1:60]
    assert (np.diff(edge) >= 0).all()
    assert 8 <= ((edge > dark) & (edge < 1500)).sum() <= 11


def test_distance_to_a_line_is_that_of_every_pair_of_points() -> None:
    curve = smooth(np.array([[2.0, 3.0], [10.0, 14.0], [22.0, 9.0]]), points=400)
    fast = distance_to(curve, (12, 20), (2.0, 1.0), 4.0)
    grid = np.stack(np.meshgrid(np.arange(12) * 2.0, np.arange(20.0), indexing="ij"), -1)
    slow = np.linalg.norm(grid[:, :, None] - curve, axis=-1).min(-1)
    near = slow < 3.9
    np.testing.assert_allclose(fast[near], slow[near], atol=0.02)
    assert np.isinf(fast[slow > 4.1]).all()


@pytest.mark.parametrize("scene", [FLAT, SOLID], ids=["2d", "3d"])
@pytest.mark.parametrize("form", ["pacemaker", "line", "drain", "electrode"])
def test_a_device_is_one_thing_from_end_to_end(form: str, scene: Field) -> None:
    from scipy.ndimage import label

    mask = Case(scene, 6, (Device(form=form),)).regions["device"].mask  # type: ignore[arg-type]
    assert label(mask, np.ones((3,) * mask.ndim))[1] == 1
    path = np.array(PATHS[form]).clip(0, 1)  # type: ignore[index]
    reach = np.ptp(np.argwhere(mask), axis=0)[[0, -1]] / np.array(mask.shape)[[0, -1]]
    assert (reach > 0.8 * np.ptp(path, axis=0)).all()


def test_a_device_is_brighter_by_its_contrast_times_the_scenes() -> None:
    case = Case(replace(FLAT, noise=0.0), 1, (Device(form="pacemaker", contrast=0.2),))
    rise = case.render().values - case.render(()).values
    assert rise.max() == pytest.approx(0.2 * 3.0 * FLAT.contrast, abs=1)
    assert rise.min() == 0


def test_a_wedge_shows_the_exposure_and_nothing_of_the_patient() -> None:
    def seen(seed: int, factor: float) -> np.ndarray:
        case = Case(replace(FLAT, noise=0.0), seed, (Wedge(inset=0.02), Exposure(factor=factor)))
        return case.render().values[0][case.regions["wedge"].mask]

    np.testing.assert_array_equal(seen(1, 1.0), seen(2, 1.0))
    np.testing.assert_allclose(seen(1, 1.2), 1.2 * seen(1, 1.0), atol=0.6)
    assert len(np.unique(seen(1, 1.0))) == 6


def test_a_wedge_without_steps_is_refused() -> None:
    with pytest.raises(InputError, match="one or more"):
        Case(FLAT, 1, (Wedge(steps=0),)).render()


def test_the_wedge_is_a_suppressor() -> None:
    """haufe2014: no tie to the label, and yet a weight, because it tells the exposure from the disease."""
    from saliscope.phantom.sets import PhantomSet, Sometimes

    finding = Nodule(diameter_mm=32.0, contrast=0.6)
    scene = Field((40, 40), spacing_mm=2.0, noise=40.0)
    varied = Exposure(name="exposures", role="distractor", factor=(0.75, 1.3))
    besides = (Sometimes(varied, 1.0), Sometimes(Wedge(top=1.0), 1.0))
    cases = PhantomSet(scene, ((), (finding,)), besides=besides, count=1200)
    labels = np.array([case.label for case in cases], float)
    features = []
    for case in cases:
        values, wedge = case.render().values[0], case.regions["wedge"].mask
        features.append((values[~wedge].mean(), values[wedge].mean()))
    x = np.array(features)
    x = (x - x.mean(0)) / x.std(0)
    y = labels - labels.mean()
    limit = 3 / np.sqrt(len(y))
    assert abs(np.corrcoef(x[:, 1], y)[0, 1]) < limit
    both = np.linalg.lstsq(x, y, rcond=None)[0]
    assert both[1] < -0.5 * both[0] < 0
    # With it the label is read far better than from the picture alone.
    explained = [1 - np.var(y - x[:, :k] @ np.linalg.lstsq(x[:, :k], y, rcond=None)[0]) / np.var(y) for k in (1, 2)]
    assert explained[0] < 0.1
    assert explained[1] > 0.5
