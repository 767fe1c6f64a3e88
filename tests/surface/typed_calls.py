"""What type checkers make of the calls: read by mypy (`make check`), never run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from torch import Tensor, nn

import saliscope
from saliscope import Explanation, Explanations, PlacedMap


def first(output: Tensor) -> Tensor:
    return output[:, 0]


def calls(x: Tensor, net: nn.Module, image: saliscope.MedicalImage, path: Path) -> None:
    assert_type(saliscope.explain(path, net), Explanation)
    assert_type(saliscope.explain("a.png", "a-card", "grad-cam", "malignant", "layer4"), Explanation)
    assert_type(saliscope.explain(image, net, target=3, labels=["a"], progress=True), Explanation)
    assert_type(saliscope.explain(image, net, saliscope.METHODS.make("rise"), first), Explanation)
    assert_type(saliscope.explain(x, net), Explanation | Explanations)
    assert_type(saliscope.explain(x, net, "gradient", 1), Explanation | Explanations)
    assert_type(saliscope.explain(path, net, ["grad-cam", "gradient"]), Explanations)
    assert_type(saliscope.explain(x, net, ("grad-cam", saliscope.METHODS.make("rise")), target=1), Explanations)
    assert_type(saliscope.explain(path, net, target=["a", 2]), Explanations)
    assert_type(saliscope.explain(path, net, "grad-cam", [0, 1]), Explanations)
    assert_type(saliscope.explain(x, net, target="all"), Explanations)
    assert_type(saliscope.explain(path, net, "grad-cam", "called"), Explanations)
    assert_type(saliscope.explain([path, path], net), Explanations)
    assert_type(saliscope.explain([image, "a.png"], net, ["a"], ["b"], spacing_mm=None), Explanations)
    found = saliscope.explain(path, net, ["grad-cam", "gradient"])
    assert_type(found[0], Explanation)
    assert_type(found[:1], Explanations)
    assert_type(found[0].on("image"), PlacedMap)
    assert_type(found[0].to_tensor(), Tensor)
    assert_type(Explanation.load(path), Explanation)
    assert_type(Explanations.load(path), Explanations)
