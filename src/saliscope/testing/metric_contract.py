"""How every metric must behave, whatever it measures; for our own metrics and for plugins alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from functools import partial
from typing import get_args

import numpy as np
import torch

from saliscope.core.errors import MetricError
from saliscope.core.metric import Category, Metric, MetricTraits, OfMap, OfMethod, OfNetwork, OfPair, OfPlace, Planned
from saliscope.core.score import Direction, Score
from saliscope.testing.contract import ContractViolation, generators
from saliscope.testing.metric_trials import Given, given, of_maps, of_method, of_network, planned, refuse
from saliscope.testing.networks import image

#: Largest difference allowed between two ways to the same score, as a share of the larger one.
TOLERANCE = 1e-9
KINDS = (OfMap, OfPlace, OfPair, Planned, OfMethod, OfNetwork)


def check_metric(metric: Metric) -> None:
    """Run every check on a metric; raises ContractViolation at the first that it fails.

    A metric of maps, with a mask or with another map, is tried on maps that are fixed, in 2D and 3D; one that asks a
    network is tried on `saliscope.testing.networks.SmallNet`, and one that makes maps of its own with the gradient.
    """
    for check in METRIC_CHECKS:
        check(metric)


def frozen(metric: Metric) -> None:
    """Check that a metric is a frozen dataclass of values that compare and hash, so that it can be stored and named."""
    if not is_dataclass(metric) or not type(metric).__dataclass_params__.frozen:
        refuse(metric, "is not a frozen dataclass of its parameters")
    if replace(metric) != metric:  # type: ignore[type-var]
        refuse(metric, "is not equal to its copy with the same fields")
    try:
        hash(metric)
    except TypeError:
        refuse(metric, "has a field that cannot be hashed")


def traits(metric: Metric) -> None:
    """Check that a metric is of a kind, and that the traits say everything that a reader of the catalogue needs."""
    if not isinstance(metric, KINDS):
        raise ContractViolation(f"{type(metric).__name__} is of no kind of saliscope.core.metric")
    said = getattr(metric, "traits", None)
    if not isinstance(said, MetricTraits):
        raise ContractViolation(f"{type(metric).__name__} has no class attribute `traits`")
    if said.category not in get_args(Category) or said.direction not in get_args(Direction):
        refuse(metric, f"has category {said.category!r} and direction {said.direction!r}, which do not exist")
    low, high = said.range
    if low is not None and high is not None and not low < high:
        refuse(metric, f"has a range from {low} to {high}")
    if not all(text.strip() for text in (said.null, said.cost, said.blind)):
        refuse(metric, "does not say what knowing nothing gives, what it costs, or what it cannot see")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*[0-9]{4}[a-z]?", said.citation):
        refuse(metric, f"has citation {said.citation!r}, which is not a key like petsiuk2018")


def scores(metric: Metric) -> None:
    """Check that scores agree with the traits, lie in their range, and can be written, in 2D and 3D."""
    names = set()
    for axes in (2, 3):
        for score in every(metric, axes):
            names.add(_sound(metric, score).metric)
    if len(names) != 1:
        refuse(metric, f"calls itself {sorted(names)}")


def untouched(metric: Metric) -> None:
    """Check that maps and masks are left as they were, and need not be writable, contiguous or of float64."""
    for axes in (2, 3):
        own = given(axes)
        loose = own.each(np.array)
        right = of_maps(metric, own)
        if of_maps(metric, loose) != right:
            refuse(metric, "gives other scores for arrays that can be written")
        if any(not np.array_equal(getattr(loose, n), getattr(own, n)) for n in ("first", "second", "mask")):
            refuse(metric, "changes the arrays of its caller")
        turned = own.each(np.asfortranarray)
        if not _alike(of_maps(metric, turned), right):
            refuse(metric, "gives another score for another layout in memory")
        single = Given(own.first.astype(np.float32), own.second.astype(np.float32), own.mask, own.geometry)
        if not _alike(of_maps(metric, single), right, 1e-3):
            refuse(metric, "gives another score in float32")


def nothing(metric: Metric) -> None:
    """Check that a map without order, and a mask that is empty or covers all, is undefined and never a number."""
    for axes in (2, 3):
        own = given(axes)
        for value in (0.0, 2.0, -2.0):
            for changed in (replace(own, first=np.full_like(own.first, value)), _both(own, value)):
                if any(s.defined for s in of_maps(metric, changed)):
                    refuse(metric, f"gives a number for a map that is {value} everywhere")
        if isinstance(metric, OfPlace):
            for mask in (np.zeros_like(own.mask), np.ones_like(own.mask)):
                if metric.of_place(own.first, mask, own.geometry).defined:
                    refuse(metric, "gives a number for a mask that is empty or covers the whole image")


def broken(metric: Metric) -> None:
    """Check that a map with values that are not finite, or arrays of two shapes, are refused, or undefined at least."""
    own = given(2)
    for value in (np.nan, np.inf):
        first = own.first.copy()
        first[5, 5] = value
        if _answers(metric, replace(own, first=first)):
            refuse(metric, f"gives a number for a map with {value}")
    if not isinstance(metric, OfPair | OfPlace):
        return
    if _answers(metric, replace(own, second=own.second[1:], mask=own.mask[1:])):
        refuse(metric, "gives a number for two arrays of different shape")


def scale(metric: Metric) -> None:
    """Check that maps times a positive number have the same score: the units of a map are its method's own."""
    for axes in (2, 3):
        own = given(axes)
        for factor in (3.7, 1e-6):
            larger = replace(own, first=own.first * factor, second=own.second * factor)
            if not _alike(of_maps(metric, larger), of_maps(metric, own)):
                refuse(metric, f"gives maps times {factor} another score")


