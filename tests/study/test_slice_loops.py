"""Networks that run one module on slices, patches or chunks in a Python loop: one map of all its runs, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import saliscope
from saliscope.core.errors import LayerError
from saliscope.core.explanation import Explanation
from saliscope.methods.gradient.full_grad import FullGrad
from saliscope.model.layer_choice import choose_layer
from saliscope.model.network import Network

Run = Callable[["Loop", Tensor], Tensor]
METHODS = (
    "grad-cam", "hirescam", "layercam", "grad-cam++", "xgrad-cam", "eigen-cam", "score-cam", "ablation-cam",
    "recipro-cam", "shapley-cam", "finer-cam", "smooth-grad-cam++", "fused", "layercam-fusion", "lrp",
    FullGrad(gap_limit=9), FullGrad("rescaled", 9),
)  # fmt: skip


class Loop(nn.Module):
    """A CNN of several layers, a bidirectional GRU over what it gives, and the function that runs them."""

    def __init__(self, run: Run, channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(4)
        inner = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.cnn = nn.Sequential(nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU(inplace=True), inner, nn.GELU())
        self.cube = nn.Sequential(nn.Conv3d(1, 4, 3, (1, 2, 2), 1), nn.Tanh())
        self.gru, self.head = nn.GRU(6, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)
        self.means, self.small, self.post = nn.Linear(6, 3), nn.Linear(4, 3), nn.Conv2d(6, 6, 3, padding=1)
        self.state = nn.Conv2d(7, 6, 3, padding=1)
        self.run = run

    def over(self, features: Sequence[Tensor]) -> Tensor:
        return self.head(self.gru(torch.stack(list(features), 1))[0].amax(1))

    def pooled(self, x: Tensor) -> Tensor:
        return self.cnn(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def loop(s: Loop, x: Tensor) -> Tensor:
    return s.over([s.pooled(q) for q in x.unbind(2)])


def folded(s: Loop, x: Tensor) -> Tensor:
    return s.over(s.pooled(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).unbind(1))


def each(maps: Explanation | list[Explanation]) -> list[Explanation]:
    return maps if isinstance(maps, list) else [maps]


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_loop_over_slices_has_the_map_of_slices_in_the_batch(method: str | FullGrad, n: int) -> None:
    x = image(n, 1, 5, 12, 16).double()
    found, right = (each(saliscope.explain(x, Loop(f).double().eval(), method, 1)) for f in (loop, folded))
    for one, other in zip(found, right, strict=True):
        assert one.geometry == other.geometry
        np.testing.assert_allclose(one.values, other.values, rtol=0, atol=1e-6 * np.abs(other.values).max())


def test_the_layer_its_reason_and_the_report_speak_of_all_runs() -> None:
    net, x = Loop(loop).eval(), image(1, 1, 5, 12, 16)
    e = each(saliscope.explain(x, net, "grad-cam", 1))[0]
    assert e.provenance.layer == "cnn#*"
    assert e.provenance.layer_reason == "the last layer with a spatial grid (5 x 6 x 8) on which the output depends"
    report = saliscope.inspect(net, x)
    assert report.auto == "cnn#*"
    assert report.layers[-1].grid == (5, 6, 8)
    for layer in ("cnn", "cnn#*"):
        same = each(saliscope.explain(x, net, "grad-cam", 1, layer=layer))[0]
        np.testing.assert_array_equal(same.values, e.values)
        assert same.geometry == e.geometry
    third = each(saliscope.explain(x, net, "hirescam", 1, layer="cnn#3"))[0]
    assert third.values.shape == (1, 6, 8)
    whole = each(saliscope.explain(x, net, "hirescam", 1))[0]
    np.testing.assert_allclose(third.values[0], whole.values[3], rtol=1e-5, atol=1e-8)


def test_it_is_grad_cam_by_hand_over_all_runs() -> None:
    net, x, kept = Loop(loop).eval(), image(1, 1, 5, 12, 16), list[Tensor]()
    handle = net.cnn.register_forward_hook(lambda _m, _i, out: kept.append(out))
    score = net(x.requires_grad_())[0, 1]
    handle.remove()
    gradients = torch.autograd.grad(score, kept)
    weights = torch.stack(gradients, 2).mean((2, 3, 4), keepdim=True)
    right = (weights * torch.stack(kept, 2)).sum(1)[0].detach().numpy()
    found = each(saliscope.explain(x.detach(), net, "grad-cam", 1))[0].values
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-8)
    assert not net.cnn._forward_hooks
    assert not any("forward" in vars(m) for m in net.modules())


ORDERS: dict[str, tuple[int, Run]] = {
    "slices": (2, loop),
    "slices in reverse order": (2, lambda s, x: s.over([s.pooled(x[:, :, k]) for k in reversed(range(6))])),
    "slices in any order": (2, lambda s, x: s.over([s.pooled(x[:, :, k]) for k in (2, 5, 0, 1, 4, 3)])),
    "coronal slices": (3, lambda s, x: s.over([s.pooled(x[..., k, :]) for k in range(8)])),
    "sagittal slices": (4, lambda s, x: s.over([s.pooled(x[..., k]) for k in range(12)])),
    "image by image": (2, lambda s, x: torch.cat([loop(s, q[None]) for q in x])),
    "with neighbours": (
        2,
        lambda s, x: s.over([s.pooled(x[:, 0, [max(0, k - 1), k, min(5, k + 1)]]) for k in range(6)]),
    ),
    "with neighbours stacked": (
        2,
        lambda s, x: s.over(
            [s.pooled(torch.stack([x[:, 0, min(5, max(0, k + i))] for i in (-1, 0, 1)], 1)) for k in range(6)]
        ),
    ),
    "with padded neighbours": (
        2,
        lambda s, x: s.over(
            [s.pooled(functional.pad(x[:, 0], (0, 0, 0, 0, 1, 1))[:, k : k + 3]) for k in range(6)]
        ),
    ),
    "summed maps": (2, lambda s, x: s.means(s.post(sum(s.cnn(q) for q in x.unbind(2))).mean((2, 3)))),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_a_spot_is_found_in_its_slice_in_whatever_order_slices_run(name: str) -> None:
    axis, run = ORDERS[name]
    net = Loop(run, 3 if "neighbours" in name else 1).eval()
    with torch.no_grad():
        for name_of, p in (*net.cnn.named_parameters(), *net.means.named_parameters(), *net.post.named_parameters()):
            p.fill_(0.1 if p.ndim > 1 else float(name_of == "2.1.weight"))
        if "neighbours" in name:
            net.cnn[0].weight[:, [0, 2]] = 0
    vars(net)["over"] = lambda features: net.means(sum(features))
    x = torch.zeros(1, 1, 6, 8, 12)
    place = [1, 2, 8]
    x[0, 0, *place] = 5
    e = each(saliscope.explain(x, net, "hirescam", 1))[0]
    assert e.values.shape[axis - 2] == x.shape[axis]
    strongest = np.unravel_index(np.abs(e.values).argmax(), e.values.shape)
    at = e.geometry.to_world([float(i) for i in strongest])
    off = np.abs(np.subtract(e.seen.to_index(at), place))
    assert off[axis - 2] < 0.1
    assert off.max() <= 2.1


CHUNKS: dict[str, Run] = {
    "chunks": lambda s, x: s.small(sum(s.cube(q).amax((2, 3, 4)) for q in x.split(2, 2))),
    "chunks in reverse order": lambda s, x: s.small(sum(s.cube(q).amax((2, 3, 4)) for q in x.split(2, 2)[::-1])),
}


@pytest.mark.parametrize("method", ["hirescam", "ablation-cam"])
@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_of_slices_lie_behind_each_other(name: str, method: str) -> None:
    x = image(2, 1, 6, 8, 12)
    for e, one in zip(each(saliscope.explain(x, Loop(CHUNKS[name]).eval(), method, 1)), x.split(1), strict=True):
        assert e.values.shape == (6, 4, 6)
        if method == "hirescam":
            net, kept = Loop(CHUNKS["chunks"]).eval(), list[Tensor]()
            net.cube.register_forward_hook(lambda _m, _i, out, kept=kept: kept.append(out))
            gradients = torch.autograd.grad(net(one)[0, 1], kept)
            right = torch.cat([(g * a).sum(1)[0] for g, a in zip(gradients, kept, strict=True)])
            np.testing.assert_allclose(e.values, right.detach().numpy(), rtol=1e-4, atol=1e-8)


def quadrants(x: Tensor, size: int = 8) -> list[Tensor]:
    return [x[..., i : i + size, j : j + size] for i in (0, size) for j in (0, size)]


@pytest.mark.parametrize("by", [lambda q: q, lambda q: [q[0], q[2], q[1], q[3]]])
def test_patches_of_two_nested_loops_make_one_grid(by: Callable[[list[Tensor]], list[Tensor]]) -> None:
    net = Loop(lambda s, x: s.means(torch.stack([s.pooled(q) for q in by(quadrants(x))]).amax(0))).eval()
    x = image(1, 1, 16, 16)
    e = each(saliscope.explain(x, net, "hirescam", 1))[0]
    assert e.values.shape == (8, 8)
    assert e.geometry.spacing == (2.0, 2.0)
    alone = each(saliscope.explain(x, net, "hirescam", 1, layer=f"cnn#{1 if by([1, 2, 3, 4])[1] == 2 else 2}"))[0]
    np.testing.assert_allclose(e.values[:4, 4:], alone.values, rtol=1e-5, atol=1e-8)


def test_a_causal_network_gives_zero_where_it_does_not_look() -> None:
    def run(s: Loop, x: Tensor) -> Tensor:
        f, h = [s.pooled(q) for q in x.unbind(2)], x.new_zeros(len(x), 6)
        for k in range(3):
            h = torch.tanh(h + f[k])
        return s.means(h)

    for method in ("hirescam", "ablation-cam"):
        e = each(saliscope.explain(image(1, 1, 6, 8, 12), Loop(run).eval(), method, 1))[0]
        assert e.values.shape == (6, 4, 6)
        assert np.abs(e.values[:3]).max() > 0
        if method == "hirescam":
            assert not e.values[3:].any()


def test_slices_stacked_after_the_loop_are_slices_to_what_follows() -> None:
    def again(maps: Tensor) -> Run:
        return lambda s, x: s.means(s.post(maps(s, x)).mean((2, 3)).unflatten(0, (6, len(x))).mean(0))

    net = Loop(again(lambda s, x: torch.cat([s.cnn(q) for q in x.unbind(2)]))).eval()
    e = each(saliscope.explain(image(2, 1, 6, 8, 12), net, "hirescam", 1))[0]
    assert e.provenance.layer == "post"
    assert e.values.shape == (6, 4, 6)
    assert e.geometry.spacing == (1.0, 2.0, 2.0)


def test_a_sum_of_slices_lies_in_their_middle() -> None:
    net = Loop(ORDERS["summed maps"][1]).eval()
    e = each(saliscope.explain(image(1, 1, 6, 8, 12), net, "hirescam", 1, layer="post"))[0]
    assert e.values.shape == (1, 4, 6)
    np.testing.assert_allclose(e.seen.to_index(e.geometry.to_world([0.0, 0.0, 0.0]))[0], 2.5)


def steps(s: Loop, x: Tensor) -> Tensor:
    h = x.new_zeros(len(x), 6, *x.shape[3:])
    for q in x.unbind(2):
        h = torch.tanh(s.state(torch.cat([q, h], 1)))
    return s.means(h.mean((2, 3)))


ONE_PLACE: dict[str, tuple[tuple[int, ...], str, Run]] = {
    "two views as channels": ((1, 2, 16, 16), "cnn#1", lambda s, x: s.means(s.pooled(x[:, :1]) - s.pooled(x[:, 1:]))),
    "scales of one image": (
        (1, 1, 32, 32),
        "cnn#2",
        lambda s, x: s.means(sum(s.pooled(functional.avg_pool2d(x, k)) for k in (1, 2, 4))),
    ),
    "an image and its mirror image": ((1, 1, 16, 16), "cnn#1", lambda s, x: s.means(s.pooled(x) + s.pooled(x.flip(3)))),
    "a state that has seen all slices": ((1, 1, 6, 16, 16), "state#5", steps),
}


@pytest.mark.parametrize("name", ONE_PLACE)
def test_runs_in_one_place_stay_runs(name: str) -> None:
    shape, layer, run = ONE_PLACE[name]
    with Network(Loop(run).eval()).opened() as model:
        runs = model.runs(image(*shape))
    assert choose_layer(runs)[0] == layer
    assert not any(r.count > 1 or r.piece for r in runs)


PARTS: dict[str, tuple[tuple[int, ...], Run]] = {
    "chunks of two sizes": (
        (1, 1, 6, 8, 8), lambda s, x: s.small(sum(s.cube(q).mean((2, 3, 4)) for q in x.split(4, 2)))
    ),
    "windows that overlap": (
        (1, 1, 6, 8, 8),
        lambda s, x: s.small(sum(s.cube(x[:, :, k : k + 3]).mean((2, 3, 4)) for k in range(4))),
    ),
    "slices there and back": (
        (1, 1, 6, 8, 8), lambda s, x: s.over([s.pooled(q) for q in (*x.unbind(2), *x.unbind(2)[::-1])])
    ),
    "crops that overlap": (
        (1, 1, 16, 16),
        lambda s, x: s.means(sum(s.pooled(x[..., i : i + 12, j : j + 12]) for i, j in ((0, 0), (4, 4), (0, 4)))),
    ),
    "a half and the mirrored other half": (
        (1, 1, 16, 16), lambda s, x: s.means(s.pooled(x[..., :8]) - s.pooled(x[..., 8:].flip(3)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_parts_that_make_no_grid_are_refused_and_never_shown_for_the_whole(name: str) -> None:
    shape, run = PARTS[name]
    net, x = Loop(run).eval(), image(*shape)
    with pytest.raises(LayerError, match=r"part by part.*Name one run, from (cnn|cube)#0"):
        saliscope.explain(x, net, "grad-cam", 1)
    layer = "cube" if name in ("chunks of two sizes", "windows that overlap") else "cnn"
    with pytest.raises(LayerError, match=r"do not lie beside each other.*#0"):
        saliscope.explain(x, net, "grad-cam", 1, layer=f"{layer}#*")
    with pytest.raises(LayerError, match=r"which ran \d+ times"):
        saliscope.explain(x, net, "grad-cam", 1, layer=layer)
    assert each(saliscope.explain(x, net, "grad-cam", 1, layer=f"{layer}#0"))[0].values.ndim == len(shape) - 2


def test_maps_of_halves_summed_over_each_other_have_no_place() -> None:
    net = Loop(lambda s, x: s.means(s.post(torch.stack([s.cnn(q) for q in x.chunk(2, 3)]).amax(0)).mean((2, 3)))).eval()
    x = image(1, 1, 16, 16)
    with pytest.raises(LayerError, match="no grid"):
        saliscope.explain(x, net, "grad-cam", 1, layer="post")
    assert each(saliscope.explain(x, net, "grad-cam", 1))[0].provenance.layer == "cnn#*"


def test_an_earlier_layer_is_taken_where_later_ones_see_parts_and_that_is_said() -> None:
    class Stem(Loop):
        def __init__(self) -> None:
            super().__init__(lambda s, x: PARTS["windows that overlap"][1](s, s.stem(x)))
            self.stem = nn.Conv3d(1, 1, 3, padding=1)

    e = each(saliscope.explain(image(1, 1, 6, 8, 8), Stem().eval(), "grad-cam", 1))[0]
    assert e.provenance.layer == "stem"
    assert "later layers see the image part by part and make no grid together" in e.provenance.layer_reason
