"""Findings: where they were asked to be, as large as asked, and nothing changed but by them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, distance_transform_edt, label

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.element import Element
from saliscope.phantom.findings.effusion import Effusion
from saliscope.phantom.findings.mass import Mass
from saliscope.phantom.findings.nodule import Nodule, tiny
from saliscope.phantom.findings.opacity import Opacity
from saliscope.phantom.scenes.chest import ChestRadiograph
from saliscope.phantom.scenes.field import Field

CHEST = ChestRadiograph(128)
FINE = ChestRadiograph(256)
ALL: dict[str, Element] = {
    "nodule": Nodule(),
    "tiny": tiny(),
    "round": Mass(),
    "lobulated": Mass(shape="lobulated"),
    "spiculated": Mass(shape="spiculated"),
    "opacity": Opacity(),
    "effusion": Effusion(),
}


def effect_of(case: Case) -> np.ndarray:
    """Return what the only element adds to the signal."""
    (plant,) = case.plants.values()
    assert plant.body is not None
    return plant.body(np.zeros_like(case.anatomy.signal))


def mask_of(case: Case) -> np.ndarray:
    (plant,) = case.plants.values()
    assert plant.mask is not None
    return plant.mask


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seed", range(5))
def test_the_mask_holds_exactly_what_changes_by_more_than_a_tenth_of_the_peak(kind: str, seed: int) -> None:
    case = Case(CHEST, seed, (ALL[kind],))
    effect = effect_of(case)
    assert effect.max() > 0
    near = np.abs(effect / effect.max() - 0.1) < 1e-3
    assert ((effect > 0.1 * effect.max()) == mask_of(case))[~near].all()


@pytest.mark.parametrize("kind", ALL)
def test_nothing_but_the_element_differs_between_on_and_off(kind: str) -> None:
    case = Case(CHEST, 11, (ALL[kind],))
    off, on = case.render(on=()), case.render()
    effect = effect_of(case)
    far = ~binary_dilation(effect > 0.002 * effect.max(), iterations=2)
    (plant,) = case.plants.values()
    assert plant.body is not None
    assert (plant.body(case.anatomy.signal) == case.anatomy.signal)[effect == 0].all()
    # Scattered light spreads a little of it over the picture, as it does in a patient.
    assert np.abs(on.values - off.values)[0][far].max() < 0.025 * CHEST.high
    assert np.abs(on.values - off.values)[0][mask_of(case)].mean() > 60


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seed", range(8))
def test_findings_lie_in_the_lungs(kind: str, seed: int) -> None:
    case = Case(CHEST, seed, (ALL[kind],))
    outside = mask_of(case) & ~case.anatomy.compartments["lungs"]
    allowed = {"opacity": 0.0, "effusion": 0.0, "nodule": 0.0, "tiny": 0.0}.get(kind, 0.12)
    assert outside.sum() <= allowed * mask_of(case).sum()


@pytest.mark.parametrize("diameter", [12.0, 20.0, 30.0])
@pytest.mark.parametrize("scene", [FINE, Field((200, 200), 1.0)], ids=["projection", "plane"])
def test_a_nodule_is_as_wide_as_asked(diameter: float, scene: ChestRadiograph | Field) -> None:
    case = Case(scene, 1, (Nodule(diameter_mm=diameter),))
    mask, step = mask_of(case), case.anatomy.geometry.spacing[0]
    for axis in (0, 1):
        assert np.ptp(np.flatnonzero(mask.any(axis=axis))) * step == pytest.approx(diameter, abs=2 * step)


def test_a_nodule_in_a_projection_is_deepest_in_the_middle_and_in_a_plane_it_is_flat() -> None:
    projected, plane = (Case(s, 1, (Nodule(diameter_mm=40.0, contrast=1.0),)) for s in (FINE, Field((200, 200), 1.0)))
    share = [float(np.mean(effect_of(c)[mask_of(c)] > 0.9 * effect_of(c).max())) for c in (projected, plane)]
    assert share[0] < 0.3
    assert share[1] > 0.4


def test_contrast_is_in_units_of_the_scene() -> None:
    for scene in (CHEST, Field((64, 64), 2.0)):
        case = Case(scene, 1, (Nodule(diameter_mm=30.0, contrast=0.5),))
        assert effect_of(case).max() == pytest.approx(0.5 * scene.contrast, rel=1e-3)


@pytest.mark.parametrize("shape", ["round", "lobulated", "spiculated"])
@pytest.mark.parametrize("seed", range(4))
def test_masses_of_all_shapes_are_equally_large(shape: str, seed: int) -> None:
    flat = Case(Field((160, 160), 1.0), seed, (Mass(shape=shape, diameter_mm=40.0),))  # type: ignore[arg-type]
    area = mask_of(flat).sum() * flat.anatomy.geometry.element
    assert 2 * np.sqrt(area / np.pi) == pytest.approx(40.0, rel=0.03)
    solid = Case(Field((64, 64, 64), 2.0), seed, (Mass(shape=shape, diameter_mm=40.0),))  # type: ignore[arg-type]
    volume = mask_of(solid).sum() * solid.anatomy.geometry.element
    assert (6 * volume / np.pi) ** (1 / 3) == pytest.approx(40.0, rel=0.06)


def test_the_shapes_of_masses_differ_in_their_outline() -> None:
    def roundness(shape: str, seed: int) -> float:
        """Return 1 for a disc, less the longer the outline is for its area."""
        mask = mask_of(Case(Field((160, 160), 1.0), seed, (Mass(shape=shape, diameter_mm=44.0),)))  # type: ignore[arg-type]
        widest = 2 * float(distance_transform_edt(mask).max())
        return widest / float(2 * np.sqrt(mask.sum() / np.pi))

    found = {s: [roundness(s, seed) for seed in range(6)] for s in ("round", "lobulated", "spiculated")}
    assert min(found["round"]) > 0.95 > max(found["lobulated"])
    assert min(found["lobulated"]) > max(found["spiculated"])


def test_a_tiny_lesion_is_smaller_than_a_cell_of_a_class_activation_map() -> None:
    for seed in range(6):
        case = Case(CHEST, seed, (tiny(),))
        rows, columns = (np.ptp(np.flatnonzero(mask_of(case).any(axis=a))) + 1 for a in (1, 0))
        assert max(rows, columns) < 8  # a network that halves three times has cells of eight pixels
        assert mask_of(case).any()


@pytest.mark.parametrize("seed", range(6))
def test_an_effusion_fills_the_angle_and_climbs_the_wall(seed: int) -> None:
    case = Case(CHEST, seed, (Effusion(side="left", height_mm=80.0),))
    mask, lung = mask_of(case), case.anatomy.compartments["left lung"]
    rows = np.flatnonzero(mask.any(axis=1))
    assert np.flatnonzero(lung.any(axis=1)).max() == rows.max()
    columns = np.flatnonzero(mask.any(axis=0))
    assert columns.max() == np.flatnonzero(lung.any(axis=0)).max()
    tops = np.argmax(mask, axis=0)[columns]
    assert tops[-6:].min() < tops[: len(tops) // 2].min()
    height = (rows.max() - rows.min()) * case.anatomy.geometry.spacing[0]
    assert 60 < height <= 85


def test_an_effusion_takes_the_side_it_is_told_and_either_when_it_is_not() -> None:
    for side in ("left", "right"):
        case = Case(CHEST, 3, (Effusion(side=side),))
        assert not (mask_of(case) & ~case.anatomy.compartments[f"{side} lung"]).any()
    lefts = [
        (mask_of(c) & c.anatomy.compartments["left lung"]).any()
        for c in (Case(CHEST, s, (Effusion(),)) for s in range(10))
    ]
    assert 0 < sum(lefts) < 10


@pytest.mark.parametrize("seed", range(4))
def test_an_opacity_is_irregular_and_fades_and_has_about_its_size(seed: int) -> None:
    case = Case(Field((220, 220), 1.0), seed, (Opacity(diameter_mm=70.0),))
    mask, effect = mask_of(case), effect_of(case)
    whole = label(mask)[0] == np.argmax(np.bincount(label(mask)[0].ravel())[1:]) + 1
    assert 0.6 * 70 < 2 * np.sqrt(whole.sum() / np.pi) < 1.3 * 70
    assert np.mean(effect[mask] < 0.6 * effect.max()) > 0.5


@pytest.mark.parametrize("element", [Nodule(), Opacity(diameter_mm=30.0), Mass(shape="spiculated", diameter_mm=20.0)])
def test_findings_of_any_dimension_are_planted_in_volumes(element: Element) -> None:
    case = Case(Field((48, 48, 48), 2.0), 0, (element,))
    assert mask_of(case).ndim == 3
    assert all(np.ptp(np.flatnonzero(mask_of(case).any(axis=a))) > 3 for a in ((1, 2), (0, 2), (0, 1)))
    assert case.render().values.tobytes() == Case(Field((48, 48, 48), 2.0), 0, (element,)).render().values.tobytes()


@pytest.mark.parametrize("element", [Nodule(), Mass(shape="lobulated"), Opacity(patchy=0.3)])
def test_a_finding_is_the_same_in_millimetres_at_every_resolution(element: Element) -> None:
    areas = [mask_of(c).sum() * c.anatomy.geometry.element for c in (Case(s, 5, (element,)) for s in (CHEST, FINE))]
    assert areas[0] == pytest.approx(areas[1], rel=0.25)


def test_an_effusion_in_a_volume_or_without_lungs_is_refused() -> None:
    for scene, word in ((Field((16, 16, 16)), "volume"), (Field((64, 64)), "lung")):
        with pytest.raises(InputError, match=word):
            _ = Case(scene, 0, (Effusion(),)).plants


def test_a_mass_of_unknown_shape_is_refused() -> None:
    with pytest.raises(InputError, match="spicular"):
        Mass(shape="spicular")  # type: ignore[arg-type]