def mirror(metric: Metric) -> None:
    """Check that maps and masks that are mirrored, along each axis, have the same score."""
    for axes in (2, 3):
        own = given(axes)
        for axis in range(axes):
            flipped = replace(own.each(partial(np.flip, axis=axis)), geometry=own.geometry.flipped(axis))
            if not _alike(of_maps(metric, flipped), of_maps(metric, own)):
                refuse(metric, "gives mirrored maps another score")


def pairs(metric: Metric) -> None:
    """Check that two maps agree as much either way, and a map with itself as much as can be."""
    if not isinstance(metric, OfPair):
        return
    for axes in (2, 3):
        own = given(axes)
        one, two = metric.of_pair(own.first, own.second), metric.of_pair(own.second, own.first)
        if not _alike([one], [two]):
            refuse(metric, "depends on which of two maps comes first")
        best = metric.traits.range[1 if metric.traits.direction == "higher" else 0]
        itself = metric.of_pair(own.first, own.first)
        if best is not None and not (itself.defined and abs(itself.number - best) <= TOLERANCE * max(1, abs(best))):
            refuse(metric, f"gives a map beside itself {itself.value}, not {best}")


def repeatable(metric: Metric) -> None:
    """Check that equal fields give equal scores, whatever the caller's random generators, which stay where they are."""
    found = []
    with torch.random.fork_rng(devices=[]):
        for seed in (11, 12):
            torch.manual_seed(seed)
            before = generators()
            found.append(list(every(metric, 2)))
            if generators() != before:
                refuse(metric, "moves a random generator that belongs to the caller")
    if not _alike(found[0], found[1], 0.0):
        refuse(metric, "gives another score the second time")


def alone(metric: Metric) -> None:
    """Check that the score of an image does not depend on the images that it is asked with."""
    x = image(2, batch=2)
    if isinstance(metric, Planned):
        together, single = planned(metric, x, 0), [planned(metric, x[n : n + 1], 0)[0] for n in range(2)]
        if not _alike(together, single):
            refuse(metric, "gives an image another score alone than beside others")
    if isinstance(metric, OfMethod):
        table = of_method(metric, x)
        rows = [of_method(metric, x[n : n + 1])[0] for n in range(2)]
        if not all(_alike(one, other) for one, other in zip(table, rows, strict=True)):
            refuse(metric, "gives an image another score alone than in a batch")


METRIC_CHECKS = (
    frozen, traits, scores, untouched, nothing, broken, scale, mirror, pairs, repeatable, alone,
)  # fmt: skip


def every(metric: Metric, axes: int) -> Iterator[Score]:
    """Yield every score that a metric gives in so many axes, whatever its kind."""
    yield from of_maps(metric, given(axes))
    if isinstance(metric, Planned):
        for k in (0, 2):
            yield from planned(metric, image(axes, batch=1), k)
    if isinstance(metric, OfMethod):
        for row in of_method(metric, image(axes)):
            yield from row
    if isinstance(metric, OfNetwork):
        yield from of_network(metric, image(axes, batch=3))


def _sound(metric: Metric, score: Score) -> Score:
    """Return a score; refuse one that its traits do not allow."""
    if not isinstance(score, Score) or not re.fullmatch(r"[a-z][a-z0-9+-]*", score.metric):
        refuse(metric, "does not return a Score with a name in lower case")
    if score.direction != metric.traits.direction:
        refuse(metric, f"says {score.direction} in its score and {metric.traits.direction} in its traits")
    low, high = metric.traits.range
    for number in (score.value, score.null):
        if isinstance(number, float | int):
            slack = TOLERANCE * max(1.0, abs(number))
            if (low is not None and number < low - slack) or (high is not None and number > high + slack):
                refuse(metric, f"gives {number}, outside its range from {low} to {high}")
    json.dumps(score.described(), allow_nan=False)
    return score


def _both(own: Given, value: float) -> Given:
    return replace(own, first=np.full_like(own.first, value), second=np.full_like(own.second, value))


def _answers(metric: Metric, own: Given) -> bool:
    try:
        return any(score.defined for score in of_maps(metric, own))
    except MetricError:
        return False


def _alike(found: list[Score], right: list[Score], tolerance: float = TOLERANCE) -> bool:
    return len(found) == len(right) and all(
        (a.number == b.number or abs(a.number - b.number) <= tolerance * max(abs(a.number), abs(b.number), 1e-3))
        if a.defined and b.defined
        else a.value == b.value
        for a, b in zip(found, right, strict=True)
    )
