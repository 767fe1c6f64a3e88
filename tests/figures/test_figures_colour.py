"""Colours must be honest: even, told apart by everybody, and absent where there is nothing."""

import numpy as np
import pytest

from saliscope.figures.palette import MAX_ALPHA, THRESHOLD, alpha, colours, table
from saliscope.figures.scale import scale_of

#: Machado, Oliveira, Fernandes (2009), severity 1, on linear RGB.
DEFICIENT = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen_by(rgb, who):
    linear = (rgb / 255.0) ** 2.2
    matrix = np.eye(3) if who == "all" else np.array(DEFICIENT[who])
    return np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)


def lightness(rgb):
    from skimage.color import rgb2lab

    return rgb2lab(rgb[None])[0, :, 0]


@pytest.mark.parametrize("who", ["all", *DEFICIENT])
def test_sequential_colours_get_lighter_all_the_way(who):
    light = lightness(seen_by(table("sequential")[255:].astype(float), who))
    assert (np.diff(light[::8]) > 0).all()
    assert light[-1] - light[0] > 40


@pytest.mark.parametrize("who", ["all", *DEFICIENT])
def test_the_two_signs_are_told_apart_and_each_gets_lighter(who):
    from skimage.color import deltaE_ciede2000, rgb2lab

    rgb = seen_by(table("diverging").astype(float), who)
    for arm in (rgb[255:][::16], rgb[:256][::-1][::16]):
        assert (np.diff(lightness(arm)[1:]) > 0).all()
    strong = np.arange(100, 256)
    lab = rgb2lab(rgb[None])[0]
    assert deltaE_ciede2000(lab[255 + strong], lab[255 - strong]).min() > 10


def test_both_signs_are_about_equally_light():
    light = lightness(table("diverging").astype(float) / 255)
    assert abs(light[0] - light[-1]) < 6
    np.testing.assert_allclose(light[:200:10], light[::-1][:200:10], atol=12)


def test_nothing_is_drawn_below_the_threshold_and_never_more_than_half():
    t = np.linspace(-1, 1, 201)
    for palette in ("sequential", "diverging"):
        a = alpha(t, palette)
        assert a.max() == pytest.approx(MAX_ALPHA)
        assert not a[np.abs(t) <= THRESHOLD].any()
    assert not alpha(t, "sequential")[t < 0].any()
    np.testing.assert_allclose(alpha(t, "diverging"), alpha(-t, "diverging"))


def test_colours_clip_beyond_the_limits():
    assert (colours([1.0, 7.0], "sequential")[0] == colours([1.0, 7.0], "sequential")[1]).all()


def test_a_signed_map_has_equal_limits_on_both_sides():
    scale = scale_of(np.array([[-3.0, 0.5], [0, 1]], np.float32))
    assert scale.palette == "diverging"
    low, high = scale.ends
    assert low == -high
    assert scale.normalised(np.array([0.0], np.float32)) == 0


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (np.zeros((5, 5)), "zero"),
        (np.full((5, 5), 0.3), "constant"),
        (0.3 + 1e-6 * np.random.default_rng(0).normal(size=(5, 5)), "constant"),
        (np.full((5, 5), -2.0), "constant"),
        (np.array([[1.0, np.nan]]), "not finite"),
        (np.array([[1.0, np.inf]]), "not finite"),
        (np.array([[-1.0, -2.0]]), "no positive evidence"),
        (np.array([[-1.0, 0.0]]), "no positive evidence"),
        (np.array([[0.0, 1e-20]]), "shown"),
    ],
)  # fmt: skip
def test_what_a_map_has_to_show(values, state):
    scale = scale_of(values.astype(np.float32))
    assert scale.state == state
    if state in ("zero", "constant", "not finite"):
        assert not scale.drawn
        assert not scale.normalised(values.astype(np.float32)).any()


def test_one_outlier_does_not_hide_the_rest():
    values = np.random.default_rng(0).random((100, 100)).astype(np.float32)
    values[0, 0] = 1e6
    assert 0.9 < scale_of(values).limit < 1.1


def test_zeros_do_not_count_in_the_percentile():
    values = np.zeros((100, 100), np.float32)
    values[50, 50] = 4
    assert scale_of(values).limit == 4


def test_a_fixed_scale_says_so():
    scale = scale_of(np.array([[0.0, 1.0]], np.float32), fixed=2.5)
    assert scale.ends == (0, 2.5)
    assert "fixed" in scale.mode
    assert "per-image" in scale_of(np.array([[0.0, 1.0]], np.float32)).mode
