"""The chest radiograph: one picture for one seed, the right way round, one patient at every size."""

from __future__ import annotations

import numpy as np
import pytest

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.findings.nodule import Nodule
from saliscope.phantom.scene import Acquisition, Anatomy
from saliscope.phantom.scenes.chest import FIELD_MM, ChestRadiograph

SCENE = ChestRadiograph(128)
NAMES = {
    "body", "lungs", "left lung", "right lung", "heart", "mediastinum", "spine", "ribs", "clavicles", "diaphragm",
    "soft tissue",
}  # fmt: skip


@pytest.fixture(scope="module", params=range(6))
def anatomy(request: pytest.FixtureRequest) -> Anatomy:
    return SCENE.draw(request.param)


def column(anatomy: Anatomy, name: str) -> float:
    return float(np.argwhere(anatomy.compartments[name])[:, 1].mean())


def middle_of(values: np.ndarray) -> tuple[slice, slice]:
    n = values.shape[0]
    return slice(n // 4, 3 * n // 4), slice(n // 4, 3 * n // 4)


def test_one_seed_gives_one_picture_bit_for_bit_and_two_seeds_two() -> None:
    first, second, other = (Case(ChestRadiograph(128), s, (Nodule(),)).render() for s in (3, 3, 4))
    assert first.values.tobytes() == second.values.tobytes()
    assert first.digest == second.digest
    assert np.abs(first.values - other.values).mean() > 50


def test_drawing_touches_no_global_chance() -> None:
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    SCENE.draw(0)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_the_stored_values_are_whole_numbers_of_twelve_bits_and_shown_as_they_are() -> None:
    image = Case(SCENE, 1).render()
    assert image.values.dtype == np.float32
    assert (image.values == np.rint(image.values)).all()
    assert image.values.min() >= 0
    assert 3900 < image.values.max() <= 4095
    assert np.corrcoef(image.values.ravel(), image.display.ravel())[0, 1] > 0.9999


def test_the_heart_lies_on_the_patients_left_which_the_reader_has_on_the_right(anatomy: Anatomy) -> None:
    assert column(anatomy, "right lung") < column(anatomy, "spine") < column(anatomy, "left lung")
    assert column(anatomy, "heart") > column(anatomy, "spine") + 8 / anatomy.geometry.spacing[1]
    lungs = [anatomy.compartments[f"{side} lung"].sum() for side in ("left", "right")]
    assert lungs[0] < lungs[1]
    assert anatomy.geometry.letters == (("S", "I"), ("R", "L"))
    assert anatomy.geometry.frame == "patient"


def test_the_right_dome_of_the_diaphragm_is_the_higher(anatomy: Anatomy) -> None:
    top = {}
    for side in ("left", "right"):
        columns = np.flatnonzero(anatomy.compartments[f"{side} lung"].any(axis=0))
        inner = columns[len(columns) // 3 : 2 * len(columns) // 3]
        top[side] = np.argmax(anatomy.compartments["diaphragm"][:, inner], axis=0).min()
    assert top["right"] <= top["left"]


def test_compartments_lie_apart_or_within_each_other_as_anatomy_has_them(anatomy: Anatomy) -> None:
    found = anatomy.compartments
    assert set(found) == NAMES
    for name, mask in found.items():
        assert mask.any(), name
        assert not (mask & ~found["body"]).any(), name
    assert not (found["left lung"] & found["right lung"]).any()
    assert ((found["left lung"] | found["right lung"]) == found["lungs"]).all()
    assert not (found["heart"] & ~found["mediastinum"]).any()
    for other in ("mediastinum", "diaphragm", "soft tissue", "spine"):
        shared = (found["lungs"] & found[other]).sum() / found[other].sum()
        assert shared < (0.05 if other == "spine" else 1e-9), other
    for bone in ("spine", "ribs", "clavicles"):
        assert not (found["soft tissue"] & found[bone]).any()
    assert 0.25 < (found["ribs"] & found["lungs"]).sum() / found["lungs"].sum() < 0.75


def test_organs_are_as_large_as_organs_are(anatomy: Anatomy) -> None:
    step = anatomy.geometry.spacing[0]
    lungs, heart = anatomy.compartments["lungs"], anatomy.compartments["heart"]
    height, width = (np.ptp(np.flatnonzero(lungs.any(axis=a))) * step for a in (1, 0))
    assert 180 < height < 300
    assert 230 < width < 320
    assert 0.35 < np.ptp(np.flatnonzero(heart.any(axis=0))) * step / width < 0.62


def test_bone_is_brighter_and_lung_darker_than_what_lies_beside_it(anatomy: Anatomy) -> None:
    values = SCENE.develop(anatomy, anatomy.signal, Acquisition())
    found = anatomy.compartments
    lungs, ribs = found["lungs"], found["ribs"] & found["lungs"]
    assert values[~found["body"]].mean() < values[lungs].mean() < values[found["heart"]].mean()
    assert values[ribs].mean() > values[lungs & ~ribs].mean() + 100


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [64, 256])
def test_every_size_shows_the_same_patient(seed: int, size: int) -> None:
    one, other = SCENE.draw(seed), ChestRadiograph(size).draw(seed)
    large, small = (one, other) if size < 128 else (other, one)
    n = small.geometry.shape[0]
    signal = large.signal.reshape(n, 2, n, 2).mean((1, 3))
    assert np.corrcoef(signal.ravel(), small.signal.ravel())[0, 1] > 0.9995
    for name in ("lungs", "heart", "body"):
        share = large.compartments[name].reshape(n, 2, n, 2).mean((1, 3)) > 0.5
        both = (share & small.compartments[name]).sum()
        assert 2 * both / (share.sum() + small.compartments[name].sum()) > 0.97, name
    assert large.geometry.extent == pytest.approx(small.geometry.extent) == (FIELD_MM, FIELD_MM)
    assert large.geometry.centre == pytest.approx(small.geometry.centre, abs=1e-9)


def test_a_factor_on_the_light_is_a_shift_of_the_density_and_nothing_adjusts_it() -> None:
    anatomy = SCENE.draw(0)
    once, twice = (SCENE.develop(anatomy, anatomy.signal, Acquisition(exposure=e, noise=0)) for e in (1.0, 2.0))
    density = [np.log(v / (SCENE.high - v)) for v in (once, twice)]
    shift = (density[0] - density[1])[middle_of(once)]
    assert (twice <= once).all()
    assert np.ptp(shift) < 0.02
    assert shift.mean() == pytest.approx(np.log(2) / 0.78, rel=0.01)


def test_noise_falls_with_the_root_of_the_exposure_and_follows_its_factor() -> None:
    anatomy = SCENE.draw(0)
    lungs = anatomy.compartments["lungs"]

    def grain(exposure: float, noise: float) -> float:
        pictures = [SCENE.develop(anatomy, anatomy.signal, Acquisition(exposure, n)) for n in (0.0, noise)]
        return float(np.subtract(*(np.log(v / (SCENE.high - v)) for v in pictures))[lungs].std())

    assert grain(4.0, 1.0) == pytest.approx(grain(1.0, 1.0) / 2, rel=0.02)
    assert grain(1.0, 3.0) == pytest.approx(3 * grain(1.0, 1.0), rel=0.02)


def test_blur_is_in_millimetres_and_leaves_the_noise_alone() -> None:
    sharpness = {}
    for size in (128, 256):
        scene = ChestRadiograph(size)
        anatomy = scene.draw(2)
        sharp, soft = (scene.develop(anatomy, anatomy.signal, Acquisition(noise=0, blur_mm=b)) for b in (0.0, 8.0))
        sharpness[size] = np.abs(np.diff(soft)).sum() / np.abs(np.diff(sharp)).sum()
    assert sharpness[128] < 0.9
    assert sharpness[128] == pytest.approx(sharpness[256], rel=0.05)
    anatomy = SCENE.draw(2)
    quiet, noisy = (SCENE.develop(anatomy, anatomy.signal, Acquisition(noise=n, blur_mm=8.0)) for n in (0.0, 1.0))
    grain = (noisy - quiet)[40:80, 40:80]
    assert abs(np.corrcoef(grain[:, 1:].ravel(), grain[:, :-1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("pixel", [2.0, 4.0])
def test_larger_elements_hold_the_mean_light_of_those_they_replace(pixel: float) -> None:
    anatomy = SCENE.draw(1)
    fine, coarse = (SCENE.develop(anatomy, anatomy.signal, Acquisition(pixel=p)) for p in (1.0, pixel))
    n = int(pixel)
    blocks = coarse.reshape(128 // n, n, 128 // n, n)
    assert (blocks == blocks[:, :1, :, :1]).all()
    # Undo the characteristic curve: value = high / (1 + (light / middle) ** (1 / steep)).
    light = [(SCENE.high / v.astype(np.float64) - 1) ** 0.78 for v in (fine, coarse)]
    mean = light[0].reshape(128 // n, n, 128 // n, n).mean((1, 3))
    assert light[1][::n, ::n] == pytest.approx(mean, rel=2e-3)


def test_elements_need_not_be_a_whole_number_of_pixels() -> None:
    anatomy = SCENE.draw(1)
    coarse = SCENE.develop(anatomy, anatomy.signal, Acquisition(pixel=2.5))
    assert len(np.unique(coarse[60])) <= np.ceil(128 / 2.5)
    assert coarse.shape == (128, 128)


def test_a_picture_too_small_for_a_chest_is_refused() -> None:
    with pytest.raises(InputError, match="16 pixels"):
        ChestRadiograph(16)
