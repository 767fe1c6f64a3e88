"""Methods inside methods: changed from the inside out, and listed."""

from dataclasses import dataclass, replace
from typing import ClassVar

from saliscope.core.nesting import has, inside, settled
from saliscope.core.protocols import Method, Traits
from saliscope.methods import METHODS

TRAITS = Traits("combine", True, "input", True, "someone2020", "little", "much")


@dataclass(frozen=True)
class Several:
    """Holds one method and several."""

    one: Method
    others: tuple[Method | str, ...] = ()
    number: int = 3
    traits: ClassVar[Traits] = TRAITS

    def attribute(self, model, x, target):
        raise NotImplementedError


CAM, GRADIENT = METHODS.make("grad-cam"), METHODS.make("gradient")
NESTED = Several(Several(CAM), (GRADIENT, "word", CAM), 4)


def test_every_method_inside_is_given_itself_first():
    assert list(inside(NESTED)) == [NESTED, NESTED.one, CAM, GRADIENT, CAM]


def test_a_change_reaches_every_method_inside_before_the_one_that_holds_it():
    seen = []

    def change(method):
        seen.append(type(method).__name__)
        return replace(method, layer="here") if has(method, "layer") else method

    found = settled(NESTED, change)
    assert found.one.one.layer == found.others[2].layer == "here"
    assert found.others[:2] == (GRADIENT, "word")
    assert found.number == 4
    assert seen == ["GradCAM", "Several", "Gradient", "GradCAM", "Several"]
    assert CAM.layer == "auto"


def test_a_method_that_nothing_changes_stays_the_same_object():
    assert settled(NESTED, lambda m: m) is NESTED
