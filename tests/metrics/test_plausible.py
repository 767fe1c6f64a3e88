"""Plausible perturbations: moves undone exactly, brightness on the image's own scale, no mirrors."""

import numpy as np
import pytest
import torch

from saliscope.core.errors import MetricError
from saliscope.perturb.plausible.catalogue import BY_MODALITY, perturbations_of
from saliscope.perturb.plausible.contract import Moving
from saliscope.perturb.plausible.intensity import BiasField, Gain, Gamma, Intensity, Window
from saliscope.perturb.plausible.noise import Kernel, Noise
from saliscope.perturb.plausible.spatial import Affine, Resampled

MODALITIES = (*BY_MODALITY, "OT")
EVERY = {p.name: p for m in MODALITIES for p in perturbations_of(m, 2)}
PLANES = [(20, 26), (5, 20, 26)]


def smooth(shape, shift=0.0):
    """Return a smooth image (1, 1, *S) of known value at every place, highest in the middle of the plane."""
    rows, columns = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in shape[-2:])
    plane = torch.exp(-((rows[:, None] - 2 - shift) ** 2 + (columns[None] + 3) ** 2) / 30)
    return plane.expand(1, 1, *shape).clone()


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("dims", [2, 3])
def test_every_modality_has_the_control_first_and_ten_perturbations(modality, dims):
    found = perturbations_of(modality, dims)
    assert [p.control for p in found] == [True] + [False] * 10
    assert len({p.name for p in found}) == 11
    assert isinstance(found[0], Moving)
    assert perturbations_of(modality.lower(), dims) == found


