"""Where a function puts each element: learnt for functions whose affine map is known exactly, refused for others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates
from skimage.exposure import equalize_adapthist, equalize_hist
from skimage.transform import resize

from saliscope.core.errors import Misplaced
from saliscope.model.places import Places, check, learn

Function = Callable[[Any], Any]


def textured(*shape: int, seed: int = 0) -> Any:
    """Return an image (1, *shape) with structure of several sizes, 0 to 255."""
    rng = np.random.default_rng(seed)
    image = sum(s * gaussian_filter(rng.normal(size=shape), s) for s in (1, 4, 12))
    image -= image.min()
    return (image / image.max() * 255).astype(np.float32)[None]


def placed(function: Function, image: Any) -> tuple[Places, int]:
    """Return what is learnt of a function, and by how many calls."""
    base, calls = function(image), 0

    def send(values: Any) -> Any:
        nonlocal calls
        calls += 1
        output = function(values)
        if output.shape != base.shape:
            raise LookupError(output.shape)
        return output

    return learn(send, image, base), calls


def farthest(function: Function, image: Any, matrix: Any, offset: Any) -> float:
    """Return how far the learnt map is from the true one anywhere in the view, in source elements."""
    found, _ = placed(function, image)
    ends = [(0.0, n - 1.0) for n in function(image).shape[1:]]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, len(ends))
    return float(np.abs(found.affine(corners) - (corners @ np.array(matrix).T + offset)).max())


def resized(*shape: int, order: int = 1) -> Function:
    """Return a function that resizes edge to edge."""
    return lambda a: np.stack([resize(c, shape, order=order, anti_aliasing=True, preserve_range=True) for c in a])


def by_area(a: Any) -> Any:
    return a.reshape(1, a.shape[1] // 4, 4, a.shape[2] // 4, 4).mean(axis=(2, 4))


CAMERA = textured(200, 260)
EYE = np.eye(2)
INTENSITIES: dict[str, Function] = {
    "same": lambda a: a,
    "inverted": lambda a: -a,
    "z-score": lambda a: (a - a.mean()) / a.std(),
    "min-max": lambda a: (a - a.min()) / (a.max() - a.min()),
    "gamma": lambda a: (a / 255) ** 3,
    "window": lambda a: np.clip((a - 90) / 40, 0, 1),
    "narrow window": lambda a: (a > 200) * 1.0,
    "histogram": lambda a: equalize_hist(a),
    "clahe": lambda a: equalize_adapthist(a[0] / 255)[None],
    "three channels": lambda a: np.concatenate([a, -a, a**2]),
}
PLACES: dict[str, tuple[Function, Any, Any]] = {
    "crop": (lambda a: a[:, 37:180, 10:210], EYE, [37, 10]),
    "small crop": (lambda a: a[:, 90:130, 100:140], EYE, [90, 100]),
    "flip rows": (lambda a: a[:, ::-1], np.diag([-1, 1]), [199, 0]),
    "flip columns": (lambda a: a[:, :, ::-1], np.diag([1, -1]), [0, 259]),
    "quarter turn": (lambda a: np.rot90(a, 1, (1, 2)), [[0, 1], [-1, 0]], [0, 259]),
    "transposed": (lambda a: a.transpose(0, 2, 1), [[0, 1], [1, 0]], [0, 0]),
    "padded": (lambda a: np.pad(a, [(0, 0), (30, 10), (5, 60)]), EYE, [-30, -5]),
    "padded by mirroring": (lambda a: np.pad(a, [(0, 0), (30, 10), (5, 60)], mode="reflect"), EYE, [-30, -5]),
    "by area": (by_area, 4 * EYE, [1.5, 1.5]),
    "enlarged": (resized(400, 390), np.diag([0.5, 2 / 3]), [-0.25, -1 / 6]),
    "reduced": (resized(32, 40), np.diag([6.25, 6.5]), [2.625, 2.75]),
    "turned a little": (
        lambda a: affine_transform(a[0], [[0.99, 0.12], [-0.12, 0.99]], offset=[-5, 12], order=1)[None],
        [[0.99, 0.12], [-0.12, 0.99]],
        [-5, 12],
    ),
}


@pytest.mark.parametrize("how", INTENSITIES)
def test_changes_of_intensity_do_not_move_the_places(how: str) -> None:
    assert farthest(lambda a: INTENSITIES[how](a)[:, 20:180, ::-1], CAMERA, np.diag([1, -1]), [20, 259]) < 0.5


@pytest.mark.parametrize("how", PLACES)
def test_places_are_learnt_within_half_an_element(how: str) -> None:
    function, matrix, offset = PLACES[how]
    assert farthest(function, CAMERA, matrix, offset) < 0.25


def test_nearest_elements_are_placed_within_half_an_element() -> None:
    rows, columns = np.arange(60) * 200 // 60, np.arange(71) * 260 // 71
    found, _ = placed(lambda a: a[:, rows][:, :, columns], CAMERA)
    learnt = found.affine(np.stack([np.arange(60.0), np.arange(60.0)], axis=1))[:, 0]
    # Whole elements are taken: each lies within half of one from the line through them.
    assert np.abs(learnt - rows).mean() < 0.5
    assert abs((learnt - rows).mean()) < 0.1


@pytest.mark.parametrize(
    ("function", "matrix", "offset"),
    [
        (lambda a: a.transpose(0, 3, 1, 2)[:, :, ::-1], [[0, -1, 0], [0, 0, 1], [1, 0, 0]], [31, 0, 0]),
        (resized(16, 48, 60), np.diag([2, 1, 40 / 60]), [0.5, 0, (40 / 60 - 1) / 2]),
        (lambda a: a[:, 4:28, 8:40, 5:35], np.eye(3), [4, 8, 5]),
        (lambda a: np.pad(a, [(0, 0), (8, 8), (0, 0), (4, 0)]), np.eye(3), [-8, 0, -4]),
    ],
)
def test_volumes(function: Function, matrix: Any, offset: Any) -> None:
    assert farthest(function, textured(32, 48, 40), matrix, offset) < 0.25


def test_a_volume_of_few_planes() -> None:
    assert farthest(lambda a: a[:, :, ::-1], textured(5, 40, 40), np.diag([1, -1, 1]), [0, 39, 0]) < 0.01


@settings(max_examples=25)
@given(
    st.tuples(st.integers(24, 150), st.integers(24, 150)),
    st.tuples(st.floats(0, 0.3), st.floats(0, 0.3)),
    st.tuples(st.integers(24, 120), st.integers(24, 120)),
    st.booleans(),
)
def test_crop_then_resize_then_flip(
    size: tuple[int, int], cut: tuple[float, float], new: tuple[int, int], flip: bool
) -> None:
    start = [int(c * n) for c, n in zip(cut, size, strict=True)]
    scale = np.array([(n - 2 * s) / m for n, s, m in zip(size, start, new, strict=True)])
    offset = np.array(start) + (scale - 1) / 2

    def function(a: Any) -> Any:
        inner = a[:, start[0] : size[0] - start[0], start[1] : size[1] - start[1]]
        out = resized(*new)(inner)
        return out[:, :, ::-1] if flip else out

    if flip:
        offset[1] += scale[1] * (new[1] - 1)
    assert farthest(function, textured(*size), np.diag([scale[0], -scale[1] if flip else scale[1]]), offset) < 0.5


def test_the_calls_are_few_and_do_not_grow_with_the_image() -> None:
    assert placed(lambda a: a[:, ::-1], CAMERA)[1] == 8
    assert placed(lambda a: a[:, ::-1], textured(32, 48, 40))[1] == 7


@pytest.mark.parametrize("shape", [(64, 64), (24, 24, 24)])
def test_no_flip_or_turn_of_a_square_or_cube_passes_for_another(shape: tuple[int, ...]) -> None:
    image = textured(*shape)
    turns = [lambda a: a, lambda a: a[:, ::-1], lambda a: np.flip(a, (1, 2)), lambda a: np.swapaxes(a, 1, 2)]
    for right in turns:
        found, _ = placed(right, image)
        held = [check(other, image, other(image), found.affine) is not None for other in turns]
        assert held == [other is right for other in turns]


def to_content(a: Any) -> Any:
    rows, columns = np.flatnonzero((a[0] > 0).any(axis=1)), np.flatnonzero((a[0] > 0).any(axis=0))
    return resized(64, 64)(a[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def test_a_crop_to_the_foreground_is_learnt_within_the_foreground() -> None:
    image = np.zeros((1, 200, 240), np.float32)
    image[:, 30:130, 80:208] = textured(100, 128) + 5
    assert farthest(to_content, image, np.diag([100 / 64, 2]), [30 + (100 / 64 - 1) / 2, 80.5]) < 0.25


def test_a_flip_by_the_content_is_told_for_each_image() -> None:
    image = CAMERA + np.linspace(0, 90, 260, dtype=np.float32)

    def brighter_first(a: Any) -> Any:
        return a if a[:, :, :120].mean() > a[:, :, -120:].mean() else a[:, :, ::-1]

    assert farthest(brighter_first, image, np.diag([1, -1]), [0, 259]) < 0.01
    assert farthest(brighter_first, image[:, :, ::-1].copy(), np.eye(2), [0, 0]) < 0.01


def test_places_of_another_image_are_checked_and_do_not_hold_for_another_function() -> None:
    found, _ = placed(lambda a: a[:, ::-1], CAMERA)
    other = textured(200, 260, seed=1)
    assert check(lambda a: a[:, ::-1], other, other[:, ::-1], found.affine) is not None
    assert check(lambda a: a, other, other, found.affine) is None
    assert check(lambda a: a[:, :, ::-1], other, other[:, :, ::-1], found.affine) is None
    assert check(lambda a: -a, other, -other, found.affine) is None
    assert check(lambda a: np.roll(a, 3, 1)[:, ::-1], other, np.roll(other, 3, 1)[:, ::-1], found.affine) is None


ROWS, COLUMNS = np.mgrid[:200, :260].astype(float)


def elastic(a: Any) -> Any:
    moved = [ROWS + 4 * np.sin(COLUMNS / 30), COLUMNS + 4 * np.cos(ROWS / 25)]
    return map_coordinates(a[0], moved, order=1, mode="nearest")[None]


def about_the_mass(a: Any) -> Any:
    weight = a[0] / a.sum()
    row, column = int((weight * ROWS).sum()), int((weight * COLUMNS).sum())
    return a[:, row - 60 : row + 60, column - 60 : column + 60]


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (elastic, "no affine map"),
        (lambda a: np.concatenate([a, a[:, :, ::-1]], 2), "several places"),
        (lambda a: np.concatenate([a, a], 1), "several places"),
        (lambda a: np.ones_like(a), "nothing of the image"),
        (lambda a: a if a.mean() > CAMERA.mean() - 1 else a[:, :, ::-1], "when its content changes"),
        (about_the_mass, "content"),
        (lambda a: np.repeat(a[:, :1], 200, 1), "no affine map|nothing"),
        (lambda a: np.abs(np.fft.fft2(a)), "no affine map|nothing|several"),
        (lambda a: a[:, : 100 + int(a.mean()) % 7], "changes its shape"),
    ],
)
def test_other_functions_are_refused_with_the_reason(function: Function, why: str) -> None:
    with pytest.raises(Misplaced, match=why):
        placed(function, CAMERA)


def test_an_image_of_three_rows_is_refused() -> None:
    with pytest.raises(Misplaced, match="4 elements or more"):
        placed(lambda a: a, np.ones((1, 3, 50), np.float32))
