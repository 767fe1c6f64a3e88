"""Regions found by simple means: right where the truth is drawn, in place by millimetres, absent with a reason."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from saliscope.core.errors import GeometryError, MetricError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.steps import Crop, Resize
from saliscope.model.view import View, Viewing
from saliscope.phantom.case import Case
from saliscope.phantom.catalogue import phantom_set
from saliscope.trust.regions.find import FINDERS, drawn, find
from saliscope.trust.regions.lungs import lungs
from saliscope.trust.regions.marks import letters, marks, text
from saliscope.trust.regions.of_map import top_share
from saliscope.trust.regions.onto import onto
from saliscope.trust.regions.outline import beam_field, border, outside_body, shutters


@cache
def case(scene: str, shortcut: str, size: int, seed: int = 3) -> Case:
    return phantom_set(scene, shortcut=shortcut, contamination=1, background=1, count=1, seed=seed, size=size)[0]


def picture(grey: np.ndarray, modality: str = "DX") -> MedicalImage:
    shown = grey[None].astype(np.uint8)
    return MedicalImage(
        shown.astype(np.float32), shown, Geometry.of_picture(grey.shape), modality, "", "0" * 64, "drawn"
    )


def plain_view(image: MedicalImage) -> View:
    return Viewing()(image)


@pytest.mark.parametrize(
    ("shortcut", "size"), [("text", 128), ("text", 256), ("text", 512), ("marker", 256), ("marker", 512)]
)
def test_text_and_letters_on_a_radiograph_are_found_and_nothing_else_is(shortcut: str, size: int) -> None:
    one = case("chest", shortcut, size)
    found, how = {"text": text, "marker": letters}[shortcut](one.render())
    assert found is not None, how
    truth = one.regions[shortcut].mask
    assert (found & truth).sum() >= 0.8 * truth.sum()
    inks = np.logical_or.reduce([r.mask for r in one.regions.values()])
    assert (found & ~inks).sum() <= 2.5 * (found & inks).sum(), "a rim, no more"
    assert "not read" in how


def test_a_radiograph_without_marks_has_none_and_says_why() -> None:
    for seed in range(4):
        one = phantom_set("chest", count=1, seed=seed, size=256, distractors=False)[0]
        for finder in (text, letters):
            found, how = finder(one.render())
            assert found is None
            assert how.startswith("no")


def test_what_is_written_is_nowhere_in_what_is_said() -> None:
    image = case("chest", "text", 256).render()
    found = find(image, plain_view(image))
    words = " ".join([*found.how.values(), *found.absent.values(), *(r.source for r in found.regions.values())])
    assert "PORTABLE" not in words
    assert not re.search(r"PORT|TABLE", words)


def test_text_in_a_sonogram_of_real_tissue_is_found(data: object) -> None:
    from pathlib import Path

    from saliscope.read import read

    folder = Path(str(data)) / "breast-ultrasound-busi" / "benign" / "images"
    found, how = text(replace(read(folder / "benign-001.jpg"), modality="US"))  # LEFT BREAST, lower middle
    assert found is not None, how
    rows, columns = np.nonzero(found)
    high, wide = found.shape
    assert 0.75 * high < rows.mean() < 0.95 * high
    assert 0.4 * wide < columns.mean() < 0.7 * wide
    assert found.mean() < 0.03


@pytest.mark.parametrize("size", [128, 256])
def test_lungs_of_drawn_chests_overlap_with_the_truth(size: int) -> None:
    for seed in range(4):
        one = phantom_set("chest", count=1, seed=seed, size=size)[0]
        found, how = lungs(one.render())
        assert found is not None, how
        truth = one.compartments["lungs"].mask
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.75


@pytest.mark.parametrize(
    ("grey", "modality", "why"),
    [
        (np.full((64, 64), 128), "DX", "no two dark"),
        (np.full((64, 64), 128), "US", "radiographs only"),
        (np.full((64, 200), 128), "CR", "proportions"),
    ],
    ids=["flat", "sonogram", "long"],
)
def test_no_lungs_where_there_are_none(grey: np.ndarray, modality: str, why: str) -> None:
    found, how = lungs(picture(grey, modality))
    assert found is None
    assert why in how


def test_one_lung_alone_is_not_called_both() -> None:
    rows, columns = np.mgrid[:128, :128]
    grey = np.full((128, 128), 200.0)
    grey[((rows - 56) / 35) ** 2 + ((columns - 40) / 17) ** 2 < 1] = 60
    assert lungs(picture(grey))[0] is None
    grey[((rows - 56) / 35) ** 2 + ((columns - 88) / 17) ** 2 < 1] = 60
    assert lungs(picture(grey))[0] is not None


def test_a_lung_that_is_dense_below_is_inside_by_the_mirror_image_of_the_other() -> None:
    rows, columns = np.mgrid[:128, :128]
    grey = np.full((128, 128), 200.0)
    for middle in (40, 87):
        grey[((rows - 56) / 35) ** 2 + ((columns - middle) / 17) ** 2 < 1] = 60
    grey[65:, 64:] = 200
    found, how = lungs(picture(grey))
    assert found is not None, how
    assert found[70:80, 82:92].all()
    assert "mirror image" in how


def test_shutters_are_found_where_they_are_drawn() -> None:
    one = case("chest", "collimation", 256)
    found, how = shutters(one.render())
    assert found is not None, how
    assert "4 edges" in how
    truth = one.regions["collimation"].mask
    assert (found & truth).sum() > 0.6 * truth.sum()
    assert (found & ~truth).sum() == 0
    assert shutters(picture(np.full((64, 64), 128)))[0] is None


def test_the_field_of_a_beam_is_what_is_not_black() -> None:
    grey = np.zeros((100, 120))
    grey[10:80, 20:100] = np.random.default_rng(0).integers(60, 200, (70, 80))
    found, _ = beam_field(picture(grey, "US"))
    assert found is not None
    assert found[15:75, 25:95].all()
    assert not found[90:].any()
    assert beam_field(picture(grey))[0] is None


def test_the_border_is_a_twentieth_of_each_side_and_no_plane() -> None:
    flat = border((100, 200))
    assert flat[:5].all()
    assert flat[:, -10:].all()
    assert not flat[5:-5, 10:-10].any()
    deep = border((4, 100, 200))
    assert (deep == flat).all(), "the first and the last plane have an inside too"


def test_a_region_keeps_its_place_in_a_crop_and_a_coarser_view() -> None:
    image = picture(np.full((80, 120), 100))
    mask = np.zeros((80, 120), np.bool_)
    mask[40:48, 60:68] = True
    view = Viewing((Crop((80, 80)), Resize((40, 40))))(image)
    placed = onto(mask, image.geometry, view.geometry)
    where = np.argwhere(placed)
    # Columns lose the 20 that the crop cut away; both are halved.
    assert where.min(0).tolist() == [20, 20]
    assert where.max(0).tolist() == [23, 23]


def test_a_thin_mark_is_not_lost_between_the_elements_of_a_view() -> None:
    image = picture(np.full((90, 90), 100))
    mask = np.zeros((90, 90), np.bool_)
    mask[:, 30] = True
    view = Viewing((Resize((30, 30)),))(image)
    assert not onto(mask, image.geometry, view.geometry).any()
    whole = onto(mask, image.geometry, view.geometry, whole=True)
    assert whole[:, 10].all()
    assert whole.sum() == 30


def test_a_volume_is_brought_to_its_view_too() -> None:
    geometry = Geometry.of_affine((4, 8, 8), np.diag([2.0, 1.0, 1.0, 1.0])[:3])
    mask = np.zeros((4, 8, 8), np.bool_)
    mask[1, 2:4, 4:6] = True
    placed = onto(mask, geometry, geometry.on_grid((8, 8, 8)))
    assert placed[2:4, 2:4, 4:6].all()
    assert placed.sum() == 8
    with pytest.raises(GeometryError):
        onto(mask, geometry, Geometry.of_picture((8, 8)))


def test_finding_gives_each_region_or_why_not() -> None:
    image = case("chest", "text", 256).render()
    view = Viewing((Resize((128, 128)),))(image)
    found = find(image, view)
    assert set(found.regions) | set(found.absent) == {*FINDERS, "border"}
    assert not set(found.regions) & set(found.absent)
    assert set(found.regions) == set(found.how)
    assert {"burnt-in text", "lungs", "body", "outside the body", "border"} <= set(found.regions)
    for region in found.regions.values():
        assert region.mask.shape == (128, 128)
        assert 0 < region.share < 1
        assert region.source.startswith("found: ")
    assert "ultrasound pictures only" in found.absent["ultrasound field"]
    outside, body = found.regions["outside the body"].mask, found.regions["body"].mask
    assert not (outside & body).any()


def test_in_a_volume_what_needs_a_picture_is_absent() -> None:
    one = phantom_set("body-ct", count=1, seed=1, size=32)[0]
    image = one.render()
    found = find(image, plain_view(image))
    assert "body" in found.regions
    assert "not in volumes" in found.absent["burnt-in text"]
    truth = one.compartments["body"].mask
    mask = found.regions["body"].mask
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8


def test_what_the_user_draws_is_placed_or_refused() -> None:
    image = picture(np.full((80, 120), 100))
    view = Viewing((Crop((80, 80)),))(image)
    mask = np.zeros((80, 120), np.bool_)
    mask[10:20, 50:60] = True
    region = drawn(mask, image.geometry, view, "mine")
    assert region.mask[10:20, 30:40].all()
    assert region.source == "drawn by the user"
    with pytest.raises(MetricError, match="mine"):
        drawn(np.roll(mask, -50, axis=1), image.geometry, view, "mine")


def test_the_largest_tenth_of_a_map_is_exact_by_rank() -> None:
    values = torch.rand(20, 30, generator=torch.Generator().manual_seed(0)).numpy()
    region, how = top_share(values, Geometry.of_picture((20, 30)))
    assert region is not None
    assert region.mask.sum() == 60
    assert values[region.mask].min() > values[~region.mask].max()
    assert "10.0%" in how


def test_a_map_of_zeros_is_not_filled_up_by_chance() -> None:
    values = np.zeros((20, 30))
    grid = Geometry.of_picture((20, 30))
    assert top_share(values, grid) == (None, "the map is zero everywhere")
    assert top_share(-np.arange(600.0).reshape(20, 30), grid) == (None, "nothing in the map is positive")
    values[3:5, 3:8] = 1.0
    region, how = top_share(values, grid)
    assert region is not None
    assert region.mask.sum() == 10
    assert "only 10 of 60" in how
    values[:, 10:] = 2.0
    region, how = top_share(values, grid, seed=1)
    other, _ = top_share(values, grid, seed=2)
    assert region is not None
    assert other is not None
    assert region.mask.sum() == other.mask.sum() == 60
    assert (region.mask != other.mask).any(), "ties are drawn"
    assert "340 elements that tie" in how


def test_outside_the_body_of_a_sonogram_is_not_guessed() -> None:
    found, how = outside_body(picture(np.zeros((64, 64)), "US"))
    assert found is None
    assert "not determined" in how


def test_marks_do_not_depend_on_the_modality() -> None:
    grey = case("chest", "text", 256).render().display[0].astype(np.float32)
    assert len(marks(grey).lines) == 1
