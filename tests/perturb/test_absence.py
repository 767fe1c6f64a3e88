"""Baselines, noise, windows and batches: what stands where something was taken away."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from saliscope.core.errors import MethodError
from saliscope.perturb.baseline import absent, blurred
from saliscope.perturb.noise import gaussian
from saliscope.perturb.stream import batch_size, batches
from saliscope.perturb.window import per_axis, spread, starts


def volume(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_named_baselines_are_of_each_image_and_channel():
    x = volume(2, 3, 5, 4, 6)
    for n, c in itertools.product(range(2), range(3)):
        assert (absent(x, "min")[n, c] == x[n, c].min()).all()
        torch.testing.assert_close(absent(x, "mean")[n, c], x[n, c].mean().expand(5, 4, 6))
    assert (absent(x, "zero") == 0).all()
    assert (absent(x, -3.5) == -3.5).all()
    assert (absent(x, "0.25") == 0.25).all(), "a number typed at the command line"


def test_a_baseline_is_a_tensor_of_its_own():
    x = volume(1, 1, 4, 4)
    for name in ("zero", "min", "mean", "blur"):
        absent(x, name).add_(1)  # would fail on an expanded view
    torch.testing.assert_close(x, volume(1, 1, 4, 4))


@pytest.mark.parametrize("name", ["black", "nan", float("inf"), ""])
def test_an_unknown_baseline_is_refused(name):
    with pytest.raises(MethodError, match="zero, min, max, mean, blur, air, tissue, file:PATH or a finite number"):
        absent(volume(1, 1, 4, 4), name)


def test_blur_is_a_gaussian_and_keeps_a_constant():
    x = volume(1, 2, 40, 30)
    inside = blurred(x, [2.0, 1.5])[..., 12:-12, 9:-9]
    right = gaussian_filter1d(gaussian_filter1d(x.numpy(), 2.0, axis=2, truncate=9), 1.5, axis=3, truncate=9)
    np.testing.assert_allclose(inside, right[..., 12:-12, 9:-9], atol=1e-7)
    torch.testing.assert_close(absent(torch.full_like(x, 7), "blur"), torch.full_like(x, 7))


@given(draws=st.integers(1, 9), batch=st.integers(1, 12), seed=st.integers(0, 5))
def test_noise_does_not_depend_on_how_it_is_batched(draws, batch, seed):
    like = volume(1, 2, 3, 4)
    before = torch.get_rng_state()
    found = torch.cat(list(gaussian(like, draws, batch, seed)))
    assert torch.equal(found, torch.cat(list(gaussian(like, draws, 1, seed))))
    assert found.shape == (draws, 2, 3, 4)
    assert torch.equal(torch.get_rng_state(), before)


@given(count=st.integers(0, 40), size=st.integers(1, 12))
def test_batches_hold_every_index_once_and_in_order(count, size):
    found = [list(r) for r in batches(count, size)]
    assert list(itertools.chain(*found)) == list(range(count))
    assert all(1 <= len(r) <= size for r in found)


def test_a_batch_has_at_least_one_copy_and_a_budget():
    x = volume(1, 1, 8, 8)
    assert batch_size(x, 1e-9, 32) == 1
    assert batch_size(x, 8 * 64 * 32 * 5 / 2**20, 32) == 5
    with pytest.raises(MethodError, match="positive budget"):
        batch_size(x, -1, 32)


@given(size=st.integers(1, 40), window=st.integers(1, 40), stride=st.integers(1, 40))
def test_windows_of_full_size_cover_every_element(size, window, stride):
    window = min(size, window)
    stride = min(window, stride)
    begins = starts(size, window, stride)
    assert begins[0] == 0
    assert begins == sorted(set(begins))
    assert all(b + window <= size for b in begins)
    covered = {i for b in begins for i in range(b, b + window)}
    assert covered == set(range(size))


@given(shape=st.lists(st.integers(1, 7), min_size=2, max_size=3), window=st.integers(1, 4), stride=st.integers(1, 4))
def test_spread_is_the_mean_over_the_windows_that_cover_an_element(shape, window, stride):
    windows = [min(window, n) for n in shape]
    begins = [starts(n, w, min(stride, w)) for n, w in zip(shape, windows, strict=True)]
    values = volume(2, *[len(b) for b in begins])
    total, count = np.zeros((2, *shape)), np.zeros(shape)
    for place in np.ndindex(*[len(b) for b in begins]):
        box = tuple(slice(b[i], b[i] + w) for b, i, w in zip(begins, place, windows, strict=True))
        total[(slice(None), *box)] += values[(slice(None), *place)].numpy().reshape(2, *[1] * len(shape))
        count[box] += 1
    np.testing.assert_allclose(spread(values, begins, windows, shape), total / count, rtol=1e-12, atol=1e-12)


def test_sizes_are_for_all_axes_or_one_each():
    assert per_axis("window", None, [3, 4], [8, 8]) == [3, 4]
    assert per_axis("window", 5, [3, 4], [8, 2]) == [5, 2]
    assert per_axis("window", (2, 3), [3, 4], [8, 8]) == [2, 3]
    with pytest.raises(MethodError, match="one for each axis"):
        per_axis("window", (2, 3), [3, 4, 5], [8, 8, 8])
