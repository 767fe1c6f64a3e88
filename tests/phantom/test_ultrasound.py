"""The sonogram: the same bit for bit and at every size, its speckle, its tissues, and what a mass changes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import center_of_mass, distance_transform_edt, gaussian_filter, label, zoom

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.findings.ultrasound_mass import MARGINS, Cyst, UltrasoundMass, behind
from saliscope.phantom.scene import Acquisition
from saliscope.phantom.scenes.ultrasound import SIDE_MM, BreastUltrasound, envelope
from saliscope.phantom.scenes.ultrasound_waves import Waves

TISSUES = ("skin", "fat", "glandular", "muscle", "chest_wall")


def plain(size=128, seed=0, *elements):
    return Case(BreastUltrasound(size), seed, elements)


def developed(case, **how):
    return case.scene.develop(case.anatomy, case.anatomy.signal, Acquisition(**how))


def test_one_seed_gives_one_picture_bit_for_bit():
    one, again = (plain(128, 5, UltrasoundMass()).render() for _ in range(2))
    assert_array_equal(one.values, again.values)
    assert one.digest == again.digest
    assert (plain(128, 6).render().values != plain(128, 5).render().values).mean() > 0.5


@pytest.mark.parametrize("seed", [0, 7])
def test_the_breast_is_the_same_at_every_size(seed):
    small, middle, large = (plain(n, seed, UltrasoundMass()) for n in (128, 256, 512))
    for one, other in ((small, middle), (middle, large)):
        for name in TISSUES:
            a, b = one.compartments[name], other.compartments[name]
            assert_allclose(a.extent, b.extent, rtol=0.04, atol=6)
        a, b = (c.regions["mass"] for c in (one, other))
        assert_allclose(a.extent, b.extent, rtol=0.08)
        middles = [np.array(center_of_mass(r.mask)) * r.geometry.spacing + r.geometry.spacing[0] / 2 for r in (a, b)]
        assert np.abs(middles[0] - middles[1]).max() < 0.6
    halved = [
        c.render().values[0].reshape(128, c.scene.size // 128, 128, -1).mean((1, 3)) for c in (small, middle, large)
    ]
    inside = small.anatomy.compartments["body"]
    for a, b in ((halved[0], halved[1]), (halved[1], halved[2])):
        assert np.corrcoef(a[inside], b[inside])[0, 1] > 0.97
        assert abs(a[inside].mean() - b[inside].mean()) < 3


def test_speckle_before_compression_is_rayleigh_at_every_depth():
    """Mean over deviation of the envelope of fully developed speckle is sqrt(pi / (4 - pi)), 1.91 (wagner1983)."""
    z, x = (np.arange(220) + 0.5) * 0.2, (np.arange(240) + 0.5) * 0.2
    seen = np.stack([envelope(np.random.default_rng(s), z, x) for s in range(4)])
    wanted = np.sqrt(np.pi / (4 - np.pi))
    for rows in (slice(0, 60), slice(60, 130), slice(130, 220)):
        part = seen[:, rows]
        assert_allclose(part.mean() / part.std(), wanted, rtol=0.02)
        assert_allclose((part**2).mean(), 2, rtol=0.03)
    assert_allclose(np.median(seen), np.sqrt(2 * np.log(2)), rtol=0.02)


def test_speckle_is_widest_far_from_the_focus_and_never_along_depth():
    z, x = (np.arange(400) + 0.5) * 0.1, (np.arange(400) + 0.5) * 0.1
    seen = np.stack([envelope(np.random.default_rng(s), z, x) for s in range(4)]) ** 2

    def grain(part, axis):
        part = part - part.mean()
        shifted = np.take(part, np.arange(3, part.shape[axis]), axis) * np.take(
            part, np.arange(part.shape[axis] - 3), axis
        )
        return shifted.mean() / part.var()

    focus, deep = seen[:, 140:200], seen[:, 340:400]
    assert grain(deep, 2) > grain(focus, 2) + 0.1
    assert abs(grain(deep, 1) - grain(focus, 1)) < 0.08
    assert grain(focus, 2) > grain(focus, 1) + 0.1


def test_speckle_multiplies_the_echo():
    case = plain(128, 2)
    dim, bright = (case.scene.develop(case.anatomy, np.full((128, 128), s, np.float32), Acquisition()) for s in (-6, 0))
    inside = case.anatomy.compartments["body"] & (dim > 0) & (bright < 255)
    assert_allclose((bright - dim)[inside].mean(), 6 * 255 / case.scene.range_db, rtol=0.03)
    assert_allclose(bright[inside].std(), dim[inside].std(), rtol=0.05)


def test_waves_have_variance_one_and_follow_their_sheet():
    z, x = (np.arange(128) + 0.5) * 0.39, (np.arange(128) + 0.5) * 0.39
    fields = [Waves.drawn(np.random.default_rng(s), 0.6, 1.5) for s in range(12)]
    flat = np.stack([f.along(z, x, np.zeros(128)) for f in fields])
    assert_allclose([flat.real.var(), flat.imag.var()], 1, rtol=0.1)
    lower = fields[0].along(z, x, np.full(128, 0.39 * 4))
    assert_allclose(lower[4:], flat[0][:-4], atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_tissues_lie_one_below_the_other_and_fill_the_sonogram(seed):
    found = {n: r.mask for n, r in plain(128, seed).compartments.items()}
    assert set(found) == {"body", *TISSUES}
    together = sum(found[n].astype(int) for n in TISSUES)
    assert together.max() == 1
    assert (together[found["body"]] == 0).mean() < 0.04
    assert not (together > 0)[~found["body"]].any()
    depth = [center_of_mass(found[n])[0] for n in TISSUES if found[n].any()]
    assert depth == sorted(depth)
    assert found["glandular"].sum() * (SIDE_MM / 128) ** 2 > 47 * 8
    values = plain(128, seed).render().values[0]
    assert values[~found["body"]].max() == 0
    assert 90 < values[found["body"]].mean() < 150


def test_fat_is_darker_than_glandular_tissue_and_muscle_is_darker_still():
    grey = {n: [] for n in TISSUES}
    for seed in range(8):
        case = plain(128, seed)
        values = case.render().values[0]
        for name, region in case.compartments.items():
            if name in grey and region.mask.any():
                grey[name].append(values[region.mask].mean())
    mean = {n: np.mean(v) for n, v in grey.items()}
    assert mean["glandular"] > mean["fat"] + 15
    assert mean["fat"] > mean["muscle"] + 10
    assert mean["muscle"] > mean["chest_wall"]


def test_gain_noise_blur_and_larger_elements_do_what_they_say():
    case = plain(128, 3)
    usual, inside = developed(case), case.anatomy.compartments["body"]
    free = inside & (usual > 1) & (usual < 220)
    assert_allclose(
        (developed(case, exposure=1.5) - usual)[free], 20 * np.log10(1.5) * 255 / case.scene.range_db, atol=0.01
    )
    silent, loud = developed(case, noise=0.0), developed(case, noise=4.0)
    assert (loud >= usual - 1e-3).all()
    assert (usual >= silent - 1e-3).all()
    dark = inside & (silent < 40)
    assert (loud - usual)[dark].mean() > 15
    core = distance_transform_edt(inside) > 12
    raw = case.scene.develop(case.anatomy, case.anatomy.signal, Acquisition())
    blurred = developed(case, blur_mm=0.8)
    assert_allclose(blurred[core], gaussian_filter(raw, 0.8 * 128 / SIDE_MM)[core], atol=0.05)
    coarse = developed(case, pixel=2.0)
    means = usual.reshape(64, 2, 64, 2).mean((1, 3))
    assert_allclose(coarse[core], zoom(means, 2, order=0)[core], atol=1e-3)
    assert_array_equal(developed(case, pixel=1.0), usual)
    for how in ({"exposure": 2.0}, {"noise": 3.0}, {"blur_mm": 1.0}, {"pixel": 3.0}):
        assert developed(case, **how)[~inside].max() == 0


@pytest.mark.parametrize("margin", MARGINS)
def test_a_mass_changes_nothing_but_itself_and_what_lies_behind(margin):
    case = plain(128, 4, UltrasoundMass(margin=margin, posterior=-6.0))
    changed = case.render().values[0] != case.render(on=()).values[0]
    mask, after = case.regions["mass"].mask, behind(case, "mass", 0.01).mask
    rim = distance_transform_edt(~mask, sampling=SIDE_MM / 128) <= 1.5
    assert changed[mask].mean() > 0.95
    assert not (changed & ~rim & ~after).any()
    assert changed[after].any()
    rows, columns = np.nonzero(after)
    assert rows.min() > np.nonzero(mask)[0].min() + 5
    across = np.nonzero(mask.any(0))[0]
    assert columns.min() >= across.min() - 4
    assert columns.max() <= across.max() + 4


def test_without_a_shadow_nothing_lies_behind():
    case = plain(128, 4, UltrasoundMass(posterior=0.0))
    assert behind(case, "mass", 0.01).empty
    with pytest.raises(InputError):
        behind(case, "mas")


@pytest.mark.parametrize("margin", MARGINS)
def test_sizes_are_in_millimetres(margin):
    for seed in range(3):
        mass = UltrasoundMass(margin=margin, width_mm=12.0, tall=0.7, tilt=0.0)
        region = plain(256, seed, mass).regions["mass"]
        rows, columns = np.nonzero(region.mask)
        cut = columns.min() <= 6 or columns.max() >= 249
        if cut:
            continue
        assert_allclose(region.extent, np.pi * 6 * 4.2, rtol=0.03)
        if margin == "smooth":
            assert_allclose(np.ptp(columns) * SIDE_MM / 256, 12, rtol=0.13)
            assert_allclose(np.ptp(rows) * SIDE_MM / 256, 8.4, rtol=0.13)


def test_the_shape_alone_tells_the_margins_apart():
    rough, depth = {}, {}
    for margin in MARGINS:
        cases = [
            plain(128, s, UltrasoundMass(margin=margin, width_mm=12.0, contrast=0.6, posterior=0.0)) for s in range(6)
        ]
        masks = [c.regions["mass"].mask for c in cases]
        edges = [(m & ~(distance_transform_edt(m) > 1)).sum() for m in masks]
        rough[margin] = np.mean([e / np.sqrt(m.sum()) for e, m in zip(edges, masks, strict=True)])
        pairs = [(c.render().values[0] - c.render(on=()).values[0]) for c in cases]
        depth[margin] = np.mean([p[m].mean() for p, m in zip(pairs, masks, strict=True)])
        for mask in masks:
            assert np.bincount(label(mask)[0].ravel())[1:].max() > 0.95 * mask.sum()
    assert rough["spiculated"] > 1.35 * rough["smooth"]
    assert rough["lobulated"] > 1.03 * rough["smooth"]
    assert_allclose(list(depth.values()), depth["smooth"], rtol=0.15)


def test_a_mass_is_darker_by_its_contrast_and_a_cyst_is_black_with_brightness_behind():
    case = plain(128, 1, UltrasoundMass(contrast=0.6, posterior=0.0))
    change = case.render().values[0] - case.render(on=()).values[0]
    core = distance_transform_edt(case.regions["mass"].mask) > 3
    assert_allclose(change[core].mean(), -0.6 * 20 * 255 / case.scene.range_db, rtol=0.1)
    cyst = plain(128, 1, Cyst())
    values, without = (cyst.render(on=on).values[0] for on in (None, ()))
    core = distance_transform_edt(cyst.regions["cyst"].mask) > 3
    assert values[core].mean() < 40
    assert (values - without)[behind(cyst, "cyst", 2.0).mask].mean() > 5


def test_masses_lie_in_glandular_tissue_and_never_on_each_other():
    for seed in range(8):
        case = plain(128, seed, UltrasoundMass(name="first", width_mm=8.0), UltrasoundMass(name="second", width_mm=6.0))
        first, second = (case.regions[n].mask for n in ("first", "second"))
        assert (first & second).sum() <= 0.03 * first.sum()
        home = case.compartments["glandular"].mask
        assert (first & home).sum() > 0.75 * first.sum()


@pytest.mark.parametrize("wrong", [lambda: BreastUltrasound(16), lambda: UltrasoundMass(margin="round")])
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(InputError):
        wrong()


#: Mean greys of 4 x 4 blocks of three breasts with the usual mass at 128: networks were trained on these.
TRAINED_ON = {
    0: [[95.6, 108.1, 109.1, 97.7], [132.8, 150.8, 147.2, 132.1], [90.9, 97.7, 100.1, 99.6], [40.7, 59.7, 44.4, 43.3]],
    1: [
        [102.4, 120.7, 119.3, 110.3],
        [115.7, 143.3, 155.5, 140.8],
        [63.0, 100.7, 113.2, 93.9],
        [28.3, 48.0, 45.4, 42.9],
    ],
    2: [
        [90.0, 116.7, 111.3, 93.0],
        [135.3, 153.1, 152.0, 127.2],
        [108.2, 113.5, 123.7, 105.4],
        [48.5, 50.6, 54.2, 47.3],
    ],
}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_pictures_that_networks_were_trained_on_have_not_changed(seed):
    values = plain(128, seed, UltrasoundMass()).render().values[0]
    assert_allclose(values.reshape(4, 32, 4, 32).mean((1, 3)), TRAINED_ON[seed], atol=0.2)