def test_an_image_of_other_axes_is_refused():
    with pytest.raises(MetricError, match="2 or 3"):
        perturbations_of("CR", 4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_nothing_is_mirrored_because_laterality_is_anatomy(modality):
    """A spot upper left stays upper left, whatever is done: no flip of either axis of the plane, and no transpose."""
    x = torch.zeros(1, 1, 40, 60, dtype=torch.float64)
    x[..., 8:12, 10:14] = 1.0
    for perturbation in perturbations_of(modality, 2):
        row, column = np.unravel_index(int(perturbation.apply(x, 0)[0, 0].argmax()), (40, 60))
        assert row < 15, perturbation.name
        assert column < 20, perturbation.name


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", PLANES, ids=str)
def test_a_perturbation_is_small_finite_repeatable_and_never_in_place(name, shape):
    generator = torch.Generator().manual_seed(3)
    x = smooth(shape) + 0.05 * torch.rand(1, 2, *shape, generator=generator, dtype=torch.float64)
    before, state = x.clone(), torch.get_rng_state()
    once, again = EVERY[name].apply(x, 5), EVERY[name].apply(x, 5)
    assert torch.equal(once, again)
    assert once.shape == x.shape
    assert once.dtype == x.dtype
    assert once.isfinite().all()
    assert not torch.equal(once, x)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert (once.amin() >= x.amin() - 1e-12) & (once.amax() <= x.amax() + 1e-12), "nothing leaves the image's range"
    span = x.max() - x.min()
    assert 1e-4 < ((once - x).abs().mean() / span) < 0.12


@pytest.mark.parametrize("name", EVERY)
def test_a_perturbation_is_the_same_on_every_scale_of_the_view(name):
    """A view in Hounsfield units and the same one normalised are changed alike."""
    x = smooth((20, 26))
    direct = EVERY[name].apply(1000 * x - 700, 1)
    assert torch.allclose(direct, 1000 * EVERY[name].apply(x, 1) - 700, atol=1e-2)


@pytest.mark.parametrize("shape", PLANES, ids=str)
def test_a_moved_map_is_put_back_where_it_was(shape):
    """The map of the moved image, restored, is the map of the image: to interpolation of a smooth map."""
    for perturbation in perturbations_of("CR", len(shape)):
        if isinstance(perturbation, Moving):
            own = smooth(shape)[0, 0]
            back, known = perturbation.restore(perturbation.apply(own[None, None], 0)[0, 0])
            assert known.shape == own.shape
            assert 0.75 < known.double().mean() <= 1, perturbation.name
            assert (back - own)[known].abs().max() < 0.04, perturbation.name


def test_a_move_goes_where_it_says_and_the_inverse_is_exact():
    """A shift by whole elements, a quarter turn and a doubling lose nothing: every value comes back to the bit."""
    own = torch.randn(11, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shift = Affine(rows=2 / 11, columns=-3 / 11)
    moved = shift.apply(own[None, None], 0)[0, 0]
    assert torch.allclose(moved[2:, :-3], own[:-2, 3:], atol=1e-12)
    for move in (shift, Affine(degrees=90)):
        back, known = move.restore(move.apply(own[None, None], 0)[0, 0])
        assert torch.allclose(back[known], own[known], atol=1e-9)
    assert known.all()
    turned = Affine(degrees=90).apply(own[None, None], 0)[0, 0]
    assert torch.allclose(turned, own.rot90(-1), atol=1e-9) or torch.allclose(turned, own.rot90(1), atol=1e-9)
    double = Affine(scale=2).apply(own[None, None], 0)[0, 0]
    assert torch.allclose(double[1::2, 1::2], own[3:8, 3:8], atol=1e-9)


def test_the_valid_part_is_what_both_images_show():
    known = Affine(rows=0.5).restore(torch.zeros(10, 6))[1]
    assert known[:5].all()
    assert not known[5:].any()
    assert torch.equal(Resampled().restore(torch.ones(10, 6))[0], torch.ones(10, 6))
    nothing = Affine()
    assert nothing.name == "no move"
    own = torch.randn(4, 7)
    assert torch.equal(nothing.apply(own[None, None], 0)[0, 0], own), "an identity through the resampler changes no bit"


def test_the_control_moves_nothing_and_only_blurs():
    x = smooth((31, 31))
    changed = Resampled().apply(x, 0)
    assert 0 < (changed - x).abs().max() < 0.03
    assert np.unravel_index(int(changed.argmax()), x.shape) == np.unravel_index(int(x.argmax()), x.shape)


def test_volumes_are_moved_in_the_plane_alike():
    x = smooth((4, 12, 14)) * torch.arange(1, 5, dtype=torch.float64).reshape(4, 1, 1)
    for move in (Affine(degrees=3), Affine(scale=0.97)):
        volume = move.apply(x, 0)
        for i in range(4):
            assert torch.allclose(volume[:, :, i], move.apply(x[:, :, i], 0), atol=1e-12)


def ramp(channels=1):
    return torch.linspace(0, 1, 101, dtype=torch.float64).reshape(1, 1, 1, 101).repeat(1, channels, 8, 1)


def test_brightness_follows_its_definition():
    u = ramp()
    bulk = 0.98
    assert torch.allclose(Window(centre=0.1).apply(u, 0), (u - 0.1 * bulk).clamp(0, 1))
    assert torch.allclose(Window(width=1.1).apply(u, 0), (u - 0.5) / 1.1 + 0.5)
    assert torch.allclose(Gamma(0.9).apply(u, 0), u**0.9)
    assert torch.allclose(Intensity(1.1).apply(u, 0), (1.1 * u).clamp(max=1))
    assert torch.allclose(Gain(2).apply(u, 0), torch.where(u > 0, u + 2 / 60, u).clamp(max=1))
    tilted = Gain(2, tilt=True).apply(u, 0)
    assert torch.allclose(tilted[0, 0, -1, 50], u[0, 0, -1, 50] + 2 / 60)
    assert torch.allclose(tilted[0, 0, 0, 50], u[0, 0, 0, 50] - 2 / 60)


def test_a_channel_without_contrast_stays_as_it_is():
    x = torch.full((1, 2, 6, 6), 3.0)
    for perturbation in EVERY.values():
        assert torch.equal(perturbation.apply(x, 0), x)


def test_noise_has_its_size_and_is_shared_by_the_copies_of_a_grey_image():
    x = ramp(3).repeat(1, 1, 25, 1) * 0.5 + 0.25
    x[..., 0, 0], x[..., 0, 1] = 0.0, 1.0
    noise = Noise(0.01).apply(x, 1) - x
    assert noise.std() == pytest.approx(0.01 * 0.49, rel=0.03)
    assert torch.allclose(noise[:, 0], noise[:, 2])
    two = torch.cat([x[:, :1], x[:, 1:2] ** 2], dim=1)
    apart = Noise(0.01).apply(two, 1) - two
    assert (apart[:, 0] - apart[:, 1]).std() > 0.003
    assert not torch.equal(Noise(0.01).apply(x, 1), Noise(0.01).apply(x, 2))
    # A magnitude is never below what its real part alone would be.
    assert (Noise(0.02, magnitude=True).apply(x, 1) >= Noise(0.02).apply(x, 1) - 1e-12).all()


def test_a_bias_field_is_smooth_and_of_its_strength():
    x = smooth((30, 30)) + 1
    x[..., 0, 0], x[..., 0, 1] = 0, 3  # so that nothing else comes near the ends of the range
    factor = (BiasField(0.1).apply(x, 4) / x)[0, 0, 1:]
    assert factor.max() <= 1.1 + 1e-9
    assert factor.min() >= 0.9 - 1e-9
    assert factor.max() - factor.min() > 0.05
    assert factor.diff(dim=0).abs().max() < 0.012


def test_kernels_soften_and_sharpen():
    x = smooth((30, 30)).round()
    step = x.diff(dim=-1).abs().sum()
    soft, sharp = Kernel(0.7).apply(x, 0), Kernel(0.7, sharpen=0.5).apply(smooth((30, 30)) * 0.5 + ramp_noise(), 0)
    assert soft.diff(dim=-1).abs().amax() < x.diff(dim=-1).abs().amax()
    assert soft.sum() == pytest.approx(float(x.sum()), rel=1e-6)
    assert step > 0
    before = smooth((30, 30)) * 0.5 + ramp_noise()
    assert sharp.diff(dim=-1).abs().sum() > before.diff(dim=-1).abs().sum()


def ramp_noise():
    return 0.1 * torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Affine(scale=0),
        lambda: Affine(degrees=float("nan")),
        lambda: Gamma(0),
        lambda: Window(width=-1),
        lambda: Intensity(0),
        lambda: Gain(dynamic_range=0),
        lambda: BiasField(1.0),
        lambda: Noise(-1),
        lambda: Kernel(0),
    ],
)
def test_a_magnitude_that_means_nothing_is_refused(wrong):
    with pytest.raises(MetricError):
        wrong()
