"""Many phantoms with labels: what goes with the label, how often, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.element import Element
from saliscope.phantom.scene import Scene

#: Seeds of two cases never meet: a set owns this many from its own seed on.
STRIDE = 1_000_000


@dataclass(frozen=True)
class Sometimes:
    """Elements that stand in a part of the cases, whatever the label."""

    element: Element
    chance: float = 0.5


@dataclass(frozen=True)
class PhantomSet:
    """A set of `count` cases, drawn one by one: case i is the same however many there are.

    `elements[label]` are those of each label; the shortcut stands in a share `contamination` of the cases of the last
    label and `background` of the others (sun2023: 0). Two sets that differ in these shares only hold the same anatomy,
    findings and labels; the cases with the shortcut at a lower share are among those at a higher one.
    Raises InputError for shares outside 0 to 1.
    """

    scene: Scene
    elements: tuple[tuple[Element, ...], ...]
    shortcut: tuple[Element, ...] = ()
    contamination: float = 0.0
    background: float = 0.0
    besides: tuple[Sometimes, ...] = ()
    count: int = 100
    seed: int = 0
    labels: tuple[str, ...] = ("absent", "present")

    def __post_init__(self) -> None:
        shares = (self.contamination, self.background, *(s.chance for s in self.besides))
        if any(not 0 <= s <= 1 for s in shares) or len(self.labels) != len(self.elements):
            raise InputError(
                f"a set with shares {shares} and {len(self.elements)} kinds of cases for {len(self.labels)} labels",
                expected="shares from 0 to 1, and one tuple of elements for each label",
                do="Correct it.",
            )

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Case]:
        return (self[i] for i in range(self.count))

    def __getitem__(self, number: int) -> Case:
        """Return case `number`; raises IndexError beyond the last."""
        if not 0 <= number < self.count:
            raise IndexError(number)
        seed = self.seed * STRIDE + number
        rng = np.random.default_rng([seed, 1])
        label = int(rng.integers(len(self.labels)))
        share = self.contamination if label == len(self.labels) - 1 else self.background
        tagged = rng.random() < share
        besides = tuple(s.element for s in self.besides if rng.random() < s.chance)
        elements = (*self.elements[label], *besides, *(self.shortcut if tagged else ()))
        return Case(self.scene, seed, elements, label, f"{self.scene.name}-{seed:07d}")

    def decorrelated(self) -> Self:
        """Return the set with the shortcut in half of the cases of every label."""
        return replace(self, contamination=0.5, background=0.5)
