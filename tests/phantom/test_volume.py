"""The brush of the volume scenes: depths in millimetres, and volumes that do not hang on the grid."""

from __future__ import annotations

import numpy as np
import pytest

from saliscope.phantom.scenes.volume import Canvas, Ellipsoid, Threads, Tube, axial, binned, profile


def blank(size: int = 40, spacing: float = 2.0) -> Canvas:
    return Canvas.blank(axial((size,) * 3, spacing), "air", 0)


def test_a_depth_is_a_distance_along_the_axes_and_0_on_the_surface() -> None:
    ball = Ellipsoid((1.0, 2.0, 3.0), (10.0, 20.0, 30.0))
    at = np.array([[11, 2, 3], [1, 22, 3], [1, 2, 33], [1, 2, 28], [1, 2, 38]], np.float32)
    np.testing.assert_allclose(ball.depth(*at.T), [0, 0, 0, 5, -5], atol=1.2)
    np.testing.assert_allclose(ball.depth(*at[:3].T), 0, atol=1e-3)
    turned = Ellipsoid((0.0, 0.0, 0.0), (10.0, 20.0, 30.0), (np.pi / 2, 0.0, 0.0))
    np.testing.assert_allclose(turned.depth(*np.array([[20.0, 0, 0], [0, 10, 0]], np.float32).T), 0, atol=1e-3)
    tube = Tube(((0, 0, 0), (20, 0, 0)), (4, 8))
    np.testing.assert_allclose(
        tube.depth(*np.array([[0.0, 0, 0], [10, 6, 0], [32, 0, 0]], np.float32).T), [4, 0, -4], atol=1e-5
    )


@pytest.mark.parametrize("spacing", [1.0, 2.0, 4.0])
def test_what_is_painted_has_its_own_volume_and_a_later_body_covers_an_earlier(spacing: float) -> None:
    canvas = blank(int(80 / spacing), spacing)
    canvas.paint("ball", Ellipsoid((3, -4, 5), (16, 16, 16)), 100)
    volume = 4 / 3 * np.pi * 16**3
    assert canvas.signal.sum() / 100 * spacing**3 == pytest.approx(volume, rel=0.02)
    assert canvas.masks()["ball"].sum() * spacing**3 == pytest.approx(volume, rel=0.03)
    canvas.paint("core", Ellipsoid((3, -4, 5), (8, 8, 8)), -50)
    assert canvas.masks()["core"].sum() * spacing**3 == pytest.approx(volume / 8, rel=0.15)
    assert not (canvas.masks()["core"] & canvas.masks()["ball"]).any()
    place = tuple(np.rint(canvas.geometry.to_index((3, -4, 5))).astype(int))
    assert canvas.signal[place] == pytest.approx(-50)


@pytest.mark.parametrize("spacing", [1.0, 2.0, 5.0])
def test_thin_vessels_keep_their_volume_on_every_grid(spacing: float) -> None:
    canvas = blank(int(80 / spacing), spacing)
    thread = Threads.of([Tube(((-20, -10, 3), (10, 12, 8), (18, 15, -9)), (0.8, 0.8, 0.8))])
    share = canvas.covered(thread)
    length = np.linalg.norm(thread.end - thread.start, axis=1).sum()
    assert share.max() <= 1
    assert share.sum() * spacing**3 == pytest.approx(length * np.pi * 0.8**2, rel=0.03)
    where = canvas.geometry.to_world(np.argwhere(share > 0))
    assert (
        Tube(((-20, -10, 3), (10, 12, 8), (18, 15, -9)), (1, 1, 1)).depth(*where.T.astype(np.float32)).min()
        > -2 * spacing
    )


def test_vessels_that_leave_the_grid_leave_no_trace_on_its_rim() -> None:
    canvas = blank(20, 2.0)
    outside = canvas.covered(Threads.of([Tube(((100, 0, 0), (200, 50, 0)), (4, 4))]))
    assert outside.max() == 0


def test_larger_elements_are_means_of_whole_groups() -> None:
    values = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    assert binned(values, 1) is values
    twice = binned(values, 2)
    assert twice.shape == values.shape
    assert twice[0, 0, 0] == values[:2, :2, :2].mean()
    assert twice[2, 3, 4] == values[2:, 2:, 4:].mean()


def test_a_profile_goes_through_its_points_and_is_level_beyond() -> None:
    at = np.array([-9.0, 0, 1, 2, 9], np.float32)
    np.testing.assert_allclose(profile((0, 1, 2), (5, 7, 4), at), [5, 5, 7, 4, 4])
