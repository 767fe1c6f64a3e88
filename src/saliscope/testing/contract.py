"""How every method must behave, whatever it computes; for our own methods and for plugins alike."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from saliscope.core.errors import ModelError
from saliscope.core.nesting import has, settled
from saliscope.core.protocols import Beside, Family, Method, Resolving, Traits
from saliscope.core.target import LogitTarget, Target
from saliscope.model.network import Network
from saliscope.testing.networks import AFTER, SmallNet, image, mirrored

#: Largest difference allowed between two ways to the same map, in float64, as a share of the largest value.
TOLERANCE = 1e-9

LABELS = ("first", "second", "third")
TARGET = LogitTarget((0, 1, 2), LABELS)


class ContractViolation(AssertionError):
    """Says in one sentence what a method does that no method may do."""


def check_method(method: Method) -> None:
    """Run every check on a method; raises ContractViolation at the first that it fails.

    A method with a field `layer` is tried on the layer "watched" of `saliscope.testing.networks.SmallNet`. A method
    with a field `seed` draws at random, and one with a field `segments` parts the image by a rule that has a first
    corner, so there mirrored images need not give mirrored maps.
    """
    for check in CHECKS:
        check(method)


def frozen(method: Method) -> None:
    """Check that a method is a frozen dataclass of values that compare and hash, so that it can be stored and named."""
    if not is_dataclass(method) or not type(method).__dataclass_params__.frozen:
        _refuse(method, "is not a frozen dataclass of its parameters")
    if replace(method) != method:  # type: ignore[type-var]
        _refuse(method, "is not equal to its copy with the same fields")
    try:
        hash(method)
    except TypeError:
        _refuse(method, "has a field that cannot be hashed")


def traits(method: Method) -> None:
    """Check that the traits say everything that a reader of the catalogue needs."""
    said = getattr(method, "traits", None)
    if not isinstance(said, Traits):
        raise ContractViolation(f"{type(method).__name__} has no class attribute `traits`")
    if said.family not in get_args(Family) or said.grid not in ("input", "layer"):
        _refuse(method, f"has family {said.family!r} and grid {said.grid!r}, which do not exist")
    if not all(text.strip() for text in (said.cost, said.blind)):
        _refuse(method, "does not say what it costs, or what it cannot see")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*[0-9]{4}[a-z]?", said.citation):
        _refuse(method, f"has citation {said.citation!r}, which is not a key like selvaraju2017")


def shape(method: Method) -> None:
    """Check that maps are (N, K, *S'), finite and of the input's type, in 2D and 3D, whatever follows the layer."""
    for axes in (2, 3):
        for after in AFTER:
            x = image(axes)
            found = _map(method, SmallNet(axes, after), x)
            size = x.shape[2:] if method.traits.grid == "input" else [n // 2 for n in x.shape[2:]]
            if tuple(found.shape) != (len(x), len(LABELS), *size):
                _refuse(method, f"returned shape {tuple(found.shape)} where {(len(x), len(LABELS), *size)} is right")
            if found.dtype != x.dtype or not found.isfinite().all():
                _refuse(method, f"returned {found.dtype} for {x.dtype}, or values that are not finite")


def resolution(method: Method) -> None:
    """Check that a method states how fine a thing its map can show, from one element up to the image, in 2D and 3D."""
    watched = watching(method)
    if not isinstance(watched, Resolving) or not callable(watched.resolution):
        raise ContractViolation(f"{type(method).__name__} does not state its resolution")
    for axes in (2, 3):
        x = image(axes, batch=1)
        with Network(SmallNet(axes), LABELS).opened() as model:
            sizes = watched.resolution(model, x)
        least = 1 if method.traits.grid == "input" else 2
        for size in sizes or ((),):
            if len(size) != axes or not all(least <= s <= n for s, n in zip(size, x.shape[2:], strict=True)):
                _refuse(method, f"states a resolution of {size} for an image of {tuple(x.shape[2:])}")


def single(method: Method) -> None:
    """Check that a network in float32 gives a map in float32, near the one in float64."""
    x, network = image(2), SmallNet(2)
    double = _map(method, network, x)
    found = _map(method, network.float(), x.float())
    if found.dtype != torch.float32 or not _near(found.double(), double, 1e-3):
        _refuse(method, "gives another map, or another type, in float32")


def repeatable(method: Method) -> None:
    """Check that equal fields give equal maps, after other calls too, and that no shared generator is moved."""
    x = image(2)
    first = _map(method, SmallNet(2), x)
    torch.manual_seed(11)
    with Network(SmallNet(2), LABELS).opened() as model:
        before = generators()
        watching(method).attribute(model, x, TARGET)
        if generators() != before:
            _refuse(method, "moves a random generator that belongs to the caller")
    _map(method, SmallNet(2, "residual"), x + 1)
    if not torch.equal(_map(method, SmallNet(2), x), first):
        _refuse(method, "gives another map the second time")


def alone(method: Method) -> None:
    """Check that the map of an image does not depend on the other images of its batch."""
    for axes in (2, 3):
        x = image(axes, batch=3)
        together = _map(method, SmallNet(axes), x)
        for n in range(len(x)):
            if not _near(_map(method, SmallNet(axes), x[n : n + 1]), together[n : n + 1]):
                _refuse(method, "gives an image another map when it is alone than in a batch")


def targets(method: Method) -> None:
    """Check that each of K targets has the map that it has alone, in the order asked for."""
    x, network = image(2), SmallNet(2)
    together = _map(method, network, x)
    for k in (2, 0, 1):
        if not _near(_map(method, network, x, LogitTarget((k,), LABELS[k : k + 1])), together[:, k : k + 1]):
            _refuse(method, "gives a target another map when it is alone than among others")


@dataclass(frozen=True)
class _Each:
    """A target that asks for class n % 3 of image n."""

    labels: tuple[str, ...] = ("its own",)

    def scores(self, output: Tensor) -> Tensor:
        return torch.stack([row[n % len(LABELS)] for n, row in enumerate(output)])[:, None]

    def of(self, n: int) -> LogitTarget:
        return LogitTarget((n % len(LABELS),), self.labels)


def questions(method: Method) -> None:
    """Check that images of a batch may each be asked another question, and have the maps that they have alone."""
    x, network = image(2, batch=3), SmallNet(2)
    together = _map(method, network, x, _Each())
    for n in range(len(x)):
        if not _near(_map(method, network, x[n : n + 1], _Each().of(n)), together[n : n + 1]):
            _refuse(method, "asks one image of a batch the question of another")


def beside(method: Method) -> None:
    """Check what comes with a map: finite maps of its shape, measurements (N, K), each by its name and no others.

    And that the map is the one given alone.
    """
    if not isinstance(method, Beside):
        if hasattr(method, "attribute_with"):
            _refuse(method, "has attribute_with without `beside` and `measures`, so nobody asks for what it gives")
        return
    x, network = image(2), SmallNet(2)
    with Network(network, LABELS).opened() as model:
        found = dict(watching(method).attribute_with(model, x, TARGET))  # type: ignore[attr-defined]
    own = found.pop("map", None)
    if own is None or not _near(own, _map(method, network, x)):
        _refuse(method, 'gives under "map" another map than alone')
    if sorted(found) != sorted((*method.beside, *method.measures)):
        _refuse(method, f"gives {sorted(found)} beside its map, and names {(*method.beside, *method.measures)}")
    if any(found[name].shape != own.shape or not found[name].isfinite().all() for name in method.beside):
        _refuse(method, f"does not give one finite map of its own shape for each of {method.beside}")
    wrong = {name: tuple(found[name].shape) for name in method.measures if found[name].shape != own.shape[:2]}
    if wrong:
        _refuse(method, f"gives measurements of shapes {wrong} where {tuple(own.shape[:2])} is right")


def surroundings(method: Method) -> None:
    """Check that neither no_grad, nor an input that wants gradients, nor the layout in memory changes the map."""
    x, network = image(2), SmallNet(2)
    right = _map(method, network, x)
    with torch.no_grad():
        if not _near(_map(method, network, x), right):
            _refuse(method, "gives another map under torch.no_grad")
    wanting = x.clone().requires_grad_()
    found = _map(method, network, wanting)
    if found.requires_grad or wanting.grad is not None or not _near(found, right):
        _refuse(method, "leaves a graph or a gradient at an input that requires gradients, or another map")
    if not _near(_map(method, network, x.to(memory_format=torch.channels_last)), right):
        _refuse(method, "gives another map for a channels_last input")


def traceless(method: Method) -> None:
    """Check that input and network are left as they were, also when the network fails in its first or second run."""
    for fail_at in (0, 1, 2):
        x, network = image(2), SmallNet(2)
        network.fail_at = fail_at
        network.head.eval()
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        network.head.weight.requires_grad = False
        before, content = _state(network), x.clone()
        try:
            _map(method, network, x)
            failed = False
        except ModelError:
            failed = True
        if fail_at and failed != (network.runs >= fail_at):
            _refuse(method, "hides that the network failed")
        if _state(network) != before:
            _refuse(method, f"leaves a trace on the network{' that failed' if fail_at else ''}")
        if not torch.equal(x, content) or x.requires_grad:
            _refuse(method, "changes its input")


def mirror(method: Method) -> None:
    """Check that a mirrored image, seen by a network with mirrored kernels, has the mirrored map."""
    if any(f.name in ("seed", "segments") for f in fields(method)):  # type: ignore[arg-type]
        return
    for axes in (2, 3):
        x, network = image(axes), SmallNet(axes)
        right = _map(method, network, x)
        for axis in range(axes):
            found = _map(method, mirrored(network, axis), x.flip(2 + axis))
            if not _near(found.flip(2 + axis), right):
                _refuse(method, f"does not mirror its map when axis {axis} of a {axes}D image is mirrored")


#: Every check, for those who want one test for each.
CHECKS: tuple[Callable[[Method], None], ...] = (
    frozen,
    traits,
    shape,
    resolution,
    single,
    repeatable,
    alone,
    targets,
    questions,
    beside,
    surroundings,
    traceless,
    mirror,
)


def _map(method: Method, network: SmallNet, x: Tensor, target: Target = TARGET) -> Tensor:
    with Network(network, LABELS).opened() as model:
        return watching(method).attribute(model, x, target)


def watching(method: Method) -> Method:
    """Return the method, and every method inside it, on the layer "watched" where it has a field for a layer."""
    return settled(method, _on_watched)


def _on_watched(method: Method) -> Method:
    return replace(method, layer="watched") if has(method, "layer") else method  # type: ignore[type-var]


def _near(found: Tensor, right: Tensor, tolerance: float = TOLERANCE) -> bool:
    return found.shape == right.shape and bool((found - right).abs().max() <= tolerance * right.abs().max())


def generators() -> tuple[Any, ...]:
    """Return the state of every random generator that belongs to the caller."""
    return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002


def _state(network: SmallNet) -> list[Any]:
    """Return everything of a network that a method could leave changed."""
    values = [(n, v.detach().numpy().tobytes()) for n, v in network.state_dict().items()]
    asked = [(p.requires_grad, None if p.grad is None else p.grad.numpy().tobytes()) for p in network.parameters()]
    hooks = [
        (name, len(held))
        for module in network.modules()
        for name, held in vars(module).items()
        if name.endswith("_hooks") and hasattr(held, "__len__")
    ]
    shapes = [(type(m), m.training, getattr(m, "inplace", None)) for m in network.modules()]
    return [values, asked, hooks, shapes]


def _refuse(method: Method, sentence: str) -> None:
    raise ContractViolation(f"{type(method).__name__} {sentence}")
