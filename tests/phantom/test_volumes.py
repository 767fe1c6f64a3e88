"""The volumes: one patient at every spacing, the right way round, in the right units, with an honest scanner."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from saliscope.phantom.case import Case
from saliscope.phantom.findings.nodule import Nodule
from saliscope.phantom.scene import Acquisition, Anatomy
from saliscope.phantom.scenes.body_ct import BodyCT
from saliscope.phantom.scenes.brain import BRAIN, BrainMR

CT, MR = BodyCT((40, 40, 48), 7.5), BrainMR((40, 50, 40), 4.0)
SCENES = pytest.mark.parametrize("scene", [CT, MR], ids=["body-ct", "brain-mr"])
#: Compartments that lie in others; all the rest share no element and fill the volume.
INNER = {
    CT: {"right lung": "lungs", "left lung": "lungs", "lung vessels": "lungs", "lungs": "body", "liver": "body"},
    MR: {**dict.fromkeys(BRAIN, "brain"), "brain": "head", "skull": "head", "eyes": "head"},
}
NESTED = {CT: {"body", "right lung", "left lung", "lung vessels"}, MR: {"head", "brain"}}


@lru_cache(maxsize=16)
def anatomy(scene: BodyCT | BrainMR, seed: int = 0) -> Anatomy:
    return scene.draw(seed)


def centre_mm(scene: BodyCT | BrainMR, name: str, seed: int = 0) -> np.ndarray:
    drawn = anatomy(scene, seed)
    found: np.ndarray = drawn.geometry.to_world(np.argwhere(drawn.compartments[name])).mean(0)
    return found


@SCENES
def test_one_seed_gives_one_patient_bit_for_bit(scene: BodyCT | BrainMR) -> None:
    once, again, other = Case(scene, 5).render(), Case(scene, 5).render(), Case(scene, 6).render()
    assert once.values.tobytes() == again.values.tobytes()
    assert once.digest == again.digest
    assert (once.values != other.values).mean() > 0.2


@SCENES
def test_the_values_are_whole_numbers_of_the_scene_on_an_axial_grid_around_the_patient(
    scene: BodyCT | BrainMR,
) -> None:
    image = Case(scene, 1).render()
    assert image.geometry.letters == (("I", "S"), ("A", "P"), ("R", "L"))
    np.testing.assert_allclose(image.geometry.centre, 0, atol=1e-9)
    assert image.values.min() >= scene.low
    assert image.values.max() <= scene.high
    np.testing.assert_array_equal(image.values, np.rint(image.values))
    assert (image.modality, image.units) == (("CT", "HU") if scene is CT else ("MR", ""))


@pytest.mark.parametrize("seed", range(3))
def test_right_is_right_by_millimetres(seed: int) -> None:
    def x(name: str) -> float:
        return float(centre_mm(CT, name, seed)[0])

    assert x("liver") > 25  # the patient's right is plus
    assert x("heart") < -8
    assert x("spleen") < -50
    assert x("stomach") < -20
    assert x("right lung") > 40 > -40 > x("left lung")
    assert abs(x("spine")) < 3
    assert centre_mm(CT, "spine", seed)[1] < -30 < 30 < centre_mm(CT, "sternum", seed)[1]
    assert centre_mm(CT, "table", seed)[1] < -100
    assert centre_mm(CT, "lungs", seed)[2] > centre_mm(CT, "liver", seed)[2] + 50


@pytest.mark.parametrize("seed", range(3))
def test_the_brain_lies_as_a_brain_does(seed: int) -> None:
    assert centre_mm(MR, "eyes", seed)[1] > 60
    assert centre_mm(MR, "cerebellum", seed)[1] < -40
    assert centre_mm(MR, "cerebellum", seed)[2] < centre_mm(MR, "grey matter", seed)[2] - 30
    drawn = anatomy(MR, seed)
    x = drawn.geometry.to_world(np.argwhere(drawn.compartments["ventricles"]))[:, 0]
    right, left = int((x > 1).sum()), int((x < -1).sum())
    assert 0.7 < right / left < 1.4
    litres = drawn.compartments["brain"].sum() * drawn.geometry.element / 1e6
    assert 1.0 < litres < 1.7


@SCENES
def test_compartments_share_nothing_fill_the_volume_and_lie_in_one_another(scene: BodyCT | BrainMR) -> None:
    for seed in range(3):
        found = anatomy(scene, seed).compartments
        rest = [mask for name, mask in found.items() if name not in NESTED[scene]]
        np.testing.assert_array_equal(np.sum(rest, axis=0), 1)
        for name, outer in INNER[scene].items():
            assert found[name].any()
            assert not (found[name] & ~found[outer]).any()
        assert all(mask.any() for mask in found.values())
        assert {scene.home, scene.body} <= set(found)
    if scene is CT:
        np.testing.assert_array_equal(found["right lung"] ^ found["left lung"], found["lungs"])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("air", -1010, -950),
        ("lungs", -860, -720),
        ("fat", -110, -70),
        ("inner fat", -110, -70),
        ("muscle", 35, 70),
        ("heart", 80, 150),
        ("aorta", 110, 150),
        ("liver", 75, 110),
        ("spleen", 85, 120),
        ("kidneys", 85, 150),
        ("spine", 220, 380),
        ("ribs", 200, 420),
    ],
)
def test_hounsfield_units_are_those_of_the_tissue(name: str, low: float, high: float) -> None:
    for seed in range(3):
        values = Case(CT, seed).render().values[0]
        assert low < values[anatomy(CT, seed).compartments[name]].mean() < high


def test_grey_values_are_those_of_t1() -> None:
    drawn = anatomy(MR, 2)
    mean = {name: drawn.signal[mask].mean() for name, mask in drawn.compartments.items()}
    order = ["air", "skull", "ventricles", "grey matter", "deep grey", "white matter"]
    assert sorted(order, key=mean.__getitem__) == order
    assert mean["scalp"] > mean["grey matter"]


@pytest.mark.parametrize(
    ("fine", "coarse", "names"),
    [
        (
            BodyCT((80, 80, 96), 3.75),
            CT,
            ("body", "lungs", "liver", "heart", "spleen", "kidneys", "aorta", "spine", "stomach", "muscle", "table"),
        ),
        (BrainMR((80, 100, 80), 2.0), MR, ("head", "brain", "white matter", "ventricles", "cerebellum", "deep grey")),
    ],
    ids=["body-ct", "brain-mr"],
)
def test_every_spacing_shows_the_same_patient(
    fine: BodyCT | BrainMR, coarse: BodyCT | BrainMR, names: tuple[str, ...]
) -> None:
    much, little = fine.draw(3), anatomy(coarse, 3)
    assert much.geometry.extent == little.geometry.extent
    planes, rows, columns = little.geometry.shape
    for name in names:
        share = much.compartments[name].reshape(planes, 2, rows, 2, columns, 2).mean((1, 3, 5))
        both = (share >= 0.5) & little.compartments[name]
        dice = 2 * both.sum() / ((share >= 0.5).sum() + little.compartments[name].sum())
        assert dice > 0.85, (name, dice)
    if "grey matter" in little.compartments:  # as thin as an element, so that its rim weighs more
        volumes = [a.compartments["grey matter"].sum() * a.geometry.element for a in (much, little)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


@SCENES
@pytest.mark.parametrize("blur_mm", [0.0, 5.0])
def test_a_nodule_that_is_off_changes_nothing_elsewhere(scene: BodyCT | BrainMR, blur_mm: float) -> None:
    from scipy.ndimage import distance_transform_edt

    from saliscope.phantom.shortcuts.acquired import Blur

    contrast = (0.8, 1.0) if scene is CT else (-0.6, -0.4)
    nodule = Nodule(diameter_mm=(20, 26), contrast=contrast)
    elements = (nodule, Blur(blur_mm=blur_mm)) if blur_mm else (nodule,)
    case = Case(scene, 4, elements)
    without = tuple(e.name for e in elements[1:])
    on, off = case.render().values[0], case.render(without).values[0]
    mask = case.plants["nodule"].mask
    assert mask is not None
    away = distance_transform_edt(~mask, sampling=case.anatomy.geometry.spacing)
    # The rim fades out within the diameter; the blur's filter ends at four deviations.
    np.testing.assert_array_equal(on[away > 26 + 4.5 * blur_mm], off[away > 26 + 4.5 * blur_mm])
    assert np.abs(on - off)[mask].max() > 0.2 * scene.contrast
    home = case.anatomy.compartments[scene.home]
    assert (mask & home).sum() > 0.6 * mask.sum()


def test_the_noise_of_mr_is_that_of_a_magnitude() -> None:
    drawn = anatomy(MR)
    nothing = np.zeros_like(drawn.signal)
    deviation = MR.noise * (2.5 / MR.spacing_mm) ** 1.5
    values = MR.develop(drawn, nothing, Acquisition())
    assert values.mean() == pytest.approx(deviation * np.sqrt(np.pi / 2), rel=0.01)  # Rayleigh
    assert values.std() == pytest.approx(deviation * np.sqrt(2 - np.pi / 2), rel=0.01)
    np.testing.assert_allclose(MR.develop(drawn, nothing, Acquisition(noise=3)), 3 * values, rtol=1e-5)
    strong = MR.develop(drawn, nothing + 600, Acquisition()) / drawn.fields["sensitivity"]
    assert strong.mean() == pytest.approx(600, rel=0.01)


def test_exposure_is_the_gain_of_mr_and_the_dose_of_ct() -> None:
    drawn = anatomy(MR)
    usual = MR.develop(drawn, drawn.signal, Acquisition())
    np.testing.assert_allclose(MR.develop(drawn, drawn.signal, Acquisition(exposure=1.3)), 1.3 * usual, rtol=1e-5)
    drawn = anatomy(CT)
    noise = CT.develop(drawn, drawn.signal, Acquisition()) - drawn.signal
    assert noise.std() == pytest.approx(CT.noise * (4 / CT.spacing_mm) ** 1.5, rel=0.01)
    dose = CT.develop(drawn, drawn.signal, Acquisition(exposure=0.25)) - drawn.signal
    np.testing.assert_allclose(dose, 2 * noise, atol=2e-3)
    twice = CT.develop(drawn, drawn.signal, Acquisition(noise=2)) - drawn.signal
    np.testing.assert_allclose(twice, 2 * noise, atol=2e-3)


def test_the_noise_of_ct_is_correlated_in_the_plane_only() -> None:
    noise = anatomy(CT).fields["noise"]
    assert noise.mean() == pytest.approx(0, abs=1e-3)
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert np.mean(noise[:, 1:] * noise[:, :-1]) > 0.1
    assert np.mean(noise[:, 2:] * noise[:, :-2]) < -0.02  # the ramp: what is bright is ringed by dark
    assert abs(np.mean(noise[1:] * noise[:-1])) < 0.02


@SCENES
def test_blur_and_larger_elements_keep_the_mean_and_take_the_detail(scene: BodyCT | BrainMR) -> None:
    drawn = anatomy(scene)
    sharp = scene.develop(drawn, drawn.signal, Acquisition(noise=0))
    blurred = scene.develop(drawn, drawn.signal, Acquisition(noise=0, blur_mm=6))
    assert blurred[8:-8, 8:-8, 8:-8].mean() == pytest.approx(sharp[8:-8, 8:-8, 8:-8].mean(), rel=0.03)
    assert np.abs(np.diff(blurred)).mean() < 0.75 * np.abs(np.diff(sharp)).mean()
    large = scene.develop(drawn, drawn.signal, Acquisition(pixel=2))
    blocks = large.reshape(*(m for n in large.shape for m in (n // 2, 2)))
    assert np.ptp(blocks, axis=(1, 3, 5)).max() == 0
    if scene is CT:
        usual = scene.develop(drawn, drawn.signal, Acquisition())
        np.testing.assert_allclose(
            blocks[:, 0, :, 0, :, 0], usual.reshape(20, 2, 20, 2, 24, 2).mean((1, 3, 5)), atol=0.01
        )
    assert np.isfinite(scene.develop(drawn, drawn.signal, Acquisition(pixel=1.7))).all()
