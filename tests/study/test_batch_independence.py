"""A network that normalises over its batch is asked one image at a time: its maps are those of the image alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope
from methods.quick import QUICK
from saliscope.core.errors import SaliscopeError
from saliscope.core.explanation import Explanation
from saliscope.methods import METHODS
from saliscope.methods.cam.grad_cam import GradCAM

#: What takes statistics of a tensor (N, C, *S): of the whole batch, and of each image, which is the same for one.
NORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "standardised": (
        lambda h: (h - h.mean()) / (h.std() + 1e-2),
        lambda h: (h - _each(h.flatten(1).mean(1), h)) / (_each(h.flatten(1).std(1), h) + 1e-2),
    ),
    "least to most": (
        lambda h: (h - h.min()) / (h.max() - h.min() + 1e-2),
        lambda h: (h - _each(h.flatten(1).amin(1), h)) / (_each(_span(h), h) + 1e-2),
    ),
    "batch statistics": (
        lambda h: nn.functional.batch_norm(h, None, None, training=True),
        nn.functional.instance_norm,
    ),
}
#: Methods that cannot be asked by name alone, or explain nothing of the network.
SKIPPED = ("cam", "guided", "guided-grad-cam", "tiled", "random", "edges", "centre", "constant")
#: Methods whose map depends on how a function is written, not only on which it is.
WRITTEN = ("deeplift", "lrp", "guided-backprop", "deconvnet")
FIELDS = QUICK | {
    "occlusion": {"window": 4, "stride": 4},
    "integrated-gradients": {"steps": 4},
    "smoothgrad": {"samples": 3},
    "smooth-grad-cam++": {"samples": 3},
    "fused": {},
    "consensus": {"methods": (GradCAM(), "input-x-gradient")},
}


def _span(h: Tensor) -> Tensor:
    return h.flatten(1).amax(1) - h.flatten(1).amin(1)


def _each(values: Tensor, h: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (h.ndim - 1))


class Normalised(nn.Module):
    """conv -> ReLU -> conv -> ReLU -> mean -> linear, with a norm before the first and one behind it."""

    def __init__(self, axes: int, norm: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.norm, self.first, self.last = norm, conv(1, 4, 3, padding=1), conv(4, 4, 3, 2, 1)
        self.head = nn.Linear(4, 3)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.first(self.norm(x))))
        return self.head(torch.tanh(self.last(h)).flatten(2).mean(2))


def image(axes: int, n: int = 1) -> Tensor:
    x = torch.randn(n, 1, *[12] * axes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x + torch.linspace(0, 3, 12, dtype=torch.float64) * torch.arange(1, n + 1).reshape(-1, *[1] * (axes + 1))


def asked(net: nn.Module, x: Tensor, method: str, **fields: object) -> list[Explanation] | str:
    """Return the maps, or the kind of refusal."""
    made = METHODS.make(method, **{**FIELDS.get(method, {}), **fields})
    try:
        found = saliscope.explain(x, net, made, 0)
    except SaliscopeError as refusal:
        return type(refusal).__name__
    return found if isinstance(found, list) else [found]


def same(found: list[Explanation] | str, right: list[Explanation] | str) -> None:
    if isinstance(found, str) or isinstance(right, str):
        assert found == right
        return
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=0, atol=1e-5 * np.abs(other.values).max())


@pytest.mark.parametrize("method", sorted(set(METHODS.addresses) - {*SKIPPED, *WRITTEN}))
@pytest.mark.parametrize("norm", NORMS)
def test_every_method_gives_the_map_of_the_network_that_normalises_each_image(norm: str, method: str) -> None:
    batch, each = NORMS[norm]
    same(asked(Normalised(2, batch), image(2), method), asked(Normalised(2, each), image(2), method))


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "occlusion", "deeplift", "integrated-gradients", "rise"])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_images_of_a_batch_do_not_see_each_other(norm: str, axes: int, method: str) -> None:
    batch, _ = NORMS[norm]
    x = image(axes, 3)
    together = asked(Normalised(axes, batch), x, method)
    alone = [asked(Normalised(axes, batch), one, method) for one in x.split(1)]
    if isinstance(together, str):
        assert together in alone
        return
    for one, right in zip(together, alone, strict=True):
        same([one], right)


@pytest.mark.parametrize("norm", NORMS)
def test_deeplift_compares_image_and_baseline_each_run_alone(norm: str) -> None:
    net = Normalised(2, NORMS[norm][0])
    found = asked(net, image(2), "deeplift", baseline=0.5)
    if isinstance(found, str):
        return  # it may have no rule for such a norm, but may not be wrong
    with torch.no_grad():
        right = float((net(image(2)) - net(0 * image(2) + 0.5))[0, 0])
    total = float(found[0].values.sum())
    assert total == pytest.approx(right, rel=0.1)


@pytest.mark.parametrize("engine", ["full", "exact", "auto"])
@pytest.mark.parametrize("norm", NORMS)
def test_memory_changes_no_value_of_an_occlusion_map(norm: str, engine: str) -> None:
    batch, each = NORMS[norm]
    right = asked(Normalised(2, each), image(2), "occlusion", engine="full")
    for memory_mb in (1024, 1e-4):
        same(asked(Normalised(2, batch), image(2), "occlusion", engine=engine, memory_mb=memory_mb), right)


def test_it_is_said_that_images_were_run_one_at_a_time() -> None:
    (found,) = asked(Normalised(2, NORMS["standardised"][0]), image(2), "occlusion")
    assert any("one at a time" in note or "one by one" in note or "alone" in note for note in found.provenance.notes)


def test_a_network_without_a_row_for_each_image_is_refused() -> None:
    """A scalar for the batch, and an output transposed, which a method of copies would read as scores of images."""

    class Transposed(Normalised):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).T

    class Scalar(Normalised):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sum()[None]

    for make in (Transposed, Scalar):
        for method in ("occlusion", "rise", "hsic", "kernel-shap", "integrated-gradients", "lime", "sobol", "gradient"):
            net = make(2, lambda h: h)
            try:
                found = saliscope.explain(image(2), net, METHODS.make(method, **FIELDS.get(method, {})), 0)
            except SaliscopeError:
                continue
            # One image alone has one row either way: what needs no copies may answer, and then rightly.
            assert method == "gradient", f"{make.__name__}, {method}: {found}"
