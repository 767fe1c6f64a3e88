"""Steps that change values; those that move the grid are proved in tests/property."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from saliscope.core.errors import CardError, GeometryError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.frame import Frame
from saliscope.model.intensity import Channels, Clip, Normalise, Scale, Window
from saliscope.model.steps import STEPS, Orient, Pad, Resample, Resize, make_step, step_name
from saliscope.model.view import Viewing


def frame(values: object, padding: object = None) -> Frame:
    array = np.asarray(values, dtype=np.float32)
    array = array.reshape((1, *array.shape)) if array.ndim == 2 else array
    mask = None if padding is None else np.asarray(padding, dtype=bool)
    return Frame(array, Geometry.of_picture(array.shape[1:]), mask)


ROW = [[-1000.0, 0.0, 50.0, 3000.0]]
OUT = [[True, False, False, False]]


def test_a_window_is_in_the_images_own_units() -> None:
    assert Window(-160, 240)(frame(ROW)).values.tolist() == [[[0, pytest.approx(0.4), pytest.approx(0.525), 1]]]


def test_padding_is_left_out_of_statistics() -> None:
    assert Scale()(frame(ROW, OUT)).values[0, 0, 1:].tolist() == pytest.approx([0, 50 / 3000, 1])
    assert Clip(0, 50)(frame(ROW, OUT)).values.max() == 50
    done = Normalise()(frame(ROW, OUT)).values[0, 0, 1:]
    assert (done.mean(), done.std()) == pytest.approx((0, 1), abs=1e-6)
    assert Pad((1, 6), "min")(frame(ROW, OUT)).values[0, 0, 0] == 0


def test_a_constant_image_stays_finite() -> None:
    for step in (Scale(), Normalise(), Clip(1, 99)):
        assert np.isfinite(step(frame(np.ones((3, 3)))).values).all()


def test_channels() -> None:
    rgb = np.stack([np.full((2, 2), v) for v in (10.0, 20.0, 30.0)])
    assert Channels(1)(frame(rgb)).values[0, 0, 0] == pytest.approx(0.299 * 10 + 0.587 * 20 + 0.114 * 30)
    assert Channels(3)(frame(np.ones((2, 2)))).values.shape == (3, 2, 2)
    with pytest.raises(GeometryError, match="3 channels"):
        Channels(2)(frame(rgb))


def test_shrinking_does_not_fold_fine_stripes_into_coarse_ones() -> None:
    stripes = np.tile([[0.0, 255.0]], (64, 32))
    small = Resize((16, 16))(frame(stripes)).values
    assert small[0, 2:-2, 2:-2].std() < 10


def test_what_does_not_fit_is_refused_with_a_reason() -> None:
    with pytest.raises(GeometryError, match="known spacing"):
        Resample((1.0, 1.0))(frame(ROW))
    with pytest.raises(GeometryError, match="2 positive sizes"):
        Resize((4, 4, 4))(frame(ROW))
    with pytest.raises(GeometryError, match="orientation in the patient"):
        Orient("SPL")(frame(ROW))
    volume = Frame(np.zeros((1, 2, 3, 4), np.float32), Geometry.of_affine((2, 3, 4), np.eye(4)))
    with pytest.raises(GeometryError, match="one of each pair"):
        Orient("SPP")(volume)
    with pytest.raises(CardError, match="low below high"):
        Window(5, 5)(frame(ROW))
    with pytest.raises(CardError, match="one for each"):
        Normalise((1.0, 2.0), (1.0, 1.0))(frame(ROW))


def test_steps_come_from_words_and_go_back() -> None:
    made = make_step({"step": "resize", "shape": [16, 16]})
    assert made == Resize((16, 16))
    assert step_name(made) == "resize"
    with pytest.raises(CardError, match="Did you mean 'resize'"):
        make_step({"step": "resise"})
    with pytest.raises(CardError, match="Did you mean 'shape'"):
        make_step({"step": "resize", "shap": [1, 1]})
    with pytest.raises(CardError, match="every field"):
        make_step({"step": "resize"})
    for name, cls in STEPS.items():
        assert cls.__dataclass_params__.frozen, name
        assert all(f.type for f in fields(cls))


def test_a_view_has_a_digest_of_its_steps_and_refuses_what_is_not_finite() -> None:
    one, two = Viewing((Scale(),)), Viewing((Scale(2.0),))
    assert one.digest == Viewing((Scale(),)).digest != two.digest != Viewing((Scale(2.0),), "display").digest
    grid = Geometry.of_picture((2, 2))
    image = MedicalImage(np.ones((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.uint8), grid, "", "", "d", "n")
    assert Viewing((), "display")(image).tensor.max() == 0
    assert Viewing()(image).tensor.shape == (1, 1, 2, 2)
    with pytest.raises(GeometryError, match="NaN"):
        Viewing((Scale(float("inf")),))(image)
