"""Every plane must be there, in order and true to the source, and a hidden map must leave no trace."""

from dataclasses import replace

import numpy as np
import pytest
from made import AXIAL, a_volume, an_explanation, an_image, bump

from saliscope.core.errors import CannotSay
from saliscope.core.geometry import Geometry
from saliscope.figures import capture as module
from saliscope.figures import interpret, overlay
from saliscope.figures.capture import bare, capture

CARD = {
    "state": "doubtful", "state_name": "DOUBTFUL", "map_hidden": False, "headline": "A check speaks against it.",
    "reasons": ["Two methods point elsewhere."],
}  # fmt: skip
HIDING = {**CARD, "state": "do-not-read", "state_name": "DO NOT READ", "map_hidden": True}
AMBER = (255, 196, 84)


@pytest.fixture(scope="module")
def picture():
    return an_image(Geometry.of_picture((600, 800), (0.5, 0.5)))


@pytest.fixture(scope="module")
def volume():
    return an_image(a_volume((12, 512, 512)))


def read(image, at=(3, 3), shape=(6, 8)):
    values = bump(shape, at, 0.8)
    return interpret(an_explanation(image, np.where(values < 0.1, 0, values)), image)


def read_volume(image, at=(3, 5, 6)):
    return read(image, at, (6, 20, 24))


def amber(frame):
    return (np.asarray(frame) == AMBER).all(-1).sum()


def test_a_picture_is_that_of_the_overlay_and_without_a_card_says_so(picture):
    reading = read(picture)
    frames = capture(picture, reading)
    assert frames.dtype == np.uint8
    plain = np.asarray(overlay(picture, reading))
    legend = np.abs(frames[0][: len(plain)].astype(int) - plain).sum((0, 2)) > 0
    assert np.flatnonzero(legend).min() > plain.shape[1] / 2, "only the legend differs"
    assert amber(frames[0][:, np.flatnonzero(legend).min() :]) > amber(plain[:, np.flatnonzero(legend).min() :])


def test_the_state_of_the_card_stands_above_the_legend_and_the_picture_stays(picture):
    reading = read(picture)
    plain, carded = capture(picture, reading)[0], capture(picture, reading, CARD)[0]
    assert np.array_equal(carded[:600, :800], plain[:600, :800])
    assert amber(carded[:60, 800:]) > 50
    assert not np.array_equal(carded[:60, 800:], plain[:60, 800:])


def test_a_volume_has_a_frame_for_each_plane_with_the_source_pixels_in_their_order(volume):
    frames = capture(volume, read_volume(volume), CARD)
    assert len(frames) == 12
    room = 21  # the title
    for plane, frame in enumerate(frames):
        # Away from heat, letters and bar the pixels are the source's own.
        shown = frame[room + 300 : room + 480, 300:480]
        assert (shown == volume.display[0, plane, 300:480, 300:480][..., None]).all()


def test_heat_and_outlines_are_on_their_own_plane(volume):
    reading = read_volume(volume)
    frames = capture(volume, reading)
    held = [labels.any() for labels in reading.focus.labels]
    assert 0 < sum(held) < 12
    for frame, some in zip(frames, held, strict=True):
        colour = np.ptp(frame[40:480, 40:480].astype(int), axis=-1) > 20
        white = (frame[40:480, 40:480] == 255).all(-1)
        assert not some or colour.sum() > 50
        assert some == (white.sum() > 50)


def test_the_legend_is_the_same_on_all_frames_and_the_slice_number_is_not(volume):
    frames = capture(volume, read_volume(volume), CARD)
    assert (frames[:, :, 512:] == frames[0, :, 512:]).all()
    assert len({frame[:20, :200].tobytes() for frame in frames}) == 12


def test_an_anisotropic_plane_is_drawn_on_square_pixels():
    affine = AXIAL.copy()
    affine[:3, 1] *= 2
    image = an_image(Geometry.of_affine((4, 100, 100), affine))
    reading = read(image, (1, 5, 5), (2, 10, 10))
    frames = capture(image, reading)
    height, width = 2 * 100 * 2, 100 * 2
    shown = frames[0, 21 : 21 + height]
    assert shown.any(axis=(1, 2)).all()
    assert (frames[0, 21 + height + 2 :, :width] == 0).all()


def test_a_plane_hangs_as_the_source_slice_does(volume):
    geometry = volume.geometry
    assert module._letters(geometry) == ("A", "L", "P", "R")
    turned = geometry.flipped(1).flipped(2)
    assert module._letters(turned) == ("P", "R", "A", "L")
    assert module._letters(replace(geometry, frame="image")) is None
    assert module._title(geometry, 4) == "Slice 5 of 12, z -8 mm"
    assert module._title(replace(geometry, unit="px", frame="image"), 4) == "Slice 5 of 12"


@pytest.mark.parametrize("flat", [True, False])
def test_a_hidden_map_leaves_no_trace(picture, volume, flat):
    image = picture if flat else volume
    places = ((1, 1), (4, 6)) if flat else ((1, 5, 6), (4, 15, 18))
    one, two = (read(image, at) if flat else read_volume(image, at) for at in places)
    frames = capture(image, one, HIDING)
    assert np.array_equal(frames, capture(image, two, HIDING))
    assert np.array_equal(np.asarray(bare(image, one)), np.asarray(bare(image, two)))
    assert len(frames) == 1
    assert amber(frames[0][:, : 800 if flat else 512]) > 200  # DO NOT READ
    assert amber(frames[0][:60, 800 if flat else 512 :]) > 50
    # And it can fail: the same two maps differ where they are shown.
    assert not np.array_equal(capture(image, one, CARD), capture(image, two, CARD))


def test_frames_that_would_need_too_much_are_shrunk_and_say_so(volume, monkeypatch):
    reading = read_volume(volume)
    whole = capture(volume, reading)
    limit = whole.nbytes * 2 // 3
    monkeypatch.setattr(module, "MOST_BYTES", limit)
    hung = module._hung(volume, reading)
    assert hung.factor < 1
    assert "shrunk" in hung.pane(0).note
    less = capture(volume, reading)
    assert len(less) == 12
    assert less.nbytes < 1.25 * limit  # what is shrunk are the planes, beside a legend that can be read
    monkeypatch.setattr(module, "MOST_BYTES", limit // 8)
    with pytest.raises(CannotSay, match="12 planes"):
        capture(volume, reading)


@pytest.mark.parametrize("values", [np.zeros((6, 8)), np.full((6, 8), np.nan)])
def test_an_empty_map_is_captured_too(picture, values):
    reading = interpret(an_explanation(picture, values), picture)
    plain = np.asarray(overlay(picture, reading))
    left = plain.shape[1] // 2
    assert np.array_equal(capture(picture, reading)[0][: len(plain), :left], plain[:, :left])


def test_a_volume_without_heat_says_so_on_every_frame():
    image = an_image(a_volume((3, 40, 48)))
    frames = capture(image, interpret(an_explanation(image, np.zeros((3, 4, 4))), image))
    assert all(amber(frame[:, :480]) > 100 for frame in frames)
