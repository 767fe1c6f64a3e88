"""Planted shortcuts: what changes, what does not, what the control is, and what an audit says of known networks."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from saliscope.core.errors import MetricError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.score import Undefined
from saliscope.core.target import LogitTarget
from saliscope.model.load import load
from saliscope.model.network import Network
from saliscope.phantom.catalogue import phantom_set
from saliscope.phantom.shortcuts.acquired import Noise
from saliscope.trust.insertions.audit import compared, insertion_audit, strongest
from saliscope.trust.insertions.insertion import INSERTIONS, Insertion, smoothed, suited
from saliscope.trust.insertions.picture import PictureScene, scale_of

BY_NAME = {i.name: i for i in INSERTIONS}
PRESENT = LogitTarget((1,), ("present",), "binary")


@cache
def phantoms(scene: str = "chest", count: int = 6) -> tuple[MedicalImage, ...]:
    return tuple(c.render() for c in phantom_set(scene, count=count, seed=9, size=128))


@pytest.mark.parametrize(("shape", "sigma"), [((40, 61), 3.0), ((40, 61), 50.0), ((9, 12, 7), 2.5)])
def test_the_haze_of_a_control_is_that_of_sums(shape: tuple[int, ...], sigma: float) -> None:
    values = np.random.default_rng(0).standard_normal(shape)
    assert np.allclose(smoothed(values, sigma), ndimage.gaussian_filter(values, sigma), rtol=0, atol=1e-12)


def stored(image: MedicalImage, slope: float, start: float) -> MedicalImage:
    """Return a picture whose stored values are a line of what is shown."""
    values = image.display.astype(np.float32) * np.float32(slope) + np.float32(start)
    return replace(image, values=values)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_insertion_changes_a_picture_and_its_control_alike(name: str) -> None:
    image = phantoms()[0]
    found = BY_NAME[name].into(image, seed=1)
    change = found.image.values - image.values
    assert np.abs(change).max() > 0
    assert found.image.geometry == image.geometry
    assert (found.image.values == np.rint(found.image.values)).all(), "whole numbers stay so"
    if found.mask is None:
        return
    assert not change[0][~found.mask].any(), "nothing beside it changes"
    control = found.control.values - image.values
    if "black" not in name and name != "shutters":
        assert np.sign(change.sum()) == np.sign(control.sum())
    assert np.abs(control).max() < np.abs(change).max(), "a haze is fainter"


def test_the_same_seed_gives_the_same_and_another_another_place() -> None:
    image = phantoms()[0]
    one, again, other = (BY_NAME["letter, top-left"].into(image, seed).image.values for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize(
    ("slope", "start"), [(1.0, 0.0), (16.0, 5.0), (-4.0, 1020.0)], ids=["grey", "12 bit", "inverse"]
)
def test_ink_is_white_as_shown_whatever_the_stored_values_mean(slope: float, start: float) -> None:
    image = stored(phantoms()[0], slope, start)
    dark, bright = scale_of(image)
    assert dark == pytest.approx(start, abs=1e-3)
    assert bright == pytest.approx(255 * slope + start, abs=1e-2)
    found = BY_NAME["text, top-left"].into(image, seed=0)
    assert found.mask is not None
    changed = found.image.display[0][found.mask]
    assert np.percentile(changed, 90) > 200
    shown = (found.image.values - start) / slope
    assert np.abs(shown - found.image.display).max() <= 1.0, "stored and shown values change together"


def test_colour_and_unknown_spacing_are_taken_too() -> None:
    display = np.full((3, 90, 120), 90, np.uint8)
    display[0, 20:40] = 140
    image = MedicalImage(
        display.astype(np.float32), display, Geometry.of_picture((90, 120)), "US", "", "0" * 64, "drawn"
    )
    for insertion in suited(image):
        found = insertion.into(image, seed=3)
        assert found.image.values.shape == (3, 90, 120)
    assert {"pacemaker", "electrode"} & {i.name for i in suited(image)} == set()


def test_a_volume_is_refused() -> None:
    image = phantom_set("body-ct", count=1, seed=1, size=24)[0].render()
    with pytest.raises(MetricError, match="volume"):
        BY_NAME["calipers"].into(image, seed=0)
    assert suited(image) == ()
    scene = PictureScene.of(phantoms()[0])
    with pytest.raises(MetricError, match="no place"):
        scene.planted(Noise(), 0)


class Corner(nn.Module):
    """The brightest element of the upper left corner of a picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, : x.shape[2] // 8, : x.shape[3] // 4].amax(dim=(1, 2, 3))[:, None]


