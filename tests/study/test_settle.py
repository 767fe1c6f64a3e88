"""What the image tells a method: millimetres, air and tissue in units of the view, other subjects."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file
from torch import nn

import saliscope
from saliscope.core.errors import InputError, MethodError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Traits
from saliscope.methods import METHODS
from saliscope.model.intensity import Channels, Clip, Normalise, Scale, Window
from saliscope.model.network import Network
from saliscope.model.steps import Crop, Pad, Resize
from saliscope.model.view import View, Viewing
from saliscope.perturb.reference import References
from saliscope.study.settle import settled


def scan(modality="CT", channels=1, **changes):
    """A scan of 24 x 20 with air, soft tissue and some bone in HU, displayed by a window of -200 to 300."""
    random = np.random.default_rng(0)
    values = np.full((channels, 24, 20), -1000.0, np.float32)
    values[:, 4:20, 3:17] = 40 + 30 * random.standard_normal((channels, 16, 14))
    values[:, 9:13, 8:12] = 700
    display = (np.clip((values[:1] + 200) / 500, 0, 1) * 255).astype(np.uint8)
    geometry = Geometry.of_picture((24, 20), (1.5, 0.5))
    made = MedicalImage(values, display, geometry, modality, "HU", "d", "scan")
    return replace(made, **changes)


def network(*steps, source="values"):
    return Network(nn.Conv2d(1, 1, 1), viewing=Viewing(steps, source))


def baseline(image, net, name="air", method="occlusion"):
    return settled(METHODS.make(method, baseline=name), image, net.viewing(image), net).baseline


CHAINS = [
    (),
    (Window(-1200, 800), Normalise((0.3,), (0.2,))),
    (Clip(10, 90), Scale()),
    (Clip(0, 99.5), Normalise()),
    (Scale(0.001), Normalise(None, (2.0,))),
    (Resize((12, 10)), Scale(), Normalise((0.5,), None)),
    (Crop((22, 18)), Scale(), Pad(None, "min"), Normalise()),
]


@pytest.mark.parametrize("steps", CHAINS, ids=str)
def test_air_and_tissue_of_a_ct_are_what_the_steps_make_of_that_value(steps):
    """A corner of air and a plateau of 40 HU, larger than any smoothing, show in the view what is right."""
    image = scan()
    values = image.values.copy()
    values[:, 14:20, 3:17] = 40
    image = replace(image, values=values)
    net = network(*steps)
    view = net.viewing(image)
    seen = view.tensor[0, 0].numpy()
    middle = seen.shape[1] // 2
    tissue, air = seen[int(17 * seen.shape[0] / 24), middle], seen[0, middle]
    assert baseline(image, net, "air") == pytest.approx(float(air), abs=2e-3)
    assert baseline(image, net, "tissue") == pytest.approx(float(tissue), abs=2e-3)


def test_air_that_is_not_in_the_image_is_told_by_the_steps_all_the_same():
    image = scan()
    only_tissue = replace(
        image, values=image.values[:, 6:18, 5:15].copy(), display=image.display[:, 6:18, 5:15].copy(),
        geometry=Geometry.of_picture((12, 10)),
    )  # fmt: skip
    assert only_tissue.values.min() > -100
    assert baseline(only_tissue, network(Window(-1000, 1000), Normalise((0.5,), (0.25,)))) == pytest.approx(-2.0)
    low, high = float(only_tissue.values.min()), float(only_tissue.values.max())
    assert baseline(only_tissue, network(Scale())) == pytest.approx((-1000 - low) / (high - low), rel=1e-4)
    assert baseline(only_tissue, network(Clip(), Scale())) == pytest.approx(0), "a step that clips, clips this too"


def test_a_view_of_what_is_displayed_takes_the_display_of_that_value():
    image = scan()
    net = network(Scale(1 / 255), source="display")
    assert baseline(image, net, "air") == 0
    assert baseline(image, net, "tissue") == pytest.approx(240 / 500, abs=0.02)
    inner = replace(
        image, values=image.values[:, 5:8, 4:16].copy(), display=image.display[:, 5:8, 4:16].copy(),
        geometry=Geometry.of_picture((3, 12)),
    )  # fmt: skip
    with pytest.raises(MethodError, match="not in this image"):
        baseline(inner, net, "air")


def test_air_of_an_inverted_radiograph_is_the_black_end_of_what_is_shown():
    image = scan("DX")
    inverted = replace(image, display=255 - image.display)
    assert baseline(image, network()) == pytest.approx(-1000)
    assert baseline(inverted, network()) == pytest.approx(700)
    assert baseline(inverted, network(Scale(0.1), source="display")) == 0


def test_tissue_of_other_modalities_is_the_mean_inside_the_body():
    image = scan("MR")
    body = image.values[0][image.values[0] > -500].mean()
    assert baseline(image, network(), "tissue") == pytest.approx(float(body), rel=1e-4)
    padding = np.zeros((24, 20), bool)
    padding[:, 10:] = True
    half = replace(image, padding=padding)
    left = image.values[0][:, :10]
    assert baseline(half, network(), "tissue") == pytest.approx(float(left[left > -500].mean()), rel=1e-4)


def test_channels_that_differ_make_a_reference_that_is_constant_in_each():
    net = network(Window(-1000, 1000), Channels(3), Normalise((0.1, 0.2, 0.4), (1.0, 1.0, 2.0)))
    image = scan()
    found = baseline(image, net)
    assert isinstance(found, References)
    assert found.values.shape == (1, 3, 24, 20)
    torch.testing.assert_close(found.values[0, :, 0, 0], torch.tensor([-0.1, -0.2, -0.2]))
    assert (found.values == found.values[:, :, :1, :1]).all()


def test_zero_by_name_is_refused_for_a_ct_only():
    net = network()
    with pytest.raises(MethodError, match="air"):
        baseline(scan(), net, "zero")
    assert baseline(scan("MR"), net, "zero") == "zero"
    assert baseline(scan(), net, 0.0) == 0.0, "a number that somebody wrote"
    assert baseline(scan(), net, "mean") == "mean"


def test_a_tensor_has_no_air():
    image, net = scan(), network(Scale())
    view = View(torch.randn(1, 1, 24, 20), image.geometry)
    with pytest.raises(MethodError, match="own view"):
        settled(METHODS.make("occlusion", baseline="air"), image, view, net)
    flat = replace(image, values=np.full_like(image.values, 5.0))
    with pytest.raises(MethodError, match="one value"):
        baseline(flat, net)


@pytest.mark.parametrize("unit", ["mm", "px"])
def test_spacing_is_that_of_the_view_where_it_is_known(unit):
    image = scan(geometry=Geometry.of_picture((24, 20), (1.5, 0.5) if unit == "mm" else None))
    net = network(Resize((12, 20)))
    right = (3.0, 0.5) if unit == "mm" else None
    for name in ("lime", "kernel-shap", "xrai"):
        assert settled(METHODS.make(name), image, net.viewing(image), net).spacing == right
    named = METHODS.make("lime", spacing=(1.0, 2.0))
    assert settled(named, image, net.viewing(image), net) == named


@dataclass(frozen=True)
class Pair:
    """A method of methods, with references of its own."""

    inner: tuple = ()
    references: object = "file:"

    traits: ClassVar[Traits] = Traits("combine", True, "input", True, "someone2020", "much", "much")

    def attribute(self, model, x, target):
        return x[:, :1]


def test_methods_inside_methods_are_settled_too():
    image, net = scan(), network()
    inner = METHODS.make("xrai", method=METHODS.make("integrated-gradients", baseline="air"))
    found = settled(Pair((inner, METHODS.make("lime", baseline="tissue")), 3), image, net.viewing(image), net)
    assert found.inner[0].method[0].baseline == -1000
    assert found.inner[0].spacing == (1.5, 0.5)
    assert found.inner[1].baseline == 40
    assert found.references == 3, "a field of that name with a number in it is another thing"


def test_a_file_or_a_folder_becomes_references_in_units_of_the_view(tmp_path):
    from PIL import Image

    for n in (1, 2):
        random = np.random.default_rng(n)
        Image.fromarray(random.integers(0, 255, (30, 26), dtype=np.uint8)).save(tmp_path / f"other-{n}.png")
    net = network(Resize((12, 10)), Scale(1 / 255))
    image = scan("OT", display=(np.random.default_rng(5).random((1, 24, 20)) * 255).astype(np.uint8))
    view = net.viewing(image)
    others = [net.viewing(saliscope.read_image(tmp_path / f"other-{n}.png")).tensor for n in (1, 2)]
    one = baseline(image, net, f"file:{tmp_path / 'other-2.png'}")
    assert one == References.of(others[1])
    both = settled(Pair((), f"file:{tmp_path}"), image, view, net).references
    assert both == References.of(torch.cat(others))
    with pytest.raises(MethodError, match="whose view has the shape"):
        baseline(image, network(), f"file:{tmp_path / 'other-2.png'}")
    with pytest.raises(InputError):
        baseline(image, net, f"file:{tmp_path / 'nothing.png'}")


def test_a_real_ct_is_explained_against_air():
    found = saliscope.explain(
        get_testdata_file("CT_small.dcm"), "spot-finder", METHODS.make("occlusion", baseline="air", window=32), "spot"
    )
    assert np.isfinite(found.values).all()
    assert float(found.provenance.fields["baseline"]) <= 0.01, "the black end of this view"
    with pytest.raises(MethodError, match="air"):
        saliscope.explain(
            get_testdata_file("CT_small.dcm"), "spot-finder", METHODS.make("occlusion", baseline="zero"), "spot"
        )
