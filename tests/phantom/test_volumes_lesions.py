"""Lesions of the white matter: both classes have them, alike in all but their shape."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.findings.white_matter import WhiteMatterLesion
from saliscope.phantom.scenes.brain import BrainMR
from saliscope.phantom.scenes.field import Field

MR = BrainMR((64, 80, 64), 2.5)
Shape = Literal["regular", "irregular"]


def surface(mask: np.ndarray) -> int:
    return sum(int(np.abs(np.diff(mask.astype(int), axis=axis)).sum()) for axis in range(mask.ndim))


def planted(shape: Shape, seed: int, **fields: object) -> tuple[Case, np.ndarray]:
    case = Case(MR, seed, (WhiteMatterLesion(shape=shape, **fields),))  # type: ignore[arg-type]
    mask = case.plants["lesion"].mask
    assert mask is not None
    return case, mask


def test_only_the_shape_tells_the_two_apart() -> None:
    from scipy.ndimage import label

    for seed in range(3):
        (ball, round_), (star, spiked) = planted("regular", seed, count=2), planted("irregular", seed, count=2)
        assert spiked.sum() == pytest.approx(round_.sum(), rel=0.15)
        assert surface(spiked) > 1.25 * surface(round_)
        assert label(round_)[1] <= 2
        places = [np.argwhere(mask).mean(0) for mask in (round_, spiked)]
        np.testing.assert_allclose(places[0], places[1], atol=2)
        change = [case.render().values - case.render(()).values for case in (ball, star)]
        assert change[0].sum() == pytest.approx(change[1].sum(), rel=0.15)
        assert change[0].min() == pytest.approx(change[1].min(), rel=0.25)


@pytest.mark.parametrize(("contrast", "sign"), [((-0.5, -0.4), -1), ((0.4, 0.5), 1)])
def test_they_are_dark_or_bright_where_the_mask_says_and_nowhere_else(contrast: tuple[float, float], sign: int) -> None:
    from scipy.ndimage import binary_dilation

    case, mask = planted("irregular", 1, contrast=contrast)
    change = case.render().values[0] - case.render(()).values[0]
    assert sign * change[mask].mean() > 0.2 * MR.contrast
    assert not change[~binary_dilation(mask, iterations=2)].any()
    assert (mask & case.anatomy.compartments["white matter"]).sum() > 0.7 * mask.sum()


def test_their_number_and_size_are_what_was_asked() -> None:
    _, one = planted("regular", 2, count=1, diameter_mm=20.0)
    assert one.sum() * MR.spacing_mm**3 == pytest.approx(np.pi / 6 * 20**3, rel=0.1)
    _, small = planted("regular", 2, count=1, diameter_mm=1.0)
    assert small.sum() == 1
    _, three = planted("regular", 2, count=3, diameter_mm=12.0)
    assert three.sum() * MR.spacing_mm**3 == pytest.approx(3 * np.pi / 6 * 12**3, rel=0.15)


def test_they_work_in_a_plane_too() -> None:
    masks = []
    for shape in ("regular", "irregular"):
        case = Case(Field((96, 96)), 3, (WhiteMatterLesion(shape=shape, count=1, diameter_mm=30.0),))
        masks.append(case.plants["lesion"].mask)
    assert masks[0] is not None
    assert masks[1] is not None
    assert masks[1].sum() == pytest.approx(masks[0].sum(), rel=0.1)
    assert surface(masks[1]) > 1.2 * surface(masks[0])


def test_another_shape_or_none_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="square"):
        WhiteMatterLesion(shape="square")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 lesions"):
        WhiteMatterLesion(count=0)
