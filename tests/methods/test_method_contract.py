"""Every method of the catalogue keeps the public contract, and each check of the contract can be failed."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch
from quick import QUICK, REFUSING

from saliscope.core.errors import ModelError
from saliscope.core.protocols import INPUT, Traits
from saliscope.methods import METHODS
from saliscope.methods.resolution import one_element
from saliscope.testing import CHECKS, ContractViolation, check_method, contract

TRAITS = Traits("gradient", True, "input", True, "someone2020", "little", "much")


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", [n for n in METHODS.table if n not in REFUSING])
def test_every_method_keeps_the_contract(name, check):
    check(METHODS.make(name, **QUICK.get(name, {})))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gradient", {"magnitude": True}),
        ("grad-cam", {"relu": True}),
        ("layercam", {"relu": True}),
        ("grad-cam++", {"relu": True}),
        ("integrated-gradients", {"baseline": "blur", "steps": 5}),
        ("integrated-gradients", {"baseline": 0.5, "steps": 3, "memory_mb": 1e-6}),
        ("smoothgrad", {"samples": 3, "sigma": 0.0, "seed": 9}),
        ("occlusion", {"baseline": "zero", "window": 3, "stride": 3}),
        ("occlusion", {"baseline": "min", "memory_mb": 1e-6}),
        ("edges", {"sigma": 2.0}),
    ],
    ids=str,
)
def test_methods_keep_the_contract_with_other_fields(name, fields):
    method = METHODS.make(name, **fields)
    for check in CHECKS:
        # Windows of 3 do not divide the axes, so the last is moved back, and the other end has no such window.
        if not (check is contract.mirror and fields.get("window") == 3):
            check(method)


def _gradient(model, x, target):
    with torch.enable_grad():
        probe = model.probe(x, [INPUT])
        return torch.stack([g[INPUT].sum(1) for g in probe.gradients(target.scores(probe.output))], 1)


@dataclass(frozen=True)
class Sound:
    """A method that keeps the contract, from which each faulty one differs in one thing."""

    traits: ClassVar[Traits] = TRAITS
    resolution = one_element

    def attribute(self, model, x, target):
        return _gradient(model, x, target)


class StatesNoResolution(Sound):
    resolution = None


class StatesTooFineAResolution(Sound):
    def resolution(self, model, x):
        return ((0.5,) * (x.ndim - 2),)


class StatesAResolutionOfOneAxis(Sound):
    def resolution(self, model, x):
        return ((1.0,),)


class StatesAnEmptyResolution(Sound):
    def resolution(self, model, x):
        return ()


class LeaksOverBatch(Sound):
    def attribute(self, model, x, target):
        found = _gradient(model, x, target)
        return found + 0.01 * found.mean(0, keepdim=True)


class MixesTargets(Sound):
    def attribute(self, model, x, target):
        found = _gradient(model, x, target)
        return found - found.mean(1, keepdim=True)


class MovesTheGenerator(Sound):
    def attribute(self, model, x, target):
        np.random.rand()  # noqa: NPY002
        return _gradient(model, x, target)


class RemembersTheLastCall(Sound):
    last: ClassVar[list] = []

    def attribute(self, model, x, target):
        self.last.append(x.sum())
        return _gradient(model, x, target) * len(self.last)


class SumsTheBatchAway(Sound):
    def attribute(self, model, x, target):
        return _gradient(model, x, target).sum(0)


class AsksAllTheFirstQuestion(Sound):
    def attribute(self, model, x, target):
        return _gradient(model, x, target.of(0) if hasattr(target, "of") else target)


class GivesAnotherMapBeside(Sound):
    beside: ClassVar[tuple[str, ...]] = ("variance",)
    measures: ClassVar[tuple[str, ...]] = ("draws",)

    def attribute_with(self, model, x, target):
        found = _gradient(model, x, target)
        return {"map": 2 * found, "variance": found, "draws": found[:, :, 0, 0]}


class ForgetsWhatIsBeside(GivesAnotherMapBeside):
    def attribute_with(self, model, x, target):
        found = _gradient(model, x, target)
        return {"map": found, "draws": found[:, :, 0, 0]}


class MeasuresAndDoesNotSay(GivesAnotherMapBeside):
    def attribute_with(self, model, x, target):
        found = _gradient(model, x, target)
        return {"map": found, "variance": found}


class GivesWhatItDoesNotName(GivesAnotherMapBeside):
    measures: ClassVar[tuple[str, ...]] = ()

    def attribute_with(self, model, x, target):
        found = _gradient(model, x, target)
        return {"map": found, "variance": found, "draws": found[:, :, 0, 0]}


class NamesAMapAMeasurement(GivesAnotherMapBeside):
    def attribute_with(self, model, x, target):
        found = _gradient(model, x, target)
        return {"map": found, "variance": found, "draws": found}


class MeasuresTheBatchAtOnce(GivesAnotherMapBeside):
    def attribute_with(self, model, x, target):
        found = _gradient(model, x, target)
        return {"map": found, "variance": found, "draws": found[0, :, 0, 0]}


class NamesOnlyMaps(Sound):
    beside: ClassVar[tuple[str, ...]] = ("variance",)

    def attribute_with(self, model, x, target):
        found = _gradient(model, x, target)
        return {"map": found, "variance": found}


class GivesAllThatItNames(GivesAnotherMapBeside):
    def attribute_with(self, model, x, target):
        found = _gradient(model, x, target)
        return {"map": found, "variance": found, "draws": found[:, :, 0, 0]}


class GivesNaN(Sound):
    def attribute(self, model, x, target):
        return _gradient(model, x, target) / 0 * 0


class WritesIntoItsInput(Sound):
    def attribute(self, model, x, target):
        found = _gradient(model, x, target)
        x.clamp_(min=-1)
        return found


class KeepsAGraph(Sound):
    def attribute(self, model, x, target):
        with torch.enable_grad():
            return _gradient(model, x, target) + 0 * x.sum(1)[:, None]


class SwallowsErrors(Sound):
    def attribute(self, model, x, target):
        try:
            return _gradient(model, x, target)
        except ModelError:
            return x[:, :1]


class LeavesParameterGradients(Sound):
    def attribute(self, model, x, target):
        model.network.module.head.weight.grad.mul_(2)
        return _gradient(model, x, target)


class ShiftsByOne(Sound):
    def attribute(self, model, x, target):
        return _gradient(model, x, target).roll(1, -1)


class ForgetsFloat32(Sound):
    def attribute(self, model, x, target):
        return _gradient(model, x, target).double()


class CountsOnMemoryOrder(Sound):
    def attribute(self, model, x, target):
        flat = x.as_strided((x.numel(),), (1,)).reshape(x.shape)
        return _gradient(model, flat, target)


@dataclass(frozen=True)
class HoldsAList(Sound):
    values: list = field(default_factory=list)


@dataclass
class Melted:
    traits: ClassVar[Traits] = TRAITS


class SaysNothing(Sound):
    traits: ClassVar[Traits] = Traits("gradient", True, "input", True, "someone2020", "little", " ")


class CitesNobody(Sound):
    traits: ClassVar[Traits] = Traits("gradient", True, "input", True, "a paper", "little", "much")


def test_a_sound_method_passes():
    check_method(Sound())
    check_method(GivesAllThatItNames())


@pytest.mark.parametrize(
    ("faulty", "check"),
    [
        (StatesNoResolution, "resolution"),
        (StatesTooFineAResolution, "resolution"),
        (StatesAResolutionOfOneAxis, "resolution"),
        (StatesAnEmptyResolution, "resolution"),
        (LeaksOverBatch, "alone"),
        (MixesTargets, "targets"),
        (AsksAllTheFirstQuestion, "questions"),
        (GivesAnotherMapBeside, "beside"),
        (ForgetsWhatIsBeside, "beside"),
        (MeasuresAndDoesNotSay, "beside"),
        (GivesWhatItDoesNotName, "beside"),
        (NamesAMapAMeasurement, "beside"),
        (MeasuresTheBatchAtOnce, "beside"),
        (NamesOnlyMaps, "beside"),
        (MovesTheGenerator, "repeatable"),
        (RemembersTheLastCall, "repeatable"),
        (SumsTheBatchAway, "shape"),
        (GivesNaN, "shape"),
        (WritesIntoItsInput, "traceless"),
        (KeepsAGraph, "surroundings"),
        (CountsOnMemoryOrder, "surroundings"),
        (SwallowsErrors, "traceless"),
        (LeavesParameterGradients, "traceless"),
        (ShiftsByOne, "mirror"),
        (ForgetsFloat32, "single"),
        (HoldsAList, "frozen"),
        (Melted, "frozen"),
        (SaysNothing, "traits"),
        (CitesNobody, "traits"),
    ],
)
def test_the_contract_refuses(faulty, check):
    with pytest.raises(ContractViolation, match=faulty.__name__):
        getattr(contract, check)(faulty())
