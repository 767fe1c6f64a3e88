"""References are a field of a method: they compare, hash, copy and print by their content."""

import copy
import pickle

import pytest
import torch

from saliscope.core.errors import MethodError
from saliscope.methods import METHODS
from saliscope.perturb.baseline import absent, check_baseline
from saliscope.perturb.reference import References


def some(seed=0, count=3):
    return torch.randn(count, 2, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_equal_content_is_equal_whatever_its_type_in_memory():
    one, other = References.of(some()), References.of(some())
    assert one == other
    assert hash(one) == hash(other)
    assert one == References.of(some().double()), "the same numbers"
    assert one != References.of(some(1))
    assert one != References.of(some().reshape(3, 2, 5, 4)), "the same numbers in another shape"
    assert repr(one) == f"3 references sha256:{one.digest[:12]}"
    assert repr(References.of(some(count=1))).startswith("1 reference sha256:")
    assert len(one) == 3


def test_references_are_their_own_copy():
    tensor = some()
    one = References.of(tensor)
    tensor.zero_()
    assert one == References.of(some())
    assert copy.deepcopy(one) is one
    assert pickle.loads(pickle.dumps(one)) == one


def test_references_are_a_baseline_of_methods():
    one = References.of(some())
    method = METHODS.make("occlusion", baseline=one)
    assert method == METHODS.make("occlusion", baseline=References.of(some()))
    assert hash(method) == hash(METHODS.make("occlusion", baseline=one))
    x = torch.zeros(2, 2, 4, 5, dtype=torch.float64)
    found = absent(x, one)
    assert found.dtype == torch.float64
    assert torch.equal(found, some()[:1].double().expand(2, -1, -1, -1)), "the first reference stands in"
    with pytest.raises(MethodError, match="same channels and size"):
        absent(torch.zeros(1, 1, 4, 5), one)


@pytest.mark.parametrize(
    "bad", [torch.zeros(3, 4, 5), torch.zeros(0, 1, 4, 5), torch.ones(1, 1, 2, 2, dtype=torch.int64)]
)
def test_what_is_no_stack_of_images_is_refused(bad):
    with pytest.raises(MethodError, match="M, C"):
        References.of(bad)
    with pytest.raises(MethodError, match="finite"):
        References.of(torch.full((1, 1, 2, 2), float("nan")))


@pytest.mark.parametrize("name", ["air", "tissue", "file:/somewhere.png"])
def test_what_only_an_image_can_tell_waits_for_one(name):
    METHODS.make("rise", baseline=name)
    with pytest.raises(MethodError, match=r"saliscope\.explain"):
        absent(torch.zeros(1, 1, 4, 4), name)


def test_inpaint_needs_windows():
    check_baseline("inpaint", windows=True)
    with pytest.raises(MethodError, match="needs windows"):
        check_baseline("inpaint")