def test_the_audit_is_exact_on_a_network_that_looks_into_one_corner() -> None:
    images = phantoms()
    network = Network(Corner(), ("mean",), "regression")
    target = LogitTarget((0,), ("mean",), "regression")
    chosen = [BY_NAME[n] for n in ("text, top-left", "text, bottom-right")]
    here, there = insertion_audit(images, network, target, chosen, seed=4)
    inserted = [chosen[0].into(image, 4 + i).image.values for i, image in enumerate(images)]
    expected = [v[0, :16, :32].max() - i.values[0, :16, :32].max() for v, i in zip(inserted, images, strict=True)]
    assert here.effect == pytest.approx(np.mean(expected), rel=1e-4)
    assert here.p == pytest.approx(here.score.parts["p"])
    assert isinstance(here.p, float)
    assert here.p < 0.08, "of six pictures with one sign, two in 64 draws are as large"
    assert here.score.interval is not None
    assert here.score.interval.low > 0
    assert there.effect == there.control == 0
    assert there.p == 1.0
    assert strongest([here, there], "upper corner") == pytest.approx(abs(here.effect) / here.spread)
    assert strongest([here, there], "lower corner") == 0.0
    assert isinstance(strongest([here, there], "whole"), Undefined)


def test_patients_are_flipped_and_drawn_as_a_whole() -> None:
    insertion = BY_NAME["calipers"]
    plain, after = np.zeros(20), np.ones(20)
    alone = compared(insertion, plain + np.arange(20), after + np.arange(20), plain + np.arange(20))
    pairs = compared(
        insertion,
        plain + np.arange(20),
        after + np.arange(20),
        plain + np.arange(20),
        groups=[i // 10 for i in range(20)],
    )
    assert isinstance(alone.p, float)
    assert isinstance(pairs.p, float)
    assert alone.p < 0.01 < 0.3 < pairs.p
    one = compared(insertion, plain, after, plain, groups=[0] * 20)
    assert isinstance(one.p, Undefined)
    assert isinstance(one.relative, Undefined)
    assert one.score.interval is None


def test_decisions_that_change_are_counted() -> None:
    plain, after = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([1.0, -0.5, 2.0, 0.5])
    assert compared(BY_NAME["calipers"], plain, after, plain).crossed == 0.25
    assert compared(BY_NAME["calipers"], plain, after, plain, threshold=1.5).crossed == 0.25


def test_an_audit_needs_a_cohort_and_one_score() -> None:
    network = Network(Corner(), ("mean",), "regression")
    target = LogitTarget((0,), ("mean",), "regression")
    with pytest.raises(MetricError, match="two or more"):
        insertion_audit(phantoms()[:1], network, target)


def test_a_network_that_reads_text_stands_out_from_one_that_does_not() -> None:
    images = phantoms(count=10)
    chosen = [i for i in INSERTIONS if i.family == "upper corner"]

    def said(name: str) -> float:
        found = strongest(insertion_audit(images, load(name), PRESENT, chosen), "upper corner")
        assert isinstance(found, float)
        return found

    assert said("phantom-chest-plain-clean-0") < 0.5
    assert said("phantom-chest-plain-text-100-0") > 5
    # It was never shown text, and minds it nevertheless: so say the renderings too (share 0.5).
    assert said("phantom-chest-plain-text-0-0") > 1


def test_insertions_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(INSERTIONS)
    assert all(isinstance(i, Insertion) and (i.element is None) != (i.whole is None) for i in INSERTIONS)
