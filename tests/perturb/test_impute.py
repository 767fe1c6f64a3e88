"""Filling smoothly: exact where it says so, near it where it is fast, and never seeing what was taken away."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from saliscope.core.errors import MetricError
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.impute_exact import laplacian

EXACT, FAST = RoadFill(exact=True, noise=0), RoadFill(exact=False, noise=0)
PURE = pytest.mark.parametrize("fill", [EXACT, FAST], ids=["exact", "fast"])
SIZES = [(1, 1), (1, 9), (6, 1), (7, 5), (16, 16), (13, 20), (1, 6, 1), (3, 1, 8), (5, 7, 6), (11,)]


def smooth(shape, seed=0, sigma=4.0):
    values = gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return torch.from_numpy((values - values.min()) / max(np.ptp(values), 1e-9)).float()


def image(shape, channels=1):
    return torch.stack([smooth(shape, seed) for seed in range(channels)])[None]


def holes(shape, shares=(0.1, 0.3, 0.5, 0.7, 0.9), sigma=6.0):
    """Return what is gone (m, *S) when the largest shares of a smooth map are taken away."""
    values = smooth(shape, 99, sigma).flatten().argsort().argsort().reshape(shape)
    return torch.stack([values >= values.numel() * (1 - share) for share in shares])


def rms(found, right, gone):
    return float((found - right)[gone[:, None].expand_as(right)].square().mean().sqrt())


@PURE
def test_a_ramp_across_a_hole_goes_on(fill):
    ramp = torch.linspace(0, 1, 32)[:, None].expand(32, 32)[None, None]
    gone = torch.zeros(1, 32, 32, dtype=torch.bool)
    gone[:, 8:20, 10:22] = True
    assert rms(fill(ramp, gone), ramp, gone) < (1e-6 if fill.exact else 0.02)


@PURE
@pytest.mark.parametrize("shape", SIZES)
def test_what_is_left_stays_and_the_fill_lies_between(fill, shape):
    x = image(shape, 2)
    gone = torch.rand((3, *shape), generator=torch.Generator().manual_seed(1)) < 0.6
    gone[2] = False
    found = fill(x, gone)
    assert found.shape == (3, 2, *shape)
    assert found.dtype == x.dtype
    kept = ~gone[:, None].expand_as(found)
    assert torch.equal(found[kept], x.expand_as(found)[kept])
    assert torch.equal(found[2], x[0])
    assert found.min() >= x.min() - 1e-5
    assert found.max() <= x.max() + 1e-5


@PURE
@pytest.mark.parametrize("shape", [(24, 31), (9, 12, 10)])
def test_what_was_taken_away_is_never_seen(fill, shape):
    x, gone = image(shape), holes(shape, (0.4,))
    other = torch.where(gone[:, None], torch.nan, x)
    assert torch.equal(fill(x, gone), fill(other, gone))


@pytest.mark.parametrize("fill", [EXACT, FAST, RoadFill(), RoadFill(exact=True)], ids=lambda f: f.name)
@pytest.mark.parametrize("shape", [(24, 31), (9, 12, 10)])
def test_a_copy_does_not_depend_on_what_it_is_made_with(fill, shape):
    x, gone = image(shape, 3), holes(shape)
    together = fill(x, gone)
    assert torch.equal(together, torch.cat([fill(x, gone[i : i + 1]) for i in range(len(gone))]))
    assert torch.equal(together.flip(0), fill(x, gone.flip(0)))


@pytest.mark.parametrize(("shape", "limit"), [((128, 96), 0.02), ((24, 32, 28), 0.03)])
def test_the_fast_imputation_is_near_the_exact_one(shape, limit):
    x, gone = image(shape), holes(shape)
    right, found = EXACT(x, gone), FAST(x, gone)
    mean = x.mean().expand_as(right)
    for i in range(len(gone)):
        error = rms(found[i : i + 1], right[i : i + 1], gone[i : i + 1])
        assert error < limit
        assert error < rms(mean[i : i + 1], right[i : i + 1], gone[i : i + 1]) / 2


def test_scattered_holes_are_filled_within_rounding_of_a_grey_level():
    x = image((96, 96))
    gone = torch.rand((1, 96, 96), generator=torch.Generator().manual_seed(2)) < 0.5
    assert rms(FAST(x, gone), EXACT(x, gone), gone) < 1 / 255


@PURE
def test_where_everything_is_gone_every_channel_is_its_mean(fill):
    x = image((12, 10), 2) + torch.tensor([0.0, 5.0])[:, None, None]
    gone = torch.stack([torch.ones(12, 10, dtype=torch.bool), torch.rand(12, 10) < 0.5])
    found = fill(x, gone)
    assert torch.allclose(found[0], x[0].mean(dim=(1, 2), keepdim=True).expand_as(x[0]))
    assert found[1].std() > 0.01


def test_the_noise_is_as_large_as_it_says_and_only_where_something_was_gone():
    x, gone = image((64, 64), 2), holes((64, 64), (0.5, 0.6))
    noise = RoadFill(noise=0.05)(x, gone) - FAST(x, gone)
    everywhere = gone[:, None].expand_as(noise)
    assert noise[everywhere].std() == pytest.approx(0.05, rel=0.05)
    assert noise[everywhere].mean() == pytest.approx(0, abs=0.003)
    assert not noise[~everywhere].any()
    # Each channel and each mask have their own.
    both = gone.all(0)
    drawn = torch.stack([noise[0, 0][both], noise[0, 1][both], noise[1, 0][both]])
    assert (torch.corrcoef(drawn) - torch.eye(3)).abs().max() < 0.1


def test_the_noise_is_drawn_from_the_seed_alone():
    x, gone = image((16, 16)), holes((16, 16), (0.5,))
    state = torch.random.get_rng_state()
    first = RoadFill(seed=1)(x, gone)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(first, RoadFill(seed=1)(x, gone))
    assert not torch.equal(first, RoadFill(seed=2)(x, gone))


def test_the_system_of_a_grid_is_put_together_once():
    laplacian.cache_clear()
    EXACT(image((20, 18)), holes((20, 18)))
    assert laplacian.cache_info().misses == 1
    EXACT(image((20, 18)), holes((20, 18)))
    assert laplacian.cache_info().misses == 1


def test_a_plane_too_large_for_factors_is_descended(monkeypatch):
    x, gone = image((20, 18), 2), holes((20, 18))
    right = EXACT(x, gone)
    monkeypatch.setattr("saliscope.perturb.impute_exact.FACTORED", 0)
    laplacian.cache_clear()
    assert torch.allclose(EXACT(x, gone), right, atol=1e-6)
    assert laplacian.cache_info().misses == 0


def test_names_tell_fills_from_each_other():
    fills = [EXACT, FAST, RoadFill(), RoadFill(seed=1), RoadFill(noise=0.0100001), RoadFill(exact=True)]
    assert len({f.name for f in fills}) == len(set(fills)) == len(fills)
    assert RoadFill(noise=0, seed=1).name == FAST.name, "without noise the seed changes nothing"
    assert "exact sparse solve" in EXACT.name
    assert "fast pyramid" in FAST.name


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_a_noise_that_is_none_is_refused(noise):
    with pytest.raises(MetricError, match="noise"):
        RoadFill(noise=noise)


def test_half_precision_keeps_its_type_and_its_noise():
    x, gone = image((16, 16)).bfloat16(), holes((16, 16), (0.5,))
    found = RoadFill()(x, gone)
    assert found.dtype == torch.bfloat16
    assert rms(found.float(), RoadFill()(x.float(), gone), gone) < 0.01
