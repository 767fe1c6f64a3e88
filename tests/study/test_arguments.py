"""What callers hand over in their own forms: the right map, or one sentence; never an exception of another library."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import ChannelsError, InputError, LayerError, MethodError, SaliscopeError, TargetWarning
from saliscope.core.explanation import Explanation
from saliscope.core.target import PerImage
from saliscope.methods import METHODS


def net(channels: int = 3, axes: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    conv, pool = (nn.Conv2d, nn.AdaptiveAvgPool2d) if axes == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    body = [conv(channels, 4, 3, padding=1), nn.ReLU(), conv(4, 4, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*body, pool(1), nn.Flatten(), nn.Linear(4, 3)).eval()


def tensor(n: int = 1, channels: int = 3, axes: int = 2) -> Tensor:
    return torch.rand((n, channels, *[16] * axes), generator=torch.Generator().manual_seed(1))


def explain(
    x: Any, model: nn.Module | None = None, method: Any = "gradient", target: Any = 1, *a: Any, **k: Any
) -> Any:
    return saliscope.explain(x, net() if model is None else model, method, target, *a, **k)


# -- targets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [np.int64(1), np.uint8(1), np.array(1), torch.tensor(1), torch.tensor([1]), np.array([1]), torch.tensor(1).short()],
    ids=repr,
)
def test_an_index_of_any_library_is_an_index(target: Any) -> None:
    np.testing.assert_array_equal(explain(tensor(), target=target).values, explain(tensor(), target=1).values)


@pytest.mark.parametrize("target", [torch.tensor([2, 0, 1]), np.array([2, 0, 1]), PerImage((2, 0, 1))], ids=repr)
def test_a_tensor_of_indices_is_one_target_for_each_image(target: Any) -> None:
    found = explain(tensor(3), target=target)
    assert [e.target for e in found] == ["class 2", "class 0", "class 1"]
    for n, one in enumerate(found):
        right = explain(tensor(3)[n : n + 1], target=(2, 0, 1)[n])
        np.testing.assert_allclose(one.values, right[0].values if isinstance(right, list) else right.values, atol=1e-7)


def test_a_list_that_could_mean_one_target_for_each_image_says_what_it_means() -> None:
    with pytest.warns(TargetWarning, match=r"9 maps.*torch\.tensor\(\[0, 1, 2\]\)"):
        assert len(explain(tensor(3), target=[0, 1, 2])) == 9
    for images, targets in ((3, [0, 1]), (1, [0])):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(explain(tensor(images), target=targets)) == images * len(targets)


@pytest.mark.parametrize(
    "target",
    [True, 1.0, torch.tensor(1.0), None, "no such", [], torch.tensor([0, 1]), torch.zeros(1, 1, dtype=torch.int64), 7,
     -1, {0: 1}, lambda output: output.detach().numpy()[:, 0], lambda output: output[:, 0].tolist()],
    ids=repr,
)  # fmt: skip
def test_what_is_no_target_is_refused(target: Any) -> None:
    with pytest.raises(SaliscopeError):
        explain(tensor(), target=target)


# -- layers ------------------------------------------------------------------------------------------------------------


def test_a_module_is_its_layer() -> None:
    model = net()
    by_module, by_name = explain(tensor(), model, "grad-cam", 1, model[0]), explain(tensor(), net(), "grad-cam", 1, "0")
    assert by_module.provenance.layer == "0"
    np.testing.assert_array_equal(by_module.values, by_name.values)
    compiled = torch.compile(model, backend="eager")
    assert explain(tensor(), compiled, "grad-cam", 1, model[0]).provenance.layer == "0"


@pytest.mark.parametrize("layer", [3, nn.Conv2d(1, 1, 1), ["0", "2"], [], [0], "no such", 1.5], ids=repr)
def test_what_is_no_layer_is_refused(layer: Any) -> None:
    with pytest.raises(SaliscopeError):
        explain(tensor(), method="grad-cam", layer=layer)


def test_the_network_itself_is_no_layer() -> None:
    model = net()
    with pytest.raises(LayerError, match="the network itself"):
        explain(tensor(), model, "grad-cam", layer=model)


@pytest.mark.parametrize("name", METHODS.names())
def test_a_layer_reaches_every_method_that_watches_layers_or_is_refused(name: str) -> None:
    quick = {"rise": {"samples": 16}, "lime": {"samples": 40}, "kernel-shap": {"samples": 40}, "hsic": {"samples": 64}}
    try:
        found = saliscope.explain(tensor(), net(), {name: quick.get(name, {})}, 1, "0")
    except SaliscopeError:
        return
    e = found[0] if isinstance(found, list) else found

    def named(fields: Any) -> bool:
        if isinstance(fields, dict):
            return fields.get("layer") == "0" or fields.get("layers") == ["0"] or any(map(named, fields.values()))
        return isinstance(fields, list) and any(map(named, fields))

    assert e.provenance.layer == "0" or named(dict(e.provenance.fields)), dict(e.provenance.fields)


def test_several_layers_go_to_methods_of_several() -> None:
    e = explain(tensor(), method="fused", layer=["0", "2"])
    assert e.provenance.fields["layers"] == ["0", "2"]


# -- methods and options -----------------------------------------------------------------------------------------------


def test_options_reach_methods_by_keyword_by_mapping_and_classes_are_taken() -> None:
    by_word = explain(tensor(), method="smoothgrad", samples=4)
    by_name = explain(tensor(), method={"smoothgrad": {"samples": 4}})[0]
    made = explain(tensor(), method=METHODS.make("smoothgrad", samples=4))
    for other in (by_name, made):
        np.testing.assert_array_equal(by_word.values, other.values)
    assert by_word.provenance.fields["samples"] == 4
    found = explain(tensor(), method=["grad-cam", "smoothgrad"], samples=4)
    assert [dict(e.provenance.fields).get("samples") for e in found] == [None, 4]
    assert explain(tensor(), method=METHODS.get("grad-cam")).provenance.method == "grad-cam"


@pytest.mark.parametrize(
    ("method", "options"),
    [("smoothgrad", {"sampels": 4}), ("smoothgrad", {"samples": "many"}), ("gradient", {"samples": 4}),
     ("no-such", {}), (3, {}), (None, {}), ([], {}), ({}, {}), ({"smoothgrad": {"sampels": 4}}, {}), ([3], {}),
     ("gradient", {"lables": ["a"]})],
)  # fmt: skip
def test_methods_and_options_that_are_not_there_are_refused(method: Any, options: dict[str, Any]) -> None:
    with pytest.raises(MethodError):
        explain(tensor(), method=method, **options)


def test_a_misspelt_option_is_told_the_right_one() -> None:
    with pytest.raises(MethodError, match="Did you mean 'samples'"):
        explain(tensor(), method="smoothgrad", sampels=4)


# -- images ------------------------------------------------------------------------------------------------------------


def test_an_array_is_what_the_same_tensor_is() -> None:
    x = tensor(2)
    for one, other in zip(explain(x.numpy()), explain(x), strict=True):
        np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "F", "CMYK", "YCbCr", "HSV", "LAB"])
def test_pictures_of_every_mode_are_read_or_refused(mode: str) -> None:
    e = explain(Image.new(mode, (20, 16)), spacing_mm=(0.5, 2.0))
    assert e.values.shape == (16, 20)
    assert e.geometry.spacing == (0.5, 2.0)


def test_a_picture_is_the_file_that_holds_it(tmp_path: Any) -> None:
    values = np.random.default_rng(0).integers(0, 255, (16, 20, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "one.png")
    right = explain(tmp_path / "one.png")
    for given_as in (Image.fromarray(values), Image.open(tmp_path / "one.png"), values):
        np.testing.assert_array_equal(explain(given_as).values, right.values)
    several = explain([Image.fromarray(values), Image.fromarray(values[:12])])
    assert [e.values.shape for e in several] == [(16, 20), (12, 20)]


def test_an_array_of_one_image_is_a_picture_or_a_volume() -> None:
    assert explain(np.random.default_rng(0).random((16, 20))).values.shape == (16, 20)
    volume = np.random.default_rng(0).random((6, 16, 20)).astype(np.float32)
    e = explain(volume, net(1, 3), spacing_mm=(5, 1, 1))
    assert (e.values.shape, e.geometry.spacing) == ((6, 16, 20), (5.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "x",
    [np.zeros(3), np.zeros((2, 3, 8, 8), int), np.zeros((0, 3)), np.zeros((8, 8), complex), np.array(["a"]), None, {},
     [], (tensor(), tensor()), {"image": tensor()}, 3, [tensor()], np.zeros((8, 8), bool), "no such.png",
     np.full((8, 8), np.nan), object()],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'shape', '')}",
)  # fmt: skip
def test_what_is_no_image_is_refused(x: Any) -> None:
    with pytest.raises(SaliscopeError):
        explain(x)


class MetaTensor(torch.Tensor):
    """What MONAI hands over: a tensor with an affine and a meta."""

    affine: Any
    meta: dict[str, Any]


def with_affine(x: Tensor, affine: Any, **meta: Any) -> Tensor:
    made = x.as_subclass(MetaTensor)
    made.affine, made.meta = torch.as_tensor(affine), meta
    return made


def test_the_affine_of_a_tensor_of_monai_is_kept() -> None:
    affine = np.array([[0, 0, -0.5, 20], [0, 2.0, 0, -30], [3.0, 0, 0, 5], [0, 0, 0, 1]])
    x = tensor(1, 1, 3)
    e = explain(with_affine(x, affine), net(1, 3), "grad-cam")
    np.testing.assert_allclose(e.seen.affine, affine)
    np.testing.assert_allclose(e.geometry.spacing, (6, 4, 1))
    np.testing.assert_array_equal(e.values, explain(x, net(1, 3), "grad-cam").values)
    left = explain(with_affine(x, affine, space="LPS"), net(1, 3), "grad-cam")
    np.testing.assert_allclose(left.seen.affine[:2], -affine[:2])
    both = explain(with_affine(torch.cat([x, x]), np.stack([affine, 2 * affine])), net(1, 3), "grad-cam")
    assert [b.seen.spacing for b in both] == [(3, 2, 0.5), (6, 4, 1)]
    for nothing in (np.eye(4), np.zeros((4, 4)), np.full((4, 4), np.nan)):
        assert explain(with_affine(x, nothing), net(1, 3)).seen.unit == "px"
    assert explain(with_affine(x, affine), net(1, 3), spacing_mm=(1, 1, 1)).seen.spacing == (1, 1, 1)


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "occlusion", "deeplift", "smoothgrad"])
def test_one_channel_is_given_three_times_to_a_network_that_takes_three_and_that_is_noted(method: str) -> None:
    grey = tensor(channels=1)
    found, right = explain(grey, method=method), explain(grey.expand(-1, 3, -1, -1), method=method)
    np.testing.assert_allclose(found.values, right.values, atol=1e-7)
    assert any("one channel, which was given three times" in note for note in found.provenance.notes)
    assert not any("three times" in note for note in right.provenance.notes)
    of_image = explain(grey[0, 0].numpy(), method=method)
    np.testing.assert_allclose(of_image.values, right.values, atol=1e-6)
    assert of_image.provenance.view_steps[-1] == "channels count=3"


def test_other_channels_are_refused() -> None:
    for given_, wanted in ((3, 1), (2, 3), (1, 2)):
        with pytest.raises(ChannelsError):
            explain(tensor(channels=given_), net(wanted))


def test_a_network_that_makes_three_of_one_itself_is_given_one() -> None:
    class Grey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.expand(-1, 3, -1, -1))

    assert not any("three times" in n for n in explain(tensor(channels=1), Grey()).provenance.notes)


# -- views and words ---------------------------------------------------------------------------------------------------


def test_a_view_of_a_tensor_is_refused_and_never_recorded() -> None:
    steps = [{"step": "resize", "shape": [8, 8]}]
    with pytest.raises(InputError, match="view"):
        explain(tensor(), view=steps)
    carded = saliscope.Network(net(), viewing=saliscope.load("spot-finder").viewing)
    assert explain(tensor(), carded).provenance.view_steps == ("a tensor as the network sees it",)
    assert explain(tensor()[0, 0].numpy(), view=steps).values.shape == (8, 8)


@pytest.mark.parametrize(
    "words",
    [{"kind": "multiclass"}, {"labels": "abc"}, {"labels": 3}, {"labels": [1, 2, 3]}, {"labels": ["a"]},
     {"output": [1]}, {"spacing_mm": 2.0}, {"spacing_mm": ("a", "b")}, {"spacing_mm": (1, 1, 1)},
     {"spacing_mm": (0, 1)}, {"spacing_mm": (float("nan"), 1)}, {"forward": 3}, {"reshape_transform": "x"}],
    ids=repr,
)  # fmt: skip
def test_words_that_do_not_fit_are_refused(words: dict[str, Any]) -> None:
    with pytest.raises(SaliscopeError):
        explain(tensor(), **words)


@pytest.mark.parametrize("view", [3, "resize", ["resize"], [{"step": "no such"}], [{}], {}, [None]], ids=repr)
def test_a_view_that_is_none_is_refused(view: Any) -> None:
    with pytest.raises(SaliscopeError):
        explain(tensor()[0, 0].numpy(), view=view)


@pytest.mark.parametrize("model", [None, nn.Conv2d, "no such", 3, lambda x: x, [net()]], ids=repr)
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(SaliscopeError):
        saliscope.explain(tensor(), model, "gradient", 1)


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.floats(), st.text(max_size=3), st.binary(max_size=3),
    st.lists(st.integers(-1, 4), max_size=3), st.tuples(st.text(max_size=2)),
    st.dictionaries(st.text(max_size=2), st.none()),
    st.sampled_from([np.int8(1), np.float32(1), np.array([1, 2]), torch.tensor([1.0]), torch.tensor([[1]]), object]),
)  # fmt: skip


@settings(max_examples=150, phases=[Phase.explicit, Phase.generate])
@given(
    st.sampled_from(("x", "method", "target", "layer", "labels", "kind", "view", "output", "spacing_mm", "forward")),
    ODD,
)
def test_whatever_is_typed_gives_a_map_or_one_sentence(name: str, value: Any) -> None:
    words: dict[str, Any] = {"x": tensor(), "model": net(), "method": "grad-cam", "target": 1, name: value}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = saliscope.explain(**words)
        except SaliscopeError:
            return
    assert isinstance(found, Explanation | list)
