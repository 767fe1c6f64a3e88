"""Weights and outputs without values, modules without a hash, named outputs: a refusal in words, or a report."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import ModelError, OutputError, SaliscopeError


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    return nn.Sequential(*layers).eval()


class Ending(nn.Module):
    """A plain network whose output ends in another form."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.end = plain(), end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.net(x))


class Unhashable(nn.Module):
    """A module that compares with others."""

    def __init__(self) -> None:
        super().__init__()
        self.net = plain()

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


UNUSABLE = {
    "sparse": (lambda out: out.to_sparse(), "sparse_coo: return it as output.to_dense()"),
    "csr": (lambda out: out.to_sparse_csr(), "sparse_csr: return it as output.to_dense()"),
    "mkldnn": (lambda out: out.to_mkldnn(), "return it as output.to_dense()"),
    "meta": (lambda out: out.to("meta"), "device meta"),
    "empty": (lambda out: out[:, :0], "of shape"),
    "narrow": (lambda out: out.to(torch.float8_e4m3fn), "float8_e4m3fn"),
}
ASKED: dict[str, Callable[[Any, Tensor], Any]] = {
    "inspect": saliscope.inspect,
    "explain": lambda net, x: saliscope.explain(x, net, "gradient", 0),
}
Outputs = namedtuple("Outputs", ["features", "logits"])


def image(n: int = 1) -> Tensor:
    return torch.rand((n, 1, 16, 16), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", UNUSABLE)
def test_an_output_without_values_to_read_is_refused_as_the_output(name: str, asked: str) -> None:
    end, told = UNUSABLE[name]
    with pytest.raises(OutputError, match=told):
        ASKED[asked](Ending(end).eval(), image())


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("n", [1, 3])
def test_weights_on_the_meta_device_are_refused_by_name(n: int, asked: str) -> None:
    part = plain()
    part[4].to("meta")
    for net, first in ((plain().to("meta"), "0.weight"), (part, "4.weight")):
        with pytest.raises(ModelError, match=f"device meta have no values .first: {first}"):
            ASKED[asked](net, image(n))


@pytest.mark.parametrize("asked", ASKED)
def test_a_module_without_a_hash_is_refused_by_its_class(asked: str) -> None:
    with pytest.raises(ModelError, match="Unhashable, which has no hash"):
        ASKED[asked](Unhashable(), image())


def test_an_inspection_tells_how_to_return_one_number_an_image() -> None:
    report = saliscope.inspect(Ending(lambda out: out[:, 0]).eval(), image())
    assert report["kind"] == "asked for"
    assert "output[:, None]" in str(report)


def test_an_inspection_ends_with_no_error_of_torch() -> None:
    class Own(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return (
                NotImplemented if func is torch.equal else super().__torch_function__(func, types, args, kwargs or {})
            )

    with pytest.raises(SaliscopeError, match="inspect on Ending, which ended with TypeError"):
        saliscope.inspect(Ending(lambda out: out.as_subclass(Own)).eval(), image())


def test_a_field_of_a_named_tuple_is_an_output_as_the_key_of_a_dict_is() -> None:
    net = Ending(lambda out: Outputs(out * 0, out)).eval()
    own = saliscope.explain(image(), net, "gradient", 0, output="logits")
    right = saliscope.explain(image(), plain(), "gradient", 0)
    assert (own.values == right.values).all()
    with pytest.raises(OutputError, match="'features', 'logits' and key 'nothing'"):
        saliscope.explain(image(), net, "gradient", 0, output="nothing")


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "occlusion"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_output_that_is_no_number_is_told_before_the_map(value: float, method: str) -> None:
    with pytest.raises(OutputError, match="are not finite"):
        saliscope.explain(image(), Ending(lambda out: out * value).eval(), method, 0)


def test_an_image_that_is_converted_to_the_weights_type_is_noted() -> None:
    found = saliscope.explain(image(), plain().double(), "gradient", 0)
    assert "The image was converted from float32 to float64, the type of the weights." in found.provenance.notes
    assert not saliscope.explain(image().double(), plain().double(), "gradient", 0).provenance.notes
