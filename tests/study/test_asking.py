"""Nested methods are settled and recorded with everything inside; maps beside a map and notes are kept."""

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import torch

import saliscope
from saliscope.core.protocols import Method, Traits
from saliscope.methods import METHODS
from saliscope.study.asking import described
from saliscope.testing.networks import SmallNet, image

TRAITS = Traits("combine", True, "layer", True, "someone2020", "little", "much")


@dataclass(frozen=True)
class Doubled:
    """Twice the map of another method, and its square beside it."""

    method: Method = field(default_factory=lambda: METHODS.make("grad-cam"))
    strength: tuple[float, ...] = (1.0, 2.0)
    source: Any = None

    traits: ClassVar[Traits] = TRAITS
    beside: ClassVar[tuple[str, ...]] = ("square",)
    measures: ClassVar[tuple[str, ...]] = ()

    def attribute(self, model, x, target):
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model, x, target):
        found = self.method.attribute(model, x, target)
        model.note(f"doubled on {self.method.layer}")
        return {"map": 2 * found, "square": found**2}


def explained(*methods):
    net, x = SmallNet(2).float(), image(2, batch=1).float()
    return saliscope.explain(x, net, list(methods), "all", labels=("a", "b", "c"))


def test_a_nested_method_is_settled_on_the_layer_that_is_chosen_for_it_alone():
    found = explained("grad-cam", Doubled())
    for one, nested in zip(found[::2], found[1::2], strict=True):
        np.testing.assert_allclose(nested.values, 2 * one.values, rtol=1e-6)
        np.testing.assert_allclose(nested.beside["square"], one.values**2, rtol=1e-5)
        assert nested.geometry == one.geometry
        assert nested.provenance.layer == one.provenance.layer == "last"
        assert nested.provenance.layer_reason == one.provenance.layer_reason
        assert nested.provenance.fields["method"] == {"name": "grad-cam", "layer": "last", "relu": False}
        assert nested.provenance.notes == ("Doubled on last",)
        assert one.provenance.notes == ()
        assert not nested.beside["square"].flags.writeable


def test_maps_beside_a_map_are_stored_on_its_own_grid(tmp_path):
    one = explained(Doubled())[0]
    one.save(tmp_path / "case")
    (record,) = (tmp_path / "case").glob("*/explanation.json")
    files = json.loads(record.read_text())["map"]["beside"]
    stored, own = nib.load(record.parent / files["square"]), nib.load(record.parent / "map_native.nii.gz")
    np.testing.assert_array_equal(stored.affine, own.affine)
    np.testing.assert_allclose(stored.get_fdata(), (own.get_fdata() / 2) ** 2, rtol=1e-5)


def test_fields_are_described_as_plain_data():
    class Odd:
        def __str__(self) -> str:
            return "three things"

    assert described(Doubled(METHODS.make("gradient"), (0.5,), Odd())) == {
        "method": {"name": "gradient", "magnitude": False},
        "strength": [0.5],
        "source": "three things",
    }


def test_a_named_layer_reaches_the_method_inside():
    net, x = SmallNet(2).float(), image(2, batch=1).float()
    found = saliscope.explain(x, net, Doubled(), 0, layer="watched")
    assert found.provenance.layer == "watched"
    assert found.provenance.layer_reason == "named by the caller"
    assert torch.isfinite(torch.from_numpy(found.values.copy())).all()
