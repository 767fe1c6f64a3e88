"""Functions of every form as views: what they are given, what they may return, what is refused, what is recorded."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_places import textured

from saliscope.core.errors import GeometryError, InputError, ModelError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.callable_view import CallableViewing
from saliscope.study.own_view import stored, viewing_of


def picture(values: Any, *, deep: bool = False) -> MedicalImage:
    """Return a picture of 8 bits, or, when `deep`, one whose values are not what is displayed."""
    shown = np.rint(values).astype(np.uint8)
    own = shown.astype(np.float32) * (16 if deep else 1) - (1000 if deep else 0)
    return MedicalImage(own, shown, Geometry.of_picture(values.shape[1:]), "", "", "digest", "case")


GREY = picture(textured(90, 120))
RGB = picture(np.concatenate([textured(90, 120, seed=s) for s in (1, 2, 3)]))
DEEP = picture(textured(90, 120), deep=True)
SPACE = Geometry((24, 30, 36), (3.0, 1.0, 0.5), (5.0, 6.0, 7.0), ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)))
VOLUME = MedicalImage(textured(24, 30, 36), np.zeros((1, 24, 30, 36), np.uint8), SPACE, "", "", "digest", "case")


def of_pil(image: Image.Image) -> Any:
    return np.asarray(image.crop((10, 20, 110, 80)), np.float32)


def of_array(array: Any) -> Any:
    return np.clip(array[20:80, 10:110], 0, 200).astype("float32")


def of_bytes(array: Any) -> Any:
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.uint8
    return torch.from_numpy(array[20:80, 10:110].copy()).reshape(1, 60, 100, -1)[..., 0] / 255


def of_tensor(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[:, 20:80, 10:110].clone().div_(255)


def of_batch(tensor: torch.Tensor) -> torch.Tensor:
    assert tensor.ndim == 4
    return torch.nn.functional.pad(tensor, (-10, -10, -20, -10), mode="constant")


def of_keyword(*, image: Any) -> dict[str, Any]:
    return {"image": torch.from_numpy(image[20:80, 10:110].astype("float32").reshape(60, 100, -1)).permute(2, 0, 1)}


def of_dict(case: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**case, "image": of_tensor(case["image"])}


def of_path(path: str) -> Any:
    return of_pil(Image.open(path))


@pytest.mark.parametrize("image", [GREY, RGB], ids=["grey", "colour"])
@pytest.mark.parametrize(
    ("function", "form"),
    [
        (of_pil, "a PIL image of mode"),
        (of_array, "a NumPy array (row, column"),
        (of_bytes, "of 8 bits"),
        (of_tensor, "a tensor (C, row, column)"),
        (of_batch, "a tensor (1, C, row, column)"),
        (of_keyword, "image= a NumPy array"),
        (of_dict, "a dict of tensors"),
        (of_path, "a file of it"),
    ],
)
def test_every_form_is_found_and_recorded(function: Any, form: str, image: MedicalImage) -> None:
    view = viewing_of(function)(image)
    assert form in view.words[0]
    assert f"test_callable_view.{function.__name__}" in view.words[1]
    assert view.tensor.shape[2:] == (60, 100)
    assert view.geometry == image.geometry.cropped((20, 10), (60, 100))
    assert "(1 i + 20, 1 j + 10)" in view.words[2]


def test_a_picture_of_more_than_8_bits_is_given_as_values() -> None:
    view = viewing_of(lambda a: np.asarray(a)[::-1])(DEEP)
    assert view.words[0] == "from the image's values, given as a NumPy array (row, column)"
    assert torch.equal(view.tensor[0, 0], torch.from_numpy(DEEP.values[0][::-1].copy()))


def test_a_form_may_be_set_and_a_wrong_name_is_refused() -> None:
    assert "a tensor" in CallableViewing(lambda a: a[..., ::2] if isinstance(a, int) else a, "tensor")(GREY).words[0]
    with pytest.raises(InputError, match="Did you mean 'tensor'"):
        CallableViewing(of_array, "tensr")(GREY)


def test_a_volume_keeps_its_place_in_the_patient() -> None:
    view = viewing_of(lambda a: np.flip(a[2:20], 2))(VOLUME)
    assert view.geometry == SPACE.cropped((2, 0, 0), (18, 30, 36)).flipped(2)


def test_rows_and_columns_in_the_wrong_place_are_not_taken_for_channels() -> None:
    def to_tensor(array: Any) -> torch.Tensor:
        """Do as torchvision's ToTensor: take the last axis for channels."""
        assert array.ndim == 3
        return torch.from_numpy(array.transpose(2, 0, 1).copy())

    view = viewing_of(to_tensor)(RGB)
    assert view.geometry == RGB.geometry
    with pytest.raises(GeometryError, match="array of shape"):
        viewing_of(to_tensor)(DEEP)


def test_channels_last_are_put_first() -> None:
    view = viewing_of(lambda a: np.stack([np.asarray(a, float)] * 3, axis=-1))(GREY)
    assert view.tensor.shape == (1, 3, 90, 120)
    assert view.geometry == GREY.geometry


def draws(kind: str) -> Any:
    own = np.random.default_rng(0)
    drawn = {
        "python": random.random,
        "torch": lambda: float(torch.rand(())),
        "numpy": np.random.rand,
        "own": own.random,
    }[kind]
    return lambda a: np.asarray(a)[::-1] if drawn() < 0.5 else np.asarray(a)


@pytest.mark.parametrize("kind", ["python", "torch", "numpy", "own"])
def test_draws_are_refused(kind: str) -> None:
    with pytest.raises(GeometryError, match=r"draws at random.*validation set"):
        viewing_of(draws(kind))(GREY)


