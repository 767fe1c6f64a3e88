"""A network explained through the caller's own preprocessing: the map lies on the image, as through our own steps."""

from typing import Any

import numpy as np
import pytest
import torch
from skimage.transform import resize

import saliscope
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage

SPOT = (70, 150)


def image_with_spot() -> MedicalImage:
    """Return a picture of smooth grey with one bright spot."""
    rows, columns = np.mgrid[:160, :200]
    grey = 60 + 20 * np.sin(rows / 23) + 20 * np.cos(columns / 31)
    spot = 120 * np.exp(-((rows - SPOT[0]) ** 2 + (columns - SPOT[1]) ** 2) / 50)
    shown = np.rint(grey + spot).astype(np.uint8)[None]
    return MedicalImage(shown.astype(np.float32), shown, Geometry.of_picture((160, 200)), "", "", "digest", "spot")


def seeing_bright(ndim: int = 2) -> torch.nn.Module:
    """Return a network that sums up how far its image is above a level."""
    kind, pool = (
        (torch.nn.Conv2d, torch.nn.AdaptiveAvgPool2d) if ndim == 2 else (torch.nn.Conv3d, torch.nn.AdaptiveAvgPool3d)
    )
    conv, head = kind(1, 1, 4, stride=4), torch.nn.Linear(1, 2)
    with torch.no_grad():
        conv.weight.fill_(1 / 4**ndim)
        conv.bias.fill_(-110.0)
        head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
    return torch.nn.Sequential(conv, torch.nn.ReLU(), pool(1), torch.nn.Flatten(), head)


def resized(a: Any, *shape: int) -> Any:
    return resize(np.asarray(a, np.float32), shape, order=1, mode="edge", anti_aliasing=True, preserve_range=True)


def peak(e: Any) -> Any:
    """Return the source index of the largest value of a map."""
    index = np.unravel_index(np.argmax(e.values), e.values.shape)
    return image_with_spot().geometry.to_index(e.geometry.to_world(index))


@pytest.mark.parametrize(
    "view",
    [
        lambda a: resized(a, 80, 100)[8:72, ::-1][:, 4:68],
        lambda a: np.pad(np.rot90(resized(a, 80, 100)), [(20, 0), (0, 12)]),
        lambda a: torch.as_tensor(resized(np.asarray(a)[20:, 30:], 96, 96).copy())[None],
    ],
)
def test_the_map_peaks_at_the_spot_of_the_image_itself(view: Any) -> None:
    e = saliscope.explain(image_with_spot(), seeing_bright(), "grad-cam", 1, view=view)
    cell = max(e.geometry.spacing)
    assert np.abs(peak(e) - SPOT).max() < cell
    assert "learnt" in e.provenance.view_steps[-1]
    assert "test_own_view" in e.provenance.view_steps[1]


def test_the_map_is_that_of_the_same_steps() -> None:
    steps = [{"step": "crop", "shape": [120, 140]}, {"step": "resize", "shape": [64, 80]}, {"step": "transpose"}]
    own = saliscope.explain(image_with_spot(), seeing_bright(), "grad-cam", 1, view=steps)
    e = saliscope.explain(
        image_with_spot(),
        seeing_bright(),
        "grad-cam",
        1,
        view=lambda a: resized(np.asarray(a)[20:140, 30:170], 64, 80).T,
    )
    assert np.allclose(e.values, own.values, atol=1e-4 * np.abs(own.values).max())
    assert np.allclose(e.geometry.affine, own.geometry.affine, atol=1e-4)
    assert e.provenance.view != own.provenance.view


def test_a_volume_is_as_by_the_steps_that_turn_it() -> None:
    rng = np.random.default_rng(0)
    grid = Geometry.of_affine((24, 32, 28), [[0, 0, -2, 9], [0, -1.5, 0, 5], [3, 0, 0, 1]])
    values = np.rint(rng.uniform(0, 255, (1, 24, 32, 28))).astype(np.float32)
    volume = MedicalImage(values, values.astype(np.uint8), grid, "", "", "digest", "volume")
    turned = [{"step": "orient", "towards": "RAS"}, {"step": "resize", "shape": [24, 24, 24]}]
    own = saliscope.explain(volume, seeing_bright(3), "grad-cam", 1, view=turned)
    e = saliscope.explain(
        volume, seeing_bright(3), "grad-cam", 1, view=lambda a: resized(a[:, ::-1, ::-1].transpose(2, 1, 0), 24, 24, 24)
    )
    assert np.allclose(e.values, own.values, atol=1e-4 * np.abs(own.values).max())
    assert np.allclose(e.geometry.affine, own.geometry.affine, atol=1e-4)


def test_several_images_a_page_and_a_refusal() -> None:
    image = image_with_spot()
    both = saliscope.explain([image, image], seeing_bright(), "grad-cam", 1, view=lambda a: np.asarray(a)[:, ::-1])
    assert isinstance(both, list)
    assert both[0].provenance.view == both[1].provenance.view
    with pytest.raises(saliscope.SaliscopeError, match="draws at random"):
        saliscope.explain(image, seeing_bright(), view=lambda a: np.asarray(a) + np.random.rand())  # noqa: NPY002


def test_a_look_before_takes_the_function_too() -> None:
    assert saliscope.inspect(seeing_bright(), image_with_spot(), view=lambda a: resized(a, 64, 64)).auto


def test_one_channel_is_given_three_times_to_a_network_of_three() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 4, stride=4), *list(seeing_bright())[1:])
    e = saliscope.explain(image_with_spot(), net, "gradient", 1, view=lambda a: np.asarray(a)[:, ::-1])
    assert e.geometry.shape == (160, 200)
    assert "channels count=3" in e.provenance.view_steps