class Sometimes:
    """Flips by a chance so small that two calls never show it."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, a: Any) -> Any:
        return np.asarray(a)[::-1] if float(torch.rand(())) < self.p else np.asarray(a)


def test_a_small_chance_is_refused_and_a_sure_one_is_not() -> None:
    with pytest.raises(GeometryError, match="draws at random"):
        viewing_of(Sometimes(1e-9))(GREY)
    assert viewing_of(Sometimes(1.0))(GREY).geometry == GREY.geometry.flipped(0)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda a: "x", "returns a str"),
        (lambda a: None, "returns a NoneType"),
        (lambda a: np.zeros((2, 3, 4, 5, 6)), r"array of shape \(2, 3, 4, 5, 6\)"),
        (lambda a: np.asarray(a, float).mean(), "returns a float"),
        (lambda a: np.asarray(a) * np.nan, "NaN"),
        (lambda a: np.asarray(a) * 1j, "complex"),
        (lambda a: {"mask": a}, "returns a dict"),
        (lambda a: 1 / 0, "ZeroDivisionError"),
        (lambda: 0, "TypeError"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(function: Any, why: str) -> None:
    with pytest.raises(GeometryError, match=why) as refused:
        viewing_of(function)(GREY)
    assert "Wrap it in a function" in str(refused.value)
    assert len(str(refused.value)) < 700


def test_the_digest_tells_functions_and_places_apart_and_repeats() -> None:
    def cut(start: int) -> Any:
        return lambda a: np.asarray(a)[start:]

    digests = [viewing_of(f)(GREY).digest for f in (cut(10), cut(10), cut(11), lambda a: np.asarray(a)[10:] * 2)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_second_image_costs_four_calls() -> None:
    calls = 0

    def counted(a: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.asarray(a)[::-1]

    viewing_of(counted)(GREY)
    first, calls = calls, 0
    viewing_of(counted)(picture(textured(90, 120, seed=5)))
    assert (first, calls) == (10, 4)


def test_steps_are_still_steps_and_a_list_of_functions_is_refused() -> None:
    assert viewing_of([{"step": "resize", "shape": [8, 8]}]) == viewing_of({"step": "resize", "shape": [8, 8]})
    for wrong in ([of_array, of_tensor], 3, "resize"):
        with pytest.raises(ModelError, match="a function of an image, or a list of steps"):
            viewing_of(wrong)


def test_files_hold_the_values(tmp_path: Path) -> None:
    from saliscope.read import read

    for image in (GREY, VOLUME, DEEP):
        back = read(stored(image.values, image, tmp_path))
        assert np.array_equal(back.values, image.values)
        assert np.allclose(back.geometry.affine, image.geometry.affine, atol=1e-4)


def test_torchvision() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    eval_ = [v2.Resize(64), v2.CenterCrop(60), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    view = viewing_of(v2.Compose([*eval_, v2.Normalize([0.5] * 3, [0.2] * 3)]))(GREY)
    assert view.tensor.shape == (1, 3, 60, 60)
    assert "a PIL image" in view.words[0]
    scale = np.array([90 / 64, 120 / 85])
    corner = view.geometry.to_index(GREY.geometry.to_world([0.0, 0.0]))
    assert np.allclose(corner, -(scale - 1) / 2 / scale - [2, 12], atol=0.1)
    sure = v2.Compose([v2.PILToTensor(), v2.RandomHorizontalFlip(1.0), v2.ToDtype(torch.float32)])
    assert viewing_of(sure)(GREY).geometry == GREY.geometry.flipped(1)
    for drawn in (v2.RandomHorizontalFlip(0.5), v2.RandomResizedCrop(50), v2.ElasticTransform()):
        with pytest.raises(GeometryError, match="draws at random"):
            viewing_of(v2.Compose([v2.PILToTensor(), drawn]))(GREY)
    # Hands on an array as it came: no view that the network was taught with.
    with pytest.raises(GeometryError):
        viewing_of(v2.FiveCrop(40))(GREY)


def test_monai() -> None:
    t = pytest.importorskip("monai.transforms")
    names = [t.LoadImaged("ct"), t.EnsureChannelFirstd("ct"), t.Orientationd("ct", "RAS"), t.Spacingd("ct", (1, 1, 2))]
    view = viewing_of(t.Compose([*names, t.ScaleIntensityd("ct")]))(VOLUME)
    assert view.geometry.letters == (("L", "R"), ("P", "A"), ("I", "S"))
    assert np.allclose(view.geometry.spacing, (1, 1, 2))
    assert "LoadImaged, EnsureChannelFirstd, Orientationd, Spacingd, ScaleIntensityd" in view.words[1]
    plain = t.Compose([t.Orientation("RAS"), t.Spacing((1, 1, 2)), t.NormalizeIntensity()])
    assert np.allclose(viewing_of(plain)(VOLUME).geometry.affine, view.geometry.affine, atol=1e-3)
    turned = viewing_of(t.Compose([t.Rotate90(), t.Resize((60, 60))]))(GREY)
    assert turned.geometry.shape == (60, 60)
    with pytest.raises(GeometryError, match="draws at random"):
        viewing_of(t.Compose([t.RandFlip(prob=0.1, spatial_axis=0)]))(VOLUME)


def test_albumentations() -> None:
    library = pytest.importorskip("albumentations")
    made = library.Compose([library.HorizontalFlip(p=1), library.CenterCrop(60, 80)])
    view = viewing_of(made)(GREY)
    assert view.geometry == GREY.geometry.flipped(1).cropped((15, 20), (60, 80))
